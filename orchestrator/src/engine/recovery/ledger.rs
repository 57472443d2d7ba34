//! What is needed to rebuild the state of a slot without the worker that held it. Owns journals and snapshots.
//!
//! Each slot has a journal of the batches that may have changed state; each key has its last snapshot. A snapshot taken after batch
//! *b* covers every batch up to *b*: a replay of the journal leaves out, for each key, what the key's snapshot covers.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::BatchId;

use crate::engine::StoredState;
use crate::engine::batch::Batch;
use crate::engine::invariant::{Checked, Invariant, Queue, take_bytes};
use crate::engine::routing::router::PartitionId;
use crate::ids::{Generation, SlotId};

/// A batch in a journal.
#[derive(Debug)]
pub(in crate::engine) struct JournalEntry {
    pub(in crate::engine) batch: Batch,
    /// Time that a worker took for it, and so about the time that a replay will take.
    pub(in crate::engine) elapsed: Duration,
}

/// The last snapshot of one key: its states in all tables, and the batch after which they are valid. A key without state has a
/// snapshot without states, so that a replay does not bring back what it had.
#[derive(Debug)]
struct KeySnapshot {
    after: BatchId,
    states: Vec<(Arc<str>, Bytes)>,
    /// The worker that has this snapshot or something newer in its memory.
    known_to: Option<Generation>,
}

/// The states of a key that no worker has any more.
#[derive(Debug)]
pub(super) struct Recalled<'a> {
    pub(super) states: &'a [(Arc<str>, Bytes)],
    /// Whether the worker that had them had missed the snapshot.
    pub(super) missed: bool,
}

/// What a slot would have to replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::engine) struct JournalSize {
    pub(in crate::engine) batches: usize,
    pub(in crate::engine) bytes: usize,
    pub(in crate::engine) replay: Duration,
}

/// See the [module](self).
#[derive(Debug)]
pub(in crate::engine) struct Ledger {
    /// Nothing is kept if this is not set: no state outlives its worker then.
    kept: bool,
    journals: HashMap<SlotId, Journal>,
    snapshots: HashMap<PartitionId, Snapshots>,
    /// States that have changed since they were last taken to be stored; nothing where they are not stored.
    changed: Option<BTreeSet<(PartitionId, Bytes, Arc<str>)>>,
    /// Keys that have no state left, by the batch after which they had none.
    empty: BTreeSet<(BatchId, PartitionId, Bytes)>,
}

#[derive(Debug, Default)]
struct Snapshots {
    keys: HashMap<Bytes, KeySnapshot>,
    bytes: usize,
    /// Keys that have a state.
    with_state: usize,
}

#[derive(Debug, Default)]
struct Journal {
    entries: VecDeque<JournalEntry>,
    bytes: usize,
    replay: Duration,
}

impl KeySnapshot {
    /// Whether a worker has to be given this snapshot before it runs a batch with the key.
    fn is_missed_by(&self, worker: Generation) -> bool {
        self.known_to != Some(worker) && !self.states.is_empty()
    }
}

impl Ledger {
    pub(in crate::engine) fn new(kept: bool, stored: bool) -> Self {
        let changed = stored.then(BTreeSet::new);
        Self { kept, changed, journals: HashMap::new(), snapshots: HashMap::new(), empty: BTreeSet::new() }
    }

    /// Appends a completed batch to a slot's journal.
    pub(super) fn append(&mut self, slot: SlotId, batch: &Batch, elapsed: Duration) {
        if !self.kept {
            return;
        }
        let journal = self.journals.entry(slot).or_default();
        journal.bytes += batch.input.len();
        journal.replay += elapsed;
        journal.entries.push_back(JournalEntry { batch: batch.clone(), elapsed });
    }

