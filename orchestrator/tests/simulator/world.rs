//! Everything around the engine: clients, workers, consumers, a clock, and bad luck.

mod bounds;
mod facts;
mod misfortune;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use wallaroo_orch::dead_message::DeadMessage;
use wallaroo_orch::death::{DeathCause, KillReason};
use wallaroo_orch::engine::{Action, Engine, Event};
use wallaroo_orch::frame::{FrameBlock, Span};
use wallaroo_orch::ids::PoolId;
use wallaroo_orch::ids::{ConnectionId, Generation, SinkId, SlotId, SourceId};
use wallaroo_protocol::{BatchId, FromWorker, OutputData, ToWorker};

use crate::check;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::tally::Tally;
use crate::windows::{self, Fired};
use crate::worker::{Outcome, Seen, Worker, encode_values};

/// Steps after which a run that has not ended never will.
const MOST_STEPS: usize = 200_000;
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    random: Random,
    engine: Engine,
    now: Duration,
    workers: BTreeMap<SlotId, Worker>,
    /// Replies of workers that are dead; they may still arrive.
    stale: VecDeque<(SlotId, Generation, FromWorker)>,
    deaths: VecDeque<Event>,
    vacant: Vec<SlotId>,
    /// The pool whose slots change.
    scaling: PoolId,
    next_generation: u32,
    bad_luck: BTreeMap<SlotId, usize>,
    /// Frames sent, by lane.
    sent: Vec<usize>,
    closed: Vec<bool>,
    source_ended: Vec<bool>,
    credit: Vec<i64>,
    stopped: bool,
    to_write: Vec<VecDeque<usize>>,
    pub(crate) seen: Vec<Vec<Seen>>,
    /// Outputs of windows, by sink.
    pub(crate) fired: Vec<Vec<Fired>>,
    /// Values in the order in which the engine got them.
    pub(crate) order: Vec<u64>,
    pub(crate) dead: Vec<DeadMessage>,
    /// Weights of dead letters that are not kept yet.
    to_keep: VecDeque<usize>,
    /// Values that may become dead letters though nothing is the matter with them: bad luck struck while they were watched.
    pub(crate) blamed: BTreeSet<u64>,
    pub(crate) finished: bool,
    /// Events have been taken in since the last turn ended.
    turn_is_open: bool,
    /// Bytes that one batch has given one queue, at most.
    largest_output: usize,
    /// Weight of the dead letters that one event has caused, at most.
    largest_letters: usize,
    tally: Tally,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let scenario = Scenario::new(&mut random);
        let engine = Engine::new(std::sync::Arc::new(scenario.plan.clone()), scenario.config.clone());
        let sources = scenario.plan.sources.len();
        let sinks = scenario.plan.sinks.len();
        let vacant = engine.status().slots.iter().map(|slot| slot.slot).collect();
        Self {
            engine,
            now: Duration::ZERO,
            workers: BTreeMap::new(),
            stale: VecDeque::new(),
            deaths: VecDeque::new(),
            vacant,
            scaling: PoolId::MAIN,
            next_generation: 0,
            bad_luck: BTreeMap::new(),
            sent: vec![0; scenario.lanes.len()],
            closed: vec![false; scenario.lanes.len()],
            source_ended: vec![false; sources],
            credit: vec![scenario.config.queue_bytes as i64; sources],
            stopped: false,
            to_write: vec![VecDeque::new(); sinks],
            seen: vec![Vec::new(); sinks],
            fired: vec![Vec::new(); sinks],
            order: Vec::new(),
            dead: Vec::new(),
            to_keep: VecDeque::new(),
            blamed: BTreeSet::new(),
            finished: false,
            turn_is_open: false,
            largest_output: 0,
            largest_letters: 0,
            tally: Tally { values: scenario.values.len() as u64, ..Tally::default() },
            scenario,
            random,
        }
    }

    /// Runs until the engine has finished, and checks what came out.
    pub(crate) fn run(mut self) -> Tally {
        for _ in 0..MOST_STEPS {
            if self.finished {
                check::everything(&self);
                assert!(self.to_keep.is_empty(), "finished before all dead letters are kept");
                self.tally.windows = self.fired.iter().map(|fired| fired.len() as u64).sum();
                self.tally.late = self.engine.status().stages.iter().map(|stage| stage.late).sum();
                let total = self.scenario.config.queue_bytes as i64;
                assert!(
                    self.credit.iter().all(|credit| *credit == total),
                    "credit leaked: {:?} of {total}",
                    self.credit
                );
                return self.tally;
            }
            self.step();
            self.check_bounds();
        }
        panic!("not finished after {MOST_STEPS} steps: {:#?}", self.engine.status());
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(1);
        if self.misfortune() || self.finished {
            return;
        }
        let mut choices: Vec<Choice> = Vec::new();
        let planned = &self.scenario.plan.sources;
        for (lane, sent) in self.sent.iter().enumerate() {
            let source = self.scenario.lanes[lane].source as usize;
            let generator = planned[source].framing.is_none();
            if generator || self.closed[lane] {
                continue;
            }
            let lane_is_done = self.stopped || *sent == self.to_send(lane);
            if lane_is_done || self.credit[source] > 0 {
                choices.push(Choice::Client(lane));
            } else {
                self.tally.stalls += 1;
            }
        }
        for (source, ended) in self.source_ended.iter().enumerate() {
            let lanes = self.scenario.lanes.iter().zip(&self.closed).filter(|(lane, _)| lane.source as usize == source);
            let generator = planned[source].framing.is_none();
            if !ended && !generator && lanes.into_iter().all(|(_, closed)| *closed) {
                choices.push(Choice::EndSource(source));
            }
        }
        for (slot, worker) in &self.workers {
            if !worker.inbox.is_empty() && !worker.hangs {
                choices.push(Choice::Work(*slot));
            }
            if !worker.outbox.is_empty() {
                choices.push(Choice::Reply(*slot));
            }
        }
        if !self.vacant.is_empty() {
            choices.push(Choice::Seat);
        }
        if !self.stale.is_empty() {
            choices.push(Choice::Stale);
        }
        if !self.deaths.is_empty() {
            choices.push(Choice::ReportDeath);
        }
        if !self.scenario.late.sinks || choices.is_empty() || self.random.one_in(20) {
            let written = |sink: &usize| !self.to_write[*sink].is_empty();
            choices.extend((0..self.to_write.len()).filter(written).map(Choice::Write));
        }
        let keep = !self.scenario.late.letters || choices.is_empty() || self.random.one_in(20);
        if keep && !self.to_keep.is_empty() {
            choices.push(Choice::KeepLetters);
        }
        if choices.is_empty() && self.turn_is_open {
            return self.end_turn();
        }
        if choices.is_empty() {
            let deadline = self.engine.next_deadline();
            self.now = deadline.unwrap_or_else(|| panic!("nothing can happen any more: {:#?}", self.engine.status()));
            return self.tell(Event::Tick);
        }
        let choice = self.random.pick(&choices);
        self.take(choice);
    }

    fn take(&mut self, choice: Choice) {
        match choice {
            Choice::Client(lane) => self.send(lane),
            Choice::EndSource(source) => {
                self.source_ended[source] = true;
                self.tell(Event::SourceEnded { source: SourceId(source as u32) });
            }
            Choice::Work(slot) => {
                let Some(worker) = self.workers.get_mut(&slot) else { return };
                match worker.step(&self.scenario, &mut self.random) {
                    Outcome::Lives => {}
                    Outcome::Hangs => {
                        self.tally.hangs += 1;
                        worker.hangs = true;
                    }
                    Outcome::Died(cause) => {
                        self.tally.poisonings += 1;
                        let marker = worker.marker.clone();
                        self.bury(slot, cause, marker);
                    }
                }
            }
            Choice::Reply(slot) => {
                let Some(worker) = self.workers.get_mut(&slot) else { return };
                let Some(reply) = worker.outbox.pop_front() else { return };
                let generation = worker.generation;
                self.bad_luck.remove(&slot);
                self.tell(heard(slot, generation, reply));
            }
            Choice::Stale => {
                let Some((slot, generation, reply)) = self.stale.pop_front() else { return };
                // A connection's last words come before its end is reported, or not at all: these come too late.
                if self
                    .deaths
                    .iter()
                    .any(|death| matches!(death, Event::WorkerLost { generation: dead, .. } if *dead == generation))
                {
                    self.stale.push_back((slot, generation, reply));
                    return;
                }
                self.tally.stale_replies += 1;
                self.tell(heard(slot, generation, reply));
            }
            Choice::Write(sink) => {
                let Some(bytes) = self.to_write[sink].pop_front() else { return };
                self.tell(Event::SinkWritten { sink: SinkId(sink as u32), bytes });
            }
            Choice::KeepLetters => {
                // The writer takes what has gathered.
                let count = 1 + self.random.below(self.to_keep.len());
                let bytes = self.to_keep.drain(..count).sum();
                self.tell(Event::DeadLettersKept { bytes });
            }
            Choice::Seat => {
                let at = self.random.below(self.vacant.len());
                let slot = self.vacant.swap_remove(at);
                let generation = Generation(self.next_generation);
                self.next_generation += 1;
                self.workers.insert(slot, Worker::new(generation));
                self.tell(Event::WorkerSeated { slot, generation });
            }
            Choice::ReportDeath => {
                let Some(event) = self.deaths.pop_front() else { return };
                self.tell(event);
            }
        }
    }

    /// What a client has to send: frames, or bytes when they are not cut here.
    fn to_send(&self, lane: usize) -> usize {
        let lane = &self.scenario.lanes[lane];
        if lane.is_uncut { lane.stream().len() } else { lane.frames.len() }
    }

    /// A client sends a few frames, or closes its connection.
    fn send(&mut self, lane: usize) {
        let source = SourceId(self.scenario.lanes[lane].source);
        let connection = ConnectionId(lane as u64);
        let rest = self.to_send(lane) - self.sent[lane];
        if rest == 0 || self.stopped {
            self.closed[lane] = true;
            return self.tell(Event::ConnectionClosed { source, connection });
        }
        if self.scenario.lanes[lane].is_uncut {
            let end = self.sent[lane] + 1 + self.random.below(rest.min(60));
            let bytes = bytes::Bytes::from(self.scenario.lanes[lane].stream()).slice(self.sent[lane]..end);
            self.sent[lane] = end;
            self.credit[source.index()] -= bytes.len() as i64;
            return self.tell(Event::Chunk { source, connection, bytes });
        }
        let count = 1 + self.random.below(rest.min(6));
        let mut data = BytesMut::new();
        let mut spans = Vec::new();
        for frame in &self.scenario.lanes[lane].frames[self.sent[lane]..self.sent[lane] + count] {
            data.put_u32(0);
            let start = data.len() as u32;
            self.order.extend(frame);
            data.extend_from_slice(&encode_values(frame));
            spans.push(Span { start, end: data.len() as u32 });
        }
        self.sent[lane] += count;
        let block = FrameBlock { data: data.freeze(), spans };
        self.credit[source.index()] -= block.weight() as i64;
        self.tell(Event::Frames { source, connection, block });
    }

    fn tell(&mut self, event: Event) {
        if let Event::Result { result, .. } = &event {
            let weight = |output: &wallaroo_protocol::Output| match &output.data {
                OutputData::Groups(groups) => groups.iter().map(wallaroo_protocol::Group::len).sum(),
                OutputData::Messages(messages) => messages.bytes.len(),
            };
            let largest = result.outputs.iter().map(weight).max().unwrap_or(0);
            self.largest_output = self.largest_output.max(largest);
        }
        if trace() {
            println!("{:?} {event:?}", self.now);
        }
        let mut actions = Vec::new();
        self.engine.handle(event, self.now, &mut actions);
        self.carry_out_all(actions);
        self.turn_is_open = true;
        // The runtime takes in several events before it ends a turn.
        if !self.random.one_in(4) {
            self.end_turn();
        }
    }

    fn end_turn(&mut self) {
        self.turn_is_open = false;
        let mut actions = Vec::new();
        self.engine.end_turn(self.now, &mut actions);
        self.carry_out_all(actions);
    }

    fn carry_out_all(&mut self, actions: Vec<Action>) {
        let letter = |action: &Action| if let Action::DeadLetter(message) = action { message.weight() } else { 0 };
        self.largest_letters = self.largest_letters.max(actions.iter().map(letter).sum());
        for action in actions {
            if trace() {
                println!("    {action:?}");
            }
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send { slot, generation, message } => {
                match &message {
                    ToWorker::Snapshot { .. } | ToWorker::SnapshotKeys { .. } => self.tally.snapshots += 1,
                    ToWorker::Restore(_) => self.tally.restores += 1,
                    ToWorker::Batch(batch) => {
                        let pool = self.scenario.plan.stages[batch.stage.index()].pool;
                        assert_eq!(pool, slot.pool, "a batch goes to a worker of its stage's pool");
                        self.tally.replays += u64::from(batch.discard);
                        self.tally.pool_batches += u64::from(pool != PoolId::MAIN);
                    }
                    _ => {}
                }
                // A worker that has just died is still sent to until its death is reported.
                if let Some(worker) = self.workers.get_mut(&slot).filter(|worker| worker.generation == generation) {
                    worker.inbox.push_back(message);
                    let batches = worker.inbox.iter().filter(|message| matches!(message, ToWorker::Batch(_))).count();
                    let window = self.scenario.config.window;
                    assert!(batches <= window, "a window of {window} is kept");
                }
            }
            Action::Write { sink, chunk } => {
                assert_eq!(chunk.bytes.len(), chunk.lengths.iter().sum::<u32>() as usize);
                if windows::feed(self, sink.index()) {
                    self.fired[sink.index()].extend(chunk.bytes.chunks(Fired::BYTES).map(Fired::decode));
                } else {
                    self.seen[sink.index()].extend(chunk.bytes.chunks(Seen::BYTES).map(Seen::decode));
                }
                self.to_write[sink.index()].push_back(chunk.bytes.len());
            }
            Action::Credit { source, bytes } => self.credit[source.index()] += bytes as i64,
            Action::StopSources => self.stopped = true,
            Action::DeadLetter(message) => {
                self.tally.dead_letters += 1;
                self.to_keep.push_back(message.weight());
                self.dead.push(message);
            }
            Action::Kill { slot, generation, reason } => self.kill(slot, generation, &reason),
            Action::Withdraw { slot, generation, batch } => self.withdraw(slot, generation, batch),
            Action::Seat { slot } => self.vacant.push(slot),
            Action::RemoveSlot { slot } => self.vacant.retain(|vacant| *vacant != slot),
            Action::Scaled { slots, moved, problem, .. } => {
                let may_fail = self.scenario.fatal_saving.is_some();
                assert!(problem.is_none() || may_fail, "every state can be pickled: {problem:?}");
                assert_eq!(self.engine.slots(self.scaling), slots);
                self.tally.scalings += 1;
                self.tally.pool_scalings += u64::from(self.scaling != PoolId::MAIN);
                self.tally.moves += moved as u64;
            }
            Action::Replaced { problem, .. } => {
                let may_fail = self.scenario.fatal_saving.is_some();
                assert!(problem.is_none() || may_fail, "every state can be rebuilt: {problem:?}");
                self.tally.replacements += 1;
            }
            Action::Recovered { .. } => {}
            Action::Warn(warning) => self.warned(&warning),
            Action::CloseConnection { error, .. } => panic!("no reason to close: {error}"),
            Action::Finished => self.finished = true,
            Action::Fail(error) => panic!("the engine gives up: {error}"),
        }
    }

    fn kill(&mut self, slot: SlotId, generation: Generation, reason: &KillReason) {
        if let Some(worker) = self.workers.get(&slot).filter(|worker| worker.generation == generation) {
            let hung = !matches!(reason, KillReason::Timeout(_)) || worker.hangs;
            assert!(hung, "the worker in {slot:?} answers, and is killed as if it hung");
            let marker = self.workers[&slot].marker.clone();
            self.bury(slot, DeathCause::Signalled(9), marker);
        }
    }

    fn withdraw(&mut self, slot: SlotId, generation: Generation, batch: BatchId) {
        self.tally.withdrawals += 1;
        // A worker that has just begun does not see it.
        let sees = !self.random.one_in(4);
        if let Some(worker) = self.workers.get_mut(&slot).filter(|worker| worker.generation == generation && sees) {
            worker.withdrawn = Some(batch);
        }
    }

    fn warned(&mut self, warning: &str) {
        let unsaved = warning.contains("saving the state") || warning.contains("cannot be pickled");
        let expected = warning.contains("above its limit")
            || self.stopped && warning.contains("inside a frame")
            || unsaved && self.scenario.fatal_saving.is_some();
        assert!(expected, "nothing to warn of: {warning}");
        self.tally.unsaved += u64::from(unsaved);
    }
}

#[derive(Debug, Clone, Copy)]
enum Choice {
    Client(usize),
    EndSource(usize),
    Work(SlotId),
    Reply(SlotId),
    Stale,
    Write(usize),
    KeepLetters,
    Seat,
    ReportDeath,
}

fn heard(slot: SlotId, generation: Generation, reply: FromWorker) -> Event {
    match reply {
        FromWorker::Result(result) => Event::Result { slot, generation, result },
        FromWorker::CutResult(result) => Event::CutResult { slot, generation, result },
        FromWorker::SnapshotPart(part) => Event::Snapshot { slot, generation, part },
        reply => panic!("simulated workers do not say {reply:?}"),
    }
}

/// Whether every event and action is shown.
fn trace() -> bool {
    std::env::var_os("WALLAROO_TRACE").is_some()
}
