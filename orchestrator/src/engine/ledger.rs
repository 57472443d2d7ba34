//! The ledger: what is needed to rebuild the state of a slot without the worker that held it.
//!
//! Per slot a journal of the batches that may have changed state, per key the last snapshot. A snapshot of a key taken after
//! batch *b* covers every batch up to *b*; replaying the journal leaves out, for each key, what its snapshot covers.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::BatchId;

use super::batch::Work;
use super::routing::PartitionId;
use crate::ids::{Generation, SlotId};

/// A batch in a journal.
#[derive(Debug, Clone)]
pub(super) struct JournalEntry {
    pub(super) work: Work,
    /// What it cost, and so about what it will cost again.
    pub(super) elapsed: Duration,
}

/// The last snapshot of one key: its states in all tables, and the batch they are valid after. Of a key that has no state any
/// more it has none, which a replay heeds as any other.
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
    /// Takes in that a key has no state in one table any more. Of a key that has none in any, no more is kept than that, and
    /// this only as long as a journal might bring back what it had.
    fn clear(&mut self, partition: PartitionId, key: Bytes, table: &str, after: BatchId, by: Generation);
    /// The last snapshot of a key.
    fn snapshot(&mut self, partition: PartitionId, key: &[u8]) -> Option<&mut KeySnapshot>;
    /// Bytes of all snapshots of a partition.
    fn snapshot_bytes(&self, partition: PartitionId) -> usize;
    /// Keys of all partitions.
    fn key_count(&self) -> usize;
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

    fn clear(&mut self, _: PartitionId, _: Bytes, _: &str, _: BatchId, _: Generation) {}

    fn snapshot(&mut self, _: PartitionId, _: &[u8]) -> Option<&mut KeySnapshot> {
        None
    }

    fn snapshot_bytes(&self, _: PartitionId) -> usize {
        0
    }

    fn key_count(&self) -> usize {
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
    /// Keys that had no state left, by the batch since which.
    empty: BTreeSet<(BatchId, PartitionId, Bytes)>,
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
        self.drop_empty();
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

    fn clear(&mut self, partition: PartitionId, key: Bytes, table: &str, after: BatchId, by: Generation) {
        let snapshots = self.snapshots.entry(partition).or_default();
        let fresh = || KeySnapshot { after, states: Vec::new(), known_to: None };
        let snapshot = snapshots.keys.entry(key.clone()).or_insert_with(fresh);
        snapshot.after = after;
        snapshot.known_to = Some(by);
        for (_, old) in snapshot.states.extract_if(.., |(name, _)| **name == *table) {
            snapshots.bytes -= old.len();
        }
        if snapshot.states.is_empty() {
            self.empty.insert((after, partition, key));
        }
    }

    fn snapshot(&mut self, partition: PartitionId, key: &[u8]) -> Option<&mut KeySnapshot> {
        self.snapshots.get_mut(&partition)?.keys.get_mut(key)
    }

    fn snapshot_bytes(&self, partition: PartitionId) -> usize {
        self.snapshots.get(&partition).map_or(0, |snapshots| snapshots.bytes)
    }

    fn key_count(&self) -> usize {
        self.snapshots.values().map(|snapshots| snapshots.keys.len()).sum()
    }

    fn keys(&self, partition: PartitionId) -> Vec<Bytes> {
        let Some(snapshots) = self.snapshots.get(&partition) else { return Vec::new() };
        let mut keys: Vec<_> = snapshots.keys.keys().cloned().collect();
        // In the map they have no order; a run from a seed must be the same each time.
        keys.sort_unstable();
        keys
    }
}

