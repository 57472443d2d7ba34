//! How many messages of a stage are done within the queue time: what may wait for it, and what a batch above it may make.
//!
//! Messages take as long as is typical, in their own stage and in those below. A call that takes long for one key says nothing of the
//! keys that wait for other slots, so it does not count. Wrong estimates make queues long or batches small, and hold nothing up:
//! some messages may always wait.

use wallaroo_protocol::StageId;

use crate::engine::Engine;
use crate::ids::SlotId;
use crate::plan::Target;

/// Messages that may wait for a worker, however long they take.
const LEAST: usize = 16;
/// What is in flight may make one of so many parts of what may wait.
const IN_FLIGHT_PART: usize = 4;
/// Messages that one message makes below a stage, at most, and at least one of so many.
const MOST_FANNED: f64 = 1000.0;

impl Engine {
    /// Computes anew how much each stage does within the queue time.
    pub(super) fn estimate(&mut self) {
        for index in 0..self.dispatch.by_depth.len() {
            // Deepest first, so what is below is known.
            let stage = self.dispatch.by_depth[index];
            let workers = self.workers_of(stage);
            let own = self.dispatch.messages_within(stage, self.config.queue_time).saturating_mul(workers);
            let below = self.plan.stages[stage.index()].outlets.iter().filter_map(|(_, target)| match target {
                Target::Stage(below) => {
                    Some((self.dispatch.in_time[below.index()] as f64 / self.fanned(stage, *below)) as usize)
                }
                Target::Sink(_) => None,
            });
            let fill = self.plan.stages[stage.index()].fill.map_or(0, |fill| fill.messages as usize);
            self.dispatch.in_time[stage.index()] = below.fold(own, usize::min).max(LEAST.max(fill) * workers);
        }
    }

    /// Messages that a message of a stage has made for one below it, on average.
    fn fanned(&self, stage: StageId, below: StageId) -> f64 {
        let (made, of) = (self.routing.received(below), self.dispatch.processed(stage).0);
        if of == 0 { 1.0 } else { (made as f64 / of as f64).clamp(1.0 / MOST_FANNED, MOST_FANNED) }
    }

    fn workers_of(&self, stage: StageId) -> usize {
        (self.workers.count(self.plan.stages[stage.index()].pool) as usize).max(1)
    }

    /// Whether more waits for a stage, in one slot or for the workers of a pool together, than is done within the queue time.
    pub(super) fn takes_long(&self, stage: StageId) -> bool {
        let (in_time, workers) = (self.dispatch.in_time[stage.index()], self.workers_of(stage));
        // What waits for a slot whose worker is away, or stuck, must not stop the others.
        let counts =
            |slot: SlotId| self.workers.available(slot).is_some() && !self.dispatch.is_stuck(slot, self.dispatch.now);
        self.routing.waits_longer(stage, in_time / workers, workers, counts)
    }

    /// Messages in a batch of a stage, at most. The batches in flight together make a small part of what is done below within the queue
    /// time: that comes on top of what waits there.
    pub(in crate::engine) fn messages_a_batch(&self, stage: StageId) -> u32 {
        let in_flight = self.config.window * self.workers_of(stage) * IN_FLIGHT_PART;
        let share = self.dispatch.in_time[stage.index()].div_ceil(in_flight).try_into().unwrap_or(u32::MAX);
        let most = self.dispatch.messages_a_batch(stage, self.config.batch_messages).min(share);
        let fill = self.plan.stages[stage.index()].fill.map_or(0, |fill| fill.messages);
        most.max(fill).min(self.config.batch_messages)
    }

    /// Messages of a stage with which all its workers are busy until more have been read.
    pub(in crate::engine) fn busy_messages(&self, stage: StageId) -> usize {
        self.messages_a_batch(stage) as usize * self.config.window * self.workers_of(stage)
    }
}
