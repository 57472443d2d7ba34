//! Which batch goes to which worker next. Owns what has been sent and not answered, the measured cost of each stage, and the sets
//! of slots that may be sent more.
//!
//! A slot is looked at when something about it has changed, not at each turn: what it could be sent waits in its own lanes, or is
//! to be repeated there. What any worker of a pool may run is offered to slots that have credit, as long as there is some.

mod filling;
mod form;
mod in_time;
mod ready;
mod service_time;
mod withdrawal;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use wallaroo_protocol::{BatchId, StageId};

use self::ready::{SlotSet, Visit};
use self::service_time::ServiceTime;
use self::withdrawal::is_shared;
use super::batch::{Answer, Batch, InFlight};
use super::invariant::{Checked, Invariant};
use super::slots::Slots;
use super::{Action, Engine, EngineConfig};
use crate::ids::{PoolId, SlotId};
use crate::plan::{Input, Plan};

/// A batch that has taken longer says how long messages take, before it is answered.
const LONG: Duration = Duration::from_secs(1);

/// The part of the service target that a worker has to be busy for before small batches are sent ahead.
const LEAST_PART: u32 = 10;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Dispatch {
    plan: Arc<Plan>,
    window: usize,
    service_target: Duration,
    slots: Slots<Window>,
    stages: Vec<StageLoad>,
    /// Stages in the order in which a free worker looks for work: nearest the sinks first. Sources of equal depth take turns.
    by_depth: Vec<StageId>,
    pools: Vec<PoolSlots>,
    /// Messages of each stage that its workers do within the queue time.
    in_time: Vec<usize>,
    next_batch: u64,
    /// When a stage that waits for a fuller batch has waited for long enough.
    next_fill: Option<Duration>,
    /// The time of this turn.
    now: Duration,
    /// When batches that wait behind a late one are next looked for.
    next_look: Duration,
}

/// What a slot's worker has been sent.
#[derive(Debug, Default)]
struct Window {
    /// Batches that are not answered, in the order sent. Workers answer in that order.
    in_flight: VecDeque<InFlight>,
    /// The worker may be sent batches.
    open: bool,
}

/// What is known of a stage's work.
#[derive(Debug, Default)]
struct StageLoad {
    service: ServiceTime,
    messages: u64,
    batches: u64,
}

/// The slots of a pool, by what they can do.
#[derive(Debug, Default)]
struct PoolSlots {
    /// Stages that any worker of the pool may run.
    shared: Vec<StageId>,
    /// `credit[n]`: open slots with at most `n` batches in flight.
    credit: Vec<SlotSet>,
    /// Slots that have something in flight and will soon be done with it.
    soon_done: SlotSet,
    /// Slots that were sent, behind another batch, one that any worker could run.
    behind: SlotSet,
    /// Slots about which something has changed since they were last found to have nothing to do.
    changed: SlotSet,
    /// By stage: slots with work of that stage for whose outputs there was no room.
    parked: Vec<SlotSet>,
    /// Some slot may be parked.
    has_parked: bool,
    /// The slot that is offered work first, so that none is favoured.
    first: u32,
}

impl PoolSlots {
    /// Notes that a slot has work of a stage for whose outputs there is no room.
    fn park(&mut self, slot: SlotId, stage: StageId) {
        self.parked[stage.index()].insert(slot);
        self.has_parked = true;
    }
}

impl Dispatch {
    pub(super) fn new(plan: &Arc<Plan>, slots: &[u32], config: &EngineConfig) -> Self {
        let mut by_depth: Vec<StageId> = plan.stages.iter().map(|stage| stage.id).collect();
        by_depth.sort_by_key(|stage| std::cmp::Reverse((plan.stages[stage.index()].depth, *stage)));
        let is_shared = |stage: &StageId| plan.stages[stage.index()].input.is_shared();
        let pool = |pool: PoolId| PoolSlots {
            shared: plan
                .stages
                .iter()
                .filter(|stage| stage.pool == pool)
                .map(|stage| stage.id)
                .filter(is_shared)
                .collect(),
            credit: vec![SlotSet::default(); config.window],
            parked: vec![SlotSet::default(); plan.stages.len()],
            ..PoolSlots::default()
        };
        Self {
            window: config.window,
            service_target: config.service_target,
            slots: Slots::new(slots, |_| Window::default()),
            stages: plan.stages.iter().map(|_| StageLoad::default()).collect(),
            by_depth,
            pools: plan.pools().map(pool).collect(),
            in_time: vec![0; plan.stages.len()],
            next_batch: 1,
            next_fill: None,
            now: Duration::ZERO,
            next_look: Duration::ZERO,
            plan: plan.clone(),
        }
    }

    pub(super) fn add_slot(&mut self, pool: PoolId) {
        self.slots.push(pool, Window::default());
    }

