//! The pool: keeps every slot seated and a few standbys warm.
//!
//! Workers are of an [`Edition`]: an interpreter, and the application's code as it was when they were started. There is one
//! edition, and while it is being replaced a second one; every seat says of which its worker is to be.
//!
//! A worker greets, loads the application, describes its topology, is told the plan, and is ready: from then on it is a standby,
//! until a slot wants it. [`Pool::handle`] is synchronous; what has to be done outside comes back as [`PoolNews`].

mod editions;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use wallaroo_protocol::{
    FromWorker, Load, OrchestratorHello, ProtocolError, Refused, StagePlan, ToWorker, Topology, WorkerHello, topology,
};

use super::connection::{WorkerEvent, WorkerHandle, WorkerNews, start};
use super::guard::Guard;
use super::process::{Interpreter, SpawnError};
use crate::engine::{Action, Death, DeathCause, Event, Generation, KillReason, SlotId};

/// A worker that cannot start this often within [`FAILURE_PERIOD`] ends the run.
const MOST_FAILURES: usize = 5;
/// See [`MOST_FAILURES`].
const FAILURE_PERIOD: Duration = Duration::from_secs(10);
/// Wait before the first retry; doubled for each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait before a retry.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// What workers are started with.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The Python to run.
    pub interpreter: Interpreter,
    /// Path of the application, or its module name.
    pub application: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Seats.
    pub slots: u32,
    /// Workers kept ready beyond those seated.
    pub standbys: u32,
    /// The largest message.
    pub max_frame: usize,
}

/// Something the pool wants known.
#[derive(Debug)]
pub enum PoolNews {
    /// The first worker described the application. Answer with [`Pool::plan`].
    Described(Topology),
    /// Something for the engine.
    Engine(Event),
    /// A recruit answered what it was asked to try.
    Tried {
        /// The worker.
        generation: Generation,
        /// What it could not do.
        problem: Option<String>,
    },
    /// A recruit cannot be had.
    NoRecruit(PoolError),
    /// The pool cannot do its work.
    Failed(PoolError),
}

/// What workers have in common: an interpreter, and the application's code as it was at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edition(u32);

/// Why the pool cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The interpreter does not run.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// What cleans up after us cannot be started.
    #[error("cannot start the guard process")]
    Guard(#[source] std::io::Error),
    /// The application cannot be loaded.
    #[error("{}", .0.message)]
    Refused(Refused),
    /// Workers end before they are ready.
    #[error("a worker ended before it was ready: {cause}")]
    Start {
        /// What ended it.
        cause: DeathCause,
        /// What it said on standard error.
        last_lines: String,
        /// Whether it spoke at all.
        greeted: bool,
    },
    /// Two workers describe different applications.
    #[error("worker {generation} describes another application than the first worker: {difference}")]
    Differs {
        /// The worker.
        generation: Generation,
        /// What differs.
        difference: String,
    },
    /// What a worker described cannot be read.
    #[error("the SDK described a topology that cannot be read")]
    Topology(#[from] ProtocolError),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Pool {
    settings: PoolSettings,
    /// What workers are made of now.
    edition: Edition,
    /// What they are to be made of, and the interpreter for it.
    next: Option<(Edition, Interpreter)>,
    /// Of which edition the worker in each slot is to be.
    seats: BTreeMap<SlotId, Edition>,
    /// Standbys wanted beyond the usual ones, for slots to come.
    recruits: u32,
    events: mpsc::UnboundedSender<WorkerEvent>,
    guard: Option<Guard>,
    members: BTreeMap<Generation, Member>,
    vacant: VecDeque<SlotId>,
    topology: Option<Bytes>,
    plan: Option<Vec<StagePlan>>,
    next_generation: u32,
    /// Why workers of the next edition could not even be started.
    unrecruited: Vec<PoolError>,
    failures: VecDeque<Instant>,
    backoff: Duration,
    /// No worker is started before this.
    not_before: Option<Instant>,
    ever_ready: bool,
    closing: bool,
}

#[derive(Debug)]
struct Member {
    edition: Edition,
    handle: WorkerHandle,
    hello: Option<WorkerHello>,
    phase: Phase,
    /// It was told to go: its end is no accident.
    retired: bool,
}

/// How far a worker has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Started; its `hello` is awaited.
    Greeting,
    /// It loads the application; its `topology` is awaited.
    Loading,
    /// It waits to be told the plan.
    Described,
    /// It was told the plan; its `ready` is awaited.
    Preparing,
    /// Ready, and not needed yet.
    Standby,
    /// At work.
    Seated(SlotId),
    /// Of no use; its end is awaited.
    Dismissed,
}