impl MemoryLedger {
    /// Drops keys without state that no journal can give state again: not even that of a slot their partition was in before.
    fn drop_empty(&mut self) {
        let fronts = self.journals.values().filter_map(|journal| journal.entries.front());
        let oldest = fronts.map(|entry| entry.work.batch).min();
        while let Some((after, ..)) = self.empty.first()
            && oldest.is_none_or(|oldest| *after < oldest)
        {
            let Some((after, partition, key)) = self.empty.pop_first() else { return };
            let Some(snapshots) = self.snapshots.get_mut(&partition) else { continue };
            // It may have had state since, and may have none once more.
            let is_gone = |snapshot: &KeySnapshot| snapshot.states.is_empty() && snapshot.after == after;
            if snapshots.keys.get(&key).is_some_and(is_gone) {
                snapshots.keys.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wallaroo_protocol::StageId;

    use super::*;
    use crate::engine::batch::{Origin, Suspicion};
    use crate::engine::times::Times;
    use crate::ids::KeyspaceId;

    const SLOT: SlotId = SlotId::main(0);
    const OTHER_SLOT: SlotId = SlotId::main(1);
    const PARTITION: PartitionId = PartitionId { keyspace: KeyspaceId(0), number: 0 };
    const WORKER: Generation = Generation(0);

    fn key() -> Bytes {
        Bytes::from_static(b"\xa1k")
    }

    fn put(ledger: &mut MemoryLedger, after: u64) {
        let state = Bytes::from_static(b"state");
        ledger.put(PARTITION, key(), "table".into(), state, BatchId(after), WORKER);
    }

    fn clear(ledger: &mut MemoryLedger, after: u64) {
        ledger.clear(PARTITION, key(), "table", BatchId(after), WORKER);
    }

    fn journal(ledger: &mut MemoryLedger, slot: SlotId, batch: u64) {
        let work = Work {
            batch: BatchId(batch),
            stage: StageId(0),
            input: Bytes::from_static(b"groups"),
            messages: 1,
            arrived: Duration::ZERO,
            origin: Origin::Groups,
            times: Times::default(),
            skip: Vec::new(),
            deaths: 0,
            suspicion: Suspicion::default(),
        };
        ledger.append(slot, JournalEntry { work, elapsed: Duration::ZERO });
    }

    #[test]
    fn a_key_without_state_is_remembered_as_long_as_a_journal_may_bring_it_back() {
        let mut ledger = MemoryLedger::default();
        journal(&mut ledger, OTHER_SLOT, 3);
        put(&mut ledger, 5);
        assert_eq!(ledger.snapshot_bytes(PARTITION), 5);
        journal(&mut ledger, SLOT, 6);
        clear(&mut ledger, 7);
        assert_eq!(ledger.snapshot_bytes(PARTITION), 0);
        ledger.truncate(SLOT, None);
        let left = ledger.snapshot(PARTITION, &key()).expect("slot 1 may have had its partition before");
        assert_eq!((left.after, left.states.len()), (BatchId(7), 0));
        journal(&mut ledger, OTHER_SLOT, 8);
        ledger.truncate(OTHER_SLOT, Some(BatchId(8)));
        assert_eq!((ledger.key_count(), ledger.keys(PARTITION)), (0, Vec::new()));
    }

    #[test]
    fn a_key_that_has_state_again_is_kept() {
        let mut ledger = MemoryLedger::default();
        journal(&mut ledger, SLOT, 1);
        clear(&mut ledger, 2);
        put(&mut ledger, 4);
        ledger.truncate(SLOT, None);
        assert_eq!(ledger.key_count(), 1);
        journal(&mut ledger, SLOT, 5);
        clear(&mut ledger, 6);
        ledger.truncate(SLOT, Some(BatchId(5)));
        assert_eq!(ledger.key_count(), 1, "batch 5 is to be left out of a replay");
        ledger.truncate(SLOT, None);
        assert_eq!(ledger.key_count(), 0);
    }

    #[test]
    fn a_key_keeps_the_tables_in_which_it_has_state() {
        let mut ledger = MemoryLedger::default();
        put(&mut ledger, 1);
        ledger.clear(PARTITION, key(), "another", BatchId(2), WORKER);
        journal(&mut ledger, SLOT, 3);
        ledger.truncate(SLOT, None);
        assert_eq!(ledger.snapshot(PARTITION, &key()).map(|snapshot| snapshot.states.len()), Some(1));
    }
}
