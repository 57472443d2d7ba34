//! Slots that are relieved of partitions, so that keys do not wait for a worker that is away, or for one slow key.
//!
//! A slot that has had no worker for long, because every new one hangs or crashes while it starts, leaves all its partitions to
//! others: they are held until the others have nothing in flight, and taken over with the slot's journal. A slot in which a call took
//! far longer than calls of its stage do keeps the partition of the key; the others move as they do when slots are added.
//! Once the slot has a worker again, or has not been slow for a while, partitions are spread evenly again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wallaroo_protocol::{StageId, key};

use super::scaling::{Purpose, Scaling};
use crate::engine::batch::Batch;
use crate::engine::invariant::Checked;
use crate::engine::routing::placement::{self, Move};
use crate::engine::routing::router::PartitionId;
use crate::engine::workers::Seat;
use crate::engine::{Action, Engine};
use crate::ids::{PoolId, SlotId};

/// A call that takes this much longer than was to be expected is slow.
const SLOW: Duration = Duration::from_secs(1);
/// A slot that has not been slow for this long gets partitions again.
const CALM: Duration = Duration::from_secs(60);

/// The least time between two looks for slots that could be relieved.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A slot without a worker whose partitions are held for others.
#[derive(Debug)]
pub(super) struct Adoption {
    from: SlotId,
    partitions: BTreeSet<PartitionId>,
}

impl Engine {
    /// Has others take over the partitions of slots that have had no worker for long.
    pub(in crate::engine) fn relieve_vacant(&mut self, now: Duration) {
        self.change.next_look = now + LOOK_EVERY;
        if self.change.wave_from().is_some_and(|slot| self.is_long_vacant(slot, now)) {
            self.give_wave_up();
        }
        if self.change.adoption.is_some() || self.change.has_wave() {
            return;
        }
        for slot in self.workers.of(PoolId::MAIN) {
            if !self.is_long_vacant(slot, now)
                || self.recovery.unrecoverable(slot).is_some()
                || self.takers(slot, now).is_empty()
            {
                continue;
            }
            let partitions: BTreeSet<PartitionId> = self.routing.router().partitions_of(slot).collect();
            if !partitions.is_empty() {
                self.routing.hold(slot, partitions.clone());
                self.change.adoption = Some(Adoption { from: slot, partitions });
                return;
            }
        }
    }

    fn is_long_vacant(&self, slot: SlotId, now: Duration) -> bool {
        self.vacant_until(slot).is_some_and(|due| due <= now)
    }

    /// When a slot without a worker has waited for one for too long.
    fn vacant_until(&self, slot: SlotId) -> Option<Duration> {
        let is_vacant = *self.workers.seat(slot) == Seat::Vacant && !self.workers.is_closing(slot);
        let since = self.workers.last_death(slot).filter(|_| is_vacant)?;
        Some(since + self.config.vacant_after)
    }

    /// When time alone calls for a turn because of a slot that may be relieved, or has been.
    pub(in crate::engine) fn next_relief(&self) -> Option<Duration> {
        let inhabited = |slot: &SlotId| self.routing.router().partitions_of(*slot).next().is_some();
        let vacant = |slot: SlotId| self.vacant_until(slot).filter(|_| inhabited(&slot));
        let vacant = self.workers.of(PoolId::MAIN).into_iter().filter_map(vacant).min();
        let calm = self.change.relieved.values().map(|since| *since + CALM).min();
        // What could not be done at the last look may be possible at the next.
        vacant.into_iter().chain(calm).min().map(|due| due.max(self.change.next_look))
    }

    /// Slots that could take partitions of `from`, those with the fewest first.
    fn takers(&self, from: SlotId, now: Duration) -> Vec<SlotId> {
        let goal = self.change.scaling.as_ref().map_or(u32::MAX, |scaling| scaling.goal());
        let is_able = |slot: &SlotId| {
            let stays = !self.workers.is_closing(*slot) && slot.number < goal;
            *slot != from && stays && self.workers.available(*slot).is_some() && !self.dispatch.is_stuck(*slot, now)
        };
        let mut takers: Vec<SlotId> = self.workers.of(PoolId::MAIN).into_iter().filter(is_able).collect();
        takers.sort_by_key(|slot| self.routing.router().partitions_of(*slot).count());
        takers
    }

