//! What the engine looks like from outside, for the banner, the control socket and tests.

use std::time::Duration;

use wallaroo_protocol::StageId;

use super::Engine;
use super::latency::LatencyStatus;
use super::slot::{Seat, Slot};
use crate::ids::PoolId;
use crate::ids::{Generation, SlotId};
use crate::plan::Input;

/// A picture of the engine at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// By stage.
    pub stages: Vec<StageStatus>,
    /// By slot, those of the main pool first.
    pub slots: Vec<SlotStatus>,
    /// Messages handed to each sink.
    pub sink_messages: Vec<u64>,
    /// Bytes handed to each sink and not written yet.
    pub sink_pending_bytes: Vec<usize>,
    /// From a source to a sink.
    pub latency: LatencyStatus,
    /// Keys in the ledger.
    pub keys: usize,
    /// Workers that died in a slot; those that were replaced, or have gone with their slot, are not among them.
    pub deaths: u64,
}

/// One stage.
#[derive(Debug, Clone)]
pub struct StageStatus {
    /// The stage.
    pub stage: StageId,
    /// Messages it has processed.
    pub messages: u64,
    /// Batches it has processed.
    pub batches: u64,
    /// Messages that wait for it.
    pub queued: usize,
    /// Values that came too late for all of their windows.
    pub late: u64,
    /// Time a message takes in a worker.
    pub service_time: Option<Duration>,
    /// From when a worker could begin with a message's batch to its answer.
    pub latency: LatencyStatus,
}

/// One slot.
#[derive(Debug, Clone)]
pub struct SlotStatus {
    /// The slot.
    pub slot: SlotId,
    /// The worker in it, unless it is vacant.
    pub generation: Option<Generation>,
    /// Workers that took it after the first.
    pub restarts: u32,
    /// What ended the last one.
    pub last_cause: Option<String>,
    /// Batches it has been sent and has not answered.
    pub in_flight: usize,
    /// Bytes in its journal.
    pub journal_bytes: usize,
    /// What replaying its journal would take.
    pub replay: Duration,
}

impl Engine {
    /// A picture of the engine now.
    pub fn status(&self) -> Status {
        Status {
            stages: self.plan.stages.iter().map(|stage| self.stage_status(stage.id)).collect(),
            slots: self.slots.ids().map(|slot| self.slot_status(slot)).collect(),
            sink_messages: self.sinks.iter().map(|sink| sink.messages).collect(),
            sink_pending_bytes: self.sinks.iter().map(|sink| sink.pending_bytes).collect(),
            latency: self.latencies.end_to_end(),
            keys: self.ledger.key_count(),
            deaths: self.deaths,
        }
    }

    /// Bytes in queues of the engine, those of sources and journals excluded.
    pub fn queued_bytes(&self) -> usize {
        let stages: usize = self.stages.iter().map(|stage| stage.queued_bytes + stage.resequencer.held_bytes()).sum();
        stages + self.sinks.iter().map(|sink| sink.pending_bytes).sum::<usize>()
    }

    /// Bytes of everything that has been accepted and has not left through a sink.
    pub fn undelivered_bytes(&self) -> usize {
        let sources: usize = self.sources.iter().map(|source| source.queue.bytes() + source.cutting.bytes()).sum();
        let lent = |slot: &Slot| {
            let sent = slot.in_flight.iter().filter(|in_flight| !in_flight.replay).map(|in_flight| &in_flight.work);
            sent.chain(&slot.repeat).map(|work| work.input.len()).sum::<usize>()
        };
        let slots: usize = self.slots.iter().map(lent).sum();
        let retried: usize = self.stages.iter().flat_map(|stage| &stage.retry).map(|work| work.input.len()).sum();
        self.queued_bytes() + sources + slots + retried
    }

    /// How many slots a pool has.
    pub fn slots(&self, pool: PoolId) -> u32 {
        self.slots.of(pool).len() as u32
    }

    /// A slot as people know it.
    pub(super) fn slot_name(&self, slot: SlotId) -> String {
        match self.plan.pool_name(slot.pool) {
            None => format!("slot {}", slot.number),
            Some(pool) => format!("slot {} of pool {pool}", slot.number),
        }
    }

    fn stage_status(&self, stage: StageId) -> StageStatus {
        let state = &self.stages[stage.index()];
        let queued = if let Input::Frames(source) = self.plan.stages[stage.index()].input {
            self.sources[source.index()].queue.len()
        } else {
            let lanes = self.slots.iter().map(|slot| slot.lanes[stage.index()].messages());
            lanes.sum::<usize>() + state.values.messages() + self.held_messages(stage)
        };
        StageStatus {
            stage,
            messages: state.messages,
            batches: state.batches,
            queued,
            late: state.clock.late,
            service_time: state.service.average(),
            latency: self.latencies.stage(stage),
        }
    }

    fn slot_status(&self, slot: SlotId) -> SlotStatus {
        let state = &self.slots[slot];
        let generation = match state.seat {
            Seat::Vacant => None,
            Seat::Seated(generation) | Seat::Retiring(generation) | Seat::Dying(generation, _) => Some(generation),
        };
        let size = self.ledger.size(slot);
        SlotStatus {
            slot,
            generation,
            restarts: state.restarts,
            last_cause: state.last_cause.clone(),
            in_flight: state.in_flight.len(),
            journal_bytes: size.bytes,
            replay: size.replay,
        }
    }
}
