//! What the engine looks like from outside, for the banner, the control socket and tests.

use std::time::Duration;

use wallaroo_protocol::StageId;

use super::Engine;
use super::latency::LatencyStatus;
use super::recovery::JOURNAL_QUEUES;
use super::workers::Seat;
use crate::ids::{Generation, PoolId, SlotId};
use crate::plan::Input;

/// Messages so far: what rates are made of. Cheap, so that it can be asked for at every tick.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that each stage has processed.
    pub stages: Vec<u64>,
    /// Messages handed to each sink.
    pub sinks: Vec<u64>,
}

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
    /// Bytes at which a journal with a state that cannot be saved is given up.
    pub journal_limit: usize,
    /// What replaying its journal would take.
    pub replay: Duration,
    /// Why some state, of a key that is named, can be rebuilt from the journal only.
    pub unsaved: Option<String>,
    /// Why its state cannot be rebuilt any more: the death of its worker ends the run.
    pub unrecoverable: Option<String>,
}

impl Engine {
    /// Messages so far.
    pub fn counts(&self) -> Counts {
        Counts {
            stages: self.plan.stages.iter().map(|stage| self.dispatch.processed(stage.id).0).collect(),
            sinks: self.sinks.messages().collect(),
        }
    }

    /// A picture of the engine now. Quantiles are computed here, so it is not for every tick.
    pub fn status(&self) -> Status {
        Status {
            stages: self.plan.stages.iter().map(|stage| self.stage_status(stage.id)).collect(),
            slots: self.workers.ids().into_iter().map(|slot| self.slot_status(slot)).collect(),
            sink_messages: self.sinks.messages().collect(),
            sink_pending_bytes: self.sinks.all_pending_bytes().collect(),
            latency: self.latencies.end_to_end(),
            keys: self.recovery.key_count(),
            deaths: self.workers.deaths(),
        }
    }

    /// Bytes in queues of the engine, those of sources and journals excluded.
    pub fn queued_bytes(&self) -> usize {
        let sinks: usize = self.sinks.all_pending_bytes().sum();
        self.routing.all_bytes() + self.order.all_held_bytes() + sinks + self.sinks.letter_bytes()
    }

    /// Bytes of dead letters that are not kept yet.
    pub fn letter_bytes(&self) -> usize {
        self.sinks.letter_bytes()
    }

    /// Bytes of records that are not durable.
    pub fn unsaved_bytes(&self) -> usize {
        self.commit.unsaved_bytes()
    }

    /// Bytes of everything that has been accepted and has not left through a sink.
    pub fn undelivered_bytes(&self) -> usize {
        let in_flight = |slot| {
            let sent = self.dispatch.in_flight(slot).filter(|in_flight| !in_flight.replay && !in_flight.withdrawn);
            sent.map(|in_flight| in_flight.batch.input.len()).sum::<usize>()
        };
        let in_flight: usize = self.workers.ids().into_iter().map(in_flight).sum();
        self.queued_bytes() + self.intake.bytes() + in_flight + self.recovery.bytes()
    }

    /// How many slots a pool has.
    pub fn slots(&self, pool: PoolId) -> u32 {
        self.workers.count(pool)
    }

    /// A slot as people know it.
    pub(super) fn slot_name(&self, slot: SlotId) -> String {
        match self.plan.pool_name(slot.pool) {
            None => format!("slot {}", slot.number),
            Some(pool) => format!("slot {} of pool {pool}", slot.number),
        }
    }

    fn stage_status(&self, stage: StageId) -> StageStatus {
        let queued = match self.plan.stages[stage.index()].input {
            Input::Frames(source) => self.intake.frames(source),
            _ => self.routing.all_messages(stage),
        };
        let (messages, batches) = self.dispatch.processed(stage);
        StageStatus {
            stage,
            messages,
            batches,
            queued,
            late: self.time.late(stage),
            service_time: self.dispatch.service_time(stage),
            latency: self.latencies.stage(stage),
        }
    }

    fn slot_status(&self, slot: SlotId) -> SlotStatus {
        let generation = match *self.workers.seat(slot) {
            Seat::Vacant => None,
            Seat::Seated(generation) | Seat::Retiring(generation) | Seat::Dying(generation, _) => Some(generation),
        };
        let size = self.recovery.journal_size(slot);
        SlotStatus {
            slot,
            generation,
            restarts: self.workers.restarts(slot),
            last_cause: self.workers.last_cause(slot).map(str::to_owned),
            in_flight: self.dispatch.in_flight(slot).len(),
            journal_bytes: size.bytes,
            journal_limit: JOURNAL_QUEUES * self.config.queue_bytes,
            replay: size.replay,
            unsaved: self.recovery.unsaved(slot).map(str::to_owned),
            unrecoverable: self.recovery.unrecoverable(slot).map(str::to_owned),
        }
    }
}
