//! The engine: a pure state machine that decides what runs where and when.
//!
//! [`Engine::handle`] takes one [`Event`] and the time since the run began, and appends what is to be done to a list of
//! [`Action`]s. It does no I/O, reads no clock and knows no task; the runtime feeds it and carries out its actions, and so does
//! the simulator. It owns every queue, the order of everything, and the ledger.
//!
//! Data comes in as frames ([`parallel`]), is sent to workers as batches ([`dispatch`]), comes back as results, which are put in
//! order and routed by key into the lanes of slots ([`slot`]) or handed to sinks. [`recovery`] deals with workers that die,
//! [`replacing`] with those that make room for another, [`moving`] with slots that come and go.

mod batch;
mod cutting;
mod dispatch;
pub mod event;
mod latency;
mod ledger;
mod moving;
mod parallel;
mod placement;
mod poison;
mod recovery;
mod replacing;
mod routing;
mod service_time;
mod slot;
mod slots;
mod snapshots;
mod status;
mod timers;
mod times;
mod watermark;

use std::sync::Arc;
use std::time::Duration;

use wallaroo_protocol::{BatchId, BatchResult, Failure, Output, OutputData, RequestId, StageId};

use self::batch::{InFlight, Origin, Work, outputs_weight};
use self::cutting::Cutting;
use self::latency::Latencies;
use self::ledger::{JournalEntry, Ledger, MemoryLedger, NoLedger};
use self::moving::Scaling;
use self::parallel::{Finished, FrameQueue, Resequencer};
use self::recovery::Weight;
use self::routing::Router;
use self::service_time::ServiceTime;
use self::slot::{Lane, Slot};
use self::slots::Slots;
use self::watermark::{SourceClock, StageClock};
use crate::dead_message::DeadMessage;
use crate::death::KillReason;
use crate::ids::{Generation, PoolId, SlotId};
use crate::plan::{Input, Plan, Target};
use crate::sink_chunk::SinkChunk;

pub use self::event::{Action, EngineError, Event};
pub use self::latency::LatencyStatus;
pub use self::status::{SlotStatus, StageStatus, Status};

/// The engine's settings.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Seats in the main pool.
    pub slots: u32,
    /// Seats in the pools that steps name, in the plan's order; one where there is none.
    pub pool_slots: Vec<u32>,
    /// Batches a worker may have been sent and not answered.
    pub window: usize,
    /// Bytes at which a queue is full: of a source, of a stage, of a sink.
    pub queue_bytes: usize,
    /// What a batch should take in a worker.
    pub service_target: Duration,
    /// Messages in a batch, at most.
    pub batch_messages: u32,
    /// Bytes in a batch, at most, unless one message is larger.
    pub batch_bytes: usize,
    /// Bytes in a frame, at most.
    pub max_frame: usize,
    /// A batch not answered after this long has hung.
    pub step_timeout: Duration,
    /// What replaying a slot's journal may take before a snapshot is asked for.
    pub replay_budget: Duration,
    /// Bytes of snapshots that a worker is given at once, so that no key has to wait for its own; more come when they are needed.
    pub eager_restore_bytes: usize,
    /// Whether journals and snapshots are kept. Without them the death of a worker that may hold state ends the run.
    pub keep_ledger: bool,
    /// A source with event time that has given nothing for this long no longer holds windows back.
    pub idle_after: Duration,
    /// Messages after which a worker is replaced, give or take a tenth so that workers are not replaced all at once.
    pub max_messages_per_worker: Option<u64>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            slots: 1,
            pool_slots: Vec::new(),
            window: 2,
            queue_bytes: 16 << 20,
            service_target: Duration::from_millis(5),
            batch_messages: 8192,
            batch_bytes: 1 << 20,
            max_frame: 16 << 20,
            step_timeout: Duration::from_secs(30),
            replay_budget: Duration::from_millis(250),
            eager_restore_bytes: 1 << 20,
            keep_ledger: true,
            idle_after: Duration::from_secs(5),
            max_messages_per_worker: None,
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Engine {
    plan: Arc<Plan>,
    config: EngineConfig,
    router: Router,
    sources: Vec<SourceState>,
    stages: Vec<StageState>,
    /// Stages in the order in which a free worker looks for work: nearest the sinks first.
    by_depth: Vec<StageId>,
    slots: Slots,
    sinks: Vec<SinkState>,
    ledger: Box<dyn Ledger>,
    latencies: Latencies,
    scaling: Option<Box<Scaling>>,
    next_batch: u64,
    next_request: u64,
    /// The slot that is offered work first, so that none is favoured.
    first_slot: usize,
    /// Workers that lost their seats other than on purpose.
    deaths: u64,
    /// The wall clock when the run began.
    epoch: Duration,
    draining: bool,
    finished: bool,
}

