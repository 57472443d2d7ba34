//! Workers that come and go: seating, death, replay, hangs, retirement.
//!
//! A worker that dies leaves behind the batches it was sent. Those of parallel stages go to any other worker; those of its slot
//! wait for its successor, which first replays the slot's journal on top of the last snapshots. The worker's marker says which
//! of them was running: a batch that was running in two deaths is from then on run message by message, with a note of each
//! message before it runs, so that a third death names the guilty one. That message becomes a dead letter; the rest of the batch is run again.

use std::time::Duration;

use wallaroo_protocol::{Skip, input, key};

use super::batch::{CAREFUL_AFTER, Origin, Work};
use super::ledger::JournalEntry;
use super::routing::PartitionId;
use super::slot::{Seat, SnapshotState};
use super::{Action, Engine, EngineError};
use crate::death::{Death, DeathCause, KillReason};
use crate::ids::{Generation, SlotId};

/// Deaths in a row, with nothing achieved in between, after which a slot is given up.
const MOST_DEATHS_IN_A_ROW: u32 = 10;
/// The same, where somebody else may do the killing.
const MOST_KILLS_IN_A_ROW: u32 = 100;
/// Replaying less than this is not worth a snapshot.
const LEAST_REPLAY_BUDGET: Duration = Duration::from_millis(10);
/// The journal of a slot whose state cannot be pickled may grow to this many times the queue bound.
const JOURNAL_QUEUES: usize = 4;

impl Engine {
    pub(super) fn seat(&mut self, slot: SlotId, generation: Generation, actions: &mut Vec<Action>) {
        if self.slots[slot].seat != Seat::Vacant || self.slots[slot].leaving {
            let reason = KillReason::Retired;
            actions.push(Action::Kill { slot, generation, reason });
            return;
        }
        let replay = self.replay(slot);
        let state = &mut self.slots[slot];
        state.seat = Seat::Seated(generation);
        state.served = 0;
        state.snapshot = SnapshotState::Idle;
        state.replay = replay.into();
        let partitions: Vec<PartitionId> = self.router.partitions_of(slot).collect();
        let bytes: usize = partitions.iter().map(|partition| self.ledger.snapshot_bytes(*partition)).sum();
        self.slots[slot].restoring = bytes > self.config.eager_restore_bytes;
        if bytes <= self.config.eager_restore_bytes {
            let keys = |partition| self.ledger.keys(partition).into_iter().map(move |key| (partition, key));
            let keys = partitions.into_iter().flat_map(keys).collect();
            self.restore(slot, generation, keys, actions);
        }
    }

    /// The slot's journal without what the snapshots cover.
    fn replay(&mut self, slot: SlotId) -> Vec<Work> {
        let journal = self.ledger.journal(slot);
        journal.into_iter().filter_map(|JournalEntry { work, .. }| self.uncovered(slot, work)).collect()
    }

    /// What of a journaled batch of a slot is in no snapshot, and still the slot's.
    fn uncovered(&mut self, slot: SlotId, mut work: Work) -> Option<Work> {
        let keyspace = self.plan.stages[work.stage.index()].input.keyspace()?;
        let batch = work.batch;
        let mut is_covered = |key: &[u8]| {
            let partition = self.router.partition(keyspace, key);
            self.router.slot(partition) != slot
                || self.ledger.snapshot(partition, key).is_some_and(|snapshot| snapshot.after >= batch)
        };
        if matches!(work.origin, Origin::Generate) {
            return (!is_covered(&key::nil())).then_some(work);
        }
        let groups = input::parse_groups(&work.input).ok()?;
        let mut kept = Vec::with_capacity(groups.len());
        let mut is_kept = vec![false; groups.len()];
        let mut skip = Vec::new();
        for (index, group) in (0..).zip(&groups) {
            if is_covered(group.key()) {
                continue;
            }
            let moved = |skipped: &Skip| Skip { origin: kept.len() as u32, value: skipped.value };
            skip.extend(work.skip.iter().filter(|skipped| skipped.origin == index).map(moved));
            kept.push(group.clone());
            is_kept[index as usize] = true;
        }
        if kept.is_empty() {
            return None;
        }
        if kept.len() < groups.len() {
            work.input = input::groups(&kept);
            work.messages = kept.iter().map(|group| group.count).sum();
            work.skip = skip;
            work.times = work.times.only(|index| is_kept[index]);
        }
        Some(work)
    }