    /// Drops the journal before batch `oldest`; all of it if that is `None`.
    pub(super) fn truncate(&mut self, slot: SlotId, oldest: Option<BatchId>) -> Checked<()> {
        let Some(journal) = self.journals.get_mut(&slot) else { return Ok(()) };
        let is_old = |entry: &JournalEntry| oldest.is_none_or(|oldest| entry.batch.id < oldest);
        while journal.entries.front().is_some_and(is_old) {
            let Some(entry) = journal.entries.pop_front() else { break };
            take_bytes(&mut journal.bytes, entry.batch.input.len(), Queue::Journal(slot))?;
            journal.replay = journal.replay.checked_sub(entry.elapsed).ok_or(Invariant::Journal { slot })?;
        }
        self.drop_empty();
        Ok(())
    }

    /// Takes out a slot's journal, oldest first.
    pub(super) fn take_journal(&mut self, slot: SlotId) -> VecDeque<JournalEntry> {
        self.journals.remove(&slot).unwrap_or_default().entries
    }

    /// A slot's journal, oldest first.
    pub(in crate::engine) fn journal(&self, slot: SlotId) -> impl Iterator<Item = &JournalEntry> {
        self.journals.get(&slot).into_iter().flat_map(|journal| &journal.entries)
    }

    /// The last batch of a slot's journal.
    pub(in crate::engine) fn last_journaled(&self, slot: SlotId) -> Option<BatchId> {
        Some(self.journals.get(&slot)?.entries.back()?.batch.id)
    }

    /// What a replay of a slot's journal would take.
    pub(in crate::engine) fn size(&self, slot: SlotId) -> JournalSize {
        let size = |journal: &Journal| JournalSize {
            batches: journal.entries.len(),
            bytes: journal.bytes,
            replay: journal.replay,
        };
        self.journals.get(&slot).map(size).unwrap_or_default()
    }

    /// Takes in a new state of a key in one table, which worker `by` has. Returns whether that worker had missed a snapshot of
    /// the key.
    pub(super) fn put(
        &mut self,
        partition: PartitionId,
        key: Bytes,
        (table, state): (Arc<str>, Bytes),
        after: BatchId,
        by: Generation,
    ) -> Checked<bool> {
        if !self.kept {
            return Ok(false);
        }
        self.note_change(partition, &key, &table);
        let Snapshots { keys, bytes, with_state } = self.snapshots.entry(partition).or_default();
        let fresh = || KeySnapshot { after, states: Vec::with_capacity(1), known_to: None };
        let snapshot = keys.entry(key).or_insert_with(fresh);
        let missed = snapshot.is_missed_by(by);
        *with_state += usize::from(snapshot.states.is_empty());
        snapshot.after = after;
        snapshot.known_to = Some(by);
        *bytes += state.len();
        match snapshot.states.iter_mut().find(|(name, _)| *name == table) {
            Some((_, old)) => take_bytes(bytes, std::mem::replace(old, state).len(), Queue::Snapshots)?,
            None => snapshot.states.push((table, state)),
        }
        Ok(missed)
    }

    /// Takes in that a key has no state in one table any more, as worker `by` said. Returns what [`Ledger::put`] does. Of a key
    /// without any state only that is kept, and only as long as a journal might bring back what it had.
    pub(super) fn clear(
        &mut self,
        partition: PartitionId,
        key: Bytes,
        table: &str,
        after: BatchId,
        by: Generation,
    ) -> Checked<bool> {
        if !self.kept {
            return Ok(false);
        }
        if self.changed.is_some() {
            self.note_change(partition, &key, &table.into());
        }
        let Snapshots { keys, bytes, with_state } = self.snapshots.entry(partition).or_default();
        let fresh = || KeySnapshot { after, states: Vec::new(), known_to: None };
        let snapshot = keys.entry(key.clone()).or_insert_with(fresh);
        let missed = snapshot.is_missed_by(by);
        let had_state = !snapshot.states.is_empty();
        snapshot.after = after;
        snapshot.known_to = Some(by);
        for (_, old) in snapshot.states.extract_if(.., |(name, _)| **name == *table) {
            take_bytes(bytes, old.len(), Queue::Snapshots)?;
        }
        if snapshot.states.is_empty() {
            take_bytes(with_state, usize::from(had_state), Queue::Snapshots)?;
            self.empty.insert((after, partition, key));
        }
        Ok(missed)
    }