    /// Takes an adoption as far as it can go now.
    pub(in crate::engine) fn go_on_adopting(&mut self, now: Duration, actions: &mut Vec<Action>) -> Checked<()> {
        let Some(adoption) = self.change.adoption.take() else { return Ok(()) };
        let others: Vec<SlotId> = self.workers.of(PoolId::MAIN);
        if *self.workers.seat(adoption.from) == Seat::Vacant {
            // One that rebuilds its state, or waits to run something again, goes on with that.
            let takers = self.takers(adoption.from, now).into_iter();
            let takers = takers.filter(|slot| self.recovery.is_slot_idle(*slot));
            let (idle, busy): (Vec<SlotId>, Vec<SlotId>) = takers.partition(|slot| {
                // A snapshot that is under way knows nothing of what its slot takes over.
                let is_saving = self.recovery.awaits_snapshot(*slot);
                self.dispatch.front(*slot).is_none() && !is_saving
            });
            if !busy.is_empty() || idle.is_empty() {
                // What is in flight comes to its end, and nothing follows it.
                for slot in others.into_iter().filter(|slot| self.workers.available(*slot).is_some()) {
                    if idle.contains(&slot) || busy.contains(&slot) {
                        self.dispatch.close(slot);
                    } else {
                        self.dispatch.open(slot);
                    }
                }
                self.change.adoption = Some(adoption);
                return Ok(());
            }
            let moves = spread(adoption.partitions, &idle);
            self.routing.place(&moves);
            let homes: BTreeMap<PartitionId, SlotId> = moves.iter().map(|moved| (moved.partition, moved.to)).collect();
            self.adopt(adoption.from, &homes, actions)?;
            self.change.relieved.insert(adoption.from, now);
            let (slot, after) = (self.slot_name(adoption.from), self.config.vacant_after);
            actions.push(Action::Warn(format!(
                "{slot} has had no worker for {after:?}: its keys go on in other slots until it has one"
            )));
        }
        self.routing.release();
        for slot in others {
            if self.workers.available(slot).is_some() {
                self.dispatch.open(slot);
            }
        }
        Ok(())
    }

    /// Moves partitions away from a slot that has answered a batch with a slow call, but for that of the slow key: the group at which
    /// the worker stood still.
    pub(in crate::engine) fn relieve_slow(&mut self, slot: SlotId, batch: &Batch, group: Option<u32>, now: Duration) {
        self.change.relieved.entry(slot).and_modify(|since| *since = now);
        if self.change.scaling.is_some() || self.change.adoption.is_some() {
            return;
        }
        let Some(keyspace) = self.routing.keyspace(batch.stage) else { return };
        let keys = self.keys_of(batch);
        let Some(key) = group.and_then(|group| keys.get(group as usize)) else { return };
        let slow = self.routing.partition(keyspace, key);
        let homes = self.routing.router().partitions_of(slot);
        let others: BTreeSet<PartitionId> = homes.filter(|partition| *partition != slow).collect();
        let takers = self.takers(slot, now);
        if others.is_empty() || takers.is_empty() || self.recovery.unrecoverable(slot).is_some() {
            return;
        }
        self.change.relieved.insert(slot, now);
        let (key, slot) = (key::display(key), self.slot_name(slot));
        let notice = format!("key {key} is slow in {slot}: the other keys there have moved to other slots");
        self.begin_relief(spread(others, &takers), Some(notice));
    }

    /// Whether a batch that took `elapsed` had a slow call: calls of its stage take far less as a rule.
    pub(in crate::engine) fn is_slow(&self, stage: StageId, messages: u32, elapsed: Duration) -> bool {
        let usual = self.dispatch.service_time(stage);
        self.plan.stages[stage.index()].stateful
            && usual.is_some_and(|usual| elapsed > SLOW + 2 * usual.saturating_mul(messages))
    }

    /// Spreads partitions evenly again once a slot that was relieved can have some.
    pub(in crate::engine) fn end_relief(&mut self, now: Duration) {
        if self.change.scaling.is_some() || self.change.adoption.is_some() {
            return;
        }
        let is_over = |slot: SlotId, since: Duration| {
            let is_seated = self.workers.available(slot).is_some();
            is_seated && (since + CALM <= now || self.routing.router().partitions_of(slot).next().is_none())
        };
        let before = self.change.relieved.len();
        self.change.relieved.retain(|slot, since| !is_over(*slot, *since));
        if self.change.relieved.len() < before {
            let slots = self.workers.count(PoolId::MAIN);
            self.begin_relief(placement::moves(self.routing.router(), slots), None);
        }
    }

    fn begin_relief(&mut self, mut planned: Vec<Move>, notice: Option<String>) {
        let router = self.routing.router();
        planned.sort_by_key(|planned| (router.slot(planned.partition), planned.partition));
        let slots = self.workers.count(PoolId::MAIN);
        self.change.scaling =
            Some(Box::new(Scaling::new(PoolId::MAIN, slots, slots, planned, Purpose::Relief(notice))));
    }
}

/// Deals partitions out to slots in turn.
fn spread(partitions: impl IntoIterator<Item = PartitionId>, slots: &[SlotId]) -> Vec<Move> {
    partitions.into_iter().zip(slots.iter().cycle()).map(|(partition, to)| Move { partition, to: *to }).collect()
}
