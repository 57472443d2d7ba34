//! Connects the tasks that do I/O to the engine, from the start of a run to its end.
//!
//! One loop on one thread owns the engine and the pools. It waits for the next event of a source, a worker, a sink or a client, or
//! for a signal, passes it to the engine, and carries out the actions that the engine returns.

mod changing;
mod distinct_files;
mod durable;
mod endpoints;
mod error;
mod event_loop;
mod health;
mod measured;
mod named_pools;
mod observed;
mod own_sources;
mod peers;
mod requests;
mod signals;
mod sink_events;
mod turn;
mod workers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wallaroo_protocol::topology::SourceConfig;

use self::changing::Change;
use self::distinct_files::check_files;
use self::durable::{Begun, RunLog, open_state};
use self::endpoints::{Inputs, SourceHandles, open_sinks, open_sources};
use self::health::Health;
use self::measured::Measurements;
use self::named_pools::named_pools;
use self::observed::Observed;
use self::own_sources::check_addresses;
use self::peers::Peers;
use self::signals::Signals;
use self::workers::{end_workers, load};

use crate::control::address::ControlAddress;
use crate::control::{Control, Refusal};
use crate::dead_letter::{DeadLetters, LetterEvent};
use crate::engine::{Action, Engine, EngineConfig, Event};
use crate::ids::SourceId;
use crate::limit::Limit;
use crate::log::Report;
use crate::plan::Plan;
use crate::sink::SinkEvent;
use crate::sink_chunk::SinkChunk;
use crate::source::{CloseReason, ConnectionError, SourceEvent};
use crate::worker::connection::WorkerEvent;
use crate::worker::descendants::adopt_orphans;
use crate::worker::pool::{MemberStatus, PoolSettings};
use crate::worker::pools::Pools;
use crate::worker::process::resident_bytes;

pub use self::durable::{OnStop, StateError};
pub use self::error::RunError;
pub use self::workers::describe;

/// The most events of one kind that are handled before events of other kinds.
const EVENTS_A_TURN: usize = 64;
/// How often the engine is told the time, so that it notices hung batches and idle sources.
const TICK: Duration = Duration::from_millis(250);
/// How long workers may take to exit at the end of a run.
const EXIT_GRACE: Duration = Duration::from_secs(3);
/// How long sinks may take to write what they hold after the run has failed.
const FAILED_FLUSH: Duration = Duration::from_secs(1);

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Settings of the main pool.
    pub pool: PoolSettings,
    /// Settings of the named pools.
    pub named_pools: BTreeMap<String, PoolSettings>,
    /// The engine's settings.
    pub engine: EngineConfig,
    /// Where dead letters go; `None` logs them only.
    pub dead_letters: Option<PathBuf>,
    /// What the run does when a message cannot be processed.
    pub failure_policy: FailurePolicy,
    /// Dead letters, at most; with more the run fails.
    pub most_dead_letters: Option<u64>,
    /// Where to bind the control socket.
    pub control: ControlAddress,
    /// Where to serve metrics, if at all.
    pub metrics: Option<SocketAddr>,
    /// The folder in which what lives is kept, so that the next run goes on.
    pub state: Option<PathBuf>,
    /// State tables and sources whose states and positions may be dropped, if other steps than before go on and none takes them over.
    pub drop_state: Vec<String>,
    /// The run reads nothing: it finishes what an earlier one has left, and ends.
    pub settle: bool,
    /// What a first signal does.
    pub on_stop: OnStop,
}

/// What the run does when a message cannot be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Makes a dead letter of the message and goes on.
    DeadLetter,
    /// Ends.
    Stop,
}

/// What is known once everything is open.
#[derive(Debug)]
pub struct Started<'a> {
    /// The plan of the run.
    pub plan: &'a Plan,
    /// Where each source listens or reads.
    pub sources: &'a [String],
    /// The workers.
    pub workers: &'a [MemberStatus],
    /// The path of the control socket, if there is one.
    pub control: Option<&'a Path>,
    /// Where metrics are served, if they are.
    pub metrics: Option<SocketAddr>,
}

/// A file, a stream or a generator that was not read to its end.
#[derive(Debug, Clone)]
pub struct InputLeft {
    /// Its name.
    pub input: String,
    /// Why.
    pub reason: String,
}

