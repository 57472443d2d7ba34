//! Workers that come and go: seating, death, replay, poison, hangs, snapshots.
//!
//! A worker that dies leaves behind the batches it was sent. Those of parallel stages go to any other worker; those of its slot
//! wait for its successor, which first replays the slot's journal on top of the last snapshots. The worker's marker says which
//! of them was running: a batch that was running in two deaths is from then on run message by message, with a note of each
//! message before it runs, so that a third death names the guilty one. That message becomes a dead letter; the rest of the batch is run again.

use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{Skip, SnapshotPart, StateEntry, ToWorker, input, key};

use super::batch::{CAREFUL_AFTER, Origin, Work};
use super::ledger::{JournalEntry, JournalSize};
use super::routing::PartitionId;
use super::slot::{Seat, SnapshotState};
use super::{Action, DeadMessage, DeathCause, Engine, EngineError, Generation, KillReason, Marker, SlotId};
use crate::plan::Input;

/// Deaths in a row, with nothing achieved in between, after which a slot is given up.
const MOST_DEATHS_IN_A_ROW: u32 = 10;
/// Deaths after which a batch is given up whole, if no marker ever named a message of it.
const MOST_DEATHS_OF_A_BATCH: u32 = 5;
/// Keys in one snapshot request, so that no request holds a worker for long.
const SNAPSHOT_KEYS: u32 = 4096;
/// A slot whose snapshots weigh less is restored at once rather than key by key.
const EAGER_RESTORE_BYTES: usize = 1 << 20;
/// Bytes of state in one `restore`.
const RESTORE_BYTES: usize = 1 << 20;
/// The journal of a slot whose state cannot be pickled may grow to this many times the queue bound.
const JOURNAL_QUEUES: usize = 4;

impl Engine {
    pub(super) fn seat(&mut self, slot: SlotId, generation: Generation, actions: &mut Vec<Action>) {
        if self.slots[slot.index()].seat != Seat::Vacant {
            let reason = KillReason::Retired;
            actions.push(Action::Kill { slot, generation, reason });
            return;
        }
        let replay = self.replay(slot);
        let snapshots = self.snapshots(slot);
        let state = &mut self.slots[slot.index()];
        state.seat = Seat::Seated(generation);
        state.served = 0;
        state.snapshot = SnapshotState::Idle;
        state.replay = replay.into();
        state.restoring = !snapshots.is_empty();
        if snapshots.iter().map(|(.., bytes)| bytes).sum::<usize>() <= EAGER_RESTORE_BYTES {
            let keys = snapshots.into_iter().map(|(partition, key, _)| (partition, key)).collect();
            self.restore(slot, generation, keys, actions);
            self.slots[slot.index()].restoring = false;
        }
    }

    /// The slot's journal without what the snapshots cover.
    fn replay(&mut self, slot: SlotId) -> Vec<Work> {
        let journal = self.ledger.journal(slot);
        journal.into_iter().filter_map(|JournalEntry { work, .. }| self.uncovered(work)).collect()
    }

    /// What of a journaled batch is in no snapshot.
    fn uncovered(&mut self, mut work: Work) -> Option<Work> {
        let keyspace = self.plan.stages[work.stage.index()].input.keyspace()?;
        let batch = work.batch;
        let mut is_covered = |key: &[u8]| {
            let partition = self.router.partition(keyspace, key);
            self.ledger.snapshot(partition, key).is_some_and(|snapshot| snapshot.after >= batch)
        };
        if matches!(work.origin, Origin::Generate) {
            return (!is_covered(&key::nil())).then_some(work);
        }
        let groups = input::parse_groups(&work.input).ok()?;
        let mut kept = Vec::with_capacity(groups.len());
        let mut skip = Vec::new();
        for (index, group) in (0..).zip(&groups) {
            if is_covered(group.key()) {
                continue;
            }
            let moved = |skipped: &Skip| Skip { origin: kept.len() as u32, value: skipped.value };
            skip.extend(work.skip.iter().filter(|skipped| skipped.origin == index).map(moved));
            kept.push(group.clone());
        }
        if kept.is_empty() {
            return None;
        }
        if kept.len() < groups.len() {
            work.input = input::groups(&kept);
            work.messages = kept.iter().map(|group| group.count).sum();
            work.skip = skip;
        }
        Some(work)
    }

