//! The log of a run on disk: records in segments, and a store of states with the last checkpoint.
//!
//! It owns the state folder. It knows bytes only: the engine gives records and checkpoints, and takes both back when a run begins.
//! A record is durable when [`Report::Durable`] says so. A checkpoint reaches the store only once its last record is durable; then
//! the segments that it covers are removed. `spec/log.md` lays down the files.

mod disk;
mod error;
mod format;
mod identity;
mod inspection;
mod overlay;
mod recovery;
mod segment;
mod store;
#[cfg(test)]
mod tests;
mod threads;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use bytes::Bytes;

use self::disk::{Disk, RealDisk};
use self::identity::FolderLock;
use self::store::FileStore;
use self::threads::Command;
use self::writer::{Checkpoint, SEGMENT_BYTES, Writer};

pub use self::error::LogError;
pub use self::identity::Identity;
pub use self::inspection::{Inspected, Sizes, inspect};
pub use self::recovery::Cut;
pub use crate::record::Lsn;

/// Appends the bytes of a record or checkpoint to a buffer. It runs on a thread of the log.
pub type Encode = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// A state's key, and the state. None: it is deleted.
pub type Change = (Bytes, Option<Bytes>);

/// What a log tells its owner, on a thread of the log.
#[derive(Debug)]
pub enum Report {
    /// All records up to a number survive a power cut.
    Durable {
        /// The last of them.
        upto: Lsn,
        /// Bytes of the log since the last checkpoint.
        bytes: u64,
    },
    /// A checkpoint and its changes are in the store. The log before it is gone.
    Checkpointed {
        /// The last record that the checkpoint covers.
        upto: Lsn,
    },
    /// The disk is full. What was given is kept, and tried again every second.
    Full {
        /// Which file, and what to do.
        reason: String,
    },
    /// What was kept while the disk was full is written.
    Room,
    /// The log goes no further: the run must end. Nothing after the last `Durable` may be relied on.
    Failed(LogError),
}

/// What a state folder held when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// The topology in `FORMAT`: it may be another one than the caller's.
    pub topology: String,
    /// What tells the folder from all others.
    pub id: String,
    /// The last record that the checkpoint covers, and the checkpoint. None: none was made.
    pub checkpoint: Option<(Lsn, Bytes)>,
    /// State keys and states, as the checkpoint left them.
    pub states: Vec<(Bytes, Bytes)>,
    /// The records after the checkpoint, in order. All of them are durable.
    pub records: Vec<(Lsn, Bytes)>,
    /// What was dropped because it was never synced.
    pub cut: Option<Cut>,
}

impl Recovered {
    /// The last record of the log. The next one has the number after it.
    pub fn last(&self) -> Lsn {
        let checkpoint = self.checkpoint.as_ref().map_or(Lsn(0), |(lsn, _)| *lsn);
        self.records.last().map_or(checkpoint, |(lsn, _)| *lsn)
    }
}

/// Whose state `folder` holds, as its `FORMAT` says.
pub fn identity_of(folder: &Path) -> Result<Identity, LogError> {
    identity::read_any(folder).map(|(identity, _)| identity)
}

/// A state folder that is open and locked. [`start`](Self::start) makes a log of it.
pub struct Opened {
    folder: PathBuf,
    lock: FolderLock,
    store: FileStore,
    writer: Writer,
}

impl fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Opened").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Opens the state folder `folder`, or makes it, and reads all of it.
///
/// The folder is locked until the log is closed. An unsynced tail of the log is cut; damage is an error.
pub fn open(folder: &Path, identity: &Identity) -> Result<(Opened, Recovered), LogError> {
    identity::create_folder(folder)?;
    identity::refuse_other_files(folder)?;
    let lock = identity::lock(folder)?;
    let (topology, id) = identity::check(folder, identity)?;
    let (store, stored) = FileStore::open(&folder.join("store.redb"))?;
    let mut disk = RealDisk;
    let segments = folder.join("log");
    disk.create_folder(&segments).map_err(|source| LogError::io("create", &segments, source))?;
    recovery::sync_folder(&mut disk, folder)?;
    let checkpoint = stored.checkpoint.as_ref().map_or(Lsn(0), |(lsn, _)| *lsn);
    let mut back = recovery::read_back(&mut disk, &segments, checkpoint)?;
    let recovered = Recovered {
        topology,
        id,
        checkpoint: stored.checkpoint,
        states: stored.states,
        records: std::mem::take(&mut back.records),
        cut: back.cut.take(),
    };
    let last = recovered.last();
    let writer = Writer::new(Box::new(disk), segments, SEGMENT_BYTES, back, checkpoint, last);
    Ok((Opened { folder: folder.to_path_buf(), lock, store, writer }, recovered))
}

/// Writes another topology to `FORMAT`, in a folder that the caller has open.
pub fn set_topology(folder: &Path, identity: &Identity) -> Result<(), LogError> {
    identity::change(folder, identity)
}

impl Opened {
    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the log's threads. `on` is called for each report, on one of them: it must not block.
    pub fn start(self, on: impl Fn(Report) + Send + 'static) -> Result<Log, LogError> {
        let threads = threads::start(self.writer, Box::new(self.store), Some(self.lock), Box::new(on));
        let (commands, thread) = threads.map_err(|source| LogError::io("start a thread for", &self.folder, source))?;
        Ok(Log { commands, thread: Some(thread) })
    }
}

/// A log that takes records. Dropping it lets its threads write what they were given, and does not wait for them.
#[derive(Debug)]
pub struct Log {
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Appends a record. `lsn` must be the next number. It never blocks; after [`Report::Failed`] it does nothing.
    pub fn append(&self, lsn: Lsn, encode: impl FnOnce(&mut Vec<u8>) + Send + 'static) {
        self.tell(Command::Append(lsn, Box::new(encode)));
    }

    /// Stores a checkpoint that covers all records up to `lsn`, which was appended before, and the states that changed since the
    /// last checkpoint. It never blocks.
    pub fn checkpoint(&self, lsn: Lsn, encode: impl FnOnce(&mut Vec<u8>) + Send + 'static, changes: Vec<Change>) {
        self.tell(Command::Checkpoint(Checkpoint { lsn, encode: Box::new(encode), changes }));
    }

    /// Waits until all that was given is durable or has failed. The last reports say which. The folder is free afterwards.
    pub fn close(mut self) {
        self.tell(Command::Close);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed, and nothing here depends on it.
            let _ = thread.join();
        }
    }

    fn tell(&self, command: Command) {
        // A log that failed has said so in its last report.
        let _ = self.commands.send(command);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.tell(Command::Close);
    }
}
