//! Slow keys: a call that takes long for one key must not hold up what has nothing to do with it. A batch that any worker may run is
//! not sent to a worker that is late, and one that was sent there before is withdrawn and given to another worker.
//!
//! The worker looks at the mark of a withdrawal when it takes up a batch, and answers a withdrawn one without running it. It may have
//! begun just before; its answer is dropped in any case. So what leaves the stage comes from one run, as after a worker's death.

use std::time::Duration;

use wallaroo_protocol::BatchId;

use super::Dispatch;
use crate::engine::batch::{Batch, Origin};
use crate::engine::{Action, Engine};
use crate::ids::{PoolId, SlotId};

/// A worker that is busy for longer, or will be, is late: several times what a batch is meant to take.
const LATE: Duration = Duration::from_millis(15);
/// A worker that is at one batch for longer is stuck.
const STUCK: Duration = Duration::from_secs(1);
/// The least time between two looks for batches that wait behind a late one.
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Dispatch {
    /// Whether a slot's worker is busy for so long that nothing which another worker could run should wait for it.
    pub(in crate::engine) fn is_late(&self, slot: SlotId, now: Duration) -> bool {
        let in_flight = &self.slots[slot].in_flight;
        let Some(front) = in_flight.front() else { return false };
        let expected: Duration = in_flight.iter().map(|flying| flying.expected).sum();
        expected > LATE || now.saturating_sub(front.begun) > LATE
    }

    /// Whether a slot's worker has been at one batch for so long that what waits for the slot says nothing of how fast others are.
    pub(in crate::engine) fn is_stuck(&self, slot: SlotId, now: Duration) -> bool {
        self.slots[slot].in_flight.front().is_some_and(|front| now.saturating_sub(front.begun) > STUCK)
    }

    /// Whether some worker has been sent, behind another batch, one that any worker could run.
    pub(in crate::engine) fn has_behind(&self) -> bool {
        self.pools.iter().any(|pool| !pool.behind.is_empty())
    }

    /// Whether the batch that a slot's worker is to answer next was withdrawn.
    pub(in crate::engine) fn is_withdrawn(&self, slot: SlotId) -> bool {
        self.slots[slot].in_flight.front().is_some_and(|front| front.withdrawn)
    }

    /// Marks the batch behind the one that a slot's worker is at as withdrawn. Returns its number, and a copy for another worker. The
    /// copy has a number of its own: it may come to the same worker again, which must not take it for the one that was withdrawn.
    fn withdraw(&mut self, slot: SlotId) -> Option<(BatchId, Batch)> {
        let second = self.slots[slot].in_flight.get_mut(1)?;
        if second.withdrawn || second.replay || !is_shared(&second.batch) {
            return None;
        }
        second.withdrawn = true;
        let (withdrawn, copy) = (second.batch.id, second.batch.clone());
        self.refresh(slot);
        Some((withdrawn, Batch { id: self.number_batch(), ..copy }))
    }
}

/// Whether any worker of its pool may run a batch.
pub(super) fn is_shared(batch: &Batch) -> bool {
    matches!(batch.origin, Origin::Frames { .. } | Origin::Values { .. } | Origin::Cut { .. })
}

impl Engine {
    /// Whether time alone may call for another turn, because a batch may have to be withdrawn.
    pub fn may_withdraw(&self) -> bool {
        self.dispatch.has_behind()
    }

    /// Withdraws batches that wait behind a late one, if another worker could run them.
    pub(super) fn withdraw_stuck(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if now < self.dispatch.next_look || !self.dispatch.has_behind() {
            return;
        }
        self.dispatch.next_look = now + LOOK_EVERY;
        for pool in (0..self.dispatch.pools.len() as u32).map(PoolId) {
            let slots = (0..self.workers.count(pool)).map(|number| SlotId { pool, number });
            let (late, others): (Vec<SlotId>, Vec<SlotId>) = slots.partition(|slot| self.dispatch.is_late(*slot, now));
            let is_free = |slot: &SlotId| {
                let window = &self.dispatch.slots[*slot];
                window.open && window.in_flight.len() < self.dispatch.window
            };
            if !others.iter().any(is_free) {
                continue;
            }
            for slot in late {
                if let Some(generation) = self.workers.available(slot)
                    && let Some((batch, copy)) = self.dispatch.withdraw(slot)
                {
                    actions.push(Action::Withdraw { slot, generation, batch });
                    self.recovery.repeat_first(copy);
                }
            }
        }
    }
}
