//! Snapshots: asked of workers when a journal grows too long, kept in the ledger, sent to the workers that need them.

use bytes::Bytes;
use wallaroo_protocol::{SnapshotPart, StateEntry, ToWorker, input, key};

use super::batch::Work;
use super::ledger::JournalSize;
use super::routing::PartitionId;
use super::slot::SnapshotState;
use super::{Action, Engine, Generation, KillReason, SlotId};
use crate::plan::Input;

/// Keys in one snapshot request, so that no request holds a worker for long.
const SNAPSHOT_KEYS: u32 = 4096;
/// Bytes of state in one `restore`.
const RESTORE_BYTES: usize = 1 << 20;

impl Engine {
    /// Sends the snapshots a batch needs and the worker does not have, ahead of the batch.
    pub(super) fn restore_for(&mut self, slot: SlotId, generation: Generation, work: &Work, actions: &mut Vec<Action>) {
        if !self.slots[slot.index()].restoring {
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
        let state = &self.slots[slot.index()];
        let (SnapshotState::Idle, Some(generation), true) = (state.snapshot, state.worker(), state.replay.is_empty())
        else {
            return;
        };
        let request = self.next_request();
        self.slots[slot.index()].snapshot = SnapshotState::Requested(request);
        let message = ToWorker::Snapshot { request, max_keys: SNAPSHOT_KEYS };
        actions.push(Action::Send { slot, generation, message });
    }

    pub(super) fn snapshot(
        &mut self,
        slot: SlotId,
        generation: Generation,
        part: SnapshotPart,
        actions: &mut Vec<Action>,
    ) {
        if !self.slots[slot.index()].hears(generation) {
            return;
        }
        if self.slots[slot.index()].snapshot != SnapshotState::Requested(part.request) {
            let error = format!("answered snapshot request {}, which was not outstanding", part.request);
            return self.kill(slot, KillReason::Protocol(error), actions);
        }
        let after = self.slots[slot.index()].completed;
        for StateEntry { table, key, state } in part.entries {
            if let Some(keyspace) = self.plan.keyspace_of(&table) {
                let partition = self.router.partition(keyspace, &key);
                // Copies end here: a snapshot outlives the frame it came in by far.
                let (key, state) = (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&state));
                self.ledger.put(partition, key, table, state, after, generation);
            }
        }
        let unpicklable = part.failures.into_iter().next().map(|failure| {
            let (key, table) = (key::display(&failure.key), &failure.table);
            format!("the state of key {key} in table {table:?} cannot be pickled: {}", failure.message)
        });
        let state = &mut self.slots[slot.index()];
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
            let state = &mut self.slots[slot.index()];
            state.incompressible =
                if state.unpicklable.is_some() { self.ledger.size(slot) } else { JournalSize::default() };
        }
    }
}
