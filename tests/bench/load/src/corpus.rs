//! The messages to send.

use std::fs;
use std::io;
use std::path::Path;

/// Reads messages, one per line.
///
/// With `keep_newline` the newline is part of the message, so a message that comes out unchanged still ends with one.
pub(crate) fn messages(path: &Path, keep_newline: bool) -> io::Result<Vec<Vec<u8>>> {
    let text = fs::read(path)?;
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let kept = |line: &[u8]| match line.strip_suffix(b"\n") {
        Some(message) if !keep_newline => message.to_vec(),
        _ => line.to_vec(),
    };
    Ok(lines.map(kept).collect())
}

/// Appends a frame: the length and the message.
pub(crate) fn append_frame(message: &[u8], frames: &mut Vec<u8>) {
    frames.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frames.extend_from_slice(message);
}