/// A worker as others see it.
#[derive(Debug, Clone)]
pub struct MemberStatus {
    /// The worker.
    pub generation: Generation,
    /// Its process id.
    pub pid: i32,
    /// The slot it sits in; `None` for a standby or one that is starting.
    pub slot: Option<SlotId>,
    /// What it said of itself.
    pub hello: Option<WorkerHello>,
    /// How far it has come.
    pub progress: Progress,
}

/// How far a worker has come, as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It loads the application.
    Starting,
    /// It waits for a slot.
    Standby,
    /// It is at work.
    Seated,
    /// Its end is awaited.
    Leaving,
}

impl Pool {
    /// A pool without workers, and where their events arrive. Every slot is vacant.
    pub fn new(settings: PoolSettings) -> (Self, mpsc::UnboundedReceiver<WorkerEvent>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let vacant: VecDeque<SlotId> = (0..settings.slots).map(SlotId).collect();
        let edition = Edition(0);
        let pool = Self {
            edition,
            next: None,
            seats: vacant.iter().map(|slot| (*slot, edition)).collect(),
            recruits: 0,
            settings,
            events,
            guard: None,
            members: BTreeMap::new(),
            vacant,
            topology: None,
            plan: None,
            next_generation: 0,
            unrecruited: Vec::new(),
            failures: VecDeque::new(),
            backoff: FIRST_BACKOFF,
            not_before: None,
            ever_ready: false,
            closing: false,
        };
        (pool, receiver)
    }

    /// Starts as many workers as are missing, unless a retry has to wait.
    pub fn fill(&mut self, now: Instant) -> Result<(), PoolError> {
        if self.closing || self.not_before.is_some_and(|not_before| now < not_before) {
            return Ok(());
        }
        self.not_before = None;
        self.fill_edition(self.edition)?;
        if let Some((next, _)) = self.next
            && let Err(error) = self.fill_edition(next)
        {
            self.unrecruited.push(error);
        }
        Ok(())
    }

    fn fill_edition(&mut self, edition: Edition) -> Result<(), PoolError> {
        while self.members.values().filter(|member| member.edition == edition).count() < self.wanted(edition) {
            let interpreter = match &self.next {
                Some((next, interpreter)) if *next == edition => interpreter,
                _ => &self.settings.interpreter,
            };
            let generation = Generation(self.next_generation);
            self.next_generation += 1;
            if self.guard.is_none() {
                self.guard = Some(Guard::start().map_err(PoolError::Guard)?);
            }
            let handle = start(interpreter, generation, self.settings.max_frame, self.events.clone())?;
            if let Some(guard) = &mut self.guard {
                guard.watch(handle.pid);
            }
            let max_body = (self.settings.max_frame + wallaroo_protocol::ENVELOPE_BYTES) as u64;
            let version = env!("CARGO_PKG_VERSION").to_owned();
            let hello = OrchestratorHello { version, capabilities: Vec::new(), max_body };
            handle.send(ToWorker::Hello(hello).encode());
            let load = Load {
                application: self.settings.application.clone(),
                args: self.settings.args.clone(),
                slot: generation.0 % self.settings.slots.max(1),
                generation: generation.0,
            };
            handle.send(ToWorker::Load(load).encode());
            self.members
                .insert(generation, Member { edition, handle, hello: None, phase: Phase::Greeting, retired: false });
        }
        Ok(())
    }

