//! Where groups go: key → partition → slot, and the lanes in which they wait there. Owns the places of all partitions, the lanes
//! of all slots and stages, and their bytes.

pub(super) mod lane;
pub(super) mod placement;
pub(super) mod router;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use wallaroo_protocol::{EventTime, Group, StageId};

use self::lane::{Lane, TakenGroups};
use self::placement::Move;
use self::router::{PartitionId, Router};
use super::invariant::{Checked, Invariant, Queue, take_bytes};
use super::slots::Slots;
use crate::ids::{KeyspaceId, PoolId, SlotId};
use crate::plan::Plan;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Routing {
    plan: Arc<Plan>,
    router: Router,
    /// Groups of keyed stages, by slot and stage. The lanes of other stages stay empty.
    lanes: Slots<Vec<Lane>>,
    /// Groups that stages of other pools handed over, by stage: any worker of the stage's pool may run them.
    values: Vec<Lane>,
    /// Bytes of the groups that wait, by stage.
    bytes: Vec<usize>,
    /// Messages that wait, by stage.
    messages: Vec<usize>,
    /// Messages that have ever come for a stage.
    received: Vec<u64>,
    held: Option<Held>,
}

/// Partitions on their way to another slot. Nothing runs for them meanwhile.
#[derive(Debug)]
struct Held {
    partitions: BTreeSet<PartitionId>,
    /// Groups that wait for the partitions, by stage.
    lanes: Vec<Lane>,
}

impl Routing {
    pub(super) fn new(plan: &Arc<Plan>, slots: &[u32]) -> Self {
        let stages = plan.stages.len();
        let main = slots.first().copied().unwrap_or(1);
        Self {
            router: Router::new(&plan.keyspaces, main),
            lanes: Slots::new(slots, |_| empty_lanes(stages)),
            values: empty_lanes(stages),
            bytes: vec![0; stages],
            messages: vec![0; stages],
            received: vec![0; stages],
            held: None,
            plan: plan.clone(),
        }
    }

    pub(super) fn add_slot(&mut self, pool: PoolId) {
        self.lanes.push(pool, empty_lanes(self.plan.stages.len()));
    }

    /// Removes the last slot of a pool, in which nothing may wait.
    pub(super) fn remove_slot(&mut self, slot: SlotId) -> Checked<()> {
        let lanes = self.lanes.pop(slot.pool).unwrap_or_default();
        if lanes.iter().all(Lane::is_empty) { Ok(()) } else { Err(Invariant::RemovedWithWork { slot }) }
    }

    /// The keyspace of a keyed stage.
    pub(super) fn keyspace(&self, stage: StageId) -> Option<KeyspaceId> {
        self.plan.stages[stage.index()].input.keyspace()
    }

    pub(super) fn router(&self) -> &Router {
        &self.router
    }

    /// The partition of an encoded key.
    pub(super) fn partition(&self, keyspace: KeyspaceId, key: &[u8]) -> PartitionId {
        self.router.partition(keyspace, key)
    }

    /// Appends a group to the lane of its key, see [`Lane::push`]. Returns the slot in which it waits; `None` while its partition
    /// is held.
    pub(super) fn push(
        &mut self,
        stage: StageId,
        keyspace: KeyspaceId,
        group: Group,
        time: Option<EventTime>,
        received_at: Duration,
    ) -> Option<SlotId> {
        let partition = self.router.partition(keyspace, group.key());
        self.charge(stage, &group);
        if let Some(held) = self.held.as_mut().filter(|held| held.partitions.contains(&partition)) {
            held.lanes[stage.index()].push(group, received_at, time);
            return None;
        }
        let slot = self.router.slot(partition);
        self.lanes[slot][stage.index()].push(group, received_at, time);
        Some(slot)
    }

    /// Appends a group that any worker of the stage's pool may run.
    pub(super) fn push_value(&mut self, stage: StageId, group: Group, time: Option<EventTime>, received_at: Duration) {
        self.charge(stage, &group);
        self.values[stage.index()].push(group, received_at, time);
    }

    /// Takes groups of a keyed stage that wait in a slot, see [`Lane::take`].
    pub(super) fn take(
        &mut self,
        stage: StageId,
        slot: SlotId,
        most_messages: u32,
        most_bytes: usize,
    ) -> Checked<Option<TakenGroups>> {
        let taken = self.lanes[slot][stage.index()].take(most_messages, most_bytes);
        self.discharge(stage, taken)
    }

    /// Takes groups of a stage that were handed over, see [`Lane::take`].
    pub(super) fn take_values(
        &mut self,
        stage: StageId,
        most_messages: u32,
        most_bytes: usize,
    ) -> Checked<Option<TakenGroups>> {
        let taken = self.values[stage.index()].take(most_messages, most_bytes);
        self.discharge(stage, taken)
    }

    fn charge(&mut self, stage: StageId, group: &Group) {
        self.bytes[stage.index()] += group.len();
        self.messages[stage.index()] += group.count as usize;
        self.received[stage.index()] += u64::from(group.count);
    }

    fn discharge(&mut self, stage: StageId, taken: Option<TakenGroups>) -> Checked<Option<TakenGroups>> {
        if let Some(taken) = &taken {
            take_bytes(&mut self.bytes[stage.index()], taken.bytes, Queue::Lanes(stage))?;
            self.messages[stage.index()] -= taken.messages as usize;
        }
        Ok(taken)
    }