    fn note_change(&mut self, partition: PartitionId, key: &Bytes, table: &Arc<str>) {
        if let Some(changed) = &mut self.changed {
            changed.insert((partition, key.clone(), table.clone()));
        }
    }

    /// The states that have changed since they were last taken.
    pub(super) fn take_changes(&mut self) -> Vec<StoredState> {
        let changed = self.changed.as_mut().map(std::mem::take).unwrap_or_default();
        let stored = |(partition, key, table): (PartitionId, Bytes, Arc<str>)| {
            let states = self.states(partition, &key);
            let state = states.iter().find(|(name, _)| *name == table).map(|(_, state)| state.clone());
            StoredState { table, key, state }
        };
        changed.into_iter().map(stored).collect()
    }

    /// Takes in a stored state, which no worker has. It covers no batch: those that it covered are in no journal any more.
    pub(super) fn load(&mut self, partition: PartitionId, key: Bytes, table: Arc<str>, state: Bytes) {
        if !self.kept {
            return;
        }
        let Snapshots { keys, bytes, with_state } = self.snapshots.entry(partition).or_default();
        let fresh = || KeySnapshot { after: BatchId(0), states: Vec::with_capacity(1), known_to: None };
        let snapshot = keys.entry(key).or_insert_with(fresh);
        *with_state += usize::from(snapshot.states.is_empty());
        *bytes += state.len();
        snapshot.states.push((table, state));
    }

    /// Whether a key's snapshot covers batch `id`.
    pub(in crate::engine) fn covers(&self, partition: PartitionId, key: &[u8], id: BatchId) -> bool {
        let snapshots = self.snapshots.get(&partition);
        snapshots.and_then(|snapshots| snapshots.keys.get(key)).is_some_and(|snapshot| snapshot.after >= id)
    }

    /// The states of a key, if `worker` has missed them; from now on it has them.
    pub(super) fn hand_out(
        &mut self,
        partition: PartitionId,
        key: &[u8],
        worker: Generation,
    ) -> Option<&[(Arc<str>, Bytes)]> {
        let snapshot = self.snapshots.get_mut(&partition)?.keys.get_mut(key)?;
        if !snapshot.is_missed_by(worker) {
            return None;
        }
        snapshot.known_to = Some(worker);
        Some(&snapshot.states)
    }

