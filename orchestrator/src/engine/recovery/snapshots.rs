//! Snapshots: asked of workers when a journal grows too long, kept in the ledger, sent to the workers that need them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use wallaroo_protocol::{ForgottenState, RequestId, SnapshotFailure, SnapshotPart, StateEntry, ToWorker, input, key};

use super::Recovery;
use super::fatal_states;
use super::ledger::{JournalSize, Recalled};
use crate::death::{DeathCause, KillReason};
use crate::engine::batch::Batch;
use crate::engine::invariant::{Checked, Invariant};
use crate::engine::routing::router::{PartitionId, Router};
use crate::engine::{Action, Engine};
use crate::ids::{Generation, KeyspaceId, SlotId};
use crate::plan::Input;

/// Keys in one snapshot request, so that no request holds a worker for long.
const SNAPSHOT_KEYS: u32 = 4096;
/// Partitions of a keyspace that are looked at for samples.
const SAMPLED_PARTITIONS: usize = 4;
/// Keys of a slot whose states end who saves them, until no state of the slot is saved any more: each has cost a timeout, or deaths.
const FATAL_KEYS: usize = 3;
/// Bytes that an entry takes beyond its key, table and state.
pub(in crate::engine) const ENTRY_OVERHEAD: usize = 24;

impl Recovery {
    /// Sends a slot's worker the snapshots of `keys` that it has missed.
    fn restore(
        &mut self,
        slot: SlotId,
        generation: Generation,
        keys: impl IntoIterator<Item = (PartitionId, Bytes)>,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (partition, key) in keys {
            let Some(states) = self.ledger.hand_out(partition, &key, generation) else { continue };
            for (table, state) in states {
                let weight = state.len() + key.len() + table.len() + ENTRY_OVERHEAD;
                if bytes + weight > self.message_bytes && !entries.is_empty() {
                    let message = ToWorker::Restore(std::mem::take(&mut entries));
                    actions.push(Action::Send { slot, generation, message });
                    bytes = 0;
                }
                let mut rest = state.clone();
                while rest.len() > self.message_bytes {
                    let state = rest.split_to(self.message_bytes);
                    let piece = StateEntry { table: table.clone(), key: key.clone(), state };
                    let message = ToWorker::Restore(entries.drain(..).chain([piece]).collect());
                    actions.push(Action::Send { slot, generation, message });
                }
                bytes += rest.len() + weight - state.len();
                entries.push(StateEntry { table: table.clone(), key: key.clone(), state: rest });
            }
            let missed = &mut self.slots[slot].missed;
            *missed = missed.checked_sub(1).ok_or(Invariant::Restored { slot })?;
        }
        if !entries.is_empty() {
            actions.push(Action::Send { slot, generation, message: ToWorker::Restore(entries) });
        }
        Ok(())
    }

    /// Gives the snapshots of partitions that a slot's worker has missed to it: at once, or, if they are large, with the batches
    /// that need them.
    pub(in crate::engine) fn install(
        &mut self,
        slot: SlotId,
        generation: Generation,
        partitions: &[PartitionId],
        eager_bytes: usize,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        let keys: usize = partitions.iter().map(|partition| self.ledger.keys_with_state(*partition)).sum();
        let bytes: usize = partitions.iter().map(|partition| self.ledger.snapshot_bytes(*partition)).sum();
        self.slots[slot].missed += keys;
        if bytes > eager_bytes {
            return Ok(());
        }
        let keys = |partition: &PartitionId| {
            let partition = *partition;
            self.ledger.keys(partition).into_iter().map(move |key| (partition, key))
        };
        let keys: Vec<_> = partitions.iter().flat_map(keys).collect();
        self.restore(slot, generation, keys, actions)
    }

