//! A disk in memory that loses and tears what was not synced, and fails as a seed says.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Random;
use crate::log::disk::{Disk, DiskFile};

/// A power cut keeps or loses each of these whole.
const SECTOR: usize = 512;

/// What fails.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each fails on its own")]
pub(super) struct Faults {
    /// The number of calls until the process is killed. Every call after that fails. None: it lives.
    pub(super) fuse: Option<u64>,
    /// Writes may take only a part of their bytes.
    pub(super) short_writes: bool,
    /// There is no room: new files and writes fail.
    pub(super) full: bool,
    /// The next sync of a file fails.
    pub(super) sync_fails: bool,
    /// Syncs do nothing: a disk that lies.
    pub(super) syncs_are_skipped: bool,
}

#[derive(Clone)]
enum Unsynced {
    Write { offset: usize, bytes: Vec<u8> },
    Cut { keep: usize, len: usize },
}

#[derive(Default, Clone)]
struct Content {
    live: Vec<u8>,
    synced: Vec<u8>,
    since: Vec<Unsynced>,
}

#[derive(Default)]
struct State {
    files: Vec<Content>,
    /// What the folder has, and what it has after a power cut if nothing of the rest arrived.
    live: BTreeMap<PathBuf, usize>,
    synced: BTreeMap<PathBuf, usize>,
    faults: Faults,
    random: Option<Random>,
}

/// A handle: all clones are one disk.
#[derive(Clone, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

fn apply(content: &mut Vec<u8>, change: &Unsynced) {
    match change {
        Unsynced::Write { offset, bytes } => {
            let end = offset + bytes.len();
            content.resize(content.len().max(end), 0);
            content[*offset..end].copy_from_slice(bytes);
        }
        Unsynced::Cut { keep, len } => {
            content.truncate(*keep);
            content.resize(*len, 0);
        }
    }
}

impl SimulatedDisk {
    pub(super) fn new(seed: u64) -> Self {
        let disk = Self::default();
        disk.state().random = Some(Random::new(seed));
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub(super) fn faults(&self) -> Faults {
        self.state().faults
    }

    /// The content of each file.
    pub(super) fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        state.live.iter().map(|(path, file)| (path.clone(), state.files[*file].live.clone())).collect()
    }

    /// Inverts one bit, durably.
    pub(super) fn flip(&self, path: &Path, bit: usize) {
        let mut state = self.state();
        let file = state.live[path];
        let content = &mut state.files[file];
        content.live[bit / 8] ^= 1 << (bit % 8);
        content.synced = content.live.clone();
        content.since.clear();
    }

    /// The power fails: of what was not synced, any part remains.
    pub(super) fn power_cut(&self, random: &mut Random) {
        let mut state = self.state();
        let mut names = state.synced.clone();
        // Files that were made or removed since: each change may have arrived.
        for (path, file) in &state.live {
            if random.once_in(2) {
                names.insert(path.clone(), *file);
            }
        }
        for path in state.synced.keys() {
            if !state.live.contains_key(path) && random.once_in(2) {
                names.remove(path);
            }
        }
        let keep = random.below(4);
        for content in &mut state.files {
            tear(content, keep, random);
        }
        state.live.clone_from(&names);
        state.synced = names;
        state.faults = Faults::default();
    }

    /// The process is killed: the operating system has all that was written.
    pub(super) fn kill(&self) {
        self.state().faults = Faults::default();
    }

    /// Counts a call. After the fuse has burnt down, all of them fail.
    fn step(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match &mut state.faults.fuse {
            Some(0) => return Err(io::Error::other("the process is dead")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(state)
    }
}

/// Keeps a part of the unsynced changes: none, all, the first ones, or any sectors.
fn tear(content: &mut Content, keep: u64, random: &mut Random) {
    let changes = std::mem::take(&mut content.since);
    let first = random.below(changes.len() as u64 + 1) as usize;
    let mut after = content.synced.clone();
    for (index, change) in changes.iter().enumerate() {
        match (keep, change) {
            (1, _) => apply(&mut after, change),
            (2, _) if index < first => apply(&mut after, change),
            (3, Unsynced::Write { offset, bytes }) => write_some_sectors(&mut after, *offset, bytes, random),
            (3, Unsynced::Cut { .. }) if random.once_in(2) => apply(&mut after, change),
            _ => {}
        }
    }
    content.live.clone_from(&after);
    content.synced = after;
}

fn write_some_sectors(content: &mut Vec<u8>, offset: usize, bytes: &[u8], random: &mut Random) {
    let mut start = 0;
    while start < bytes.len() {
        let end = bytes.len().min(start + SECTOR - (offset + start) % SECTOR);
        if random.once_in(2) {
            apply(content, &Unsynced::Write { offset: offset + start, bytes: bytes[start..end].to_vec() });
        }
        start = end;
    }
}

impl Disk for SimulatedDisk {
    fn create_folder(&mut self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn names(&mut self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.step()?;
        let inside = state.live.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn create(&mut self, path: &Path, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.step()?;
        let file = state.live.get(path).copied().unwrap_or(state.files.len());
        if file == state.files.len() {
            state.files.push(Content::default());
            state.live.insert(path.to_path_buf(), file);
        }
        let full = state.faults.full;
        let change = Unsynced::Cut { keep: 0, len: if full { 0 } else { len as usize } };
        apply(&mut state.files[file].live, &change);
        state.files[file].since.push(change);
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(Box::new(SimulatedFile(self.clone(), file))) }
    }

    fn open(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.step()?;
        let file = *state.live.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimulatedFile(self.clone(), file)))
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.step()?;
        Ok(state.files[*state.live.get(path).ok_or(io::ErrorKind::NotFound)?].live.clone())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.step()?.live.remove(path).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&mut self, _path: &Path) -> io::Result<()> {
        let mut state = self.step()?;
        state.synced = state.live.clone();
        Ok(())
    }
}

struct SimulatedFile(SimulatedDisk, usize);

impl DiskFile for SimulatedFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.0.state();
        let dying = state.faults.fuse == Some(0);
        let mut count = bytes.len();
        if (dying || state.faults.full || state.faults.short_writes)
            && let Some(random) = &mut state.random
        {
            count = (random.below(bytes.len() as u64) + u64::from(!dying)) as usize;
        }
        // A write that kills the process, or fills the disk, may have done a part of its work.
        let change = Unsynced::Write { offset: offset as usize, bytes: bytes[..count].to_vec() };
        let full = state.faults.full;
        apply(&mut state.files[self.1].live, &change);
        state.files[self.1].since.push(change);
        drop(state);
        self.0.step().map(drop)?;
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(count) }
    }

    fn cut(&mut self, keep: u64, len: u64) -> io::Result<()> {
        let mut state = self.0.step()?;
        if state.faults.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let change = Unsynced::Cut { keep: keep as usize, len: len as usize };
        apply(&mut state.files[self.1].live, &change);
        state.files[self.1].since.push(change);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.0.step()?;
        if state.faults.syncs_are_skipped {
            return Ok(());
        }
        if std::mem::take(&mut state.faults.sync_fails) {
            // The operating system takes the bytes for written from now on, and has them in memory only.
            state.files[self.1].since.clear();
            return Err(io::Error::other("the disk is gone"));
        }
        let content = &mut state.files[self.1];
        // Not all of `live`: what a failed sync has dropped stays in memory only.
        for change in content.since.drain(..) {
            apply(&mut content.synced, &change);
        }
        Ok(())
    }
}
