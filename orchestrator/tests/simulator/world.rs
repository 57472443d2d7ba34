//! Everything around the engine: clients, workers, consumers, a clock, and bad luck.

mod bounds;
mod facts;
mod intake;
mod log;
mod misfortune;
mod steps;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use wallaroo_orch::dead_message::DeadMessage;
use wallaroo_orch::death::{DeathCause, KillReason};
use wallaroo_orch::engine::{Action, Engine, Event};
use wallaroo_orch::ids::PoolId;
use wallaroo_orch::ids::{ConnectionId, Generation, SlotId, SourceId};
use wallaroo_orch::plan::Input;
use wallaroo_orch::position::FilePosition;
use wallaroo_orch::record::LetterId;
use wallaroo_protocol::{BatchId, FromWorker, OutputData, ToWorker, input};

use self::intake::Intake;
use self::log::Log;
pub(crate) use self::misfortune::MOST_SLOTS;
use crate::check;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::tally::Tally;
use crate::windows::{self, Fired};
use crate::worker::{Seen, Worker};

/// Steps after which a run that has not ended never will.
const MOST_STEPS: usize = 200_000;
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    random: Random,
    engine: Engine,
    now: Duration,
    /// How many steps the world has taken.
    steps: usize,
    workers: BTreeMap<SlotId, Worker>,
    /// Replies of workers that are dead; they may still arrive.
    stale: VecDeque<(SlotId, Generation, FromWorker)>,
    deaths: VecDeque<Event>,
    vacant: Vec<SlotId>,
    /// The pool whose slots change.
    scaling: PoolId,
    next_generation: u32,
    bad_luck: BTreeMap<SlotId, usize>,
    /// What is on the disk of the orchestrator.
    log: Log,
    /// When the orchestrator was started.
    began: Duration,
    /// Frames that are acknowledged, by lane.
    acknowledged: Vec<usize>,
    /// Frames sent, by lane.
    sent: Vec<usize>,
    closed: Vec<bool>,
    source_ended: Vec<bool>,
    intake: Vec<Intake>,
    stopped: bool,
    to_write: Vec<VecDeque<usize>>,
    /// Bytes that each sink was handed.
    handed: Vec<u64>,
    pub(crate) seen: Vec<Vec<Seen>>,
    /// Outputs of windows, by sink.
    pub(crate) fired: Vec<Vec<Fired>>,
    /// Values in the order in which the engine got them.
    pub(crate) order: Vec<u64>,
    dead: Vec<(LetterId, DeadMessage)>,
    /// Ids and weights of dead letters that are not kept yet.
    to_keep: VecDeque<(LetterId, usize)>,
    /// Ids of the dead letters there are.
    letters: BTreeSet<LetterId>,
    /// Values that may become dead letters though nothing is the matter with them: bad luck struck while they were watched.
    pub(crate) blamed: BTreeSet<u64>,
    pub(crate) finished: bool,
    /// When the orchestrator was told to stop so that another can go on.
    suspended_at: Option<Duration>,
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
            steps: 0,
            workers: BTreeMap::new(),
            stale: VecDeque::new(),
            deaths: VecDeque::new(),
            vacant,
            scaling: PoolId::MAIN,
            next_generation: 0,
            bad_luck: BTreeMap::new(),
            log: Log::new(&scenario.plan),
            began: Duration::ZERO,
            acknowledged: vec![0; scenario.lanes.len()],
            sent: vec![0; scenario.lanes.len()],
            closed: vec![false; scenario.lanes.len()],
            source_ended: vec![false; sources],
            intake: (0..sources).map(|_| Intake::default()).collect(),
            stopped: false,
            to_write: vec![VecDeque::new(); sinks],
            handed: vec![0; sinks],
            seen: vec![Vec::new(); sinks],
            fired: vec![Vec::new(); sinks],
            order: Vec::new(),
            dead: Vec::new(),
            to_keep: VecDeque::new(),
            letters: BTreeSet::new(),
            blamed: BTreeSet::new(),
            finished: false,
            suspended_at: None,
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
                self.check_settled();
            }
            if self.finished && self.suspended_at.is_some() {
                self.resume();
            }
            if self.finished {
                check::everything(&self);
                assert!(self.to_keep.is_empty(), "finished before all dead letters are kept");
                self.check_acknowledged();
                self.tally.windows = self.fired.iter().map(|fired| fired.len() as u64).sum();
                self.tally.late = self.engine.status().stages.iter().map(|stage| stage.late).sum();
                for intake in &self.intake {
                    assert_eq!(intake.taken(), 0, "credit leaked");
                }
                return self.tally;
            }
            self.step();
            self.check_bounds();
        }
        panic!("not finished after {MOST_STEPS} steps: {:#?}", self.engine.status());
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
            let end = self.sent[lane] + self.next_chunk(lane);
            let bytes = bytes::Bytes::from(self.scenario.lanes[lane].stream()).slice(self.sent[lane]..end);
            let position = Some(FilePosition::default().after(self.sent[lane] as u64));
            self.sent[lane] = end;
            self.intake[source.index()].pay(bytes.len(), 1);
            return self.tell(Event::Chunk { source, connection, bytes, position });
        }
        let mut count = 1 + self.random.below(rest.min(6));
        let mut block = self.block(lane, count);
        if !self.intake[source.index()].admits(block.weight()) {
            count = 1;
            block = self.block(lane, count);
        }
        self.order.extend(self.scenario.lanes[lane].frames[self.sent[lane]..self.sent[lane] + count].iter().flatten());
        self.sent[lane] += count;
        self.intake[source.index()].pay(block.weight(), count);
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
        self.engine.handle(event, self.now.saturating_sub(self.began), &mut actions);
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
        self.engine.end_turn(self.now.saturating_sub(self.began), &mut actions);
        self.carry_out_all(actions);
    }

    fn carry_out_all(&mut self, actions: Vec<Action>) {
        let letter = |action: &Action| match action {
            Action::DeadLetter { message, .. } => message.weight(),
            Action::Commit(record) => record.letters.iter().map(DeadMessage::weight).sum(),
            _ => 0,
        };
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
            Action::Send { slot, generation, message } => self.deliver(slot, generation, message),
            Action::Write { sink, chunk } => {
                assert_eq!(chunk.bytes.len(), chunk.lengths.iter().sum::<u32>() as usize);
                if windows::feed(self, sink.index()) {
                    self.fired[sink.index()].extend(chunk.bytes.chunks(Fired::BYTES).map(Fired::decode));
                } else {
                    self.seen[sink.index()].extend(chunk.bytes.chunks(Seen::BYTES).map(Seen::decode));
                }
                self.to_write[sink.index()].push_back(chunk.bytes.len());
                self.handed[sink.index()] += chunk.bytes.len() as u64;
                let is_durable = self.handed[sink.index()] <= self.log.durable_bytes(sink);
                assert!(is_durable || !self.scenario.config.logged, "messages leave before their record is durable");
            }
            Action::Acknowledge { stream, messages, .. } => self.acknowledge(&stream, messages),
            Action::Credit { source, bytes } => self.intake[source.index()].give_back(bytes),
            Action::Allow { source, bytes } => {
                let busy = self.busy_messages();
                self.intake[source.index()].allow(bytes, busy, &self.scenario.config, self.now);
            }
            Action::StopSources => self.stopped = true,
            Action::Commit(record) => self.log.append(*record),
            Action::Checkpoint { checkpoint, states } => self.log.check_in(*checkpoint, states),
            Action::DeadLetter { id, message } => {
                assert!(id.lsn <= self.log.durable(), "a dead letter leaves before its record is durable");
                self.to_keep.push_back((id, message.weight()));
                // The file has it already, or there is no log and so no ids.
                if self.letters.insert(id) || !self.scenario.config.logged {
                    self.tally.dead_letters += 1;
                    self.dead.push((id, message));
                }
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
            Action::CloseConnection { connection, error, .. } => {
                let lane = &self.scenario.lanes[connection.0 as usize];
                assert!(lane.nonsense_before.is_some(), "no reason to close: {error}");
                self.tally.refused += 1;
            }
            Action::Finished => self.finished = true,
            Action::Fail(error) => panic!("the engine gives up: {error}"),
        }
    }

    /// A worker is sent a message.
    fn deliver(&mut self, slot: SlotId, generation: Generation, message: ToWorker) {
        match &message {
            ToWorker::Snapshot { .. } | ToWorker::SnapshotKeys { .. } => self.tally.snapshots += 1,
            ToWorker::Restore(_) => self.tally.restores += 1,
            ToWorker::Batch(batch) => {
                let pool = self.scenario.plan.stages[batch.stage.index()].pool;
                let input = self.scenario.plan.stages[batch.stage.index()].input;
                if let (Input::Frames(source), Ok(frames)) = (input, input::parse_frames(&batch.input)) {
                    self.intake[source.index()].begin(frames.len(), self.now);
                }
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
            || warning.contains("does not answer")
            || warning.contains("answers again")
            || warning.contains("go on in other slots")
            || warning.contains("moved to other slots") && self.scenario.slow_calls > 0
            || warning.contains("loading the state") && self.scenario.fatal_loading.is_some()
            || unsaved && self.scenario.fatal_saving.is_some();
        assert!(expected, "nothing to warn of: {warning}");
        self.tally.unsaved += u64::from(unsaved);
        self.tally.outages += u64::from(warning.contains("does not answer"));
        self.tally.adoptions += u64::from(warning.contains("go on in other slots"));
        self.tally.slow_calls += u64::from(warning.contains("moved to other slots"));
        self.tally.unloaded += u64::from(warning.contains("loading the state"));
    }
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
