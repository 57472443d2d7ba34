//! The ledger: what is needed to rebuild the state of a slot without the worker that held it.
//!
//! Per slot a journal of the batches that may have changed state, per key the last snapshot. A snapshot of a key taken after
//! batch *b* covers every batch up to *b*; replaying the journal leaves out, for each key, what its snapshot covers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::BatchId;

use super::batch::Work;
use super::event::{Generation, SlotId};
use super::routing::PartitionId;

/// A batch in a journal.
#[derive(Debug, Clone)]
pub(super) struct JournalEntry {
    pub(super) work: Work,
    /// What it cost, and so about what it will cost again.
    pub(super) elapsed: Duration,
}

/// The last snapshot of one key: its states in all tables, and the batch they are valid after.
#[derive(Debug, Clone)]
pub(super) struct KeySnapshot {
    pub(super) after: BatchId,
    pub(super) states: Vec<(Arc<str>, Bytes)>,
    /// The worker that has this snapshot or something newer in its memory.
    pub(super) known_to: Option<Generation>,
}

/// How much a slot would have to replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct JournalSize {
    pub(super) batches: usize,
    pub(super) bytes: usize,
    pub(super) replay: Duration,
}

/// Where journals and snapshots are kept. The engine assumes no more than this, so that a durable store can take its place.
pub(super) trait Ledger: std::fmt::Debug + Send {
    /// Appends a completed batch to a slot's journal.
    fn append(&mut self, slot: SlotId, entry: JournalEntry);
    /// Forgets the journal before `oldest`; all of it if there is none.
    fn truncate(&mut self, slot: SlotId, oldest: Option<BatchId>);
    /// The journal, oldest first.
    fn journal(&self, slot: SlotId) -> Vec<JournalEntry>;
    /// What replaying the journal would take.
    fn size(&self, slot: SlotId) -> JournalSize;
    /// Takes in a new state of a key in one table.
    fn put(
        &mut self,
        partition: PartitionId,
        key: Bytes,
        table: Arc<str>,
        state: Bytes,
        after: BatchId,
        by: Generation,
    );
    /// The last snapshot of a key.
    fn snapshot(&mut self, partition: PartitionId, key: &[u8]) -> Option<&mut KeySnapshot>;
    /// Bytes of all snapshots of a partition.
    fn snapshot_bytes(&self, partition: PartitionId) -> usize;
    /// The keys of a partition that have a snapshot, in the same order whenever there are the same.
    fn keys(&self, partition: PartitionId) -> Vec<Bytes>;
}

/// No ledger: nothing is kept, so no state outlives its worker.
#[derive(Debug)]
pub(super) struct NoLedger;

impl Ledger for NoLedger {
    fn append(&mut self, _: SlotId, _: JournalEntry) {}

    fn truncate(&mut self, _: SlotId, _: Option<BatchId>) {}

    fn journal(&self, _: SlotId) -> Vec<JournalEntry> {
        Vec::new()
    }

    fn size(&self, _: SlotId) -> JournalSize {
        JournalSize::default()
    }

    fn put(&mut self, _: PartitionId, _: Bytes, _: Arc<str>, _: Bytes, _: BatchId, _: Generation) {}

    fn snapshot(&mut self, _: PartitionId, _: &[u8]) -> Option<&mut KeySnapshot> {
        None
    }

    fn snapshot_bytes(&self, _: PartitionId) -> usize {
        0
    }

    fn keys(&self, _: PartitionId) -> Vec<Bytes> {
        Vec::new()
    }
}

/// A ledger in the orchestrator's own memory.
#[derive(Debug, Default)]
pub(super) struct MemoryLedger {
    journals: HashMap<SlotId, Journal>,
    snapshots: HashMap<PartitionId, Snapshots>,
}

#[derive(Debug, Default)]
struct Snapshots {
    keys: HashMap<Bytes, KeySnapshot>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Journal {
    entries: VecDeque<JournalEntry>,
    size: JournalSize,
}

impl Ledger for MemoryLedger {
    fn append(&mut self, slot: SlotId, entry: JournalEntry) {
        let journal = self.journals.entry(slot).or_default();
        journal.size.batches += 1;
        journal.size.bytes += entry.work.input.len();
        journal.size.replay += entry.elapsed;
        journal.entries.push_back(entry);
    }

    fn truncate(&mut self, slot: SlotId, oldest: Option<BatchId>) {
        let Some(journal) = self.journals.get_mut(&slot) else { return };
        while journal.entries.front().is_some_and(|entry| oldest.is_none_or(|oldest| entry.work.batch < oldest)) {
            if let Some(entry) = journal.entries.pop_front() {
                journal.size.batches -= 1;
                journal.size.bytes -= entry.work.input.len();
                journal.size.replay -= entry.elapsed;
            }
        }
    }

    fn journal(&self, slot: SlotId) -> Vec<JournalEntry> {
        self.journals.get(&slot).map(|journal| journal.entries.iter().cloned().collect()).unwrap_or_default()
    }

    fn size(&self, slot: SlotId) -> JournalSize {
        self.journals.get(&slot).map(|journal| journal.size).unwrap_or_default()
    }

    fn put(
        &mut self,
        partition: PartitionId,
        key: Bytes,
        table: Arc<str>,
        state: Bytes,
        after: BatchId,
        by: Generation,
    ) {
        let snapshots = self.snapshots.entry(partition).or_default();
        let fresh = || KeySnapshot { after, states: Vec::with_capacity(1), known_to: None };
        let snapshot = snapshots.keys.entry(key).or_insert_with(fresh);
        snapshot.after = after;
        snapshot.known_to = Some(by);
        snapshots.bytes += state.len();
        match snapshot.states.iter_mut().find(|(name, _)| *name == table) {
            Some((_, old)) => snapshots.bytes -= std::mem::replace(old, state).len(),
            None => snapshot.states.push((table, state)),
        }
    }

    fn snapshot(&mut self, partition: PartitionId, key: &[u8]) -> Option<&mut KeySnapshot> {
        self.snapshots.get_mut(&partition)?.keys.get_mut(key)
    }

    fn snapshot_bytes(&self, partition: PartitionId) -> usize {
        self.snapshots.get(&partition).map_or(0, |snapshots| snapshots.bytes)
    }

    fn keys(&self, partition: PartitionId) -> Vec<Bytes> {
        let Some(snapshots) = self.snapshots.get(&partition) else { return Vec::new() };
        let mut keys: Vec<_> = snapshots.keys.keys().cloned().collect();
        // In the map they have no order; a run from a seed must be the same each time.
        keys.sort_unstable();
        keys
    }
}
