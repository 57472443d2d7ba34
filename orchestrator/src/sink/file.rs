//! A sink that writes a file, or standard output.
//!
//! Writing happens in a thread of its own: a full pipe or a slow disk would otherwise stop the whole orchestrator.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;

use super::outbox::{Outbox, Progress};
use super::{SinkChunks, SinkError, SinkEvent, SinkEvents};
use crate::ids::SinkId;

/// Bytes taken from the channel before they are written, and bytes of one write.
const GATHER: u64 = 1 << 20;
/// Chunks of one write.
const SLICES: usize = 256;

/// A file opened for writing.
#[derive(Debug)]
pub struct FileOutput {
    file: File,
    path: PathBuf,
}

/// Opens `path` for writing, and creates it if it does not exist. It may also be a pipe or a device; a named pipe blocks until it has
/// a reader. What is there stays until [`FileOutput::empty`].
pub fn create(path: &Path) -> Result<FileOutput, SinkError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|source| SinkError::Create { path: path.to_owned(), source })?;
    Ok(FileOutput { file, path: path.to_owned() })
}

impl FileOutput {
    /// Removes what was there before, as a shell's `>` does.
    pub fn empty(&self) -> Result<(), SinkError> {
        let emptied =
            self.file.metadata().and_then(|found| if found.is_file() { self.file.set_len(0) } else { Ok(()) });
        emptied.map_err(|source| SinkError::Create { path: self.path.clone(), source })
    }
}

/// Standard output.
pub fn stdout() -> Result<FileOutput, SinkError> {
    let path = PathBuf::from("standard output");
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(file) => Ok(FileOutput { file: file.into(), path }),
        Err(source) => Err(SinkError::Create { path, source }),
    }
}

/// Writes everything from `chunks`, in order. Ends when `chunks` is closed and all is written, or with a `Failed` event.
/// Messages are written as soon as they come; what gathers meanwhile goes in one write.
pub async fn run(output: FileOutput, sink: SinkId, chunks: SinkChunks, events: SinkEvents) {
    let (done, ended) = oneshot::channel();
    let path = output.path.clone();
    let failed = events.clone();
    let write = move || {
        write_all(output, sink, chunks, &events);
        // Nobody waits any more when the runtime is going away.
        let _ = done.send(());
    };
    // Not tokio's blocking pool: its threads are waited for at exit, and a write to a full pipe may never return.
    match std::thread::Builder::new().name("file-sink".to_owned()).spawn(write) {
        // The thread sends as its last act; an error means that it panicked, which has been reported.
        Ok(_) => drop(ended.await),
        Err(source) => {
            let _ = failed.send(SinkEvent::Failed { sink, error: SinkError::Write { path, source } });
        }
    }
}

fn write_all(mut output: FileOutput, sink: SinkId, mut chunks: SinkChunks, events: &SinkEvents) {
    let mut outbox = Outbox::default();
    while let Some(chunk) = chunks.blocking_recv() {
        outbox.push(chunk);
        while outbox.unwritten() < GATHER {
            let Ok(chunk) = chunks.try_recv() else { break };
            outbox.push(chunk);
        }
        while !outbox.is_written() {
            let written = match write_some(&mut output.file, &outbox) {
                Ok(written) => written,
                Err(source) => {
                    let error = SinkError::Write { path: output.path, source };
                    // The runtime hangs up only when it is going away.
                    let _ = events.send(SinkEvent::Failed { sink, error });
                    return;
                }
            };
            let Progress { bytes, messages } = outbox.advance(written);
            outbox.acknowledge(outbox.position());
            let _ = events.send(SinkEvent::Written { sink, bytes, messages });
        }
    }
}

/// Writes what the operating system takes at once, waiting if that is nothing.
fn write_some(file: &mut File, outbox: &Outbox) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = outbox.gather(&mut slices, GATHER);
    if count == 0 {
        // Nothing but empty messages.
        return Ok(0);
    }
    loop {
        match file.write_vectored(&slices[..count]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares this standard output may have made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wanted = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut wanted, PollTimeout::NONE) {
                    Ok(_) | Err(nix::Error::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
}