    pub(super) fn lose(
        &mut self,
        slot: SlotId,
        generation: Generation,
        mut death: Death,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let state = &mut self.slots[slot];
        match &state.seat {
            Seat::Seated(seated) | Seat::Retiring(seated) if *seated == generation => {}
            Seat::Dying(seated, reason) if *seated == generation => death.cause = DeathCause::Killed(reason.clone()),
            _ => return,
        }
        let cause = &death.cause;
        state.seat = Seat::Vacant;
        state.restarts += 1;
        state.last_cause = Some(cause.to_string());
        state.snapshot = SnapshotState::Idle;
        state.replay.clear();
        state.lost_at.get_or_insert(now);
        state.last_death = Some(now);
        let failed = *cause != DeathCause::Killed(KillReason::Retired);
        state.deaths_in_a_row += u32::from(failed);
        self.deaths += u64::from(failed);
        let deaths = state.deaths_in_a_row;
        if let Some(reason) = state.unrecoverable.clone() {
            let (slot, cause) = (self.slot_name(slot), cause.to_string());
            return actions.push(Action::Fail(EngineError::StateLost { slot, cause, reason }));
        }
        let most = if cause.may_be_from_outside() { MOST_KILLS_IN_A_ROW } else { MOST_DEATHS_IN_A_ROW };
        if failed && deaths > most {
            let (slot, cause) = (self.slot_name(slot), cause.to_string());
            return actions.push(Action::Fail(EngineError::RecoveryFails { slot, deaths, cause }));
        }
        let hung = matches!(cause, DeathCause::Killed(KillReason::Timeout(_)));
        let mut abandoned = std::mem::take(&mut state.in_flight);
        let running = match death.marker {
            Some(marker) => abandoned.iter_mut().find(|abandoned| abandoned.work.batch == marker.batch),
            None if hung => abandoned.front_mut(),
            None => None,
        };
        if let Some(running) = running.filter(|running| !running.replay) {
            let work = &mut running.work;
            let was_careful = work.deaths >= CAREFUL_AFTER;
            // A hang is not tried again as it was: that would cost a whole timeout to learn nothing.
            work.deaths = if hung && !was_careful { CAREFUL_AFTER } else { work.deaths + 1 };
            if was_careful && self.isolate(work, &death, actions) {
                self.slots[slot].deaths_in_a_row = 0;
            }
        }
        let mut repeat = std::mem::take(&mut self.slots[slot].repeat);
        for abandoned in abandoned.into_iter().rev().filter(|abandoned| !abandoned.replay) {
            match abandoned.work.origin {
                Origin::Frames { .. } | Origin::Values { .. } => {
                    self.stages[abandoned.work.stage.index()].retry.push_front(abandoned.work);
                }
                Origin::Cut { connection } => self.recut(abandoned.work, connection, &death.cause, actions),
                Origin::Groups => repeat.push_front(abandoned.work),
                Origin::Generate => self.regenerate(abandoned.work, &mut repeat),
            }
        }
        self.slots[slot].repeat = repeat;
        if !self.slots[slot].leaving {
            actions.push(Action::Seat { slot });
        }
    }

    pub(super) fn retire(&mut self, slot: SlotId, generation: Generation, now: Duration, actions: &mut Vec<Action>) {
        let state = &mut self.slots[slot];
        if state.seat == Seat::Seated(generation) && state.replay.is_empty() {
            state.seat = Seat::Retiring(generation);
            self.after_batch(slot, now, actions);
        }
    }

