//! How batches are formed: what waits for a stage, whether its outputs have room, and how much of it makes a batch.

use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{BatchId, StageId, input};

use super::{Dispatch, SharedWork};
use crate::engine::batch::{Batch, Origin};
use crate::engine::invariant::Checked;
use crate::engine::routing::lane::TakenGroups;
use crate::engine::times::Times;
use crate::engine::{Action, Engine};
use crate::ids::{KeyspaceId, PoolId, SlotId, SourceId};
use crate::plan::{Input, Target};

impl Dispatch {
    /// Numbers batches from `next` on.
    pub(in crate::engine) fn number_from(&mut self, next: BatchId) {
        self.next_batch = next.0;
    }
}

impl Engine {
    /// How much of what any worker of a pool may run could be sent now, if anything.
    pub(super) fn shared_work(&mut self, pool: PoolId, now: Duration) -> Option<SharedWork> {
        let mut found = None;
        for index in 0..self.dispatch.pools[pool.index()].shared.len() {
            let stage = self.dispatch.pools[pool.index()].shared[index];
            if self.recovery.has_batches_of(stage) {
                return Some(SharedWork::Much);
            }
            let Some(waiting) = self.waiting(stage, SlotId { pool, number: 0 }) else { continue };
            if !self.has_room(stage) || self.waits_to_fill(stage, SlotId { pool, number: 0 }, waiting, now) {
                continue;
            }
            if !self.dispatch.is_little(stage, waiting) {
                return Some(SharedWork::Much);
            }
            found = Some(SharedWork::Little);
        }
        found
    }

    /// Messages of a stage that a slot could be sent, if anything waits. Uncut bytes and generators count as many: nobody knows how
    /// many. A group may have no messages at all.
    pub(super) fn waiting(&self, stage: StageId, slot: SlotId) -> Option<usize> {
        match self.plan.stages[stage.index()].input {
            Input::Frames(source) => Some(self.intake.frames(source)).filter(|frames| *frames > 0),
            Input::Cut(source) => self.may_cut(stage, slot.pool, source).then_some(usize::MAX),
            Input::Generate(source, keyspace) => self.may_generate(slot, source, keyspace).then_some(usize::MAX),
            Input::Groups(_) => self.routing.waiting(stage, slot),
            Input::Values => self.routing.waiting_values(stage),
        }
    }

    /// Whether bytes of a source may be cut: they are not cut far ahead of the frames that are processed.
    fn may_cut(&self, stage: StageId, pool: PoolId, source: SourceId) -> bool {
        let most = self.messages_a_batch(stage);
        self.intake.has_uncut(source) && self.intake.frames(source) < most as usize * self.workers.count(pool) as usize
    }

    fn may_generate(&self, slot: SlotId, source: SourceId, keyspace: KeyspaceId) -> bool {
        let partition = self.routing.partition(keyspace, &[]);
        !self.intake.has_ended(source)
            && self.routing.router().slot(partition) == slot
            && !self.routing.is_held(partition)
    }

    /// Whether a stage may produce more: its steps work, and what it produces has somewhere to wait. Cut frames wait with their source.
    pub(super) fn has_room(&self, stage: StageId) -> bool {
        let limit = self.config.queue_bytes;
        let plan = &self.plan.stages[stage.index()];
        if self.recovery.is_waiting(stage) {
            return false;
        }
        matches!(plan.input, Input::Cut(_))
            || self.sinks.letter_bytes() < limit
                && self.commit.unsaved_bytes() < limit
                && self.order.held_bytes(stage) < limit
                && plan.outlets.iter().all(|(_, target)| match target {
                    Target::Stage(stage) => self.routing.bytes(*stage) < limit && !self.takes_long(*stage),
                    Target::Sink(sink) => self.sinks.pending_bytes(*sink) < limit,
                })
    }

    /// Forms a batch of `stage` for `slot`.
    pub(super) fn form(
        &mut self,
        stage: StageId,
        slot: SlotId,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Checked<Option<Batch>> {
        let most = self.messages_a_batch(stage);
        let most_bytes = self.config.batch_bytes;
        Ok(match self.plan.stages[stage.index()].input {
            Input::Frames(source) => {
                let Some(taken) = self.intake.take(source, most, most_bytes, now, actions) else { return Ok(None) };
                let sequence = self.order.issue(stage);
                let received_at = self.time.since_begin(taken.arrivals.earliest());
                let times = self.time.begin(stage, taken.arrivals);
                let (connections, position) = (taken.connections, taken.position);
                let origin = Origin::Frames { sequence, connections, position };
                Some(self.batch(stage, taken.input, taken.messages, received_at, origin, times))
            }
            Input::Cut(source) => self.intake.take_uncut(source).map(|(connection, bytes)| {
                self.batch(stage, input::cut(&bytes), 1, now, Origin::Cut { connection }, Times::default())
            }),
            Input::Generate(..) => {
                let times = self.time.begin(stage, Times::of(most, self.time.wall_clock(now)));
                Some(self.batch(stage, input::generate(most), most, now, Origin::Generate, times))
            }
            Input::Groups(_) => {
                let taken = self.routing.take(stage, slot, most, most_bytes)?;
                taken.map(|taken| self.batch_of(stage, taken, Origin::Groups))
            }
            Input::Values => {
                let taken = self.routing.take_values(stage, most, most_bytes)?;
                taken.map(|taken| {
                    let sequence = self.order.issue(stage);
                    self.batch_of(stage, taken, Origin::Values { sequence })
                })
            }
        })
    }

    fn batch_of(&mut self, stage: StageId, taken: TakenGroups, origin: Origin) -> Batch {
        self.batch(stage, taken.input, taken.messages, taken.received_at, origin, taken.times)
    }

    fn batch(
        &mut self,
        stage: StageId,
        input: Bytes,
        messages: u32,
        received_at: Duration,
        origin: Origin,
        times: Times,
    ) -> Batch {
        Batch::new(self.dispatch.number_batch(), stage, (input, messages), received_at, origin, times)
    }
}
