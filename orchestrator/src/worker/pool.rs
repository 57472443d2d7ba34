//! A pool: keeps each of its slots seated and a few standbys ready.
//!
//! Workers have an [`Edition`]: an interpreter, and the application's code as it was when they were started. There is one edition,
//! and a second one while it is being replaced. Every seat says of which edition its worker is to be.
//!
//! A worker greets, loads the application, describes its topology, is told the plan, and is ready. From then on it is a standby,
//! until a slot needs it. [`Pool::handle`] is synchronous; what has to be done outside comes back as [`PoolNews`].

mod editions;
mod error;
mod news;
mod orders;
mod starter;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wallaroo_protocol::{FromWorker, Load, OrchestratorHello, StagePlan, ToWorker, WorkerHello, topology};

use self::error::difference;
use super::connection::{WorkerEvent, WorkerHandle, WorkerNews};
use super::process::Interpreter;
use crate::death::{Death, DeathCause, KillReason};
use crate::ids::{Generation, PoolId, SlotId};
use crate::limit::Limit;

pub use self::error::PoolError;
pub use self::news::{PoolNews, SlotChange, SlotNews};
pub use self::starter::Starter;
pub use self::status::{MemberStatus, Progress};

/// The run ends when no worker could be started for so long, and so often.
const PERSISTENCE: (Duration, u32) = (Duration::from_secs(20), 5);
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
    /// Bytes a worker may have resident.
    pub memory: Option<u64>,
    /// How long a worker may take to be ready.
    pub start_timeout: Duration,
}

/// What workers have in common: an interpreter, and the application's code as it was at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edition(u32);

/// See the [module](self).
#[derive(Debug)]
pub struct Pool {
    id: PoolId,
    /// The name that steps use; the main pool has none.
    name: Option<String>,
    settings: PoolSettings,
    /// The edition of workers now.
    edition: Edition,
    /// The edition that is to replace it, and its interpreter.
    next: Option<(Edition, Interpreter)>,
    /// The edition of the worker that each slot is to have.
    seats: BTreeMap<SlotId, Edition>,
    /// Standbys wanted beyond the usual ones, for slots that will be added.
    recruits: u32,
    members: BTreeMap<Generation, Member>,
    vacant: VecDeque<SlotId>,
    topology: Option<Bytes>,
    plan: Option<Vec<StagePlan>>,
    /// Why workers of the next edition could not even be started.
    unrecruited: Vec<PoolError>,
    /// Since when no worker could be started, and how often it was tried.
    failing: Option<(Instant, u32)>,
    backoff: Duration,
    /// No worker is started before this.
    not_before: Option<Instant>,
    ever_loaded: bool,
    closing: bool,
}

#[derive(Debug)]
struct Member {
    edition: Edition,
    handle: WorkerHandle,
    hello: Option<WorkerHello>,
    phase: Phase,
    /// Why it is being killed, if it is.
    killed: Option<KillReason>,
    /// What its marker last said of its progress.
    progress: u64,
    started: Instant,
    start: Start,
}

/// What has been said of a worker that takes long to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    InTime,
    /// The log says that it takes long.
    Slow,
    /// It took too long and is killed.
    TooLate,
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
    /// It cannot be used; its end is awaited.
    Dismissed,
}

impl Pool {
    /// A pool without workers. Every slot is vacant.
    pub fn new(id: PoolId, name: Option<String>, settings: PoolSettings) -> Self {
        let vacant: VecDeque<SlotId> = (0..settings.slots).map(|number| SlotId { pool: id, number }).collect();
        let edition = Edition(0);
        Self {
            id,
            name,
            edition,
            next: None,
            seats: vacant.iter().map(|slot| (*slot, edition)).collect(),
            recruits: 0,
            settings,
            members: BTreeMap::new(),
            vacant,
            topology: None,
            plan: None,
            unrecruited: Vec::new(),
            failing: None,
            backoff: FIRST_BACKOFF,
            not_before: None,
            ever_loaded: false,
            closing: false,
        }
    }

    /// The topology that another pool's workers describe: this pool's workers have to describe the same, and are told its plan.
    pub fn join(&mut self, first: &Self) {
        self.topology.clone_from(&first.topology);
        self.plan.clone_from(&first.plan);
    }

    /// Its id.
    pub fn id(&self) -> PoolId {
        self.id
    }

