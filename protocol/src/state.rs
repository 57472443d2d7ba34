//! State that travels between a worker and the ledger: snapshots of keys, opaque to the orchestrator.

use std::sync::Arc;

use bytes::Bytes;

use crate::{BatchId, ProtocolError, RequestId, reader::Reader, writer::Writer};

/// Elements of a [`StateEntry`] and of a [`SnapshotFailure`] in their flat arrays.
const RECORD_ELEMENTS: usize = 3;

/// Elements of a [`ForgottenState`] in its flat array.
const FORGOTTEN_ELEMENTS: usize = 2;

/// The smallest record: an empty str and a key of one byte.
const LEAST_BYTES: usize = 2;

/// One key's serialized state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntry {
    /// Name of the state table; consecutive entries of a message share one allocation.
    pub table: Arc<str>,
    /// The encoded key.
    pub key: Bytes,
    /// The state, pickled by a worker. A slice of the frame it arrived in.
    pub state: Bytes,
}

/// A key whose state is dropped from one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenState {
    /// Name of the state table.
    pub table: Arc<str>,
    /// The encoded key.
    pub key: Bytes,
}

/// A key whose state could not be pickled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFailure {
    /// Name of the state table.
    pub table: Arc<str>,
    /// The encoded key.
    pub key: Bytes,
    /// One line: the exception.
    pub message: String,
}

/// The answer, or one part of it, to a `snapshot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPart {
    /// The request answered.
    pub request: RequestId,
    /// Whether another part of this answer follows.
    pub more: bool,
    /// The keys and their state.
    pub entries: Vec<StateEntry>,
    /// The keys that could not be pickled; they stay dirty.
    pub failures: Vec<SnapshotFailure>,
    /// The first batch whose changes are in no snapshot yet, if there is one. Valid in the last part.
    pub oldest_dirty: Option<BatchId>,
}

impl SnapshotPart {
    pub(crate) fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        Ok(Self {
            request: RequestId(reader.uint("request")?),
            more: reader.bool("more")?,
            entries: read_entries(reader)?,
            failures: read_records(reader, RECORD_ELEMENTS, "failures", |reader, table, key| {
                Ok(SnapshotFailure { table, key, message: reader.string("message")? })
            })?,
            oldest_dirty: reader.optional_uint("oldest_dirty")?.map(BatchId),
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.uint(self.request.0);
        writer.bool(self.more);
        write_entries(writer, &self.entries);
        writer.array(self.failures.len() * RECORD_ELEMENTS);
        for failure in &self.failures {
            writer.str(&failure.table);
            writer.raw(&failure.key);
            writer.str(&failure.message);
        }
        match self.oldest_dirty {
            Some(batch) => writer.uint(batch.0),
            None => writer.nil(),
        }
    }
}

pub(crate) fn read_entries(reader: &mut Reader) -> Result<Vec<StateEntry>, ProtocolError> {
    read_records(reader, RECORD_ELEMENTS, "entries", |reader, table, key| {
        Ok(StateEntry { table, key, state: reader.bin("state")? })
    })
}

pub(crate) fn write_entries(writer: &mut Writer, entries: &[StateEntry]) {
    writer.array(entries.len() * RECORD_ELEMENTS);
    for entry in entries {
        writer.str(&entry.table);
        writer.raw(&entry.key);
        writer.bin(&entry.state);
    }
}

pub(crate) fn read_forgotten(reader: &mut Reader) -> Result<Vec<ForgottenState>, ProtocolError> {
    read_records(reader, FORGOTTEN_ELEMENTS, "states", |_, table, key| Ok(ForgottenState { table, key }))
}

pub(crate) fn write_forgotten(writer: &mut Writer, states: &[ForgottenState]) {
    writer.array(states.len() * FORGOTTEN_ELEMENTS);
    for state in states {
        writer.str(&state.table);
        writer.raw(&state.key);
    }
}

/// Reads a flat array `table, key, …`. Entries of one table follow each other, so each run allocates the name once.
fn read_records<T>(
    reader: &mut Reader,
    elements: usize,
    field: &'static str,
    mut rest: impl FnMut(&mut Reader, Arc<str>, Bytes) -> Result<T, ProtocolError>,
) -> Result<Vec<T>, ProtocolError> {
    let count = reader.records(elements, field)?;
    let mut records = Vec::with_capacity(count.min(reader.remaining() / LEAST_BYTES));
    let mut table: Arc<str> = Arc::from("");
    for _ in 0..count {
        let name = reader.str("table")?;
        if *name != *table {
            table = Arc::from(name);
        }
        let key = reader.key("key")?;
        records.push(rest(reader, Arc::clone(&table), key)?);
    }
    Ok(records)
}