    /// Messages of a keyed stage that wait in a slot; `None` if no group waits there.
    pub(super) fn waiting(&self, stage: StageId, slot: SlotId) -> Option<usize> {
        let lane = &self.lanes[slot][stage.index()];
        (!lane.is_empty()).then(|| lane.messages())
    }

    /// When the oldest message that waits for a keyed stage in a slot was received.
    pub(super) fn waiting_since(&self, stage: StageId, slot: SlotId) -> Option<Duration> {
        self.lanes[slot][stage.index()].since()
    }

    /// When the oldest message was received that was handed over to a stage.
    pub(super) fn values_waiting_since(&self, stage: StageId) -> Option<Duration> {
        self.values[stage.index()].since()
    }

    /// Whether anything waits in a slot.
    pub(super) fn is_slot_idle(&self, slot: SlotId) -> bool {
        self.lanes[slot].iter().all(Lane::is_empty)
    }

    /// Messages of a stage that were handed over and wait; `None` if no group waits.
    pub(super) fn waiting_values(&self, stage: StageId) -> Option<usize> {
        let lane = &self.values[stage.index()];
        (!lane.is_empty()).then(|| lane.messages())
    }

    /// All groups that wait for a stage, in an order that keeps each key's, with their times.
    pub(super) fn all_waiting(&self, stage: StageId) -> impl Iterator<Item = (Group, Option<EventTime>)> {
        let lanes = self.lanes.iter().map(move |lanes| &lanes[stage.index()]);
        let held = self.held.as_ref().map(|held| &held.lanes[stage.index()]);
        lanes.chain([&self.values[stage.index()]]).chain(held).flat_map(Lane::iter)
    }

    /// Bytes that wait for a stage.
    pub(super) fn bytes(&self, stage: StageId) -> usize {
        self.bytes[stage.index()]
    }

    /// Bytes that wait for all stages.
    pub(super) fn all_bytes(&self) -> usize {
        self.bytes.iter().sum()
    }

    /// Messages that wait for a stage, wherever.
    pub(super) fn all_messages(&self, stage: StageId) -> usize {
        self.messages[stage.index()]
    }

    /// Messages that have come for a stage so far.
    pub(super) fn received(&self, stage: StageId) -> u64 {
        self.received[stage.index()]
    }

    /// Whether more than `most` messages of a stage wait in one slot that `counts`, or more than `most` for each of the `workers` that
    /// may run what was handed over.
    pub(super) fn waits_longer(
        &self,
        stage: StageId,
        most: usize,
        workers: usize,
        counts: impl Fn(SlotId) -> bool,
    ) -> bool {
        // Nearly always so. Only a stage that much waits for is looked at slot by slot.
        if self.messages[stage.index()] <= most {
            return false;
        }
        let is_long = |slot: SlotId| self.lanes[slot][stage.index()].messages() > most && counts(slot);
        self.values[stage.index()].messages() > most.saturating_mul(workers)
            || self.lanes.ids().into_iter().any(is_long)
    }

    /// Whether nothing waits anywhere.
    pub(super) fn is_idle(&self) -> bool {
        // A group has a header, so it weighs something even without values.
        self.bytes.iter().all(|bytes| *bytes == 0)
    }

    /// Whether a partition is on its way, so that nothing may run for it.
    pub(super) fn is_held(&self, partition: PartitionId) -> bool {
        self.held.as_ref().is_some_and(|held| held.partitions.contains(&partition))
    }

    /// Holds partitions of one slot: their groups wait until [`Routing::release`].
    pub(super) fn hold(&mut self, from: SlotId, partitions: BTreeSet<PartitionId>) {
        let mut lanes = Vec::with_capacity(self.plan.stages.len());
        for stage in &self.plan.stages {
            let lane = &mut self.lanes[from][stage.id.index()];
            lanes.push(match stage.input.keyspace() {
                Some(keyspace) => {
                    lane.split_off(|group| partitions.contains(&self.router.partition(keyspace, group.key())))
                }
                None => Lane::default(),
            });
        }
        self.held = Some(Held { partitions, lanes });
    }

    /// Lets partitions live in other slots.
    pub(super) fn place(&mut self, moves: &[Move]) {
        for Move { partition, to } in moves {
            self.router.place(*partition, *to);
        }
    }

    /// Ends the holding: groups go to the slots in which their partitions now live. Returns these slots.
    pub(super) fn release(&mut self) -> BTreeSet<SlotId> {
        let mut reached = BTreeSet::new();
        let Some(held) = self.held.take() else { return reached };
        for (stage, lane) in self.plan.stages.iter().zip(held.lanes) {
            let Some(keyspace) = stage.input.keyspace() else { continue };
            for (group, received_at, time) in lane {
                let slot = self.router.slot_of(keyspace, group.key());
                self.lanes[slot][stage.id.index()].push(group, received_at, time);
                reached.insert(slot);
            }
        }
        reached
    }
}

fn empty_lanes(stages: usize) -> Vec<Lane> {
    (0..stages).map(|_| Lane::default()).collect()
}