    /// The keys of a slot that have snapshots, with their sizes.
    fn snapshots(&self, slot: SlotId) -> Vec<(PartitionId, Bytes, usize)> {
        let partitions = self.router.partitions_of(slot);
        let keys = partitions.flat_map(|partition| {
            self.ledger.snapshots(partition).into_iter().map(move |(key, bytes)| (partition, key, bytes))
        });
        keys.collect()
    }

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

    fn restore(
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

    pub(super) fn lose(
        &mut self,
        slot: SlotId,
        generation: Generation,
        cause: &DeathCause,
        marker: Option<Marker>,
        trace: &str,
        actions: &mut Vec<Action>,
    ) {
        let state = &mut self.slots[slot.index()];
        let cause = match &state.seat {
            Seat::Seated(seated) | Seat::Retiring(seated) if *seated == generation => cause.clone(),
            Seat::Dying(seated, reason) if *seated == generation => DeathCause::Killed(reason.clone()),
            _ => return,
        };
        state.seat = Seat::Vacant;
        state.snapshot = SnapshotState::Idle;
        state.replay.clear();
        state.deaths_in_a_row += u32::from(cause != DeathCause::Killed(KillReason::Retired));
        let deaths = state.deaths_in_a_row;
        if let Some(reason) = state.unrecoverable.clone() {
            return actions.push(Action::Fail(EngineError::StateLost { slot, cause: cause.to_string(), reason }));
        }
        if deaths > MOST_DEATHS_IN_A_ROW {
            return actions.push(Action::Fail(EngineError::RecoveryFails { slot, deaths, cause: cause.to_string() }));
        }
        let hung = matches!(cause, DeathCause::Killed(KillReason::Timeout(_)));
        let mut abandoned = std::mem::take(&mut state.in_flight);
        let running = match marker {
            Some(marker) => abandoned.iter_mut().find(|abandoned| abandoned.work.batch == marker.batch),
            None if hung => abandoned.front_mut(),
            None => None,
        };
        if let Some(running) = running.filter(|running| !running.replay) {
            let work = &mut running.work;
            let was_careful = work.deaths >= CAREFUL_AFTER;
            // A hang is not tried again as it was: that would cost a whole timeout to learn nothing.
            work.deaths = if hung && !was_careful { CAREFUL_AFTER } else { work.deaths + 1 };
            if was_careful && self.isolate(work, marker, &cause, trace, actions) {
                self.slots[slot.index()].deaths_in_a_row = 0;
            }
        }
        let mut repeat = std::mem::take(&mut self.slots[slot.index()].repeat);
        for abandoned in abandoned.into_iter().rev().filter(|abandoned| !abandoned.replay) {
            match abandoned.work.origin {
                Origin::Frames { .. } => self.stages[abandoned.work.stage.index()].retry.push_front(abandoned.work),
                Origin::Cut { connection } => self.recut(abandoned.work, connection, &cause, actions),
                Origin::Groups => repeat.push_front(abandoned.work),
                Origin::Generate => self.regenerate(abandoned.work, &mut repeat),
            }
        }
        self.slots[slot.index()].repeat = repeat;
        actions.push(Action::Seat { slot });
    }

    fn recut(&mut self, work: Work, connection: super::ConnectionId, cause: &DeathCause, actions: &mut Vec<Action>) {
        let Input::Cut(source) = self.plan.stages[work.stage.index()].input else { return };
        if work.deaths <= CAREFUL_AFTER {
            return self.stages[work.stage.index()].retry.push_front(work);
        }
        self.sources[source.index()].cutting.remove(connection, source, actions);
        let error = format!("cutting its frames killed {} workers: {cause}", work.deaths);
        actions.push(Action::CloseConnection { source, connection, error });
    }

    fn regenerate(&mut self, work: Work, repeat: &mut std::collections::VecDeque<Work>) {
        let Input::Generate(source, _) = self.plan.stages[work.stage.index()].input else { return };
        if work.deaths >= MOST_DEATHS_OF_A_BATCH {
            // No value of it was at fault: the generator itself kills whoever asks it for the next one.
            self.sources[source.index()].ended = true;
        } else {
            repeat.push_front(work);
        }
    }

    /// Gives up the message a worker died of while it ran `work` carefully. Returns whether one was found.
    fn isolate(
        &mut self,
        work: &mut Work,
        marker: Option<Marker>,
        cause: &DeathCause,
        trace: &str,
        actions: &mut Vec<Action>,
    ) -> bool {
        let root = self.plan.stages[work.stage.index()].root;
        let node = marker.map_or(root, |marker| marker.node);
        let guilty = match (marker.and_then(|marker| marker.message), &work.origin) {
            (Some(message), _) => vec![message],
            (None, _) if work.deaths >= MOST_DEATHS_OF_A_BATCH => everything(work),
            (None, _) => Vec::new(),
        };
        let guilty: Vec<Skip> = guilty.into_iter().filter(|message| !work.skip.contains(message)).collect();
        for message in &guilty {
            let letter = self.poison(work, *message, node, cause, trace);
            actions.push(Action::DeadLetter(letter));
            work.skip.push(*message);
        }
        !guilty.is_empty()
    }

    fn poison(
        &self,
        work: &Work,
        message: Skip,
        node: wallaroo_protocol::NodeId,
        cause: &DeathCause,
        trace: &str,
    ) -> DeadMessage {
        let frame = || input::parse_frames(&work.input).ok()?.into_iter().nth(message.origin as usize);
        let group = || input::parse_groups(&work.input).ok()?.into_iter().nth(message.origin as usize);
        let (key, payload, codec) = match work.origin {
            Origin::Frames { .. } => (None, frame().unwrap_or_default(), 0),
            Origin::Groups => group()
                .map_or((None, Bytes::new(), 0), |group| (Some(group.key_bytes()), group.values(), group.codec())),
            Origin::Generate | Origin::Cut { .. } => (None, Bytes::new(), 0),
        };
        let payload_index = Some(message.value).filter(|value| codec != 0 && *value != Skip::WHOLE);
        let source = match self.plan.stages[work.stage.index()].input {
            Input::Frames(source) | Input::Cut(source) | Input::Generate(source, _) => Some(source),
            Input::Groups(_) => None,
        };
        DeadMessage {
            node,
            key,
            exception: "WorkerDeath".to_owned(),
            message: format!("killed its worker {} times: {cause}", work.deaths),
            traceback: trace.to_owned(),
            value: String::new(),
            payload,
            payload_index,
            codec,
            source,
            connection: work.connection_of(message.origin),
        }
    }

    pub(super) fn retire(&mut self, slot: SlotId, generation: Generation, actions: &mut Vec<Action>) {
        let state = &mut self.slots[slot.index()];
        if state.seat == Seat::Seated(generation) && state.replay.is_empty() {
            state.seat = Seat::Retiring(generation);
            self.after_batch(slot, actions);
        }
    }

    /// A worker above its limit is replaced between two batches; one far above it will not come to that.
    pub(super) fn overweight(
        &mut self,
        slot: SlotId,
        generation: Generation,
        resident: u64,
        limit: u64,
        actions: &mut Vec<Action>,
    ) {
        if !self.slots[slot.index()].hears(generation) {
            return;
        }
        if resident > limit / 4 * 5 {
            self.kill(slot, KillReason::Memory { resident, limit }, actions);
        } else if self.slots[slot.index()].seat == Seat::Seated(generation) {
            actions.push(Action::Warn(format!(
                "the worker in slot {slot} has {resident} bytes resident, above its limit of {limit}: it is replaced"
            )));
            self.retire(slot, generation, actions);
        }
    }

    /// Whether a worker has processed as many messages as it may. The limit varies by a tenth from worker to worker.
    fn is_worn_out(&self, slot: SlotId, generation: Generation) -> bool {
        let served = self.slots[slot.index()].served;
        let limit = |most: u64| most - most / 10 + u64::from(generation.0).wrapping_mul(0x9e37_79b9) % (most / 5 + 1);
        self.config.max_messages_per_worker.is_some_and(|most| served >= limit(most))
    }

    pub(super) fn kill(&mut self, slot: SlotId, reason: KillReason, actions: &mut Vec<Action>) {
        let state = &mut self.slots[slot.index()];
        if let Seat::Seated(generation) | Seat::Retiring(generation) = state.seat {
            state.seat = Seat::Dying(generation, reason.clone());
            actions.push(Action::Kill { slot, generation, reason });
        }
    }

    pub(super) fn check_deadlines(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for index in 0..self.slots.len() {
            let slot = SlotId(index as u32);
            let timeout = self.config.step_timeout;
            if self.slots[index].deadline(timeout).is_some_and(|deadline| deadline <= now) {
                self.kill(slot, KillReason::Timeout(timeout), actions);
            } else if self.slots[index].is_idle()
                && self.slots[index].unpicklable.is_none()
                && self.ledger.size(slot).batches > 0
            {
                self.request_snapshot(slot, actions);
            }
        }
    }

    /// What is due once a slot has answered a batch: retirement, or a snapshot when its journal has grown too long.
    pub(super) fn after_batch(&mut self, slot: SlotId, actions: &mut Vec<Action>) {
        if let Seat::Seated(generation) = self.slots[slot.index()].seat {
            let replayed = self.slots[slot.index()].replay.is_empty();
            if replayed && self.is_worn_out(slot, generation) {
                self.slots[slot.index()].seat = Seat::Retiring(generation);
            }
        }
        if matches!(self.slots[slot.index()].seat, Seat::Retiring(_)) && self.slots[slot.index()].in_flight.is_empty() {
            return self.kill(slot, KillReason::Retired, actions);
        }
        let size = self.ledger.size(slot);
        let state = &mut self.slots[slot.index()];
        if state.unpicklable.is_some() && size.bytes > JOURNAL_QUEUES * self.config.queue_bytes {
            state.unrecoverable = state.unpicklable.take();
            self.ledger.truncate(slot, None);
            return;
        }
        let kept = state.incompressible;
        if size.replay > self.config.replay_budget.max(kept.replay * 2)
            || size.bytes > self.config.queue_bytes.max(kept.bytes * 2)
        {
            self.request_snapshot(slot, actions);
        }
    }

    fn request_snapshot(&mut self, slot: SlotId, actions: &mut Vec<Action>) {
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
        if let (Some(reason), None) = (&unpicklable, &state.unpicklable) {
            actions.push(Action::Warn(format!(
                "{reason}; if its worker dies it is rebuilt from the journal, as long as that fits"
            )));
        }
        state.unpicklable =
            unpicklable.or(state.unpicklable.take()).filter(|_| part.oldest_dirty.is_some() || part.more);
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

/// Every message of a batch.
fn everything(work: &Work) -> Vec<Skip> {
    let values =
        |(origin, group): (u32, wallaroo_protocol::Group)| (0..group.count).map(move |value| Skip { origin, value });
    match work.origin {
        Origin::Frames { .. } => (0..work.messages).map(|origin| Skip { origin, value: 0 }).collect(),
        Origin::Groups => (0..).zip(input::parse_groups(&work.input).unwrap_or_default()).flat_map(values).collect(),
        Origin::Generate => vec![Skip { origin: 0, value: Skip::WHOLE }],
        Origin::Cut { .. } => Vec::new(),
    }
}

impl Engine {
    /// When [`Event::Tick`](super::Event::Tick) is next needed.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.slots.iter().filter_map(|slot| slot.deadline(self.config.step_timeout)).min()
    }
}