    /// How many workers of an edition there are to be.
    fn wanted(&self, edition: Edition) -> usize {
        let seats = self.seats.values().filter(|seat| **seat == edition).count();
        let standbys = if edition == self.edition {
            self.settings.standbys + self.recruits
        } else if self.is_next(edition) {
            // One at least, or nobody could ever take a seat from a worker of the other edition.
            self.settings.standbys.max(1)
        } else {
            0
        };
        seats + standbys as usize
    }

    fn is_next(&self, edition: Edition) -> bool {
        self.next.as_ref().is_some_and(|(next, _)| *next == edition)
    }

    /// When [`Pool::fill`] is to be called next.
    pub fn next_fill(&self) -> Option<Instant> {
        self.not_before
    }

    /// Tells all workers the plan.
    pub fn plan(&mut self, plan: Vec<StagePlan>) {
        for member in self.members.values_mut().filter(|member| member.phase == Phase::Described) {
            member.handle.send(ToWorker::Plan(plan.clone()).encode());
            member.phase = Phase::Preparing;
        }
        self.plan = Some(plan);
    }

    /// Takes in what a worker did. [`Pool::fill`] is due afterwards: starting a process takes longer than seating one that stands
    /// by, so whoever hears of a death first passes the news on.
    pub fn handle(&mut self, event: WorkerEvent, now: Instant) -> Vec<PoolNews> {
        let WorkerEvent { generation, news } = event;
        let mut out = Vec::new();
        match news {
            WorkerNews::Said(message) => self.said(generation, message, &mut out),
            WorkerNews::Ended { cause, marker, trace, last_lines } => {
                let Some(member) = self.members.remove(&generation) else { return out };
                if let Some(guard) = &mut self.guard {
                    guard.forget(member.handle.pid);
                }
                self.ended(generation, &member, Death { cause, marker, trace }, last_lines, now, &mut out);
            }
        }
        self.seat(&mut out);
        out
    }

    fn ended(
        &mut self,
        generation: Generation,
        member: &Member,
        death: Death,
        last_lines: String,
        now: Instant,
        out: &mut Vec<PoolNews>,
    ) {
        let (worker, pid, cause) = (generation.0, member.handle.pid, &death.cause);
        match member.phase {
            Phase::Seated(slot) => {
                if member.retired {
                    tracing::info!(worker, slot = slot.0, pid, "worker gave up its slot");
                } else if !self.closing {
                    tracing::warn!(worker, slot = slot.0, pid, "worker died: {cause}");
                }
                out.push(PoolNews::Engine(Event::WorkerLost { slot, generation, death }));
            }
            Phase::Standby if self.is_next(member.edition) && !cause.may_be_from_outside() => {
                out.push(PoolNews::NoRecruit(PoolError::Start { cause: death.cause, last_lines, greeted: true }));
            }
            Phase::Standby if !self.closing => tracing::warn!(worker, pid, "standby died: {cause}"),
            Phase::Standby | Phase::Dismissed => {}
            _ if self.ever_ready && cause.may_be_from_outside() => {
                tracing::warn!(worker, pid, "worker died while it started: {cause}");
            }
            phase => {
                let greeted = phase != Phase::Greeting;
                self.failed_to_start(
                    member.edition,
                    PoolError::Start { cause: death.cause, last_lines, greeted },
                    now,
                    out,
                );
            }
        }
    }

