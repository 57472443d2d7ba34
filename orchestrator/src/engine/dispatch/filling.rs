//! Stages that wait for fuller batches, because a step of theirs asks for that: `max_batch` and `max_wait`.
//!
//! Who waits is looked at again when more arrives, and when the first message has waited for long enough.

use std::time::Duration;

use wallaroo_protocol::StageId;

use crate::engine::Engine;
use crate::ids::SlotId;
use crate::plan::Input;

impl Engine {
    /// Whether `waiting` messages of a stage, which a slot could be sent, wait for more.
    pub(super) fn waits_to_fill(&mut self, stage: StageId, slot: SlotId, waiting: usize, now: Duration) -> bool {
        let Some(fill) = self.plan.stages[stage.index()].fill else { return false };
        if waiting >= fill.messages as usize || self.draining {
            return false;
        }
        let Some(since) = self.waiting_since(stage, slot) else { return false };
        let due = since + Duration::from_nanos(fill.wait);
        if due <= now {
            return false;
        }
        let next = &mut self.dispatch.next_fill;
        *next = Some(next.map_or(due, |next| next.min(due)));
        true
    }

    /// When the engine was given the first message of a stage that a slot could be sent.
    fn waiting_since(&self, stage: StageId, slot: SlotId) -> Option<Duration> {
        match self.plan.stages[stage.index()].input {
            Input::Frames(source) => self.intake.first_arrival(source).map(|time| self.time.since_begin(Some(time))),
            Input::Groups(_) => self.routing.waiting_since(stage, slot),
            Input::Values => self.routing.values_waiting_since(stage),
            Input::Cut(_) | Input::Generate(..) => None,
        }
    }

    /// Has all slots looked at once a stage has waited for long enough.
    pub(super) fn end_filling(&mut self, now: Duration) {
        if self.dispatch.next_fill.take_if(|due| *due <= now).is_some() {
            self.wake_all();
        }
    }

    /// When a stage that waits for fuller batches has waited for long enough.
    pub(in crate::engine) fn next_fill(&self) -> Option<Duration> {
        self.dispatch.next_fill
    }
}
