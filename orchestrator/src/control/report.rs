//! The bodies of requests and answers, as in `spec/control.md`. Durations are in seconds, sizes in bytes, rates per second.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wallaroo_protocol::WorkerHello;

use super::Refusal;
use crate::engine::LatencyStatus;

/// The state of a run at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusReport {
    /// Version of the orchestrator.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// The application's name.
    pub application: String,
    /// Whether it is running or draining.
    pub state: RunState,
    /// Time since the application was ready.
    pub uptime_seconds: f64,
    /// In the order of the application.
    pub sources: Vec<SourceReport>,
    /// By stage number.
    pub stages: Vec<StageReport>,
    /// In the order of the application.
    pub sinks: Vec<SinkReport>,
    /// Time from reading a message at a source to handing its result to a sink.
    pub latency: LatencyReport,
    /// Workers in slots by slot, then the others by age.
    pub workers: Vec<WorkerReport>,
    /// Keys with state in the ledger.
    pub ledger_keys: usize,
    /// Messages that could not be processed.
    pub dead_letters: u64,
    /// Workers that died in a slot, excluding those that were replaced on purpose.
    pub worker_deaths: u64,
    /// The log, if the run has a state folder.
    #[serde(default)]
    pub log: Option<LogReport>,
    /// What the application's own metrics have measured, by name and step.
    #[serde(default)]
    pub metrics: Vec<MetricReport>,
    /// What holds the run back or soon will, for people. Empty: nothing.
    pub problems: Vec<String>,
}

/// A metric of the application in a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MetricReport {
    /// Its name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// The step in which it was measured; null outside of steps.
    pub step: Option<String>,
    /// What was measured.
    #[serde(flatten)]
    pub value: MetricValue,
}

/// What was measured since the run began, by the kind of the metric.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum MetricValue {
    /// A sum over all workers.
    Counter {
        /// The sum.
        value: f64,
    },
    /// The last value of each slot.
    Gauge {
        /// By slot.
        slots: Vec<GaugeReport>,
    },
    /// Values of all workers.
    Histogram {
        /// The greatest value of each bucket but the last.
        bounds: Vec<f64>,
        /// Values in each bucket: one more than bounds.
        counts: Vec<u64>,
        /// The sum of the values.
        sum: f64,
    },
}

/// A gauge in one slot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GaugeReport {
    /// The slot's number.
    pub slot: u32,
    /// The slot's pool; null for the main pool.
    pub pool: Option<String>,
    /// The last value.
    pub value: f64,
}

/// The log of a run with a state folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogReport {
    /// The number of the last record.
    pub last_record: u64,
    /// The number of the last record that is durable.
    pub durable_record: u64,
    /// Bytes of records that are not durable.
    pub unsaved_bytes: usize,
    /// Bytes of the log after its last checkpoint.
    pub bytes: u64,
    /// How long a record took lately from the engine to the disk; null while none has.
    pub commit_seconds: Option<f64>,
    /// How long it took to read what an earlier run had left.
    pub recovery_seconds: f64,
}

/// Whether a run accepts messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It accepts messages.
    Running,
    /// It accepts no more and finishes what it has accepted.
    Draining,
}

/// A source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceReport {
    /// The step's name.
    pub name: String,
    /// Where it reads.
    pub place: String,
    /// Whether it is up.
    pub health: HealthReport,
    /// Open connections.
    pub connections: usize,
    /// Messages processed by the stage it feeds.
    pub messages: u64,
    /// Messages a second, over the last few seconds.
    pub rate: f64,
}

/// Whether a source or a sink is up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthReport {
    /// The state it is in.
    pub state: HealthState,
    /// How long it has been connecting or down.
    pub for_seconds: Option<f64>,
    /// Why it is down.
    pub reason: Option<String>,
}