    /// Removes the last slot of a pool, which has nothing in flight.
    pub(super) fn remove_slot(&mut self, slot: SlotId) -> Checked<()> {
        self.close(slot);
        let removed = self.slots.pop(slot.pool).unwrap_or_default();
        if removed.in_flight.is_empty() { Ok(()) } else { Err(Invariant::RemovedWithWork { slot }) }
    }

    /// The number of the next batch that is formed.
    pub(super) fn next_batch(&self) -> BatchId {
        BatchId(self.next_batch)
    }

    pub(super) fn number_batch(&mut self) -> BatchId {
        self.next_batch += 1;
        BatchId(self.next_batch - 1)
    }

    /// Lets a slot's worker be sent batches, as far as its window allows.
    pub(super) fn open(&mut self, slot: SlotId) {
        self.slots[slot].open = true;
        self.refresh(slot);
        self.wake(slot);
    }

    /// Lets a slot's worker be sent nothing more.
    pub(super) fn close(&mut self, slot: SlotId) {
        self.slots[slot].open = false;
        self.refresh(slot);
    }

    /// Notes that there may be something new for a slot.
    pub(super) fn wake(&mut self, slot: SlotId) {
        self.pools[slot.pool.index()].changed.insert(slot);
    }

    /// Puts a slot into the sets in which it belongs.
    fn refresh(&mut self, slot: SlotId) {
        let Window { in_flight, open } = &self.slots[slot];
        let expected: Duration = in_flight.iter().map(|flying| flying.expected).sum();
        let pool = &mut self.pools[slot.pool.index()];
        for (count, credit) in pool.credit.iter_mut().enumerate() {
            if *open && in_flight.len() <= count { credit.insert(slot) } else { credit.remove(slot) }
        }
        if in_flight.iter().skip(1).any(|flying| is_shared(&flying.batch) && !flying.withdrawn) {
            pool.behind.insert(slot);
        } else {
            pool.behind.remove(slot);
        }
        if !in_flight.is_empty() && expected < self.service_target / LEAST_PART {
            pool.soon_done.insert(slot);
        } else {
            pool.soon_done.remove(slot);
        }
    }

    fn sent(&mut self, slot: SlotId, batch: Batch, replay: bool, now: Duration) {
        let expected = self.expected(batch.stage, batch.messages as usize);
        let answer = Answer::default();
        let in_flight = InFlight { batch, replay, withdrawn: false, begun: now, alive: now, expected, answer };
        self.slots[slot].in_flight.push_back(in_flight);
        self.refresh(slot);
    }

    /// The batch that a slot's worker is to answer next.
    pub(super) fn front(&self, slot: SlotId) -> Option<&Batch> {
        self.slots[slot].in_flight.front().map(|front| &front.batch)
    }

    /// Whether the batch that a slot's worker is to answer next is run without messages that hung.
    pub(super) fn is_probe(&self, slot: SlotId) -> bool {
        self.front(slot).is_some_and(|front| front.probe)
    }

    /// Takes in that such a batch was answered: its step works. Returns a copy, and when it began.
    pub(super) fn end_probe(&mut self, slot: SlotId) -> Option<(Batch, Duration)> {
        let front = self.slots[slot].in_flight.front_mut()?;
        (front.batch.probe, front.batch.proven) = (false, true);
        Some((front.batch.clone(), front.begun))
    }

    /// What has been received of the answer to [`Dispatch::front`].
    pub(super) fn answer(&mut self, slot: SlotId) -> Option<&mut Answer> {
        self.slots[slot].in_flight.front_mut().map(|front| &mut front.answer)
    }

    /// Takes the answered batch off a slot. The worker begins with the next one now.
    pub(super) fn complete(&mut self, slot: SlotId, elapsed: Duration, now: Duration) -> Option<InFlight> {
        let window = &mut self.slots[slot];
        let answered = window.in_flight.pop_front()?;
        if let Some(next) = window.in_flight.front_mut() {
            (next.begun, next.alive) = (now, now);
        }
        if !answered.withdrawn {
            self.stages[answered.batch.stage.index()].service.observe(answered.batch.messages, elapsed);
        }
        self.refresh(slot);
        self.wake(slot);
        Some(answered)
    }

    /// Counts a batch of so many messages among those that a stage has processed.
    pub(super) fn count(&mut self, stage: StageId, messages: u32) {
        let stage = &mut self.stages[stage.index()];
        stage.messages += u64::from(messages);
        stage.batches += 1;
    }

    /// Takes everything off a slot whose worker is dead.
    pub(super) fn abandon(&mut self, slot: SlotId) -> VecDeque<InFlight> {
        self.slots[slot].open = false;
        let abandoned = std::mem::take(&mut self.slots[slot].in_flight);
        self.refresh(slot);
        abandoned
    }

