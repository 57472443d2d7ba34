//! What a state folder means: the bytes that the [`log`](crate::log) keeps, read as a checkpoint, records and states.
//!
//! A run reads it to go on; [`other_steps`] is for one that has other steps than the run before. The commands about state read it without an application: what they know of it is in `FORMAT`.

pub mod other_steps;

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::checkpoint::{Checkpoint, Replay};
use crate::engine::StoredState;
use crate::log::{self, Change, Inspected, LogError, Opened, Recovered, Report, Sizes};
use crate::plan::Shape;
use crate::record::{Lsn, Record, encoding};

/// What is in a state folder cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the state in {} cannot be read: {reason}; restore the folder from a copy", folder.display())]
pub struct Unreadable {
    /// The folder.
    pub folder: PathBuf,
    /// Why.
    pub reason: String,
}

/// Why a state folder cannot be read or changed without its application.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Its files cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Their content cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The disk is full.
    #[error("the checkpoint was not written, nothing has changed: {reason}")]
    NotWritten {
        /// Which file, and what to do.
        reason: String,
    },
}

/// All that lives in a state folder.
#[derive(Debug)]
pub struct Content {
    /// The stored checkpoint, carried on by the records after it.
    pub checkpoint: Checkpoint,
    /// The last record of the stored checkpoint. None: none was stored.
    pub stored: Option<Lsn>,
    /// States as the stored checkpoint left them.
    pub states: Vec<StoredState>,
    /// Records after the stored checkpoint.
    pub records: usize,
}

impl Content {
    /// Reads what the log has recovered.
    pub fn read(folder: &Path, recovered: Recovered) -> Result<Self, Unreadable> {
        let unreadable = |reason: String| Unreadable { folder: folder.to_owned(), reason };
        let stored = recovered.checkpoint.as_ref().map(|(lsn, _)| *lsn);
        let checkpoint = match &recovered.checkpoint {
            Some((_, bytes)) => {
                Checkpoint::decode(bytes).map_err(|error| unreadable(format!("the checkpoint is {error}")))?
            }
            None => Checkpoint::beginning(recovered.topology),
        };
        let mut replay = Replay::new(checkpoint);
        let records = recovered.records.len();
        for (lsn, bytes) in recovered.records {
            let record = Record::decode(&bytes).map_err(|error| unreadable(format!("record {lsn} is {error}")))?;
            replay.apply(record).map_err(|error| unreadable(error.to_string()))?;
        }
        let state = |(name, state): (Bytes, Bytes)| {
            stored_state(&name, state).map_err(|error| unreadable(format!("the name of a state is {error}")))
        };
        let states = recovered.states.into_iter().map(state).collect::<Result<_, _>>()?;
        Ok(Self { checkpoint: replay.finish(), stored, states, records })
    }
}

/// A state folder as far as it can be understood without the application.
#[derive(Debug)]
pub struct Alone {
    /// The application's name.
    pub application: String,
    /// The version of the format.
    pub version: u32,
    /// The steps and stages.
    pub shape: Shape,
    /// What lives.
    pub content: Content,
    /// What of the log was never synced.
    pub unsynced: u64,
    /// How large the files are.
    pub sizes: Sizes,
}

impl Alone {
    /// Reads all of the folder and changes nothing.
    pub fn inspect(folder: &Path) -> Result<Self, FolderError> {
        let Inspected { identity, version, recovered, sizes, .. } = log::inspect(folder)?;
        let unsynced = recovered.cut.as_ref().map_or(0, |cut| cut.bytes);
        Ok(Self { unsynced, ..Self::read(folder, identity, version, recovered, sizes)? })
    }

    /// Opens the folder to change it, and reads all of it.
    pub fn open(folder: &Path) -> Result<(Opened, Self), FolderError> {
        let identity = log::identity_of(folder)?;
        let (opened, recovered) = log::open(folder, &identity)?;
        let alone = Self::read(folder, identity, 0, recovered, Sizes::default())?;
        Ok((opened, alone))
    }

    fn read(
        folder: &Path,
        identity: log::Identity,
        version: u32,
        recovered: Recovered,
        sizes: Sizes,
    ) -> Result<Self, FolderError> {
        let content = Content::read(folder, recovered)?;
        let shape = Shape::parse(&content.checkpoint.topology);
        Ok(Self { application: identity.application, version, shape, content, unsynced: 0, sizes })
    }
}

/// Stores a checkpoint in place of the one that is there, and closes the log.
pub fn store(opened: Opened, checkpoint: Checkpoint) -> Result<(), FolderError> {
    let (sender, reports) = std::sync::mpsc::channel();
    // The receiver lives until the log is closed.
    let log = opened.start(move |report| drop(sender.send(report)))?;
    log.checkpoint(checkpoint.lsn, move |into| checkpoint.encode(into), Vec::new());
    log.close();
    let mut outcome = Err(FolderError::NotWritten { reason: "the log's thread has ended".to_owned() });
    for report in reports {
        match report {
            Report::Checkpointed { .. } => outcome = Ok(()),
            Report::Full { reason } => outcome = Err(FolderError::NotWritten { reason }),
            Report::Failed(error) => return Err(error.into()),
            Report::Durable { .. } | Report::Room => {}
        }
    }
    outcome
}

/// A state as the store has it: its name is the table and the encoded key.
fn stored_state(name: &[u8], state: Bytes) -> Result<StoredState, rmp_serde::decode::Error> {
    let (table, key): (String, Bytes) = rmp_serde::from_slice(name)?;
    Ok(StoredState { table: table.into(), key, state: Some(state) })
}

/// A state as the store takes it.
pub fn change(state: StoredState) -> Change {
    let mut name = Vec::new();
    encoding::write(&(&*state.table, &state.key), &mut name);
    (name.into(), state.state)
}

#[cfg(test)]
mod tests;
