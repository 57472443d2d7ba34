//! Snapshots: asked of workers when a journal grows too long, kept in the ledger, sent to the workers that need them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{ForgottenState, SnapshotPart, StateEntry, ToWorker, input, key};

use super::batch::Work;
use super::ledger::JournalSize;
use super::routing::PartitionId;
use super::slot::SnapshotState;
use super::{Action, Engine};
use crate::death::KillReason;
use crate::ids::KeyspaceId;
use crate::ids::{Generation, SlotId};
use crate::plan::Input;

/// Keys in one snapshot request, so that no request holds a worker for long.
const SNAPSHOT_KEYS: u32 = 4096;
/// Partitions of a keyspace that are looked at for samples.
const SAMPLED_PARTITIONS: usize = 4;
/// States in one `forget`.
const FORGOTTEN_STATES: usize = 4096;
/// Bytes of state in one `restore`.
const RESTORE_BYTES: usize = 1 << 20;

impl Engine {
    /// Sends the snapshots a batch needs and the worker does not have, ahead of the batch.
    pub(super) fn restore_for(&mut self, slot: SlotId, generation: Generation, work: &Work, actions: &mut Vec<Action>) {
        if !self.slots[slot].restoring {
            return;
        }
        let keys = match (self.plan.stages[work.stage.index()].input, &work.origin) {
            (Input::Groups(keyspace), _) => {
                let groups = input::parse_groups(&work.input).unwrap_or_default();
                groups.iter().map(|group| (self.router.partition(keyspace, group.key()), group.key_bytes())).collect()
            }
            (Input::Generate(_, keyspace), _) => {
                vec![(self.router.partition(keyspace, &key::nil()), key::nil())]
            }
            _ => return,
        };
        self.restore(slot, generation, keys, actions);
    }

    pub(super) fn restore(
        &mut self,
        slot: SlotId,
        generation: Generation,
        keys: Vec<(PartitionId, Bytes)>,
        actions: &mut Vec<Action>,
    ) {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (partition, key) in keys {
            let Some(snapshot) = self.ledger.snapshot(partition, &key) else { continue };
            if snapshot.known_to == Some(generation) {
                continue;
            }
            snapshot.known_to = Some(generation);
            for (table, state) in &snapshot.states {
                bytes += state.len() + key.len() + table.len();
                entries.push(StateEntry { table: table.clone(), key: key.clone(), state: state.clone() });
            }
            if bytes > RESTORE_BYTES {
                let message = ToWorker::Restore(std::mem::take(&mut entries));
                actions.push(Action::Send { slot, generation, message });
                bytes = 0;
            }
        }
        if !entries.is_empty() {
            actions.push(Action::Send { slot, generation, message: ToWorker::Restore(entries) });
        }
    }

    pub(super) fn request_snapshot(&mut self, slot: SlotId, actions: &mut Vec<Action>) {
        let state = &self.slots[slot];
        let (SnapshotState::Idle, Some(generation), true) = (state.snapshot, state.worker(), state.replay.is_empty())
        else {
            return;
        };
        let request = self.next_request();
        self.slots[slot].snapshot = SnapshotState::Requested(request);
        let message = ToWorker::Snapshot { request, max_keys: SNAPSHOT_KEYS };
        actions.push(Action::Send { slot, generation, message });
    }

    /// Asks every slot for what has changed.
    pub(super) fn save(&mut self, actions: &mut Vec<Action>) {
        for slot in self.slots.ids() {
            self.request_snapshot(slot, actions);
        }
    }

    /// Has a worker drop the states of partitions that no longer live in its slot.
    pub(super) fn forget(&mut self, slot: SlotId, partitions: &[PartitionId], actions: &mut Vec<Action>) {
        let mut states = Vec::new();
        for partition in partitions {
            for key in self.ledger.keys(*partition) {
                let Some(snapshot) = self.ledger.snapshot(*partition, &key) else { continue };
                // Should it come back, it has to be restored there.
                snapshot.known_to = None;
                let tables = snapshot.states.iter().map(|(table, _)| table.clone());
                states.extend(tables.map(|table| ForgottenState { table, key: key.clone() }));
            }
        }
        let Some(generation) = self.slots[slot].worker() else { return };
        for states in states.chunks(FORGOTTEN_STATES) {
            let message = ToWorker::Forget(states.to_vec());
            actions.push(Action::Send { slot, generation, message });
        }
    }

