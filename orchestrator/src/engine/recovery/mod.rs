//! What is needed when a worker dies: the ledger from which state is rebuilt, and the batches that are to be run again. Owns both,
//! and knows for each slot which snapshots have been asked for and whether its state can be rebuilt.

mod adoption;
mod deaths;
mod fatal_states;
pub(super) mod ledger;
mod outages;
mod part;
mod poison;
pub(super) mod snapshots;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{BatchId, RequestId, StageId, StateEntry};

use self::fatal_states::FatalStates;
use self::ledger::{JournalEntry, JournalSize, Ledger};
use self::outages::Health;
use super::batch::Batch;
use super::invariant::{Checked, Invariant};
use super::routing::router::PartitionId;
use super::slots::Slots;
use super::{EngineConfig, StoredState};
use crate::ids::{PoolId, SlotId};
use crate::plan::Plan;

pub(super) use self::deaths::{JOURNAL_QUEUES, Weight};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Recovery {
    ledger: Ledger,
    slots: Slots<SlotRecovery>,
    /// By stage: batches of dead workers that any other may run.
    repeat: Vec<VecDeque<Batch>>,
    /// By stage.
    health: Vec<Health>,
    /// Keys whose states are not loaded any more, wherever they live.
    unloadable: FatalStates,
    next_request: u64,
    /// Bytes of one message about states, unless one state alone is larger.
    message_bytes: usize,
}

/// What is needed to rebuild the state of one slot.
#[derive(Debug, Default)]
struct SlotRecovery {
    /// Journaled batches to be run again before anything else.
    replay: VecDeque<Batch>,
    /// Keyed batches that were in flight when a worker died, to be run again after the replay.
    repeat: VecDeque<Batch>,
    /// When the last worker died, until its successor has answered something new.
    lost_at: Option<Duration>,
    /// Batches replayed since then.
    replayed: u32,
    /// Keys of this slot with a snapshot that its worker has not been sent. A batch brings the snapshots it needs.
    missed: usize,
    /// The snapshot that has been asked for and has not arrived whole.
    request: Option<RequestId>,
    /// When the worker last gave a sign of life while that was awaited.
    alive: Duration,
    /// Keys whose states are not pickled any more.
    unsaved: FatalStates,
    /// Parts of that snapshot. They count once it is whole: a key whose tables came in two parts would else be covered by half.
    arrived: Vec<(PartitionId, StateEntry)>,
    /// The last stateful batch completed.
    completed: BatchId,
    /// Whether that snapshot may not be of all keys that have changed and can be saved.
    may_leave_keys: bool,
    /// The last batch of the journal when a snapshot arrived that left none.
    saved: Option<BatchId>,
    /// Why some state of this slot is in no snapshot.
    unpicklable: Option<String>,
    /// The size of the journal after snapshots last failed to empty it.
    incompressible: JournalSize,
    /// Why this slot's state cannot be rebuilt any more, once that is so.
    unrecoverable: Option<String>,
}

impl Recovery {
    pub(super) fn new(plan: &Plan, slots: &[u32], config: &EngineConfig) -> Self {
        let stateful = plan.stages.iter().any(|stage| stage.stateful);
        let lost = (stateful && !config.keep_ledger).then(|| "no ledger is kept".to_owned());
        let slot = |slot: SlotId| SlotRecovery {
            unrecoverable: lost.clone().filter(|_| slot.pool == PoolId::MAIN),
            ..SlotRecovery::default()
        };
        Self {
            ledger: Ledger::new(config.keep_ledger, config.logged),
            slots: Slots::new(slots, slot),
            repeat: plan.stages.iter().map(|_| VecDeque::new()).collect(),
            health: plan.stages.iter().map(|_| Health::default()).collect(),
            unloadable: FatalStates::default(),
            next_request: 1,
            message_bytes: config.message_bytes,
        }
    }

    pub(super) fn add_slot(&mut self, pool: PoolId) {
        self.slots.push(pool, SlotRecovery::default());
    }

