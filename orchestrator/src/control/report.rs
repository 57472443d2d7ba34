//! What the routes answer, as in `spec/control.md`. Durations are seconds, sizes bytes, rates a second.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wallaroo_protocol::WorkerHello;

use super::Refusal;
use crate::engine::LatencyStatus;

/// A run at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusReport {
    /// Version of the orchestrator.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// The application's name.
    pub application: String,
    /// What is going on.
    pub state: RunState,
    /// Since the application was ready.
    pub uptime_seconds: f64,
    /// By number.
    pub sources: Vec<SourceReport>,
    /// By number.
    pub stages: Vec<StageReport>,
    /// By number.
    pub sinks: Vec<SinkReport>,
    /// Of messages, from when they were read at a source to when they were handed to a sink.
    pub latency: LatencyReport,
    /// Seated workers by slot, then the others by age.
    pub workers: Vec<WorkerReport>,
    /// Keys that have state in the ledger.
    pub ledger_keys: usize,
    /// Messages that could not be processed.
    pub dead_letters: u64,
    /// Workers that died in their seats; those that were replaced on purpose are not among them.
    pub worker_deaths: u64,
}

/// Whether a run takes in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It does.
    Running,
    /// It finishes what it has accepted.
    Draining,
}

/// A source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceReport {
    /// The step's name.
    pub name: String,
    /// Where it reads.
    pub place: String,
    /// Connections that are open.
    pub connections: usize,
    /// Messages processed by the stage it feeds.
    pub messages: u64,
    /// The same, a second.
    pub rate: f64,
}

/// A stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageReport {
    /// The pool whose workers run it; `None` for the main one.
    pub pool: Option<String>,
    /// Names of its root and its steps.
    pub steps: Vec<String>,
    /// Messages it has processed.
    pub messages: u64,
    /// The same, a second.
    pub rate: f64,
    /// Messages that wait for it.
    pub queued: usize,
    /// What a message takes in a worker.
    pub service_seconds: Option<f64>,
    /// Of messages, from when a worker could begin with their batch to its answer.
    pub latency: LatencyReport,
}

/// Times of all messages since the start. A time is how long at most so large a share of them took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LatencyReport {
    /// Messages counted.
    pub messages: u64,
    /// Half of them.
    pub p50_seconds: f64,
    /// Nine of ten.
    pub p90_seconds: f64,
    /// 99 of a hundred.
    pub p99_seconds: f64,
    /// 999 of a thousand.
    pub p999_seconds: f64,
    /// All of them.
    pub longest_seconds: f64,
}

impl From<LatencyStatus> for LatencyReport {
    fn from(status: LatencyStatus) -> Self {
        let LatencyStatus { messages, p50, p90, p99, p999, longest } = status;
        Self {
            messages,
            p50_seconds: p50.as_secs_f64(),
            p90_seconds: p90.as_secs_f64(),
            p99_seconds: p99.as_secs_f64(),
            p999_seconds: p999.as_secs_f64(),
            longest_seconds: longest.as_secs_f64(),
        }
    }
}

/// A sink.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SinkReport {
    /// The step's name.
    pub name: String,
    /// Where it writes.
    pub place: String,
    /// Messages handed to it.
    pub messages: u64,
    /// The same, a second.
    pub rate: f64,
    /// Bytes handed to it and not written.
    pub pending_bytes: usize,
}

/// A worker process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Its process id.
    pub pid: i32,
    /// Its pool; `None` for the main one.
    pub pool: Option<String>,
    /// How many workers were started before it.
    pub generation: u32,
    /// How far it has come.
    pub state: WorkerState,
    /// The Python it runs; unknown until it has greeted.
    pub interpreter: Option<InterpreterReport>,
    /// Bytes of memory it has resident.
    pub resident_bytes: Option<u64>,
    /// Its seat.
    pub seat: Option<SeatReport>,
}

/// How far a worker has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    /// It loads the application.
    Starting,
    /// It waits for a seat.
    Standby,
    /// It is at work.
    Seated,
    /// It is on its way out.
    Leaving,
}

/// A Python.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterpreterReport {
    /// `cpython`, `pypy`.
    pub implementation: String,
    /// Its version.
    pub version: String,
    /// Path of the executable.
    pub executable: String,
}

impl From<WorkerHello> for InterpreterReport {
    fn from(hello: WorkerHello) -> Self {
        Self { implementation: hello.implementation, version: hello.python, executable: hello.executable }
    }
}

/// A seat in the pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SeatReport {
    /// Its number.
    pub slot: u32,
    /// Batches sent to it and not answered.
    pub in_flight: usize,
    /// Bytes in its journal.
    pub journal_bytes: usize,
    /// Workers that took this seat after the first.
    pub restarts: u32,
    /// What ended the last one.
    pub last_death: Option<String>,
}

/// A worker's Python stacks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerStack {
    /// The worker's process id.
    pub pid: i32,
    /// Its pool; `None` for the main one.
    pub pool: Option<String>,
    /// Its seat.
    pub slot: Option<u32>,
    /// As faulthandler prints them; empty when it printed nothing in time.
    pub stack: String,
}

/// The body of `POST /v1/scale`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scale {
    /// How many workers there are to be.
    pub workers: u32,
    /// The pool, if not the main one.
    #[serde(default)]
    pub pool: Option<String>,
}

/// The body of `POST /v1/swap`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Swap {
    /// Absolute path of another interpreter; without it the code is loaded anew by the same one.
    pub python: Option<PathBuf>,
    /// The pool, if not the main one.
    #[serde(default)]
    pub pool: Option<String>,
    /// How long a worker of it may take to be ready.
    pub start_timeout_seconds: f64,
}

/// What a change of the workers came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangeReport {
    /// Workers at work now.
    pub workers: u32,
    /// The interpreter they run.
    pub interpreter: Option<InterpreterReport>,
    /// Partitions that moved to another slot.
    pub moved_partitions: usize,
    /// The longest time for which any key had to wait.
    pub longest_pause_seconds: f64,
    /// The whole of it.
    pub elapsed_seconds: f64,
}

/// The request was taken in; what it asks for goes on after the answer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Accepted {}

/// The body of every answer that is no success.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// What is the matter.
    pub error: Refusal,
}
