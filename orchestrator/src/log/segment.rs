//! One file of records, open for writing.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile};
use super::format::{self, SEGMENT_HEADER, SegmentHeader};
use super::{LogError, Lsn};

/// The segment that records are appended to.
pub(super) struct Segment {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    salt: u64,
    /// Where the next record goes. All before it is synced.
    offset: u64,
    len: u64,
}

impl Segment {
    /// Makes the segment whose first record is `first`, and makes its existence durable. It has place for `len` bytes.
    pub(super) fn create(disk: &mut dyn Disk, folder: &Path, first: Lsn, len: u64) -> Result<Self, LogError> {
        let path = folder.join(format::segment_name(first));
        let salt = RandomState::new().hash_one(first.0);
        let file = disk.create(&path, len).map_err(|source| LogError::io("create", &path, source))?;
        let mut segment = Self { path, file, salt, offset: 0, len };
        segment.append(&SegmentHeader { first, salt }.encode())?;
        disk.sync_folder(folder).map_err(|source| LogError::sync(folder, source))?;
        Ok(segment)
    }

    /// A segment whose first `offset` bytes are durable already.
    pub(super) fn reopened(path: PathBuf, file: Box<dyn DiskFile>, salt: u64, offset: u64, len: u64) -> Self {
        Self { path, file, salt, offset, len }
    }

    /// The bytes that can still be appended.
    pub(super) fn room(&self) -> u64 {
        self.len.saturating_sub(self.offset)
    }

    /// Whether it holds no record.
    pub(super) fn is_empty(&self) -> bool {
        self.offset <= SEGMENT_HEADER as u64
    }

    /// Extends the place to `len` bytes.
    pub(super) fn grow(&mut self, len: u64) -> Result<(), LogError> {
        self.file.cut(self.offset, len).map_err(|source| LogError::io("extend", &self.path, source))?;
        self.len = len;
        Ok(())
    }

    /// Part of the checksum of its records.
    pub(super) fn salt(&self) -> u64 {
        self.salt
    }

    /// Appends `bytes` and syncs them. After an error they are not part of the segment, and may be appended again.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write_at(&bytes[written..], self.offset + written as u64) {
                Ok(0) => return Err(LogError::io("write", &self.path, std::io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(LogError::io("write", &self.path, source)),
            }
        }
        self.file.sync().map_err(|source| LogError::sync(&self.path, source))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}
