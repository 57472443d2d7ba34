//! `wallaroo-orch run`.

use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use wallaroo_protocol::Topology;

use super::error::CliError;
use super::pools::{self, PoolOption};
use super::{LAST_LINE, LogArgs, LogFormat};
use crate::control::address::ControlAddress;
use crate::descriptors;
use crate::engine::EngineConfig;
use crate::interpreter;
use crate::runtime::{self, FailurePolicy, InputLeft, OnStop, RunError, RunOptions, Started, Summary};
use crate::worker::code_folder::CodeFolder;
use crate::worker::pool::{PoolError, PoolSettings};
use crate::worker::process::Interpreter;

/// Default of `--max-frame` in bytes.
const DEFAULT_MAX_FRAME: usize = 16 << 20;

/// Default of `--start-timeout`.
const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(120);
/// Bounds of how often workers report whether they have moved on.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_millis(250);

/// The application and the Python that runs it.
#[derive(Debug, Clone, Args)]
pub(super) struct ApplicationArgs {
    /// The Python to run: a path, or the name of a command [default: the Python of the active virtual environment, else the
    /// one beside wallaroo-orch, else python3]
    #[arg(long, value_name = "PATH|NAME")]
    python: Option<PathBuf>,
    /// Path of a .py file or name of a module, then the application's arguments
    #[arg(value_names = ["APP", "ARGS"], num_args = 1.., required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    app: Vec<String>,
}

impl ApplicationArgs {
    /// The words of the command line from the application on.
    pub(super) fn words(&self) -> &[String] {
        &self.app
    }

    fn application(&self) -> &str {
        self.app.first().map_or("", String::as_str)
    }

    /// The settings of the main pool.
    fn pool(&self, slots: u32, standbys: u32, max_frame: usize) -> Result<PoolSettings, CliError> {
        let python = interpreter::resolve(self.python.as_deref())?;
        Ok(PoolSettings {
            interpreter: Interpreter {
                python,
                hash_seed: hash_seed(),
                descriptors: None,
                progress_interval: LONGEST_INTERVAL,
                code: None,
            },
            application: self.application().to_owned(),
            args: self.app.iter().skip(1).cloned().collect(),
            slots,
            standbys,
            max_frame,
            memory: None,
            start_timeout: DEFAULT_START_TIMEOUT,
        })
    }

    /// The topology of the application.
    pub(super) async fn describe(&self) -> Result<Topology, CliError> {
        let settings = self.pool(1, 0, DEFAULT_MAX_FRAME)?;
        let python = settings.interpreter.python.clone();
        match runtime::describe(settings).await {
            Ok(topology) => Ok(topology),
            Err(error) => Err(explain(error, &python).await),
        }
    }
}

/// Replaces the error of a worker that exited without a message by what is wrong with its interpreter, if that can be found
/// out.
pub(super) async fn explain(error: RunError, python: &Path) -> CliError {
    let silent = matches!(&error, RunError::Pool(error) if error.is_silent());
    let python = match &error {
        RunError::Pool(PoolError::InPool { python, .. }) => python,
        _ => python,
    };
    match if silent { interpreter::diagnose(python).await } else { None } {
        Some(diagnosis) => diagnosis.into(),
        None => error.into(),
    }
}