/// What a run has done.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Messages that entered from sources.
    pub messages_in: u64,
    /// Messages handed to sinks.
    pub messages_out: u64,
    /// Messages that became dead letters.
    pub dead_letters: u64,
    /// Values that arrived too late for all of their windows.
    pub late: u64,
    /// Workers that died in a slot.
    pub deaths: u64,
    /// Files, streams and generators that were not read to their end because something was wrong with them.
    pub left: Vec<InputLeft>,
    /// Time from when the run was ready to its end.
    pub elapsed: Duration,
}

/// Runs an application until its sources have ended, it is told to stop, or it fails. `started` is called once, when the workers
/// and sources are ready.
pub async fn run(options: RunOptions, started: impl FnOnce(Started<'_>)) -> Result<Summary, RunError> {
    let mut signals = Signals::listen().map_err(RunError::Signals)?;
    let mut control = Control::open(&options.control, options.metrics).await?;
    adopt_orphans();
    let (mut pools, mut workers) = Pools::new(options.pool.clone());
    let early = async {
        signals.next().await;
        Err(RunError::InterruptedEarly)
    };
    let result = tokio::select! {
        interrupted = early => interrupted,
        opened = Runtime::open(&options, &mut pools, &mut workers) => opened,
        never = control.refuse_all(Refusal::starting()) => never,
    };
    let (mut runtime, mut inputs) = match result {
        Ok(opened) => opened,
        Err(error) => {
            end_workers(&mut pools, &mut workers, Duration::ZERO).await;
            return Err(error);
        }
    };
    let settle = options.settle;
    // The pools know their settings, and an edition's folder lives as long as somebody knows it.
    drop(options);
    let members = pools.members();
    started(Started {
        plan: &runtime.plan,
        sources: &inputs.addresses,
        workers: &members,
        control: control.path(),
        metrics: control.metrics(),
    });
    let mut heard = 0;
    let begun = if settle { runtime.suspend(&mut pools) } else { Ok(()) };
    // The first turn tells the sources how much they may read.
    let outcome = match begun.and_then(|()| runtime.end_turn(&mut pools)) {
        Ok(()) => {
            inputs.start();
            runtime.take_turns(&mut pools, &mut workers, &mut inputs, &mut control, &mut signals, &mut heard).await
        }
        failed => failed,
    };
    inputs.stop.cancel();
    // The first signal is always graceful, also when the run is ending anyway.
    let hurry = async {
        for _ in heard..2 {
            signals.next().await;
        }
    };
    // The run as a whole is in it, and futures are moved.
    let closed = Box::pin(runtime.close(&mut pools, &mut workers, outcome, hurry));
    let end = async {
        let summary = closed.await;
        inputs.close(if summary.is_ok() { EXIT_GRACE } else { Duration::ZERO }).await;
        summary
    };
    tokio::select! {
        summary = end => summary,
        never = control.refuse_all(Refusal::ending()) => never,
    }
}

struct Runtime {
    plan: Arc<Plan>,
    engine: Engine,
    begun: Instant,
    sources: SourceHandles,
    /// Where each source listens or reads, as people read it.
    source_addresses: Vec<String>,
    stop: CancellationToken,
    /// Cancelled before `stop`, if the next run goes on.
    stop_suspended: CancellationToken,
    sinks: Vec<mpsc::UnboundedSender<SinkChunk>>,
    sink_tasks: JoinSet<()>,
    sink_events: mpsc::UnboundedReceiver<SinkEvent>,
    dead_letters: DeadLetters,
    letter_events: mpsc::UnboundedReceiver<LetterEvent>,
    log: Option<RunLog>,
    reports: mpsc::UnboundedReceiver<Report>,
    on_stop: OnStop,
    /// Why dead letters cannot be written, while that is so.
    letters_wait: Option<String>,
    failure_policy: FailurePolicy,
    most_dead_letters: Option<u64>,
    left: Vec<InputLeft>,
    peers: Peers,
    observed: Observed,
    health: Health,
    measured: Measurements,
    /// The change of the workers that is in progress.
    change: Option<Change>,
    draining: bool,
    /// The next run goes on.
    suspended: bool,
    finished: bool,
    /// When the engine was last told the time, since the run began.
    last_told: Duration,
    actions: Vec<Action>,
}

impl Runtime {
    async fn open(
        options: &RunOptions,
        pools: &mut Pools,
        workers: &mut mpsc::UnboundedReceiver<WorkerEvent>,
    ) -> Result<(Self, Inputs), RunError> {
        let plan = Arc::new(Plan::new(load(pools, workers).await?)?);
        let named = named_pools(&plan, options)?;
        check_files(&plan, &options.pool.application, options.dead_letters.as_deref())?;
        let mut left = open_state(&plan, options).await?;
        let (letter_sender, letter_events) = mpsc::unbounded_channel();
        let dead_letters = DeadLetters::open(options.dead_letters.as_deref(), &plan, left.is_some(), letter_sender)?;
        let (mut inputs, sources) = open_sources(&plan, options, left.as_ref()).await?;
        check_addresses(&plan, &inputs.listening()).await?;
        let (stop, stop_suspended) = (inputs.stop.clone(), inputs.suspended.clone());
        let (sink_sender, sink_events) = mpsc::unbounded_channel();
        let mut sink_tasks = JoinSet::new();
        let sinks = open_sinks(&plan, options, left.as_mut(), &sink_sender, &mut sink_tasks).await?;
        let pool_slots = named.iter().map(|(_, settings)| settings.slots).collect();
        let config = EngineConfig { pool_slots, logged: left.is_some(), ..options.engine.clone() };
        let Begun { engine, log, reports, undelivered, epoch } = Begun::new(&plan, config, left).await?;
        let (observed, health) = (Observed::new(plan.sources.len()), Health::new(&plan));
        inputs.addresses.shrink_to_fit();
        let source_addresses = inputs.addresses.clone();
        let mut runtime = Self {
            plan,
            engine,
            begun: Instant::now(),
            sources,
            source_addresses,
            stop,
            stop_suspended,
            sinks,
            sink_tasks,
            sink_events,
            dead_letters,
            letter_events,
            letters_wait: None,
            log,
            reports,
            on_stop: options.on_stop,
            failure_policy: options.failure_policy,
            most_dead_letters: options.most_dead_letters,
            left: Vec::new(),
            peers: Peers::default(),
            observed,
            health,
            measured: Measurements::default(),
            change: None,
            draining: false,
            suspended: false,
            finished: false,
            last_told: Duration::ZERO,
            actions: Vec::new(),
        };
        pools.plan(runtime.plan.stage_plans(), named);
        pools.fill(Instant::now())?;
        runtime.wait_for_workers(pools, workers).await?;
        runtime.begun = Instant::now();
        runtime.engine.set_epoch(epoch);
        runtime.go_on(pools, undelivered)?;
        Ok((runtime, inputs))
    }

    /// Tells the engine that time has passed, and which workers have grown too large.
    fn tick(&mut self, pools: &mut Pools) -> Result<(), RunError> {
        pools.check_processes(Instant::now());
        for (slot, generation) in pools.moved() {
            self.feed(pools, Event::Moved { slot, generation })?;
        }
        self.feed(pools, Event::Tick)?;
        self.observed.sample(self.engine.counts(), Instant::now());
        self.continue_change(pools)?;
        for MemberStatus { generation, pid, pool, slot, .. } in pools.members() {
            let Some(limit) = pools[pool].memory() else { continue };
            let (Some(slot), Some(resident)) = (slot, resident_bytes(pid)) else { continue };
            if resident > limit {
                self.feed(pools, Event::Overweight { slot, generation, resident, limit })?;
            }
        }
        Ok(())
    }

    fn workers(&mut self, pools: &mut Pools, events: impl Iterator<Item = WorkerEvent>) -> Result<(), RunError> {
        let mut outcome = Ok(());
        for event in events {
            // The pool is told everything, even after the run has failed: closing it means waiting for the end of every worker.
            for news in pools.handle(event, Instant::now()) {
                outcome = outcome.and_then(|()| self.heard(pools, news));
            }
        }
        outcome?;
        self.continue_change(pools)?;
        Ok(pools.fill(Instant::now())?)
    }

    fn sources(&mut self, pools: &mut Pools, events: impl Iterator<Item = SourceEvent>) -> Result<(), RunError> {
        for event in events {
            let event = match event {
                SourceEvent::Opened { source, connection, peer } => {
                    self.observed.opened(source);
                    self.health.source_is_up(source);
                    tracing::debug!("connection from {peer}");
                    self.peers.open(connection, peer);
                    continue;
                }
                SourceEvent::Closed { source, connection, outcome } => {
                    // A connection that the engine gave up was logged then.
                    if let CloseReason::Failed(error) = outcome
                        && !matches!(error, ConnectionError::Refused { .. })
                    {
                        tracing::error!(limit = error.limit().map(Limit::name), "{error}; it is closed, others go on");
                        self.leave(source, error.to_string());
                    }
                    self.observed.closed(source);
                    self.peers.close(connection);
                    Event::ConnectionClosed { source, connection }
                }
                SourceEvent::Frames { source, connection, block } => Event::Frames { source, connection, block },
                SourceEvent::Chunk { source, connection, bytes, position } => {
                    Event::Chunk { source, connection, bytes, position }
                }
                SourceEvent::Down { source, reason } => {
                    self.health.source_is_down(source, reason);
                    continue;
                }
                SourceEvent::Ended { source } => Event::SourceEnded { source },
            };
            self.feed(pools, event)?;
        }
        Ok(())
    }

    /// Notes that a file, a stream or a generator is not read to its end. A drain stops reading on purpose, and what a client does is its own
    /// affair.
    fn leave(&mut self, source: SourceId, reason: String) {
        if self.draining {
            return;
        }
        let input = match &self.plan.sources[source.index()].config {
            SourceConfig::File { path, .. } => path.clone(),
            SourceConfig::Stdin {} => "standard input".to_owned(),
            SourceConfig::Generator {} => {
                format!("the generator {}", self.plan.name(self.plan.sources[source.index()].node))
            }
            SourceConfig::Tcp { .. } | SourceConfig::Connector { .. } => return,
        };
        self.left.push(InputLeft { input, reason });
    }

    fn letters(&mut self, pools: &mut Pools, events: impl Iterator<Item = LetterEvent>) -> Result<(), RunError> {
        let mut kept = 0;
        for event in events {
            match event {
                LetterEvent::Kept { bytes } => {
                    kept += bytes;
                    self.letters_wait = None;
                }
                LetterEvent::Waiting { reason } => self.letters_wait = Some(reason),
            }
        }
        self.feed(pools, Event::DeadLettersKept { bytes: kept })
    }

    fn signalled(&mut self, pools: &mut Pools, signals: &mut u32) -> Result<(), RunError> {
        *signals += 1;
        if *signals > 1 {
            return Err(RunError::Interrupted {
                is_kept: self.log.is_some(),
                undelivered: self.engine.undelivered_bytes(),
            });
        }
        tracing::info!("stopping: reading has ended, accepted messages are finished; a second signal stops at once");
        match self.on_stop {
            OnStop::Drain => self.drain(pools),
            OnStop::Suspend => self.suspend(pools),
        }
    }

    /// Ends workers and sinks, waits for them, and returns what the run has done.
    async fn close(
        mut self,
        pools: &mut Pools,
        workers: &mut mpsc::UnboundedReceiver<WorkerEvent>,
        mut outcome: Result<(), RunError>,
        hurry: impl Future<Output = ()>,
    ) -> Result<Summary, RunError> {
        let status = self.engine.status();
        let entered = |source: &crate::plan::SourcePlan| status.stages[source.stage.index()].messages;
        let summary = Summary {
            messages_in: self.plan.sources.iter().map(entered).sum(),
            messages_out: status.sink_messages.iter().sum(),
            dead_letters: self.dead_letters.count(),
            late: status.stages.iter().map(|stage| stage.late).sum(),
            deaths: status.deaths,
            left: std::mem::take(&mut self.left),
            elapsed: self.begun.elapsed(),
        };
        self.sinks.clear();
        let flushed = async { while self.sink_tasks.join_next().await.is_some() {} };
        let (flush_grace, exit_grace) = match &outcome {
            Ok(()) if self.suspended => (Some(FAILED_FLUSH), EXIT_GRACE),
            Ok(()) => (None, EXIT_GRACE),
            Err(RunError::Interrupted { .. } | RunError::Stopped { .. }) => (Some(Duration::ZERO), Duration::ZERO),
            Err(_) => (Some(FAILED_FLUSH), Duration::ZERO),
        };
        let settled = async {
            let flushed = async {
                match flush_grace {
                    Some(grace) => drop(timeout(grace, flushed).await),
                    None => flushed.await,
                }
            };
            tokio::join!(flushed, end_workers(pools, workers, exit_grace));
        };
        let settled = tokio::select! {
            () = settled => true,
            () = hurry => false,
        };
        if !settled {
            outcome = outcome.and(Err(RunError::InterruptedLate));
            end_workers(pools, workers, Duration::ZERO).await;
        }
        self.close_log().await;
        if timeout(FAILED_FLUSH, self.dead_letters.finish()).await.is_err() {
            let bytes = self.engine.letter_bytes();
            tracing::error!(bytes, "dead letters could not be written before the end, and are lost");
        }
        outcome.map(|()| summary)
    }
}