    /// A worker above its limit is replaced between two batches; one far above it will not come to that.
    pub(super) fn overweight(
        &mut self,
        slot: SlotId,
        generation: Generation,
        weight: Weight,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if !self.slots[slot].hears(generation) {
            return;
        }
        let Weight { resident, limit } = weight;
        if resident > limit / 4 * 5 {
            self.kill(slot, KillReason::Memory { resident, limit }, actions);
        } else if self.slots[slot].seat == Seat::Seated(generation) {
            actions.push(Action::Warn(format!(
                "the worker in {} has {resident} bytes resident, above its limit of {limit}: it is replaced",
                self.slot_name(slot)
            )));
            self.retire(slot, generation, now, actions);
        }
    }

    /// Whether a worker has processed as many messages as it may. The limit varies by a tenth from worker to worker.
    fn is_worn_out(&self, slot: SlotId, generation: Generation) -> bool {
        let served = self.slots[slot].served;
        let limit = |most: u64| most - most / 10 + u64::from(generation.0).wrapping_mul(0x9e37_79b9) % (most / 5 + 1);
        self.config.max_messages_per_worker.is_some_and(|most| served >= limit(most))
    }

    pub(super) fn kill(&mut self, slot: SlotId, reason: KillReason, actions: &mut Vec<Action>) {
        let state = &mut self.slots[slot];
        if let Seat::Seated(generation) | Seat::Retiring(generation) = state.seat {
            state.seat = Seat::Dying(generation, reason.clone());
            actions.push(Action::Kill { slot, generation, reason });
        }
    }

    pub(super) fn check_deadlines(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for slot in self.slots.ids() {
            let timeout = self.config.step_timeout;
            if self.slots[slot].deadline(timeout).is_some_and(|deadline| deadline <= now) {
                self.kill(slot, KillReason::Timeout(timeout), actions);
            } else if self.slots[slot].is_idle()
                && self.slots[slot].unpicklable.is_none()
                && self.ledger.size(slot).batches > 0
            {
                self.request_snapshot(slot, actions);
            }
        }
    }

    /// What is due once a slot has answered a batch: retirement, or a snapshot when its journal has grown too long.
    pub(super) fn after_batch(&mut self, slot: SlotId, now: Duration, actions: &mut Vec<Action>) {
        if let Seat::Seated(generation) = self.slots[slot].seat {
            let replayed = self.slots[slot].replay.is_empty();
            if replayed && self.is_worn_out(slot, generation) {
                self.slots[slot].seat = Seat::Retiring(generation);
            }
        }
        if matches!(self.slots[slot].seat, Seat::Retiring(_)) && self.slots[slot].in_flight.is_empty() {
            return self.kill(slot, KillReason::Retired, actions);
        }
        let size = self.ledger.size(slot);
        let state = &mut self.slots[slot];
        if state.unpicklable.is_some() && size.bytes > JOURNAL_QUEUES * self.config.queue_bytes {
            if let Some(reason) = state.unpicklable.take() {
                actions.push(Action::Warn(format!(
                    "{reason}; its journal no longer fits: if its worker dies, the run ends"
                )));
                state.unrecoverable = Some(reason);
            }
            self.ledger.truncate(slot, None);
            return;
        }
        let kept = state.incompressible;
        let budget = replay_budget(self.config.replay_budget, state.last_death.map(|death| now.saturating_sub(death)));
        // Asked for at half the budget: the journal goes on growing until the snapshots are here.
        if size.replay > (budget / 2).max(kept.replay * 2) || size.bytes > self.config.queue_bytes.max(kept.bytes * 2) {
            self.request_snapshot(slot, actions);
        }
    }

    /// When [`Event::Tick`](super::Event::Tick) is next needed.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.slots.iter().filter_map(|slot| slot.deadline(self.config.step_timeout)).min()
    }
}

/// A worker's memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight {
    pub(super) resident: u64,
    pub(super) limit: u64,
}

/// What a slot's journal may take to replay. Workers that die often leave little to replay, or nothing else would get done: an
/// eighth of the time since the last death, and never more than `most`.
fn replay_budget(most: Duration, since_last_death: Option<Duration>) -> Duration {
    since_last_death.map_or(most, |since| (since / 8).max(LEAST_REPLAY_BUDGET).min(most))
}