    /// Batches that a slot's worker has been sent and has not answered.
    pub(super) fn in_flight(&self, slot: SlotId) -> impl ExactSizeIterator<Item = &InFlight> {
        self.slots[slot].in_flight.iter()
    }

    /// Whether no worker has anything in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.slots.iter().all(|window| window.in_flight.is_empty())
    }

    /// When the worker of a slot last gave a sign of life in what it is to answer next.
    pub(super) fn alive(&self, slot: SlotId) -> Option<Duration> {
        self.slots[slot].in_flight.front().map(|front| front.alive)
    }

    /// Notes that a worker has moved on in what it is to answer next. Batches that are formed from now on are smaller if that takes
    /// long.
    pub(super) fn moved(&mut self, slot: SlotId, now: Duration) {
        let Some(front) = self.slots[slot].in_flight.front_mut() else { return };
        front.alive = now;
        let elapsed = now.saturating_sub(front.begun);
        if elapsed > LONG {
            self.stages[front.batch.stage.index()].service.takes_at_least(front.batch.messages, elapsed);
        }
    }

    /// Puts all deadlines off by `gap`.
    pub(super) fn put_off(&mut self, gap: Duration, now: Duration) {
        for slot in self.slots.ids() {
            for in_flight in &mut self.slots[slot].in_flight {
                in_flight.begun = (in_flight.begun + gap).min(now);
                in_flight.alive = (in_flight.alive + gap).min(now);
            }
        }
    }

    /// Messages and batches that a stage has processed.
    pub(super) fn processed(&self, stage: StageId) -> (u64, u64) {
        let StageLoad { messages, batches, .. } = &self.stages[stage.index()];
        (*messages, *batches)
    }

    /// Time that a message of a stage takes in a worker, once that is known.
    pub(super) fn service_time(&self, stage: StageId) -> Option<Duration> {
        self.stages[stage.index()].service.average()
    }

    /// Messages of a stage that a worker does within `time`, slow ones aside; none while nothing is known.
    fn messages_within(&self, stage: StageId, time: Duration) -> usize {
        let typical = self.stages[stage.index()].service.typical();
        typical.map_or(0, |typical| (time.as_nanos() / typical.as_nanos().max(1)) as usize)
    }

    /// Messages of a stage that fit into a batch of the service target.
    fn messages_a_batch(&self, stage: StageId, most: u32) -> u32 {
        self.stages[stage.index()].service.messages_within(self.service_target, most)
    }

    /// Whether `messages` messages of a stage keep a worker busy for a short time only.
    ///
    /// A further batch is sent ahead so that the worker need not wait for it. Where batches hold a message or two, that saves
    /// little and costs much: each batch takes the worker some 20 µs, whatever is in it. So small batches wait while another one
    /// is in flight, as in Nagle's algorithm for TCP, and the batches of a busy stage grow.
    fn is_little(&self, stage: StageId, messages: usize) -> bool {
        self.expected(stage, messages) < self.service_target / LEAST_PART
    }

    /// Time that a worker is expected to take for `messages` messages of a stage. An unknown stage counts as slow.
    fn expected(&self, stage: StageId, messages: usize) -> Duration {
        let average = self.stages[stage.index()].service.average();
        average.map_or(self.service_target, |average| average.saturating_mul(messages.try_into().unwrap_or(u32::MAX)))
    }

    /// Moves the stage at `index` behind those of the same depth, so that sources take turns.
    fn let_others_go_first(&mut self, index: usize) {
        let depth = |stage: &StageId| self.plan.stages[stage.index()].depth;
        let own = depth(&self.by_depth[index]);
        let end = index + self.by_depth[index..].iter().take_while(|stage| depth(stage) == own).count();
        self.by_depth[index..end].rotate_left(1);
    }
}

impl Engine {
    /// Sends work until every worker has a full window or nothing may be sent. Every worker gets its first batch before any gets
    /// its second.
    pub(super) fn dispatch(&mut self, now: Duration, actions: &mut Vec<Action>) -> Checked<()> {
        self.dispatch.now = now;
        self.estimate();
        self.end_filling(now);
        self.unpark();
        self.withdraw_stuck(now, actions);
        for in_flight in 0..self.dispatch.window {
            for pool in (0..self.dispatch.pools.len() as u32).map(PoolId) {
                if !self.dispatch.pools[pool.index()].credit[in_flight].is_empty() {
                    self.offer_to_changed(pool, in_flight, now, actions)?;
                    self.offer_shared(pool, in_flight, now, actions)?;
                }
            }
        }
        for (pool, state) in (0..).zip(&mut self.dispatch.pools) {
            let next = state.first + 1;
            state.first = if next < self.workers.count(PoolId(pool)) { next } else { 0 };
        }
        Ok(())
    }