    /// Has a worker drop the states of partitions that no longer live in its slot.
    pub(in crate::engine) fn forget(
        &mut self,
        slot: SlotId,
        worker: Option<Generation>,
        partitions: &[PartitionId],
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        let mut forgotten = Vec::new();
        for partition in partitions {
            for key in self.ledger.keys(*partition) {
                let Some(Recalled { states, missed }) = self.ledger.recall(*partition, &key, worker) else { continue };
                let tables = states.iter().map(|(table, _)| table.clone());
                forgotten.extend(tables.map(|table| ForgottenState { table, key: key.clone() }));
                let left = &mut self.slots[slot].missed;
                *left = left.checked_sub(usize::from(missed)).ok_or(Invariant::Restored { slot })?;
            }
        }
        let Some(generation) = worker else { return Ok(()) };
        let mut bytes = 0;
        let mut message = Vec::new();
        for state in forgotten {
            let weight = state.key.len() + state.table.len() + ENTRY_OVERHEAD;
            if bytes + weight > self.message_bytes && !message.is_empty() {
                let message = ToWorker::Forget(std::mem::take(&mut message));
                actions.push(Action::Send { slot, generation, message });
                bytes = 0;
            }
            bytes += weight;
            message.push(state);
        }
        if !message.is_empty() {
            actions.push(Action::Send { slot, generation, message: ToWorker::Forget(message) });
        }
        Ok(())
    }

    /// The number of a new request for a snapshot of some keys of a slot.
    pub(in crate::engine) fn request(&mut self, slot: SlotId, now: Duration) -> RequestId {
        let request = self.number_request();
        self.slots[slot].request = Some(request);
        self.slots[slot].may_leave_keys = true;
        self.slots[slot].alive = now;
        request
    }

    /// Takes the states of a snapshot that is whole into the ledger.
    fn keep(&mut self, slot: SlotId, generation: Generation) -> Checked<()> {
        let after = self.slots[slot].completed;
        let mut arrived = std::mem::take(&mut self.slots[slot].arrived).into_iter().peekable();
        while let Some((partition, StateEntry { table, key, state })) = arrived.next() {
            // Copies end here: a snapshot outlives by far the frame it came in. A large state comes in pieces.
            let mut whole = BytesMut::from(&*state);
            let is_piece = |(_, next): &(PartitionId, StateEntry)| next.table == table && next.key == key;
            while let Some((_, piece)) = arrived.next_if(is_piece) {
                whole.extend_from_slice(&piece.state);
            }
            let (key, state) = (Bytes::copy_from_slice(&key), whole.freeze());
            let missed = if state.is_empty() {
                self.ledger.clear(partition, key, &table, after, generation)?
            } else {
                self.ledger.put(partition, key, (table, state), after, generation)?
            };
            let left = &mut self.slots[slot].missed;
            *left = left.checked_sub(usize::from(missed)).ok_or(Invariant::Restored { slot })?;
        }
        Ok(())
    }

    /// Takes in whether some state could not be pickled. Returns a warning if that is new.
    fn note_unpicklable(&mut self, slot: SlotId, failures: &[SnapshotFailure], is_dirty: bool) -> Option<String> {
        let slot = &mut self.slots[slot];
        let unpicklable = failures.first().map(unpicklable);
        let warning = match (&unpicklable, &slot.unpicklable, &slot.unrecoverable) {
            (Some(reason), None, None) => {
                Some(format!("{reason}; if its worker dies it is rebuilt from the journal, as long as that fits"))
            }
            _ => None,
        };
        if slot.unrecoverable.is_none() {
            let known = unpicklable.or(slot.unpicklable.take());
            slot.unpicklable = known.filter(|_| is_dirty);
        }
        warning
    }

    /// Notes that a worker died or hung while it pickled a state. Returns a warning if that is not tried again.
    pub(super) fn note_fatal_saving(
        &mut self,
        slot: SlotId,
        state: &Bytes,
        cause: &DeathCause,
        now: Duration,
    ) -> Option<String> {
        let slot = &mut self.slots[slot];
        if !slot.unsaved.note(state, cause, now) {
            return None;
        }
        let state = fatal_states::display(state);
        let mut warning = format!("saving {state} has ended its worker ({cause}): no snapshot is made of it any more");
        if slot.unsaved.len() == FATAL_KEYS {
            warning.push_str("; the same goes for all states of its slot, since this is the third");
            slot.unpicklable = Some(format!("saving states has ended workers, at last {state}"));
        }
        Some(warning)
    }