/// The states of a source or a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// It was not reached yet.
    Connecting,
    /// It works.
    Up,
    /// It is tried again and again.
    Down,
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
    /// Messages a second, over the last few seconds.
    pub rate: f64,
    /// Messages waiting for it.
    pub queued: usize,
    /// Values that arrived too late for all of their windows in it.
    pub late: u64,
    /// Time a worker takes for one message.
    pub service_seconds: Option<f64>,
    /// Time from when a worker could begin a batch to its answer, counted for each of its messages.
    pub latency: LatencyReport,
}

/// Quantiles of the latencies of all messages since the start.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LatencyReport {
    /// Messages counted.
    pub messages: u64,
    /// The median.
    pub p50_seconds: f64,
    /// The 90th percentile.
    pub p90_seconds: f64,
    /// The 99th percentile.
    pub p99_seconds: f64,
    /// The 99.9th percentile.
    pub p999_seconds: f64,
    /// The maximum.
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
    /// Whether it is up.
    pub health: HealthReport,
    /// Messages handed to it.
    pub messages: u64,
    /// Messages a second, over the last few seconds.
    pub rate: f64,
    /// Bytes handed to it and not yet written.
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
    /// The state it is in.
    pub state: WorkerState,
    /// Its Python; `None` until its `hello` has arrived.
    pub interpreter: Option<InterpreterReport>,
    /// Its resident memory.
    pub resident_bytes: Option<u64>,
    /// The slot it sits in, if any.
    pub seat: Option<SeatReport>,
}

/// The states of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    /// It is loading the application.
    Starting,
    /// It is ready and waits for a slot.
    Standby,
    /// It sits in a slot and is given batches.
    Seated,
    /// It has been told to exit, or killed.
    Leaving,
}

/// A Python interpreter.
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

/// A slot with a worker in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SeatReport {
    /// Its number.
    pub slot: u32,
    /// Batches sent to the worker and not yet answered.
    pub in_flight: usize,
    /// Size of its journal.
    pub journal_bytes: usize,
    /// Size at which the journal is given up, if it holds a state that cannot be saved.
    pub journal_limit_bytes: usize,
    /// Why a state of the slot is in no snapshot, with its key and table.
    pub unsaved_state: Option<String>,
    /// Whether the slot's state can be rebuilt if its worker dies; otherwise that ends the run.
    pub rebuildable: bool,
    /// Workers that have taken the slot after the first one.
    pub restarts: u32,
    /// How the previous worker ended.
    pub last_death: Option<String>,
}

/// A worker's Python stacks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerStack {
    /// The worker's process id.
    pub pid: i32,
    /// Its pool; `None` for the main one.
    pub pool: Option<String>,
    /// The number of its slot; `None` for a standby.
    pub slot: Option<u32>,
    /// As faulthandler prints it; empty if the worker printed nothing in time.
    pub stack: String,
}

/// The body of `POST /v1/scale`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scale {
    /// The number of workers to have.
    pub workers: u32,
    /// The pool to change; `None` for the main one.
    #[serde(default)]
    pub pool: Option<String>,
}

/// The body of `POST /v1/swap`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Swap {
    /// Absolute path of the new interpreter. `None`: the same interpreter reloads the code.
    pub python: Option<PathBuf>,
    /// The pool to change; `None` for the main one.
    #[serde(default)]
    pub pool: Option<String>,
    /// How long a new worker may take to be ready.
    pub start_timeout_seconds: f64,
}

/// The result of a change of the workers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangeReport {
    /// Workers in slots now.
    pub workers: u32,
    /// The interpreter they run.
    pub interpreter: Option<InterpreterReport>,
    /// Partitions that moved to another slot.
    pub moved_partitions: usize,
    /// The longest time that a key had to wait.
    pub longest_pause_seconds: f64,
    /// How long the change took.
    pub elapsed_seconds: f64,
}

/// The request was accepted. It is carried out after the answer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Accepted {}

/// The body of every answer that reports a failure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub error: Refusal,
}