    /// Removes the last slot of a pool. Every state of it is in a snapshot, or was never changed.
    pub(super) fn remove_slot(&mut self, slot: SlotId) -> Checked<()> {
        let removed = self.slots.pop(slot.pool).unwrap_or_default();
        if !removed.repeat.is_empty() {
            return Err(Invariant::RemovedWithWork { slot });
        }
        self.ledger.truncate(slot, None)
    }

    /// Whether a slot is to run a batch again that waits because its stage does.
    pub(super) fn is_held_back(&self, slot: SlotId) -> bool {
        let SlotRecovery { replay, repeat, .. } = &self.slots[slot];
        replay.front().or(repeat.front()).is_some_and(|batch| self.is_waiting(batch.stage))
    }

    /// Notes that a batch of a stage is sent to a worker.
    pub(super) fn begin_trial(&mut self, stage: StageId) {
        self.health[stage.index()].begin_trial();
    }

    /// Whether nothing of a stage is to be sent now.
    pub(super) fn is_waiting(&self, stage: StageId) -> bool {
        self.health[stage.index()].is_waiting()
    }

    /// Takes the next batch that a slot is to run again, and whether that is a replay.
    pub(super) fn next_of_slot(&mut self, slot: SlotId) -> Option<(Batch, bool)> {
        if self.is_held_back(slot) {
            return None;
        }
        let slot = &mut self.slots[slot];
        slot.replay.pop_front().map(|batch| (batch, true)).or_else(|| Some((slot.repeat.pop_front()?, false)))
    }

    /// Takes the next batch of a stage that any worker may run again.
    pub(super) fn next_of_stage(&mut self, stage: StageId) -> Option<Batch> {
        if self.is_waiting(stage) { None } else { self.repeat[stage.index()].pop_front() }
    }

    /// Has a batch run by any worker, before others of its stage.
    pub(super) fn repeat_first(&mut self, batch: Batch) {
        self.repeat[batch.stage.index()].push_front(batch);
    }

    /// Whether a batch of a stage waits to be run again by any worker.
    pub(super) fn has_batches_of(&self, stage: StageId) -> bool {
        !self.repeat[stage.index()].is_empty() && !self.is_waiting(stage)
    }

    /// Whether nothing waits to be run again.
    pub(super) fn is_idle(&self) -> bool {
        self.repeat.iter().all(VecDeque::is_empty)
            && self.slots.iter().all(|slot| slot.replay.is_empty() && slot.repeat.is_empty())
    }

    /// Whether nothing waits to be run again in a slot.
    pub(super) fn is_slot_idle(&self, slot: SlotId) -> bool {
        self.slots[slot].replay.is_empty() && self.slots[slot].repeat.is_empty()
    }

    /// Whether a slot has no journaled batch left to be sent.
    pub(super) fn has_replayed(&self, slot: SlotId) -> bool {
        self.slots[slot].replay.is_empty()
    }

    /// When the last worker of a slot died, until its successor has answered something new.
    pub(super) fn lost_at(&self, slot: SlotId) -> Option<Duration> {
        self.slots[slot].lost_at
    }

    /// Why the state of a slot cannot be rebuilt any more.
    pub(super) fn unrecoverable(&self, slot: SlotId) -> Option<&str> {
        self.slots[slot].unrecoverable.as_deref()
    }

    /// Why some state of a slot is in no snapshot, with its key, as long as it can be rebuilt.
    pub(super) fn unsaved(&self, slot: SlotId) -> Option<&str> {
        self.slots[slot].unpicklable.as_deref()
    }

    /// Whether some state of a slot cannot be pickled.
    pub(super) fn is_unpicklable(&self, slot: SlotId) -> bool {
        self.slots[slot].unpicklable.is_some()
    }

    /// Whether a slot's worker has been asked for a snapshot that has not arrived.
    pub(super) fn awaits_snapshot(&self, slot: SlotId) -> bool {
        self.slots[slot].request.is_some()
    }

    /// Whether a further snapshot of a slot would hold nothing new.
    pub(super) fn is_saved(&self, slot: SlotId) -> bool {
        let last = self.ledger.last_journaled(slot);
        last.is_none() || last == self.slots[slot].saved
    }

    /// Puts the deadlines of all snapshots off by `gap`.
    pub(super) fn put_off(&mut self, gap: Duration, now: Duration) {
        for slot in self.slots.ids() {
            let alive = &mut self.slots[slot].alive;
            *alive = (*alive + gap).min(now);
        }
    }