    /// A few snapshots of each state table, the largest of some partitions, for a worker to try whether it could take over.
    pub fn sample(&mut self, states_a_table: usize) -> Vec<StateEntry> {
        let mut tables: BTreeMap<Arc<str>, Vec<StateEntry>> = BTreeMap::new();
        let mut partitions: Vec<PartitionId> = Vec::new();
        for keyspace in (0..self.router.keyspaces() as u32).map(KeyspaceId) {
            let homes = self.router.homes(keyspace).map(|(partition, _)| partition);
            let known = homes.filter(|partition| self.ledger.snapshot_bytes(*partition) > 0);
            partitions.extend(known.take(SAMPLED_PARTITIONS));
        }
        for partition in partitions {
            for key in self.ledger.keys(partition) {
                let Some(snapshot) = self.ledger.snapshot(partition, &key) else { continue };
                for (table, state) in &snapshot.states {
                    let known = tables.entry(table.clone()).or_default();
                    known.push(StateEntry { table: table.clone(), key: key.clone(), state: state.clone() });
                    known.sort_by_key(|entry| std::cmp::Reverse(entry.state.len()));
                    known.truncate(states_a_table);
                }
            }
        }
        tables.into_values().flatten().collect()
    }

    pub(super) fn snapshot(
        &mut self,
        slot: SlotId,
        generation: Generation,
        part: SnapshotPart,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if !self.slots[slot].hears(generation) {
            return;
        }
        if self.slots[slot].snapshot != SnapshotState::Requested(part.request) {
            let error = format!("answered snapshot request {}, which was not outstanding", part.request);
            return self.kill(slot, KillReason::Protocol(error), actions);
        }
        let after = self.slots[slot].completed;
        for StateEntry { table, key, state } in part.entries {
            if let Some(keyspace) = self.plan.keyspace_of(&table) {
                let partition = self.router.partition(keyspace, &key);
                if self.router.slot(partition) != slot {
                    // It has moved, and its state is another worker's now.
                    continue;
                }
                // Copies end here: a snapshot outlives the frame it came in by far.
                let (key, state) = (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&state));
                if state.is_empty() {
                    self.ledger.clear(partition, key, &table, after, generation);
                } else {
                    self.ledger.put(partition, key, table, state, after, generation);
                }
            }
        }
        for failure in &part.failures {
            self.cannot_move(part.request, failure);
        }
        let unpicklable = part.failures.into_iter().next().map(|failure| {
            let (key, table) = (key::display(&failure.key), &failure.table);
            format!("the state of key {key} in table {table:?} cannot be pickled: {}", failure.message)
        });
        let state = &mut self.slots[slot];
        if let (Some(reason), None, None) = (&unpicklable, &state.unpicklable, &state.unrecoverable) {
            actions.push(Action::Warn(format!(
                "{reason}; if its worker dies it is rebuilt from the journal, as long as that fits"
            )));
        }
        if state.unrecoverable.is_none() {
            let known = unpicklable.or(state.unpicklable.take());
            state.unpicklable = known.filter(|_| part.oldest_dirty.is_some() || part.more);
        }
        if !part.more {
            state.snapshot = SnapshotState::Idle;
            self.ledger.truncate(slot, part.oldest_dirty);
            // A journal that snapshots cannot shorten is left alone until it has doubled.
            let state = &mut self.slots[slot];
            state.incompressible =
                if state.unpicklable.is_some() { self.ledger.size(slot) } else { JournalSize::default() };
            self.hand_over(part.request, now, actions);
        }
    }
}