    /// Notes that a worker died or hung while it unpickled a state. Returns a warning if that is not tried again.
    pub(super) fn note_fatal_loading(&mut self, state: &Bytes, cause: &DeathCause, now: Duration) -> Option<String> {
        let is_fatal = self.unloadable.note(state, cause, now);
        is_fatal.then(|| {
            let state = fatal_states::display(state);
            format!("loading {state} has ended its worker ({cause}): it is not loaded, and what needs it fails")
        })
    }

    /// Lets a slot know which states of another, whose partitions it takes over, must not be saved.
    pub(super) fn inherit_verdicts(&mut self, from: SlotId, to: SlotId) {
        for state in self.slots[from].unsaved.states() {
            self.slots[to].unsaved.insert(state);
        }
        let to = &mut self.slots[to];
        if to.unsaved.len() >= FATAL_KEYS {
            to.unpicklable
                .get_or_insert_with(|| "saving states has ended workers of the slot they came from".to_owned());
        }
    }

    /// Whether no state of a slot is saved any more.
    fn has_given_up_saving(&self, slot: SlotId) -> bool {
        self.slots[slot].unsaved.len() >= FATAL_KEYS
    }

    /// Tells a new worker of a slot which states it must not pickle, and which it must not unpickle.
    pub(super) fn forbid(&self, slot: SlotId, generation: Generation, actions: &mut Vec<Action>) {
        let unsaved = &self.slots[slot].unsaved;
        if unsaved.len() > 0 {
            actions.push(Action::Send { slot, generation, message: ToWorker::DoNotSave(unsaved.states()) });
        }
        if self.unloadable.len() > 0 {
            actions.push(Action::Send { slot, generation, message: ToWorker::DoNotLoad(self.unloadable.states()) });
        }
    }

    /// Ends a snapshot that has arrived whole: the journal before `oldest_dirty` is covered now.
    fn end_snapshot(&mut self, slot: SlotId, oldest_dirty: Option<wallaroo_protocol::BatchId>) -> Checked<()> {
        self.slots[slot].request = None;
        if !self.slots[slot].may_leave_keys {
            self.slots[slot].saved = self.ledger.last_journaled(slot);
        }
        self.ledger.truncate(slot, oldest_dirty)?;
        // A journal that snapshots cannot shorten is left alone until it has doubled.
        let size = self.ledger.size(slot);
        let slot = &mut self.slots[slot];
        slot.incompressible = if slot.unpicklable.is_some() { size } else { JournalSize::default() };
        Ok(())
    }

    /// A few snapshots of each state table, the largest of some partitions that fit into one message.
    fn sample(&self, router: &Router, states_a_table: usize, largest: usize) -> Vec<StateEntry> {
        let mut tables: BTreeMap<Arc<str>, Vec<StateEntry>> = BTreeMap::new();
        let mut partitions: Vec<PartitionId> = Vec::new();
        for keyspace in (0..router.keyspaces() as u32).map(KeyspaceId) {
            let all = router.homes(keyspace).map(|(partition, _)| partition);
            let known = all.filter(|partition| self.ledger.snapshot_bytes(*partition) > 0);
            partitions.extend(known.take(SAMPLED_PARTITIONS));
        }
        for partition in partitions {
            for key in self.ledger.keys(partition) {
                let fits = |(_, state): &&(Arc<str>, Bytes)| state.len() <= largest;
                for (table, state) in self.ledger.states(partition, &key).iter().filter(fits) {
                    let known = tables.entry(table.clone()).or_default();
                    known.push(StateEntry { table: table.clone(), key: key.clone(), state: state.clone() });
                    known.sort_by_key(|entry| std::cmp::Reverse(entry.state.len()));
                    known.truncate(states_a_table);
                }
            }
        }
        tables.into_values().flatten().collect()
    }
}

impl Engine {
    /// Sends the snapshots that a batch needs and the worker has missed, ahead of the batch.
    pub(in crate::engine) fn restore_for(
        &mut self,
        slot: SlotId,
        generation: Generation,
        batch: &Batch,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        if self.recovery.slots[slot].missed == 0 {
            return Ok(());
        }
        let keys: Vec<_> = match self.plan.stages[batch.stage.index()].input {
            Input::Groups(keyspace) => {
                let groups = input::parse_groups(&batch.input).unwrap_or_default();
                let key = |group: &wallaroo_protocol::Group| {
                    (self.routing.partition(keyspace, group.key()), group.key_bytes())
                };
                groups.iter().map(key).collect()
            }
            Input::Generate(_, keyspace) => vec![(self.routing.partition(keyspace, &key::nil()), key::nil())],
            Input::Frames(_) | Input::Cut(_) | Input::Values => return Ok(()),
        };
        self.recovery.restore(slot, generation, keys, actions)
    }