    /// Has slots looked at again whose outputs have room now.
    fn unpark(&mut self) {
        for pool in 0..self.dispatch.pools.len() {
            if !std::mem::take(&mut self.dispatch.pools[pool].has_parked) {
                continue;
            }
            for stage in (0..self.plan.stages.len() as u32).map(StageId) {
                let has_room = self.has_room(stage);
                let PoolSlots { changed, parked, has_parked, .. } = &mut self.dispatch.pools[pool];
                let parked = &mut parked[stage.index()];
                if has_room {
                    changed.absorb(parked);
                } else {
                    *has_parked |= !parked.is_empty();
                }
            }
        }
    }

    /// Offers a batch to each slot with at most `in_flight` batches about which something has changed.
    fn offer_to_changed(
        &mut self,
        pool: PoolId,
        in_flight: usize,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        let mut visit = Visit::from(self.dispatch.pools[pool.index()].first);
        loop {
            let PoolSlots { changed, credit, .. } = &self.dispatch.pools[pool.index()];
            let Some(number) = visit.next(changed, credit[in_flight].members()) else { return Ok(()) };
            let slot = SlotId { pool, number };
            if !self.offer(slot, now, actions)? {
                self.dispatch.pools[pool.index()].changed.remove(slot);
            }
        }
    }

    /// Offers what any worker of the pool may run to slots with at most `in_flight` batches.
    fn offer_shared(
        &mut self,
        pool: PoolId,
        in_flight: usize,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        let mut visit = Visit::from(self.dispatch.pools[pool.index()].first);
        loop {
            if self.dispatch.pools[pool.index()].credit[in_flight].is_empty() {
                break;
            }
            let Some(work) = self.shared_work(pool, now) else { break };
            let PoolSlots { credit, soon_done, .. } = &self.dispatch.pools[pool.index()];
            let credit = &credit[in_flight];
            let next = match work {
                SharedWork::Much => visit.next(credit, |_| u64::MAX),
                SharedWork::Little => visit.next(credit, soon_done.others()),
            };
            let Some(number) = next else { break };
            self.offer(SlotId { pool, number }, now, actions)?;
        }
        Ok(())
    }

    /// Sends one batch to a slot's worker, if there is one for it. Returns whether there was.
    fn offer(&mut self, slot: SlotId, now: Duration, actions: &mut Vec<Action>) -> Checked<bool> {
        if self.workers.available(slot).is_none() {
            self.dispatch.close(slot);
            return Ok(false);
        }
        if let Some((batch, replay)) = self.recovery.next_of_slot(slot) {
            self.send(slot, batch, replay, now, actions)?;
            return Ok(true);
        }
        // What is in its lanes comes after what is to be run again there.
        let held_back = self.recovery.is_held_back(slot);
        let late = self.dispatch.is_late(slot, now);
        // A batch that was begun comes before one that was not: the resequencer may wait for it, whatever the room downstream.
        let repeated = if late { 0 } else { self.dispatch.pools[slot.pool.index()].shared.len() };
        for index in 0..repeated {
            let stage = self.dispatch.pools[slot.pool.index()].shared[index];
            if let Some(batch) = self.recovery.next_of_stage(stage) {
                self.send(slot, batch, false, now, actions)?;
                return Ok(true);
            }
        }
        let soon_done = self.dispatch.pools[slot.pool.index()].soon_done.contains(slot);
        for index in 0..self.dispatch.by_depth.len() {
            let stage = self.dispatch.by_depth[index];
            let is_shared = self.plan.stages[stage.index()].input.is_shared();
            if self.plan.stages[stage.index()].pool != slot.pool || if is_shared { late } else { held_back } {
                continue;
            }
            let Some(waiting) = self.waiting(stage, slot) else { continue };
            if soon_done && self.dispatch.is_little(stage, waiting) || self.waits_to_fill(stage, slot, waiting, now) {
                continue;
            }
            if !self.has_room(stage) {
                self.dispatch.pools[slot.pool.index()].park(slot, stage);
                continue;
            }
            let Some(batch) = self.form(stage, slot, now, actions)? else { continue };
            if matches!(self.plan.stages[stage.index()].input, Input::Frames(_) | Input::Values) {
                self.dispatch.let_others_go_first(index);
            }
            self.send(slot, batch, false, now, actions)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn send(
        &mut self,
        slot: SlotId,
        batch: Batch,
        replay: bool,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        let Some(generation) = self.workers.available(slot) else { return Ok(()) };
        self.restore_for(slot, generation, &batch, actions)?;
        actions.push(Action::Send { slot, generation, message: batch.message(replay) });
        self.recovery.begin_trial(batch.stage);
        self.dispatch.sent(slot, batch, replay, now);
        Ok(())
    }
}

/// How much there is that any worker of a pool may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SharedWork {
    /// Small batches, which are not sent after a small one.
    Little,
    Much,
}

#[cfg(test)]
mod tests;