#[derive(Debug, Default)]
struct SourceState {
    queue: FrameQueue,
    cutting: Cutting,
    clock: SourceClock,
    ended: bool,
}

#[derive(Debug)]
struct StageState {
    service: ServiceTime,
    resequencer: Resequencer,
    /// Batches whose worker died, to be run by any other.
    retry: std::collections::VecDeque<Work>,
    /// Values handed over by another stage, for any worker of the pool.
    values: Lane,
    /// Bytes in `values` or in the lanes of all slots.
    queued_bytes: usize,
    clock: StageClock,
    messages: u64,
    batches: u64,
}

impl StageState {
    fn is_idle(&self) -> bool {
        self.resequencer.is_idle() && self.retry.is_empty() && self.values.is_empty() && self.clock.timers.is_empty()
    }

    fn new(plan: &Plan, stage: StageId) -> Self {
        Self {
            service: ServiceTime::default(),
            resequencer: Resequencer::default(),
            retry: std::collections::VecDeque::new(),
            values: Lane::default(),
            queued_bytes: 0,
            clock: StageClock::new(plan, stage),
            messages: 0,
            batches: 0,
        }
    }
}

#[derive(Debug, Default)]
struct SinkState {
    pending_bytes: usize,
    messages: u64,
}

impl Engine {
    /// An engine with empty queues and vacant slots.
    pub fn new(plan: Arc<Plan>, config: EngineConfig) -> Self {
        let mut by_depth: Vec<StageId> = plan.stages.iter().map(|stage| stage.id).collect();
        by_depth.sort_by_key(|stage| std::cmp::Reverse((plan.stages[stage.index()].depth, *stage)));
        let ledger: Box<dyn Ledger> =
            if config.keep_ledger { Box::new(MemoryLedger::default()) } else { Box::new(NoLedger) };
        let stateful = plan.stages.iter().any(|stage| stage.stateful);
        let lost = (stateful && !config.keep_ledger).then(|| "no ledger is kept".to_owned());
        let mut slots = Slots::default();
        for pool in plan.pools() {
            let named = pool.index().checked_sub(1);
            let count = named.map_or(config.slots, |named| config.pool_slots.get(named).copied().unwrap_or(1));
            for _ in 0..count {
                let unrecoverable = lost.clone().filter(|_| pool == PoolId::MAIN);
                slots.push(pool, Slot { unrecoverable, ..Slot::new(plan.stages.len()) });
            }
        }
        Self {
            router: Router::new(&plan.keyspaces, config.slots),
            sources: plan.sources.iter().map(|_| SourceState::default()).collect(),
            stages: plan.stages.iter().map(|stage| StageState::new(&plan, stage.id)).collect(),
            by_depth,
            slots,
            sinks: plan.sinks.iter().map(|_| SinkState::default()).collect(),
            ledger,
            latencies: Latencies::new(plan.stages.len()),
            scaling: None,
            next_batch: 1,
            next_request: 1,
            first_slot: 0,
            deaths: 0,
            epoch: Duration::ZERO,
            draining: false,
            finished: false,
            plan,
            config,
        }
    }