    /// When a slot's worker last gave a sign of life, if a snapshot is awaited.
    fn alive(&self, slot: SlotId) -> Option<Duration> {
        let slot = &self.slots[slot];
        slot.request.map(|_| slot.alive)
    }

    /// What a replay of a slot's journal would take.
    pub(super) fn journal_size(&self, slot: SlotId) -> JournalSize {
        self.ledger.size(slot)
    }

    /// Batches that wait to be run again in a slot, replays excluded, oldest first.
    pub(super) fn repeated_in(&self, slot: SlotId) -> impl Iterator<Item = &Batch> {
        self.slots[slot].repeat.iter()
    }

    /// Batches of a stage that wait to be run again by any worker.
    pub(super) fn repeated_of(&self, stage: StageId) -> impl Iterator<Item = &Batch> {
        self.repeat[stage.index()].iter()
    }

    /// A slot's journal, oldest first, with the time that workers took.
    pub(super) fn journal_entries(&self, slot: SlotId) -> impl Iterator<Item = (&Batch, Duration)> {
        self.ledger.journal(slot).map(|JournalEntry { batch, elapsed }| (batch, *elapsed))
    }

    /// The states that are fatal to load, as found since this was last asked.
    pub(super) fn take_verdicts(&mut self) -> Vec<Bytes> {
        self.unloadable.take_new()
    }

    /// The states that are fatal to load.
    pub(super) fn verdicts(&self) -> Vec<Bytes> {
        self.unloadable.states()
    }

    /// Has a state not be loaded.
    pub(super) fn note_unloadable(&mut self, state: Bytes) {
        self.unloadable.insert(state);
    }

    /// The states that have changed since they were last taken to be stored.
    pub(super) fn take_changes(&mut self) -> Vec<StoredState> {
        self.ledger.take_changes()
    }

    /// Takes in a stored state, which no worker has.
    pub(super) fn load(&mut self, partition: PartitionId, key: Bytes, table: Arc<str>, state: Bytes) {
        self.ledger.load(partition, key, table, state);
    }

    /// A slot's journal, oldest first.
    pub(super) fn journal(&self, slot: SlotId) -> impl Iterator<Item = &Batch> {
        self.ledger.journal(slot).map(|JournalEntry { batch, .. }| batch)
    }

    /// Whether a key's snapshot covers batch `id`.
    pub(super) fn covers(&self, partition: PartitionId, key: &[u8], id: BatchId) -> bool {
        self.ledger.covers(partition, key, id)
    }

    /// Keys with a snapshot.
    pub(super) fn key_count(&self) -> usize {
        self.ledger.key_count()
    }

    /// Bytes of batches that wait to be run again, replays excluded.
    pub(super) fn bytes(&self) -> usize {
        let slots = self.slots.iter().flat_map(|slot| &slot.repeat);
        slots.chain(self.repeat.iter().flatten()).map(|batch| batch.input.len()).sum()
    }

    /// Notes a stateful batch that a slot has completed. Nothing is journaled any more once the state cannot be rebuilt.
    pub(super) fn complete(&mut self, slot: SlotId, batch: &Batch, elapsed: Duration) {
        self.slots[slot].completed = batch.id;
        if self.slots[slot].unrecoverable.is_none() {
            self.ledger.append(slot, batch, elapsed);
        }
    }

    /// Notes that a slot has answered a batch of a replay. It may be one that the slot's workers have not run before.
    pub(super) fn count_replayed(&mut self, slot: SlotId, batch: BatchId) {
        let slot = &mut self.slots[slot];
        slot.replayed += 1;
        slot.completed = slot.completed.max(batch);
    }

    /// Notes that a slot has answered something new. If its worker had died before: since when it was away, and how many batches
    /// were replayed.
    pub(super) fn end_outage(&mut self, slot: SlotId) -> Option<(Duration, u32)> {
        let slot = &mut self.slots[slot];
        let lost_at = slot.lost_at.take()?;
        Some((lost_at, std::mem::take(&mut slot.replayed)))
    }

    fn number_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request - 1)
    }
}