    /// Asks a slot's worker for snapshots of what has changed, unless it has been asked or replays.
    pub(in crate::engine) fn request_snapshot(&mut self, slot: SlotId, now: Duration, actions: &mut Vec<Action>) {
        let given_up = self.recovery.has_given_up_saving(slot);
        if given_up || self.recovery.awaits_snapshot(slot) || !self.recovery.has_replayed(slot) {
            return;
        }
        let Some(generation) = self.workers.available(slot) else { return };
        let request = self.recovery.request(slot, now);
        self.recovery.slots[slot].may_leave_keys = false;
        let message = ToWorker::Snapshot { request, max_keys: SNAPSHOT_KEYS };
        actions.push(Action::Send { slot, generation, message });
    }

    /// Asks every slot for what has changed.
    pub(in crate::engine) fn save(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for slot in self.workers.ids() {
            self.request_snapshot(slot, now, actions);
        }
    }

    /// Has everything saved that no snapshot has, if there is a log to keep it. Returns whether that is under way.
    pub(in crate::engine) fn save_at_end(&mut self, now: Duration, actions: &mut Vec<Action>) -> bool {
        if !self.commit.is_logged() {
            return false;
        }
        let mut is_saving = false;
        for slot in self.workers.ids() {
            if !self.recovery.is_saved(slot) && !self.recovery.has_given_up_saving(slot) {
                // Without a worker, one is being seated, and replays first.
                self.request_snapshot(slot, now, actions);
                is_saving = true;
            }
        }
        is_saving
    }

    /// A few snapshots of each state table, the largest of some partitions, for a worker to try whether it could take over.
    pub fn sample(&self, states_a_table: usize) -> Vec<StateEntry> {
        self.recovery.sample(self.routing.router(), states_a_table, self.config.max_frame)
    }

    /// Takes in a part of a snapshot.
    pub(in crate::engine) fn snapshot(
        &mut self,
        slot: SlotId,
        generation: Generation,
        part: SnapshotPart,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        if !self.workers.hears(slot, generation) {
            return Ok(());
        }
        if self.recovery.slots[slot].request != Some(part.request) {
            let error = format!("answered snapshot request {}, which was not outstanding", part.request);
            self.kill(slot, KillReason::Protocol(error), actions);
            return Ok(());
        }
        let SnapshotPart { request, more, entries, failures, oldest_dirty } = part;
        self.recovery.slots[slot].alive = now;
        // A request is for so many keys at most: only an answer without states shows that none is left that can be saved.
        self.recovery.slots[slot].may_leave_keys |= !entries.is_empty();
        let (plan, router) = (&self.plan, self.routing.router());
        let of_slot = |entry: StateEntry| {
            let partition = router.partition(plan.keyspace_of(&entry.table)?, &entry.key);
            // A state that has moved is another worker's now.
            (router.slot(partition) == slot).then_some((partition, entry))
        };
        self.recovery.slots[slot].arrived.extend(entries.into_iter().filter_map(of_slot));
        if let Some(failure) = failures.last() {
            self.change.note_stuck(request, unpicklable(failure));
        }
        let warning = self.recovery.note_unpicklable(slot, &failures, oldest_dirty.is_some() || more);
        actions.extend(warning.map(Action::Warn));
        if !more {
            self.recovery.keep(slot, generation)?;
            self.recovery.end_snapshot(slot, oldest_dirty)?;
            self.hand_over(request, now, actions)?;
        }
        Ok(())
    }
}

/// What is said of a state that cannot be pickled.
fn unpicklable(failure: &SnapshotFailure) -> String {
    let (key, table) = (key::display(&failure.key), &failure.table);
    format!("the state of key {key} in table {table:?} cannot be pickled: {}", failure.message)
}