/// Arguments of `wallaroo-orch run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Number of workers [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// Define a pool: the Python that runs the steps which name it, for example legacy=.venv/bin/python or
    /// legacy=python3.9,workers=2,worker-memory=1GiB. Repeat it for each pool, or define pools as `[pool.NAME]` in a
    /// wallaroo.toml beside the application
    #[arg(long = "pool", value_name = "NAME=PYTHON")]
    pools: Vec<PoolOption>,
    /// Standby workers in each pool, ready to replace a worker that dies
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=64))]
    standbys: u32,
    /// Path of the Unix socket for control commands [default: a path named after the application]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Serve metrics for Prometheus at /metrics on this address (for example 127.0.0.1:9100)
    #[arg(long, value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,
    /// Append messages that cannot be processed to this file, as JSON Lines
    #[arg(long, value_name = "PATH")]
    dead_letters: Option<PathBuf>,
    /// What happens to a message that cannot be processed
    #[arg(long, value_enum, default_value_t = OnError::DeadLetter)]
    on_error: OnError,
    /// End the run with an error when more messages than this cannot be processed
    #[arg(long, value_name = "N")]
    max_dead_letters: Option<u64>,
    /// Kill a worker that takes longer than this for a message (for example 30s, 2m, 500ms)
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    step_timeout: Duration,
    /// Kill a worker that is not ready this long after it was started, and start another
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    start_timeout: Duration,
    /// Snapshot a worker's state before replaying its journal would take longer than this
    #[arg(long, value_name = "DURATION", default_value = "250ms", value_parser = duration)]
    replay_budget: Duration,
    /// Keep no journals and no snapshots, to measure their cost: the run ends when a worker with state dies
    #[arg(long, hide = true)]
    no_ledger: bool,
    /// A source with event times stops holding back windows when it has been silent for this long
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    idle_after: Duration,
    /// Replace a worker whose resident memory exceeds this between two batches; kill it above 1.25 times this
    #[arg(long, value_name = "BYTES", value_parser = worker_memory)]
    worker_memory: Option<ByteSize>,
    /// Replace a worker after about this many messages (up to a tenth more or less)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_messages_per_worker: Option<u64>,
    /// File descriptors a worker may have open [default: the limit of wallaroo-orch itself]
    #[arg(long, value_name = "N", value_parser = worker_descriptors)]
    worker_descriptors: Option<u64>,
    /// The largest message a client may send (for example 16MiB)
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = max_frame)]
    max_frame: ByteSize,
    /// Bytes at which a queue is full, so that whatever feeds it waits
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = queue_bytes)]
    queue_bytes: ByteSize,
    /// Work that may wait for the workers in one queue, in time, so that messages do not grow old in queues
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    queue_time: Duration,
    /// Keep all that lives in this folder, so that the next run with it goes on where this one ended, however it ended
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Let other steps go on with --state although nothing takes over this state table, or the position of this source: it is
    /// dropped. Repeat it for each
    #[arg(long, value_name = "NAME", requires = "state")]
    drop_state: Vec<String>,
    /// Read nothing: finish what an earlier run with --state has left, and end, so that other steps can go on
    #[arg(long, requires = "state")]
    settle: bool,
    /// What SIGTERM or Ctrl-C does [default: suspend with --state, else drain]
    #[arg(long, value_enum, value_name = "WHAT")]
    on_stop: Option<Stop>,
    /// With --on-stop suspend, what is not done after this long is left to the next run
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    stop_timeout: Duration,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    pub(super) application: ApplicationArgs,
}

/// The values of `--on-stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stop {
    /// Reading ends, what was accepted is finished, and windows end
    Drain,
    /// Reading ends and what was accepted is finished; the next run goes on with windows and generators (needs --state)
    Suspend,
}

impl Stop {
    /// What is to be done with the option or without.
    fn choose(option: Option<Self>, has_state: bool) -> Result<OnStop, CliError> {
        match option {
            Some(Self::Suspend) if !has_state => {
                Err(CliError::Usage("--on-stop suspend needs --state: without it nothing is kept for the next run"))
            }
            Some(Self::Suspend) => Ok(OnStop::Suspend),
            None if has_state => Ok(OnStop::Suspend),
            Some(Self::Drain) | None => Ok(OnStop::Drain),
        }
    }
}

/// The values of `--on-error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnError {
    /// It becomes a dead letter, and the run goes on
    DeadLetter,
    /// It ends the run
    Stop,
}

impl From<OnError> for FailurePolicy {
    fn from(option: OnError) -> Self {
        match option {
            OnError::DeadLetter => Self::DeadLetter,
            OnError::Stop => Self::Stop,
        }
    }
}

/// The seed in the environment if Python would accept it, otherwise a random one for this run.
fn hash_seed() -> u32 {
    let given = std::env::var("PYTHONHASHSEED").ok().and_then(|seed| seed.parse().ok());
    // The standard library keys this hasher with random numbers. Zero would switch hash randomization off.
    let random = || (std::collections::hash_map::RandomState::new().build_hasher().finish() as u32).max(1);
    given.unwrap_or_else(random)
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let example = "examples: 30s, 2m, 500ms";
    let parsed: SignedDuration = text.parse().map_err(|_| format!("not a duration; {example}"))?;
    Duration::try_from(parsed)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or(format!("must be above zero; {example}"))
}

fn queue_bytes(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    if size.as_u64() == 0 { Err("must be at least 1 B".to_owned()) } else { Ok(size) }
}

fn worker_memory(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    // An interpreter that has loaded nothing is nearly as large.
    let least = ByteSize::mib(16);
    if size < least { Err(format!("must be at least {least}")) } else { Ok(size) }
}

fn worker_descriptors(text: &str) -> Result<u64, String> {
    let most = descriptors::most();
    let range = || format!("must be between 32 and {most}, the hard limit on open files");
    text.parse().ok().filter(|number| (32..=most).contains(number)).ok_or_else(range)
}

fn max_frame(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    let most = ByteSize::gib(1);
    if size.as_u64() == 0 || size > most { Err(format!("must be between 1 B and {most}")) } else { Ok(size) }
}