    /// Takes in `event`, which happened `now` after the run began, and appends what follows from it to `actions`.
    pub fn handle(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        // What a worker said whose slot is gone.
        if event.slot().is_some_and(|slot| !self.slots.contains(slot)) {
            return;
        }
        match event {
            Event::Frames { source, connection, block } => {
                let (charge, arrived) = (block.weight(), self.wall_clock(now));
                self.sources[source.index()].queue.push(connection, block, charge, arrived);
            }
            Event::Chunk { source, connection, bytes } => self.sources[source.index()].cutting.push(connection, &bytes),
            Event::ConnectionClosed { source, connection } => {
                self.sources[source.index()].cutting.close(connection, source, actions);
            }
            Event::SourceEnded { source } => self.sources[source.index()].ended = true,
            Event::WorkerSeated { slot, generation } => self.seat(slot, generation, actions),
            Event::WorkerLost { slot, generation, death } => self.lose(slot, generation, death, now, actions),
            Event::Retire { slot, generation } => self.retire(slot, generation, now, actions),
            Event::Overweight { slot, generation, resident, limit } => {
                self.overweight(slot, generation, Weight { resident, limit }, now, actions);
            }
            Event::Result { slot, generation, result } => self.result(slot, generation, result, now, actions),
            Event::CutResult { slot, generation, result } => self.cut_result(slot, generation, &result, now, actions),
            Event::Snapshot { slot, generation, part } => self.snapshot(slot, generation, part, now, actions),
            Event::SinkWritten { sink, bytes } => {
                let pending = &mut self.sinks[sink.index()].pending_bytes;
                debug_assert!(*pending >= bytes, "a sink writes what it was given");
                *pending = pending.saturating_sub(bytes);
            }
            Event::Scale { pool, slots } => self.scale(pool, slots, actions),
            Event::Replace { slot } => self.replace(slot),
            Event::Save => self.save(actions),
            Event::Drain => self.drain(actions),
            Event::Tick => self.check_deadlines(now, actions),
        }
        self.go_on_replacing(now, actions);
        self.go_on_scaling(now, actions);
        self.advance_time(now);
        self.dispatch(now, actions);
        if !self.finished && self.is_done() {
            self.finished = true;
            actions.push(Action::Finished);
        }
    }

