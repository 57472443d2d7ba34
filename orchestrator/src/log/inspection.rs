//! Reads a state folder and changes nothing in it: no tail is cut, no file is made, the store is not repaired on the disk.

use std::path::Path;

use super::disk::RealDisk;
use super::identity::{self, FolderLock};
use super::store::FileStore;
use super::{Identity, LogError, Lsn, Recovered, recovery};

/// What a state folder holds. The folder is locked until this is dropped: no run begins meanwhile.
#[derive(Debug)]
pub struct Inspected {
    /// Whose state it is.
    pub identity: Identity,
    /// The version of the format.
    pub version: u32,
    /// What a run would take back. Its `cut` is still there.
    pub recovered: Recovered,
    /// How large it is.
    pub sizes: Sizes,
    _lock: Option<FolderLock>,
}

/// Sizes of the files of a state folder, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Segments.
    pub segments: usize,
    /// The records after the checkpoint.
    pub records: u64,
    /// The files of the segments: their place is allocated when they are made.
    pub log: u64,
    /// The file of the store.
    pub store: u64,
}

/// Reads all of the state folder `folder`. It fails as [`open`](super::open) would, and also if there is no folder.
pub fn inspect(folder: &Path) -> Result<Inspected, LogError> {
    let (identity, version) = identity::read_any(folder)?;
    let lock = identity::lock_to_read(folder)?;
    let (path, segments) = (folder.join("store.redb"), folder.join("log"));
    let stored = FileStore::look(&path)?;
    let checkpoint = stored.checkpoint.as_ref().map_or(Lsn(0), |(lsn, _)| *lsn);
    let back = recovery::look(&mut RealDisk, &segments, checkpoint)?;
    let files = back.segments.iter().map(|first| size_of(&segments.join(super::format::segment_name(*first))));
    let sizes = Sizes {
        segments: back.segments.len(),
        records: back.bytes,
        log: files.sum::<Result<u64, LogError>>()?,
        store: if path.exists() { size_of(&path)? } else { 0 },
    };
    let recovered = Recovered {
        id: String::new(),
        topology: identity.topology.clone(),
        checkpoint: stored.checkpoint,
        states: stored.states,
        records: back.records,
        cut: back.cut,
    };
    Ok(Inspected { identity, version, recovered, sizes, _lock: lock })
}

fn size_of(path: &Path) -> Result<u64, LogError> {
    std::fs::metadata(path).map(|found| found.len()).map_err(|source| LogError::io("read", path, source))
}