/// Runs the application.
pub(super) async fn run(args: RunArgs) -> Result<(), CliError> {
    args.log.start();
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let workers = args.workers.unwrap_or_else(cores);
    let max_frame = args.max_frame.as_u64() as usize;
    let mut pool = args.application.pool(workers, args.standbys, max_frame)?;
    pool.start_timeout = args.start_timeout;
    pool.interpreter.descriptors = args.worker_descriptors;
    pool.interpreter.progress_interval = (args.step_timeout / 8).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
    pool.interpreter.code = CodeFolder::create();
    let named_pools = pools::settings(&args.pools, &pool)?;
    pool.memory = args.worker_memory.map(|limit| limit.as_u64());
    if args.no_ledger && args.state.is_some() {
        return Err(CliError::Usage("--no-ledger keeps no state, so there is none for --state"));
    }
    let options = RunOptions {
        pool,
        named_pools,
        engine: EngineConfig {
            slots: workers,
            queue_bytes: args.queue_bytes.as_u64() as usize,
            queue_time: args.queue_time,
            max_frame,
            step_timeout: args.step_timeout,
            replay_budget: args.replay_budget,
            stop_timeout: args.stop_timeout,
            keep_ledger: !args.no_ledger,
            idle_after: args.idle_after,
            max_messages_per_worker: args.max_messages_per_worker,
            ..EngineConfig::default()
        },
        dead_letters: args.dead_letters,
        failure_policy: args.on_error.into(),
        most_dead_letters: args.max_dead_letters,
        control: args.control.map_or_else(|| ControlAddress::of(args.application.application()), ControlAddress::At),
        metrics: args.metrics,
        on_stop: Stop::choose(args.on_stop, args.state.is_some())?,
        state: args.state,
        drop_state: args.drop_state,
        settle: args.settle,
    };
    let json = args.log.log_format == LogFormat::Json;
    let show = !args.log.quiet;
    let python = options.pool.interpreter.python.clone();
    let running = runtime::run(options, |started| {
        if show && !json {
            crate::cli::note(&banner(&started));
        }
        for source in started.sources.iter().filter_map(|source| source.strip_prefix("tcp ")) {
            tracing::info!("listening on {source}");
        }
        if let Some(address) = started.metrics {
            tracing::info!("metrics at http://{address}/metrics");
        }
        tracing::info!("ready");
    });
    match running.await {
        Ok(summary) => {
            report(&summary);
            failure_of(summary)
        }
        Err(error) => Err(explain(error, &python).await),
    }
}

/// Logs the last line. It is a warning, shown with `--quiet` too, if something was lost.
fn report(summary: &Summary) {
    let Summary { messages_in, messages_out, dead_letters, late, deaths, elapsed, .. } = *summary;
    let seconds = elapsed.as_secs_f64();
    macro_rules! last_line {
        ($level:ident) => {
            tracing::$level!(
                target: LAST_LINE,
                messages_in,
                messages_out,
                dead_letters,
                late,
                worker_deaths = deaths,
                "finished after {seconds:.1} s"
            )
        };
    }
    if dead_letters > 0 || late > 0 { last_line!(warn) } else { last_line!(info) }
}

/// What makes a run that came to its end a failure.
fn failure_of(summary: Summary) -> Result<(), CliError> {
    let Summary { messages_in, messages_out, dead_letters, left, .. } = summary;
    if let Some(InputLeft { input, reason }) = left.into_iter().next() {
        return Err(CliError::InputLeft { input, reason });
    }
    if messages_in > 0 && messages_out == 0 && dead_letters >= messages_in {
        return Err(CliError::NothingProcessed { messages: messages_in });
    }
    Ok(())
}

fn banner(started: &Started<'_>) -> String {
    let plan = started.plan;
    let mut lines = vec![plan.topology.name.clone()];
    for (source, place) in plan.sources.iter().zip(started.sources) {
        lines.push(format!("  source   {place}  {}", plan.name(source.node)));
    }
    for sink in &plan.sinks {
        lines.push(format!("  sink     {}", sink.address()));
    }
    for worker in started.workers {
        let python = worker.hello.as_ref().map_or_else(String::new, |hello| {
            format!("{} {}  {}", hello.implementation, hello.python, hello.executable)
        });
        let pool = plan.pool_name(worker.pool).map_or_else(String::new, |pool| format!("{pool} "));
        match worker.slot {
            Some(slot) => lines.push(format!("  worker   {pool}{}  pid {}  {python}", slot.number, worker.pid)),
            None => lines.push(format!("  standby  {pool}pid {}  {python}", worker.pid)),
        }
    }
    lines.extend(started.metrics.map(|address| format!("  metrics  http://{address}/metrics")));
    lines.extend(started.control.map(|control| format!("  control  {}", control.display())));
    lines.join("\n") + "\n"
}
