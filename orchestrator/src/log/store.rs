//! The store of the checkpoint and of the states: one file, in which each commit is a transaction.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::error::is_full;
use super::overlay::Overlay;
use super::{Change, LogError, Lsn};

/// State keys and states.
const STATES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("states");
/// The last record that the checkpoint covers, and the checkpoint: one row.
const CHECKPOINT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("checkpoint");
/// Bytes of a checksum, before the content of each row.
const CHECKSUM: usize = 4;
/// The memory that the store may use for pages.
const CACHE_BYTES: usize = 32 << 20;

/// Where checkpoints go.
pub(super) trait Store: Send {
    /// Commits a checkpoint with all changes of states since the last one, durably, or nothing of it.
    fn commit(&mut self, lsn: Lsn, checkpoint: &[u8], changes: &[Change]) -> Result<(), LogError>;
}

/// What a store holds.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) checkpoint: Option<(Lsn, Bytes)>,
    /// State keys, in order, and states.
    pub(super) states: Vec<(Bytes, Bytes)>,
}

/// A store in a file of redb.
pub(super) struct FileStore {
    path: PathBuf,
    /// None after an error: redb does not go on with a database whose write failed. It is opened again.
    database: Option<Database>,
}

impl FileStore {
    /// Opens or makes the store, and reads all of it.
    pub(super) fn open(path: &Path) -> Result<(Self, Stored), LogError> {
        let failed = |error: redb::Error| failure("read", path, error);
        let database = open_database(path)?;
        let stored = read(&database).map_err(failed)?;
        Ok((Self { path: path.to_path_buf(), database: Some(database) }, stored))
    }

    /// Reads all of the store, if there is one, and changes nothing.
    pub(super) fn look(path: &Path) -> Result<Stored, LogError> {
        let file = match Overlay::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::default()),
            Err(source) => return Err(LogError::io("open", path, source)),
        };
        let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(file);
        let database = database.map_err(|error| failure("open", path, error.into()))?;
        read(&database).map_err(|error| failure("read", path, error))
    }
}

impl Store for FileStore {
    fn commit(&mut self, lsn: Lsn, checkpoint: &[u8], changes: &[Change]) -> Result<(), LogError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open_database(&self.path)?,
        };
        write(&database, lsn, checkpoint, changes).map_err(|error| failure("write", &self.path, error))?;
        self.database = Some(database);
        Ok(())
    }
}

fn open_database(path: &Path) -> Result<Database, LogError> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path);
    database.map_err(|error| failure("open", path, error.into()))
}

fn write(database: &Database, lsn: Lsn, checkpoint: &[u8], changes: &[Change]) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    // A killed run is opened without a walk through all states.
    transaction.set_quick_repair(true);
    {
        let mut states = transaction.open_table(STATES)?;
        for (key, state) in changes {
            match state {
                Some(state) => states.insert(&key[..], &with_checksum(key, state)[..])?,
                None => states.remove(&key[..])?,
            };
        }
        let mut row = transaction.open_table(CHECKPOINT)?;
        while row.pop_first()?.is_some() {}
        row.insert(lsn.0, &with_checksum(&lsn.0.to_le_bytes(), checkpoint)[..])?;
    }
    transaction.commit()?;
    Ok(())
}

fn read(database: &Database) -> Result<Stored, redb::Error> {
    let mut stored = Stored::default();
    let transaction = database.begin_read()?;
    let states = match transaction.open_table(STATES) {
        Ok(states) => states,
        // No checkpoint was made.
        Err(TableError::TableDoesNotExist(_)) => return Ok(stored),
        Err(error) => return Err(error.into()),
    };
    for entry in states.iter()? {
        let (key, value) = entry?;
        let state = without_checksum(key.value(), value.value())?;
        stored.states.push((Bytes::copy_from_slice(key.value()), state));
    }
    let table = transaction.open_table(CHECKPOINT)?;
    if let Some((lsn, value)) = table.first()? {
        let checkpoint = without_checksum(&lsn.value().to_le_bytes(), value.value())?;
        stored.checkpoint = Some((Lsn(lsn.value()), checkpoint));
    }
    Ok(stored)
}

/// The bytes of a row. redb checks its own checksums only when it repairs a file.
fn with_checksum(key: &[u8], content: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(CHECKSUM + content.len());
    value.extend(checksum(key, content).to_le_bytes());
    value.extend(content);
    value
}

fn without_checksum(key: &[u8], value: &[u8]) -> Result<Bytes, redb::Error> {
    match value.split_first_chunk::<CHECKSUM>() {
        Some((sum, content)) if u32::from_le_bytes(*sum) == checksum(key, content) => {
            Ok(Bytes::copy_from_slice(content))
        }
        _ => Err(redb::Error::Corrupted(format!("the row of {} does not have its checksum", key.escape_ascii()))),
    }
}

fn checksum(key: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(content);
    hasher.finalize()
}

fn failure(action: &'static str, path: &Path, error: redb::Error) -> LogError {
    let path = path.to_path_buf();
    match error {
        redb::Error::Io(source) if is_full(&source) => LogError::Full { path, source },
        redb::Error::Corrupted(reason) => LogError::StoreDamaged { path, reason },
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            LogError::StoreDamaged { path, reason: source.to_string() }
        }
        error => LogError::Store { action, path, source: Box::new(error) },
    }
}