    /// What steps call it; the main pool has no name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The Python its workers run.
    pub fn python(&self) -> &Path {
        &self.settings.interpreter.python
    }

    /// Bytes a worker may have resident.
    pub fn memory(&self) -> Option<u64> {
        self.settings.memory
    }

    /// The process id of a worker of this pool.
    pub fn pid(&self, generation: Generation) -> Option<i32> {
        self.members.get(&generation).map(|member| member.handle.pid)
    }

    /// Starts a worker if one is missing, unless a retry has to wait. Others are started in turns of their own, see
    /// [`Starter::begin`].
    pub fn fill(&mut self, starter: &mut Starter, now: Instant) -> Result<(), PoolError> {
        if self.closing || self.not_before.is_some_and(|not_before| now < not_before) {
            return Ok(());
        }
        self.not_before = None;
        if let Err(error) = self.fill_edition(starter, self.edition) {
            self.note_failure(error, now)?;
        }
        if let Some((next, _)) = self.next
            && let Err(error) = self.fill_edition(starter, next)
        {
            self.unrecruited.push(error);
        }
        Ok(())
    }

    fn fill_edition(&mut self, starter: &mut Starter, edition: Edition) -> Result<(), PoolError> {
        let count = |pool: &Self| pool.members.values().filter(|member| member.edition == edition).count();
        while count(self) < self.wanted(edition) && starter.may_start() {
            let interpreter = match &self.next {
                Some((next, interpreter)) if *next == edition => interpreter,
                _ => &self.settings.interpreter,
            };
            let (generation, handle) = starter.start(interpreter, self.settings.max_frame)?;
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
            self.members.insert(
                generation,
                Member {
                    edition,
                    handle,
                    hello: None,
                    phase: Phase::Greeting,
                    killed: None,
                    progress: 0,
                    started: Instant::now(),
                    start: Start::InTime,
                },
            );
        }
        Ok(())
    }

