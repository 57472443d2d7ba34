//! Which batch goes to which worker next, and how large it is.

use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{StageId, Timing, input};

use super::batch::{InFlight, Origin, Suspicion, Work};
use super::times::Times;
use super::{Action, Engine};
use crate::ids::SlotId;
use crate::plan::{Input, Target};

/// The part of `service_target` that a worker has to be busy with before more than one batch waits for it.
const LEAST_PART: u32 = 10;

impl Engine {
    /// Sends work until every worker has a full window or nothing may be sent. Every worker gets its first batch before any gets
    /// its second.
    pub(super) fn dispatch(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for depth in 0..self.config.window {
            for pool in self.plan.pools() {
                let slots = self.slots.of(pool).len();
                for offset in 0..slots {
                    let slot = SlotId { pool, number: ((self.first_slot + offset) % slots) as u32 };
                    if self.slots[slot].in_flight.len() <= depth && self.slots[slot].worker().is_some() {
                        self.offer(slot, now, actions);
                    }
                }
            }
        }
        self.first_slot = self.first_slot.wrapping_add(1);
    }

    /// Sends one batch to a slot's worker, if there is one for it.
    fn offer(&mut self, slot: SlotId, now: Duration, actions: &mut Vec<Action>) {
        let state = &mut self.slots[slot];
        if let Some(work) = state.replay.pop_front() {
            return self.send(slot, work, true, now, actions);
        }
        if let Some(work) = state.repeat.pop_front() {
            return self.send(slot, work, false, now, actions);
        }
        // What was begun comes before what was not: it may be what the resequencer waits for, whatever the room downstream.
        for stage in 0..self.stages.len() {
            if self.plan.stages[stage].pool == slot.pool
                && let Some(work) = self.stages[stage].retry.pop_front()
            {
                return self.send(slot, work, false, now, actions);
            }
        }
        let has_little = self.has_little(slot);
        for index in 0..self.by_depth.len() {
            let stage = self.by_depth[index];
            if self.plan.stages[stage.index()].pool != slot.pool || has_little && self.is_little(stage, slot) {
                continue;
            }
            if let Some(work) = self.form(stage, slot, now, actions) {
                if matches!(self.plan.stages[stage.index()].input, Input::Frames(_) | Input::Values) {
                    self.let_others_go_first(index);
                }
                return self.send(slot, work, false, now, actions);
            }
        }
    }

    /// Whether a worker has been sent something, and will soon be done with all of it.
    ///
    /// A further batch is sent ahead so that the worker need not wait for it. Where batches are a message or two, that saves little
    /// and costs much: each batch takes the worker some 20 µs whatever is in it. So little is not sent after little, as in Nagle's
    /// rule for TCP, and the batches of a busy stage grow.
    fn has_little(&self, slot: SlotId) -> bool {
        let in_flight = &self.slots[slot].in_flight;
        let expected = |flying: &InFlight| self.expected(flying.work.stage, flying.work.messages as usize);
        !in_flight.is_empty()
            && in_flight.iter().map(expected).sum::<Duration>() < self.config.service_target / LEAST_PART
    }

    /// Whether what waits for a stage keeps a worker busy for a short time only.
    fn is_little(&self, stage: StageId, slot: SlotId) -> bool {
        let state = &self.stages[stage.index()];
        let messages = match self.plan.stages[stage.index()].input {
            Input::Frames(source) => self.sources[source.index()].queue.len(),
            Input::Groups(_) => self.slots[slot].lanes[stage.index()].messages(),
            Input::Values => state.values.messages(),
            Input::Cut(_) | Input::Generate(..) => return false,
        };
        self.expected(stage, messages) < self.config.service_target / LEAST_PART
    }

    /// How long a worker is expected to take for so many messages of a stage. A stage of which nothing is known is taken for slow.
    fn expected(&self, stage: StageId, messages: usize) -> Duration {
        let average = self.stages[stage.index()].service.average();
        average.map_or(self.config.service_target, |average| {
            average.saturating_mul(messages.try_into().unwrap_or(u32::MAX))
        })
    }

    /// Moves a stage behind those of the same depth, so that sources take turns.
    fn let_others_go_first(&mut self, index: usize) {
        let depth = |stage: &StageId| self.plan.stages[stage.index()].depth;
        let own = depth(&self.by_depth[index]);
        let end = index + self.by_depth[index..].iter().take_while(|stage| depth(stage) == own).count();
        self.by_depth[index..end].rotate_left(1);
    }