    fn said(&mut self, generation: Generation, message: FromWorker, out: &mut Vec<PoolNews>) {
        let Some(member) = self.members.get_mut(&generation) else { return };
        match (message, member.phase) {
            (FromWorker::Hello(hello), Phase::Greeting) => {
                member.hello = Some(hello);
                member.phase = Phase::Loading;
            }
            (FromWorker::Topology(topology), Phase::Loading) => {
                member.phase = Phase::Described;
                self.described(generation, topology, out);
            }
            (FromWorker::Ready, Phase::Preparing) => {
                member.phase = Phase::Standby;
                tracing::debug!(worker = generation.0, pid = member.handle.pid, "standby is ready");
                self.ever_ready = true;
                self.backoff = FIRST_BACKOFF;
            }
            (FromWorker::Tried { problem, .. }, Phase::Standby) => out.push(PoolNews::Tried { generation, problem }),
            (FromWorker::Refused(refused), Phase::Greeting | Phase::Loading | Phase::Preparing) => {
                let edition = member.edition;
                self.dismiss(generation);
                self.failed_to_start(edition, PoolError::Refused(refused), Instant::now(), out);
            }
            (FromWorker::Result(result), Phase::Seated(slot)) => {
                out.push(PoolNews::Engine(Event::Result { slot, generation, result }));
            }
            (FromWorker::CutResult(result), Phase::Seated(slot)) => {
                out.push(PoolNews::Engine(Event::CutResult { slot, generation, result }));
            }
            (FromWorker::SnapshotPart(part), Phase::Seated(slot)) => {
                out.push(PoolNews::Engine(Event::Snapshot { slot, generation, part }));
            }
            (_, Phase::Dismissed) => {}
            (message, phase) => {
                tracing::error!(
                    worker = generation.0,
                    "worker broke the protocol: {message:?} while {phase:?}; killing it"
                );
                member.handle.kill();
            }
        }
    }

    fn described(&mut self, generation: Generation, described: Bytes, out: &mut Vec<PoolNews>) {
        match &self.topology {
            None => match topology::decode(&described) {
                Ok(decoded) => {
                    self.topology = Some(described);
                    out.push(PoolNews::Described(decoded));
                }
                Err(error) => out.push(PoolNews::Failed(error.into())),
            },
            Some(first) if *first == described => {
                let (Some(plan), Some(member)) = (&self.plan, self.members.get_mut(&generation)) else { return };
                member.handle.send(ToWorker::Plan(plan.clone()).encode());
                member.phase = Phase::Preparing;
            }
            Some(first) => {
                let difference = difference(first, &described);
                let edition = self.members.get(&generation).map_or(self.edition, |member| member.edition);
                self.dismiss(generation);
                self.failed_to_start(edition, PoolError::Differs { generation, difference }, Instant::now(), out);
            }
        }
    }