    /// How many workers of an edition are wanted.
    fn wanted(&self, edition: Edition) -> usize {
        let seats = self.seats.values().filter(|seat| **seat == edition).count();
        let standbys = if edition == self.edition {
            self.settings.standbys + self.recruits
        } else if self.is_next(edition) {
            // At least one, or no worker of this edition could ever take a seat from the other.
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

    /// Takes in what a worker did. Call [`Pool::fill`] afterwards, once the news has been passed on: starting a process takes
    /// longer than seating a standby.
    pub fn handle(&mut self, event: WorkerEvent, now: Instant) -> Vec<PoolNews> {
        let WorkerEvent { generation, news } = event;
        let mut out = Vec::new();
        match news {
            WorkerNews::Said(message) => self.said(generation, message, &mut out),
            WorkerNews::Ended { cause, marker, trace, last_lines } => {
                let Some(member) = self.members.remove(&generation) else { return out };
                self.ended(generation, &member, Death { cause, marker, trace }, last_lines, now, &mut out);
            }
        }
        self.seat_standbys(&mut out);
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
        let late = member.start == Start::TooLate;
        let late = late.then_some(KillReason::NotReady(self.settings.start_timeout));
        let reason = member.killed.clone().or(late);
        let death = Death { cause: reason.map_or(death.cause, DeathCause::Killed), ..death };
        let (worker, pid, cause) = (generation.0, member.handle.pid, &death.cause);
        let pool = self.name.as_deref();
        match member.phase {
            Phase::Seated(slot) => {
                if *cause == DeathCause::Killed(KillReason::Retired) {
                    tracing::info!(worker, slot = slot.number, pool, pid, "worker gave up its slot");
                } else if !self.closing {
                    let limit = cause.limit().map(Limit::name);
                    tracing::warn!(worker, slot = slot.number, pool, pid, limit, "worker died: {cause}");
                }
                out.push(PoolNews::slot(slot, generation, SlotChange::Lost(death)));
            }
            Phase::Standby if self.is_next(member.edition) && !cause.may_be_from_outside() => {
                out.push(PoolNews::NoRecruit(PoolError::Start { cause: death.cause, last_lines, greeted: true }));
            }
            Phase::Standby if !self.closing => tracing::warn!(worker, pool, pid, "standby died: {cause}"),
            Phase::Standby | Phase::Dismissed => {}
            _ if self.closing => {}
            _ if self.ever_loaded && cause.may_be_from_outside() => {
                tracing::warn!(worker, pool, pid, "worker died while it started: {cause}");
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
                self.ever_loaded = true;
                self.described(generation, topology, out);
            }
            (FromWorker::Ready, Phase::Preparing) => {
                member.phase = Phase::Standby;
                tracing::debug!(worker = generation.0, pid = member.handle.pid, "standby is ready");
                self.backoff = FIRST_BACKOFF;
                self.failing = None;
            }
            (FromWorker::Tried { problem, .. }, Phase::Standby) => out.push(PoolNews::Tried { generation, problem }),
            (FromWorker::Refused(refused), Phase::Greeting | Phase::Loading | Phase::Preparing) => {
                let edition = member.edition;
                self.dismiss(generation);
                self.failed_to_start(edition, PoolError::Refused(refused), Instant::now(), out);
            }
            (FromWorker::Result(result), Phase::Seated(slot)) => {
                out.push(PoolNews::slot(slot, generation, SlotChange::Result(result)));
            }
            (FromWorker::CutResult(result), Phase::Seated(slot)) => {
                out.push(PoolNews::slot(slot, generation, SlotChange::CutResult(result)));
            }
            (FromWorker::SnapshotPart(part), Phase::Seated(slot)) => {
                out.push(PoolNews::slot(slot, generation, SlotChange::Snapshot(part)));
            }
            (FromWorker::Measured(measurements), Phase::Seated(slot)) => {
                out.push(PoolNews::Measured(slot, measurements));
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

    /// A failure before any worker has loaded the application is for the user to fix. Later ones are retried for a while.
    fn failed_to_start(&mut self, edition: Edition, error: PoolError, now: Instant, out: &mut Vec<PoolNews>) {
        if self.closing {
            return;
        }
        if self.recruits > 0 || self.is_next(edition) {
            // No seat depends on it.
            return out.push(PoolNews::NoRecruit(error));
        }
        if edition != self.edition {
            return;
        }
        if let Err(error) = self.note_failure(error, now) {
            out.push(PoolNews::Failed(error));
        }
    }

    /// Has a failure to start tried again after a pause; an error if nothing ever worked, or if that went on for too long.
    fn note_failure(&mut self, error: PoolError, now: Instant) -> Result<(), PoolError> {
        let (since, times) = self.failing.map_or((now, 1), |(since, times)| (since, times + 1));
        self.failing = Some((since, times));
        // A start that hangs takes long by itself.
        let (longest, most) = PERSISTENCE;
        if !self.ever_loaded || now.duration_since(since) >= longest && times >= most {
            return Err(error);
        }
        tracing::warn!(
            pool = self.name.as_deref(),
            "a worker could not start, trying again in {:?}: {error}",
            self.backoff
        );
        self.not_before = Some(now + self.backoff);
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
        Ok(())
    }

    /// Kills a worker that cannot be used. Its end is still reported and has no effect.
    fn dismiss(&mut self, generation: Generation) {
        if let Some(member) = self.members.get_mut(&generation) {
            member.phase = Phase::Dismissed;
            member.handle.kill();
        }
    }

    /// Seats standbys in vacant slots.
    fn seat_standbys(&mut self, out: &mut Vec<PoolNews>) {
        for slot in std::mem::take(&mut self.vacant) {
            let edition = self.seats.get(&slot).copied().unwrap_or(self.edition);
            let fits = |member: &Member| member.phase == Phase::Standby && member.edition == edition;
            match self.members.iter_mut().find(|(_, member)| fits(member)) {
                Some((generation, member)) => {
                    member.phase = Phase::Seated(slot);
                    tracing::debug!(
                        worker = generation.0,
                        slot = slot.number,
                        pool = self.name.as_deref(),
                        pid = member.handle.pid,
                        "worker took a slot"
                    );
                    out.push(PoolNews::slot(slot, *generation, SlotChange::Seated));
                }
                None => self.vacant.push_back(slot),
            }
        }
    }

    /// Whether all slots have a worker.
    pub fn is_seated(&self) -> bool {
        self.vacant.is_empty()
    }

    /// Whether all slots have a worker, and all standbys that are wanted are ready.
    pub fn is_full(&self) -> bool {
        let ready = self.members.values().filter(|member| matches!(member.phase, Phase::Seated(_) | Phase::Standby));
        self.is_seated() && ready.count() >= self.wanted(self.edition)
    }

    /// Whether no worker is left.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}
