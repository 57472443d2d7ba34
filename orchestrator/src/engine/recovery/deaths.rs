//! Workers that come and go: seating, death, replay, hangs, retirement.
//!
//! A worker that dies leaves behind the batches it was sent. Those of stages that any worker may run go to any other; those of its
//! slot wait for its successor, which first replays the slot's journal on top of the last snapshots. The worker's marker says
//! which of them was running. A batch that was running in two deaths is from then on run message by message, and each message is
//! noted before it runs, so that a third death names the guilty one. That message becomes a dead letter; the rest of the batch is
//! run again.

use std::time::Duration;

use super::part::part_of;
use crate::death::{Death, DeathCause, KillReason, Marker, Running};
use crate::engine::batch::{Batch, CAREFUL_AFTER, InFlight, Origin};
use crate::engine::invariant::Checked;
use crate::engine::routing::router::PartitionId;
use crate::engine::workers::Seat;
use crate::engine::{Action, Engine, EngineError};
use crate::ids::{Generation, SlotId};

/// A replay that takes less time is not worth a snapshot.
const LEAST_REPLAY_BUDGET: Duration = Duration::from_millis(10);
/// The journal of a slot whose state cannot be pickled may grow to this many times the queue bound.
pub(in crate::engine) const JOURNAL_QUEUES: usize = 4;

/// A worker's memory.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Weight {
    pub(in crate::engine) resident: u64,
    pub(in crate::engine) limit: u64,
}

impl Engine {
    /// Seats a worker. It is given the snapshots of its slot, and then the journal.
    pub(in crate::engine) fn seat(
        &mut self,
        slot: SlotId,
        generation: Generation,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        if !self.workers.sit(slot, generation, actions) {
            return Ok(());
        }
        self.recovery.forbid(slot, generation, actions);
        let batches: Vec<Batch> = self.recovery.journal(slot).cloned().collect();
        let replay = batches.into_iter().filter_map(|batch| self.uncovered(slot, batch)).collect();
        let recovery = &mut self.recovery.slots[slot];
        recovery.request = None;
        recovery.replay = replay;
        recovery.missed = 0;
        let partitions: Vec<PartitionId> = self.routing.router().partitions_of(slot).collect();
        self.recovery.install(slot, generation, &partitions, self.config.eager_restore_bytes, actions)?;
        self.dispatch.open(slot);
        Ok(())
    }

    /// The part of a journaled batch that is in no snapshot, and whose keys still live in the slot.
    pub(in crate::engine) fn uncovered(&self, slot: SlotId, batch: Batch) -> Option<Batch> {
        let id = batch.id;
        part_of(batch, &self.routing, |partition, key| {
            self.routing.router().slot(partition) == slot && !self.recovery.covers(partition, key, id)
        })
    }

    /// The part of a keyed batch whose keys live in a slot.
    pub(in crate::engine) fn part_in(&self, slot: SlotId, batch: Batch) -> Option<Batch> {
        part_of(batch, &self.routing, |partition, _| self.routing.router().slot(partition) == slot)
    }

    /// Takes in that a worker has died.
    pub(in crate::engine) fn lose(
        &mut self,
        slot: SlotId,
        generation: Generation,
        death: Death,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        let Some(loss) = self.workers.bury(slot, generation, death, now) else { return Ok(()) };
        let recovery = &mut self.recovery.slots[slot];
        recovery.request = None;
        recovery.arrived.clear();
        recovery.replay.clear();
        recovery.missed = 0;
        recovery.lost_at.get_or_insert(now);
        let (deaths, cause) = (loss.in_a_row, loss.death.cause.to_string());
        if let Some(reason) = recovery.unrecoverable.clone() {
            let slot = self.slot_name(slot);
            actions.push(Action::Fail(EngineError::StateLost { slot, cause, reason }));
            return Ok(());
        }
        if loss.hopeless {
            let slot = self.slot_name(slot);
            actions.push(Action::Fail(EngineError::RecoveryFails { slot, deaths, cause }));
            return Ok(());
        }
        let mut abandoned = self.dispatch.abandon(slot);
        for in_flight in &abandoned {
            self.end_trial(in_flight.batch.stage);
        }
        self.judge(slot, &mut abandoned, &loss.death, now, actions);
        for InFlight { batch, .. } in
            abandoned.into_iter().rev().filter(|abandoned| !abandoned.replay && !abandoned.withdrawn)
        {
            self.run_again(slot, batch, &loss.death.cause, actions)?;
        }
        if !self.workers.is_closing(slot) {
            actions.push(Action::Seat { slot });
        }
        Ok(())
    }