    fn drain(&mut self, actions: &mut Vec<Action>) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        for (source, plan) in self.sources.iter_mut().zip(&self.plan.sources) {
            source.ended |= matches!(self.plan.stages[plan.stage.index()].input, Input::Generate(..));
        }
        actions.push(Action::StopSources);
    }

    fn is_done(&self) -> bool {
        self.sources.iter().all(|source| source.ended && source.queue.is_empty() && source.cutting.is_idle())
            && self.stages.iter().all(StageState::is_idle)
            && self.slots.iter().all(Slot::is_idle)
            && self.holds_nothing()
            && self.sinks.iter().all(|sink| sink.pending_bytes == 0)
    }

    /// Takes the batch a reply answers off its slot, or says why the reply cannot be right. `None` for a worker of the past.
    fn answered(
        &mut self,
        slot: SlotId,
        generation: Generation,
        batch: BatchId,
        actions: &mut Vec<Action>,
    ) -> Option<&mut InFlight> {
        if !self.slots[slot].hears(generation) {
            return None;
        }
        let front = self.slots[slot].in_flight.front().map(|front| front.work.batch);
        if front != Some(batch) {
            let error = match front {
                Some(front) => format!("answered batch {batch} when batch {front} was due"),
                None => format!("answered batch {batch}, but none was outstanding"),
            };
            self.kill(slot, KillReason::Protocol(error), actions);
            return None;
        }
        self.slots[slot].in_flight.front_mut()
    }

    fn result(
        &mut self,
        slot: SlotId,
        generation: Generation,
        result: BatchResult,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(in_flight) = self.answered(slot, generation, result.batch, actions) else { return };
        in_flight.outputs.extend(result.outputs);
        in_flight.failures.extend(result.failures);
        in_flight.hear_of_time(result.timing);
        if result.more {
            return;
        }
        let Some(answered) = self.complete(slot, now) else { return };
        let InFlight { work, replay, begun, outputs, failures, timing } = answered;
        self.end_pauses(slot, work.batch, now);
        let stage = &self.plan.stages[work.stage.index()];
        self.stages[work.stage.index()].service.observe(work.messages, result.elapsed);
        if let (Input::Generate(source, _), true) = (stage.input, result.ended) {
            self.sources[source.index()].ended = true;
        }
        if replay {
            self.slots[slot].replayed += 1;
            return self.after_batch(slot, now, actions);
        }
        if let Some(lost_at) = self.slots[slot].lost_at.take() {
            let replayed = std::mem::take(&mut self.slots[slot].replayed);
            actions.push(Action::Recovered { slot, after: now.saturating_sub(lost_at), replayed });
        }
        self.slots[slot].served += u64::from(work.messages);
        self.latencies.answered(work.stage, now.saturating_sub(begun), work.messages.into());
        self.stages[work.stage.index()].messages += u64::from(work.messages);
        self.stages[work.stage.index()].batches += 1;
        if stage.stateful {
            self.slots[slot].completed = work.batch;
            self.ledger.append(slot, JournalEntry { work: work.clone(), elapsed: result.elapsed });
        }
        if let Some(sequence) = work.sequence() {
            let bytes = outputs_weight(&outputs);
            let stage = work.stage;
            self.stages[stage.index()].resequencer.hold(sequence, bytes, Finished { work, outputs, failures, timing });
            while let Some(finished) = self.stages[stage.index()].resequencer.release() {
                self.release(finished, now, actions);
            }
        } else {
            self.release(Finished { work, outputs, failures, timing }, now, actions);
        }
        self.after_batch(slot, now, actions);
    }

    /// Takes the answered batch off a slot; the next one begins now.
    fn complete(&mut self, slot: SlotId, now: Duration) -> Option<InFlight> {
        let slot = &mut self.slots[slot];
        slot.deaths_in_a_row = 0;
        let answered = slot.in_flight.pop_front();
        if let Some(next) = slot.in_flight.front_mut() {
            next.begun = now;
        }
        answered
    }

    /// Sends results on: groups to the lanes of their slots, messages to sinks, failures to the dead letters.
    fn release(&mut self, finished: Finished, now: Duration, actions: &mut Vec<Action>) {
        let Finished { work, outputs, failures, timing } = finished;
        for failure in failures {
            actions.push(Action::DeadLetter(self.dead_message(&work, failure)));
        }
        let plan = self.plan.clone();
        for Output { outlet, data } in outputs {
            let mut targets = plan.stages[work.stage.index()].targets(outlet);
            match (targets.next(), data) {
                (Some(Target::Stage(stage)), OutputData::Groups(groups)) => {
                    for other in targets {
                        let Target::Stage(other) = other else { continue };
                        self.route(other, groups.clone(), work.arrived);
                    }
                    self.route(stage, groups, work.arrived);
                }
                (Some(Target::Sink(sink)), OutputData::Messages(messages)) => {
                    if messages.lengths.is_empty() {
                        continue;
                    }
                    let state = &mut self.sinks[sink.index()];
                    state.pending_bytes += messages.bytes.len();
                    state.messages += messages.lengths.len() as u64;
                    self.latencies.left(now.saturating_sub(work.arrived), messages.lengths.len() as u64);
                    let chunk = SinkChunk { bytes: messages.bytes, lengths: messages.lengths };
                    actions.push(Action::Write { sink, chunk });
                }
                (target, _) => debug_assert!(false, "outlet {outlet} with target {target:?} passed validation"),
            }
        }
        self.end(&work, &timing, now);
    }

    fn route(&mut self, stage: StageId, groups: Vec<wallaroo_protocol::Group>, arrived: Duration) {
        let Some(keyspace) = self.plan.stages[stage.index()].input.keyspace() else {
            return self.hand_over_values(stage, groups, arrived);
        };
        for group in groups {
            let watermark = self.stages[stage.index()].clock.watermark;
            let partition = self.router.partition(keyspace, group.key());
            self.enqueue(stage, partition, group, watermark, arrived);
        }
    }

    fn dead_message(&self, work: &Work, failure: Failure) -> DeadMessage {
        let source = self.plan.stages[work.stage.index()].input.source();
        let frame = || {
            let frames = wallaroo_protocol::input::parse_frames(&work.input).ok()?;
            frames.into_iter().nth(failure.origin as usize)
        };
        let (payload, codec) = match work.origin {
            Origin::Frames { .. } => (frame().unwrap_or(failure.payload), 0),
            _ => (failure.payload, failure.codec),
        };
        DeadMessage {
            node: failure.node,
            key: failure.key,
            exception: failure.exception,
            message: failure.message,
            traceback: failure.traceback,
            value: failure.value,
            payload,
            payload_index: (codec != 0).then_some(0),
            codec,
            source,
            connection: work.connection_of(failure.origin),
        }
    }

    fn next_batch(&mut self) -> BatchId {
        self.next_batch += 1;
        BatchId(self.next_batch - 1)
    }

    fn next_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request - 1)
    }
}
