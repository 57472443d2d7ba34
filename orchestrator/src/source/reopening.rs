//! Whether a file is the one that an earlier run has read. Which file that is has been in the log since then, see
//! [`crate::position`].

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::position::{FilePosition, HEAD};

/// How a file differs from what an earlier run has read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileChange {
    /// It is a pipe or a device.
    #[error("it is no regular file any more")]
    Kind,
    /// It is another file.
    #[error("it was replaced: its inode is {inode} on device {device}, and was {known_inode} on device {known_device}")]
    Replaced {
        /// Its device.
        device: u64,
        /// Its inode.
        inode: u64,
        /// The device of the file that was read.
        known_device: u64,
        /// The inode of the file that was read.
        known_inode: u64,
    },
    /// It lacks bytes that were read.
    #[error("it was truncated: it has {length} bytes, and {read} were read")]
    Truncated {
        /// Its length in bytes.
        length: u64,
        /// Bytes that were read.
        read: u64,
    },
    /// It is neither there nor among the rotated files.
    #[error(
        "the file that was read (inode {inode}, {read} bytes) is neither there nor among the rotated files beside it"
    )]
    Gone {
        /// Its inode.
        inode: u64,
        /// Bytes that were read.
        read: u64,
    },
    /// It has other bytes.
    #[error("it was overwritten: its first {length} bytes are others")]
    Overwritten {
        /// Bytes that were compared.
        length: u32,
    },
}

/// Returns the position in `file` behind `offset` bytes, which it must have.
pub(super) fn position_at(file: &File, found: &Metadata, offset: u64) -> io::Result<FilePosition> {
    let mut position = FilePosition::beginning(found.dev(), found.ino());
    position.read(&head(file, offset)?);
    Ok(FilePosition { offset, ..position })
}

/// Returns how `file` differs from the one that `position` names, if it does.
pub(super) fn change(file: &File, found: &Metadata, position: &FilePosition) -> io::Result<Option<FileChange>> {
    let (device, inode) = (found.dev(), found.ino());
    let (known_device, known_inode) = (position.file.device, position.file.inode);
    if !found.is_file() {
        return Ok(Some(FileChange::Kind));
    }
    if (device, inode) != (known_device, known_inode) {
        return Ok(Some(FileChange::Replaced { device, inode, known_device, known_inode }));
    }
    content_change(file, found, position)
}

/// Returns how the content of `file` differs from what was read up to `position`, whichever file it is.
pub(super) fn content_change(file: &File, found: &Metadata, position: &FilePosition) -> io::Result<Option<FileChange>> {
    let (length, read) = (found.len(), position.bytes_read());
    if length < read {
        return Ok(Some(FileChange::Truncated { length, read }));
    }
    let known = position.file;
    let is_same = crc32fast::hash(&head(file, known.head.into())?) == known.checksum;
    Ok((!is_same).then_some(FileChange::Overwritten { length: known.head }))
}

/// The first bytes of a file, as many as are hashed when `read` were read.
fn head(file: &File, read: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; read.min(HEAD) as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