    /// Forms a batch of `stage` for `slot`.
    fn form(&mut self, stage: StageId, slot: SlotId, now: Duration, actions: &mut Vec<Action>) -> Option<Work> {
        let plan = &self.plan.stages[stage.index()];
        let most =
            self.stages[stage.index()].service.messages_within(self.config.service_target, self.config.batch_messages);
        match plan.input {
            Input::Frames(source) => {
                if self.sources[source.index()].queue.is_empty() || !self.has_room(stage) {
                    return None;
                }
                let taken = self.sources[source.index()].queue.take(most, self.config.batch_bytes)?;
                if taken.released > 0 {
                    actions.push(Action::Credit { source, bytes: taken.released });
                }
                let sequence = self.stages[stage.index()].resequencer.issue();
                let origin = Origin::Frames { sequence, connections: taken.connections };
                let arrived = self.since_begin(taken.arrivals.earliest());
                let times = self.begin(stage, taken.arrivals);
                Some(self.work(stage, taken.input, taken.messages, arrived, origin, times))
            }
            Input::Cut(source) => {
                if self.sources[source.index()].queue.len() >= most as usize * self.slots.of(slot.pool).len() {
                    return None;
                }
                let (connection, bytes) = self.sources[source.index()].cutting.take()?;
                Some(self.work(stage, input::cut(&bytes), 1, now, Origin::Cut { connection }, Times::default()))
            }
            Input::Generate(source, keyspace) => {
                let partition = self.router.partition(keyspace, &[]);
                let elsewhere = self.router.slot(partition) != slot || self.is_held(partition);
                if elsewhere || self.sources[source.index()].ended || !self.has_room(stage) {
                    return None;
                }
                let times = self.begin(stage, Times::of(most, self.wall_clock(now)));
                Some(self.work(stage, input::generate(most), most, now, Origin::Generate, times))
            }
            Input::Groups(_) => {
                if self.slots[slot].lanes[stage.index()].is_empty() || !self.has_room(stage) {
                    return None;
                }
                let state = &mut self.slots[slot];
                let taken = state.lanes[stage.index()].take(most, self.config.batch_bytes)?;
                self.stages[stage.index()].queued_bytes -= taken.bytes;
                Some(self.work(stage, taken.input, taken.messages, taken.arrived, Origin::Groups, taken.times))
            }
            Input::Values => {
                if self.stages[stage.index()].values.is_empty() || !self.has_room(stage) {
                    return None;
                }
                let state = &mut self.stages[stage.index()];
                let taken = state.values.take(most, self.config.batch_bytes)?;
                state.queued_bytes -= taken.bytes;
                let origin = Origin::Values { sequence: state.resequencer.issue() };
                Some(self.work(stage, taken.input, taken.messages, taken.arrived, origin, taken.times))
            }
        }
    }

    fn work(
        &mut self,
        stage: StageId,
        input: Bytes,
        messages: u32,
        arrived: Duration,
        origin: Origin,
        times: Times,
    ) -> Work {
        Work {
            batch: self.next_batch(),
            stage,
            input,
            messages,
            arrived,
            origin,
            times,
            skip: Vec::new(),
            deaths: 0,
            suspicion: Suspicion::default(),
        }
    }

    /// Whether a stage may produce more: what it produces has somewhere to wait.
    fn has_room(&self, stage: StageId) -> bool {
        let limit = self.config.queue_bytes;
        self.stages[stage.index()].resequencer.held_bytes() < limit
            && self.plan.stages[stage.index()].outlets.iter().all(|(_, target)| match target {
                Target::Stage(stage) => self.stages[stage.index()].queued_bytes < limit,
                Target::Sink(sink) => self.sinks[sink.index()].pending_bytes < limit,
            })
    }

    fn send(&mut self, slot: SlotId, work: Work, replay: bool, now: Duration, actions: &mut Vec<Action>) {
        let Some(generation) = self.slots[slot].worker() else { return };
        self.restore_for(slot, generation, &work, actions);
        actions.push(Action::Send { slot, generation, message: work.message(replay) });
        let (outputs, failures, timing) = (Vec::new(), Vec::new(), Timing::default());
        let in_flight = InFlight { work, replay, begun: now, outputs, failures, timing };
        self.slots[slot].in_flight.push_back(in_flight);
    }
}

#[cfg(test)]
mod tests;