    /// Counts a death against the batch that was running, and convicts a message of it when that is proven.
    fn judge<'a>(
        &mut self,
        slot: SlotId,
        abandoned: impl IntoIterator<Item = &'a mut InFlight>,
        death: &Death,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if death.cause == DeathCause::Killed(KillReason::Retired) {
            // What it was at has nothing to do with that.
            return;
        }
        let hung = matches!(death.cause, DeathCause::Killed(KillReason::Timeout(_)));
        let mut abandoned = abandoned.into_iter();
        let running = match &death.marker {
            Some(Marker::Saving(key)) => {
                let warning = self.recovery.note_fatal_saving(slot, key, &death.cause, now);
                return self.note_verdict(slot, warning, actions);
            }
            Some(Marker::Loading(key)) => {
                let warning = self.recovery.note_fatal_loading(key, &death.cause, now);
                if warning.is_some() {
                    // The key may move to any of them.
                    let workers = self.workers.ids().into_iter();
                    let workers = workers.filter_map(|slot| Some((slot, self.workers.available(slot)?)));
                    workers.for_each(|(slot, generation)| self.recovery.forbid(slot, generation, actions));
                }
                return self.note_verdict(slot, warning, actions);
            }
            Some(Marker::Running(marker)) => abandoned.find(|abandoned| abandoned.batch.id == marker.batch),
            None | Some(Marker::Done(_)) if hung => abandoned.next(),
            // Its answer has not arrived: it died of it, or of what the batch has done to it.
            Some(Marker::Done(batch)) => abandoned.find(|abandoned| abandoned.batch.id == *batch),
            None => None,
        };
        let noted = death.marker.as_ref().and_then(Marker::running);
        let Some(InFlight { batch, replay, withdrawn: false, alive, .. }) = running else { return };
        if *replay {
            // It went well before.
            if let Some(Running { node, .. }) = noted.filter(|_| hung) {
                self.pause(batch.stage, node, now, actions);
                self.workers.note_progress(slot);
            }
            return;
        }
        let was_careful = batch.deaths >= CAREFUL_AFTER;
        batch.struck += 1;
        // A hang is not tried again as it was: that would cost a whole timeout to learn nothing.
        batch.deaths = if hung && !was_careful { CAREFUL_AFTER } else { batch.deaths + 1 };
        if !was_careful {
            return;
        }
        if let Some(Running { node, message: Some(message), .. }) = noted.filter(|_| hung)
            && !self.is_guilty_of_hang(batch, message, node, *alive, now, actions)
        {
            if self.recovery.is_waiting(batch.stage) {
                self.workers.note_progress(slot);
            }
            return;
        }
        if self.convict(batch, death) {
            self.workers.note_progress(slot);
        }
    }

    /// Takes in that a state is not tried again, if there is such a warning: the slot gets on.
    fn note_verdict(&mut self, slot: SlotId, warning: Option<String>, actions: &mut Vec<Action>) {
        if let Some(warning) = warning {
            actions.push(Action::Warn(warning));
            self.workers.note_progress(slot);
        }
    }

    /// Puts a batch of a dead worker, the last one first, where it is run again.
    fn run_again(&mut self, slot: SlotId, batch: Batch, cause: &DeathCause, actions: &mut Vec<Action>) -> Checked<()> {
        match batch.origin {
            Origin::Frames { .. } | Origin::Values { .. } => {
                self.recovery.repeat_first(batch);
            }
            Origin::Cut { connection } => self.cut_again(batch, connection, cause, actions),
            Origin::Groups => self.recovery.slots[slot].repeat.push_front(batch),
            Origin::Generate => self.generate_again(slot, batch)?,
        }
        Ok(())
    }

    /// Lets a worker finish what it was sent and be replaced, unless it rebuilds its state, its successor could not rebuild it, or
    /// another worker sits there.
    pub(in crate::engine) fn retire(
        &mut self,
        slot: SlotId,
        generation: Generation,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        let is_here = self.workers.available(slot) == Some(generation);
        if is_here && self.recovery.has_replayed(slot) && self.recovery.unrecoverable(slot).is_none() {
            self.workers.retire(slot);
            self.dispatch.close(slot);
            self.after_batch(slot, now, actions)?;
        }
        Ok(())
    }

    /// Replaces a worker above its memory limit between two batches; one far above it is killed.
    pub(in crate::engine) fn overweight(
        &mut self,
        slot: SlotId,
        generation: Generation,
        weight: Weight,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        if !self.workers.hears(slot, generation) {
            return Ok(());
        }
        let Weight { resident, limit } = weight;
        if resident > limit / 4 * 5 {
            self.kill(slot, KillReason::Memory { resident, limit }, actions);
        } else if self.workers.available(slot) == Some(generation) && self.recovery.unrecoverable(slot).is_none() {
            actions.push(Action::Warn(format!(
                "the worker in {} has {resident} bytes resident, above its limit of {limit}: it is replaced",
                self.slot_name(slot)
            )));
            self.retire(slot, generation, now, actions)?;
        }
        Ok(())
    }

    pub(in crate::engine) fn kill(&mut self, slot: SlotId, reason: KillReason, actions: &mut Vec<Action>) {
        self.workers.kill(slot, reason, actions);
        self.dispatch.close(slot);
    }

    /// Takes in that a worker has moved on.
    pub(in crate::engine) fn moved(&mut self, slot: SlotId, generation: Generation, now: Duration) {
        if self.workers.hears(slot, generation) {
            self.dispatch.moved(slot, now);
            self.recovery.slots[slot].alive = now;
        }
    }

    /// Kills workers that have neither answered nor moved on in time, and asks idle ones for snapshots of what they have changed.
    pub(in crate::engine) fn check_deadlines(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let timeout = self.config.step_timeout;
        for slot in self.workers.ids() {
            if self.alive(slot).is_some_and(|alive| alive + timeout <= now) {
                self.kill(slot, KillReason::Timeout(timeout), actions);
            } else if self.is_slot_idle(slot)
                && !self.recovery.is_unpicklable(slot)
                && self.recovery.journal_size(slot).batches > 0
            {
                self.request_snapshot(slot, now, actions);
            }
        }
    }

    /// When [`Event::Tick`](crate::engine::Event::Tick) is next needed.
    pub fn next_deadline(&self) -> Option<Duration> {
        let alive = self.workers.ids().into_iter().filter_map(|slot| self.alive(slot)).min();
        let hung = alive.map(|alive| alive + self.config.step_timeout);
        hung.into_iter().chain(self.next_relief()).chain(self.next_trial()).chain(self.next_fill()).min()
    }

    /// When the worker of a slot last gave a sign of life, if an answer of it is awaited.
    fn alive(&self, slot: SlotId) -> Option<Duration> {
        self.dispatch.alive(slot).or_else(|| self.recovery.alive(slot))
    }

    /// Does what is due once a slot has answered a batch: retirement, or a snapshot when its journal has grown too long.
    pub(in crate::engine) fn after_batch(
        &mut self,
        slot: SlotId,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        let may_retire = self.recovery.has_replayed(slot) && self.recovery.unrecoverable(slot).is_none();
        if may_retire && self.workers.is_worn_out(slot) {
            self.workers.retire(slot);
            self.dispatch.close(slot);
        }
        if matches!(self.workers.seat(slot), Seat::Retiring(_)) && self.dispatch.front(slot).is_none() {
            self.kill(slot, KillReason::Retired, actions);
            return Ok(());
        }
        let size = self.recovery.journal_size(slot);
        let recovery = &mut self.recovery.slots[slot];
        if recovery.unpicklable.is_some() && size.bytes > JOURNAL_QUEUES * self.config.queue_bytes {
            if self.commit.is_logged()
                && let Some(reason) = recovery.unpicklable.clone()
            {
                // Given up here, it would be lost at the next start.
                actions.push(Action::Fail(EngineError::StateUnsaved { slot: self.slot_name(slot), reason }));
                return Ok(());
            }
            if let Some(reason) = recovery.unpicklable.take() {
                actions.push(Action::Warn(format!(
                    "{reason}; its journal no longer fits: if its worker dies, the run ends"
                )));
                recovery.unrecoverable = Some(reason);
            }
            return self.recovery.ledger.truncate(slot, None);
        }
        let kept = recovery.incompressible;
        let since_death = self.workers.last_death(slot).map(|death| now.saturating_sub(death));
        let budget = replay_budget(self.config.replay_budget, since_death);
        // Asked for at half the budget: the journal goes on growing until the snapshots are here.
        if size.replay > (budget / 2).max(kept.replay * 2) || size.bytes > self.config.queue_bytes.max(kept.bytes * 2) {
            self.request_snapshot(slot, now, actions);
        }
        Ok(())
    }
}

/// Time that the replay of a slot's journal may take. Workers that die often leave little to replay, or nothing else would get
/// done: an eighth of the time since the last death, and never more than `most`.
fn replay_budget(most: Duration, since_last_death: Option<Duration>) -> Duration {
    since_last_death.map_or(most, |since| (since / 8).max(LEAST_REPLAY_BUDGET).min(most))
}