    /// A failure while nothing has worked yet is the user's to fix; later ones are retried for a while.
    fn failed_to_start(&mut self, edition: Edition, error: PoolError, now: Instant, out: &mut Vec<PoolNews>) {
        if self.closing {
            return;
        }
        if self.recruits > 0 || self.is_next(edition) {
            // Nobody's seat depends on it.
            return out.push(PoolNews::NoRecruit(error));
        }
        if edition != self.edition {
            return;
        }
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|first| now.duration_since(*first) > FAILURE_PERIOD) {
            self.failures.pop_front();
        }
        if !self.ever_ready || self.failures.len() >= MOST_FAILURES {
            return out.push(PoolNews::Failed(error));
        }
        tracing::warn!("a worker could not start, trying again in {:?}: {error}", self.backoff);
        self.not_before = Some(now + self.backoff);
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
    }

    /// Kills a worker that is of no use. Its end is still reported, to no effect.
    fn dismiss(&mut self, generation: Generation) {
        if let Some(member) = self.members.get_mut(&generation) {
            member.phase = Phase::Dismissed;
            member.handle.kill();
        }
    }

    /// Seats standbys in vacant slots.
    fn seat(&mut self, out: &mut Vec<PoolNews>) {
        for slot in std::mem::take(&mut self.vacant) {
            let edition = self.seats.get(&slot).copied().unwrap_or(self.edition);
            let fits = |member: &Member| member.phase == Phase::Standby && member.edition == edition;
            match self.members.iter_mut().find(|(_, member)| fits(member)) {
                Some((generation, member)) => {
                    member.phase = Phase::Seated(slot);
                    tracing::debug!(
                        worker = generation.0,
                        slot = slot.0,
                        pid = member.handle.pid,
                        "worker took a slot"
                    );
                    out.push(PoolNews::Engine(Event::WorkerSeated { slot, generation: *generation }));
                }
                None => self.vacant.push_back(slot),
            }
        }
    }

    /// Carries out an engine's action that concerns workers; others are returned.
    pub fn carry_out(&mut self, action: Action, out: &mut Vec<PoolNews>) -> Option<Action> {
        match action {
            Action::Send { generation, message, .. } => {
                if let Some(member) = self.members.get(&generation) {
                    member.handle.send(message.encode());
                }
            }
            Action::Kill { generation, reason, slot } => {
                if let Some(member) = self.members.get_mut(&generation) {
                    member.retired = reason == KillReason::Retired;
                    match reason {
                        KillReason::Timeout(after) => {
                            tracing::warn!(
                                worker = generation.0,
                                slot = slot.0,
                                "no answer after {after:?}: killing the worker"
                            );
                            member.handle.kill_after_stack();
                        }
                        KillReason::Protocol(error) => {
                            tracing::error!(
                                worker = generation.0,
                                slot = slot.0,
                                "worker broke the protocol: {error}; killing it"
                            );
                            member.handle.kill();
                        }
                        KillReason::Memory { .. } | KillReason::Retired => member.handle.kill(),
                    }
                }
            }
            Action::Seat { slot } => {
                self.seats.entry(slot).or_insert(self.edition);
                self.vacant.push_back(slot);
                self.seat(out);
            }
            Action::Vacate { slot } => {
                self.seats.remove(&slot);
                self.vacant.retain(|vacant| *vacant != slot);
            }
            other => return Some(other),
        }
        None
    }

    /// Whether all slots have a worker.
    pub fn is_seated(&self) -> bool {
        self.vacant.is_empty()
    }

    /// Asks all workers to finish and exit.
    pub fn close(&mut self) {
        self.closing = true;
        for member in self.members.values() {
            member.handle.send(ToWorker::Stop.encode());
        }
    }

    /// Kills every worker that is left. Their ends are still reported.
    pub fn kill_all(&mut self) {
        self.closing = true;
        for member in self.members.values() {
            member.handle.kill();
        }
    }

    /// Whether no worker is left.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Has a worker print its Python stacks into `reply`; one that has not greeted yet does not know how to.
    pub fn stack(&self, generation: Generation, reply: oneshot::Sender<String>) {
        if let Some(member) = self.members.get(&generation).filter(|member| member.hello.is_some()) {
            member.handle.stack(reply);
        }
    }

    /// All workers, oldest first.
    pub fn members(&self) -> Vec<MemberStatus> {
        let status = |(generation, member): (&Generation, &Member)| MemberStatus {
            generation: *generation,
            pid: member.handle.pid,
            slot: match member.phase {
                Phase::Seated(slot) => Some(slot),
                _ => None,
            },
            hello: member.hello.clone(),
            progress: match member.phase {
                Phase::Greeting | Phase::Loading | Phase::Described | Phase::Preparing => Progress::Starting,
                Phase::Standby => Progress::Standby,
                Phase::Seated(_) => Progress::Seated,
                Phase::Dismissed => Progress::Leaving,
            },
        };
        self.members.iter().map(status).collect()
    }
}

/// Where two topologies differ, in words.
fn difference(first: &[u8], other: &[u8]) -> String {
    let (first, other) = match (topology::decode(first), topology::decode(other)) {
        (Ok(first), Ok(other)) => (first, other),
        (_, Err(error)) | (Err(error), _) => return error.to_string(),
    };
    if first.name != other.name {
        return format!("the application is named {:?}, not {:?}", other.name, first.name);
    }
    let differs = first.nodes.iter().zip(&other.nodes).find(|(first, other)| first != other);
    match differs {
        Some((first, other)) => format!("step {:?} was {:?}, is {:?}", first.name, first.kind, other.kind),
        None => format!("it has {} steps, not {}", other.nodes.len(), first.nodes.len()),
    }
}