    /// Notes that no worker has the states of a key any more. Returns them. `worker` is the one that had them.
    pub(super) fn recall(
        &mut self,
        partition: PartitionId,
        key: &[u8],
        worker: Option<Generation>,
    ) -> Option<Recalled<'_>> {
        let snapshot = self.snapshots.get_mut(&partition)?.keys.get_mut(key)?;
        let missed = worker.is_some_and(|worker| snapshot.is_missed_by(worker));
        snapshot.known_to = None;
        Some(Recalled { states: &snapshot.states, missed })
    }

    /// The states of a key.
    pub(super) fn states(&self, partition: PartitionId, key: &[u8]) -> &[(Arc<str>, Bytes)] {
        let snapshots = self.snapshots.get(&partition);
        snapshots.and_then(|snapshots| snapshots.keys.get(key)).map_or(&[], |snapshot| &snapshot.states)
    }

    /// Bytes of all snapshots of a partition.
    pub(super) fn snapshot_bytes(&self, partition: PartitionId) -> usize {
        self.snapshots.get(&partition).map_or(0, |snapshots| snapshots.bytes)
    }

    /// Keys of a partition that have a state.
    pub(super) fn keys_with_state(&self, partition: PartitionId) -> usize {
        self.snapshots.get(&partition).map_or(0, |snapshots| snapshots.with_state)
    }

    /// Keys of all partitions.
    pub(in crate::engine) fn key_count(&self) -> usize {
        self.snapshots.values().map(|snapshots| snapshots.keys.len()).sum()
    }

    /// The keys of a partition that have a snapshot, in an order that depends on nothing but the keys.
    pub(super) fn keys(&self, partition: PartitionId) -> Vec<Bytes> {
        let Some(snapshots) = self.snapshots.get(&partition) else { return Vec::new() };
        let mut keys: Vec<_> = snapshots.keys.keys().cloned().collect();
        // A map has no order, and a run from a seed must be the same each time.
        keys.sort_unstable();
        keys
    }

    /// Drops keys without state that no journal can give state again: not even that of a slot their partition was in before.
    fn drop_empty(&mut self) {
        let fronts = self.journals.values().filter_map(|journal| journal.entries.front());
        let oldest = fronts.map(|entry| entry.batch.id).min();
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
    use crate::engine::batch::Origin;
    use crate::engine::times::Times;
    use crate::ids::KeyspaceId;

    const SLOT: SlotId = SlotId::main(0);
    const OTHER_SLOT: SlotId = SlotId::main(1);
    const PARTITION: PartitionId = PartitionId { keyspace: KeyspaceId(0), number: 0 };
    const WORKER: Generation = Generation(0);

    fn key() -> Bytes {
        Bytes::from_static(b"\xa1k")
    }

    fn put(ledger: &mut Ledger, after: u64) {
        let state = Bytes::from_static(b"state");
        ledger.put(PARTITION, key(), ("table".into(), state), BatchId(after), WORKER).expect("sound bookkeeping");
    }

    fn clear(ledger: &mut Ledger, after: u64) {
        ledger.clear(PARTITION, key(), "table", BatchId(after), WORKER).expect("sound bookkeeping");
    }

    fn journal(ledger: &mut Ledger, slot: SlotId, batch: u64) {
        let (input, origin) = (Bytes::from_static(b"groups"), Origin::Groups);
        let batch = Batch::new(BatchId(batch), StageId(0), (input, 1), Duration::ZERO, origin, Times::default());
        ledger.append(slot, &batch, Duration::ZERO);
    }

    fn truncate(ledger: &mut Ledger, slot: SlotId, oldest: Option<BatchId>) {
        ledger.truncate(slot, oldest).expect("sound bookkeeping");
    }

    #[test]
    fn a_key_without_state_is_remembered_as_long_as_a_journal_may_bring_it_back() {
        let mut ledger = Ledger::new(true, false);
        journal(&mut ledger, OTHER_SLOT, 3);
        put(&mut ledger, 5);
        assert_eq!(ledger.snapshot_bytes(PARTITION), 5);
        journal(&mut ledger, SLOT, 6);
        clear(&mut ledger, 7);
        assert_eq!(ledger.snapshot_bytes(PARTITION), 0);
        truncate(&mut ledger, SLOT, None);
        assert!(ledger.covers(PARTITION, &key(), BatchId(7)), "slot 1 may have had its partition before");
        assert_eq!((ledger.key_count(), ledger.keys_with_state(PARTITION)), (1, 0));
        journal(&mut ledger, OTHER_SLOT, 8);
        truncate(&mut ledger, OTHER_SLOT, Some(BatchId(8)));
        assert_eq!((ledger.key_count(), ledger.keys(PARTITION)), (0, Vec::new()));
    }

    #[test]
    fn a_key_that_has_state_again_is_kept() {
        let mut ledger = Ledger::new(true, false);
        journal(&mut ledger, SLOT, 1);
        clear(&mut ledger, 2);
        put(&mut ledger, 4);
        truncate(&mut ledger, SLOT, None);
        assert_eq!(ledger.key_count(), 1);
        journal(&mut ledger, SLOT, 5);
        clear(&mut ledger, 6);
        truncate(&mut ledger, SLOT, Some(BatchId(5)));
        assert_eq!(ledger.key_count(), 1, "batch 5 is to be left out of a replay");
        truncate(&mut ledger, SLOT, None);
        assert_eq!(ledger.key_count(), 0);
    }

    #[test]
    fn a_key_keeps_the_tables_in_which_it_has_state() {
        let mut ledger = Ledger::new(true, false);
        put(&mut ledger, 1);
        ledger.clear(PARTITION, key(), "another", BatchId(2), WORKER).expect("sound bookkeeping");
        journal(&mut ledger, SLOT, 3);
        truncate(&mut ledger, SLOT, None);
        assert_eq!(ledger.states(PARTITION, &key()).len(), 1);
    }
}
