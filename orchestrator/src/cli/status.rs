//! `wallaroo-orch status`.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use super::control::{ControlArgs, print_json};
use super::error::CliError;
use super::run::duration;
use super::table::Table;
use crate::control::client::Client;
use crate::control::report::{
    InterpreterReport, LatencyReport, LogReport, RunState, SeatReport, SinkReport, SourceReport, StageReport,
    StatusReport, WorkerReport, WorkerState,
};

/// Clears a terminal: cursor home, erase.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Arguments of `wallaroo-orch status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Print the state repeatedly until the application ends
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "1s", value_parser = duration)]
    watch: Option<Duration>,
    /// Wait for the application to be ready, at most this long (for example 30s)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait_ready: Option<Duration>,
}

/// Prints the state of a run.
pub(super) async fn run(args: StatusArgs) -> Result<(), CliError> {
    let ask = async |client: &Client| client.get::<StatusReport>("/v1/status").await;
    let first = match args.wait_ready {
        Some(patience) => Client::when_ready(args.control.path(), patience, ask).await?,
        None => ask(&args.control.client().await?).await?,
    };
    let Some(interval) = args.watch else { return Ok(print(&first, args.control.json, false)?) };
    // Stay with this application, even if another one starts meanwhile.
    let client = args.control.client().await?;
    let mut report = first;
    loop {
        print(&report, args.control.json, true)?;
        tokio::time::sleep(interval).await;
        report = match ask(&client).await {
            Err(error) if error.is_over() => return Ok(()),
            answer => answer?,
        };
    }
}

fn print(report: &StatusReport, json: bool, again: bool) -> io::Result<()> {
    if json {
        return print_json(report);
    }
    let mut out = io::stdout().lock();
    if again && out.is_terminal() {
        out.write_all(CLEAR.as_bytes())?;
    }
    writeln!(out, "{}", text(report))?;
    out.flush()
}

fn text(report: &StatusReport) -> String {
    let state = state_of(report.state);
    let StatusReport { application, pid, uptime_seconds, dead_letters, worker_deaths, .. } = report;
    let mut table = Table::default();
    report.sources.iter().for_each(|source| table.row(source_row(source)));
    report.stages.iter().enumerate().for_each(|(number, stage)| table.row(stage_row(number, stage)));
    report.sinks.iter().for_each(|sink| table.row(sink_row(sink)));
    let latency = latency_of(&report.latency);
    let log = report.log.as_ref().map_or_else(String::new, log_line);
    let mut workers = Table::default();
    report.workers.iter().for_each(|worker| workers.row(worker_row(worker)));
    let problems: String = report.problems.iter().flat_map(|problem| ["! ", problem, "\n"]).collect();
    format!(
        "{application}  {state}  pid {pid}  up {uptime_seconds:.1} s  dead letters {dead_letters}  worker deaths {worker_deaths}\n{problems}\n\
         {table}latency  {latency}\n{log}\n{workers}"
    )
}

fn log_line(log: &LogReport) -> String {
    let LogReport { last_record, durable_record, unsaved_bytes, bytes, commit_seconds, .. } = log;
    let commit = commit_seconds.map_or_else(String::new, |seconds| format!(", {} to the disk", duration_of(seconds)));
    format!(
        "log  record {last_record}, {durable_record} durable, {unsaved_bytes} bytes not, {bytes} bytes since the checkpoint{commit}\n"
    )
}

pub(super) fn state_of(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Draining => "draining",
    }
}

fn source_row(source: &SourceReport) -> Vec<String> {
    let connections = match source.connections {
        1 => "1 connection".to_owned(),
        count => format!("{count} connections"),
    };
    let place = format!("{}  {}", source.place, source.name);
    vec!["source".to_owned(), place, source.messages.to_string(), rate(source.rate), connections]
}

fn stage_row(number: usize, stage: &StageReport) -> Vec<String> {
    let service = stage.service_seconds.map_or_else(String::new, |seconds| format!(", {} each", duration_of(seconds)));
    let late = if stage.late == 0 { String::new() } else { format!(", {} late", stage.late) };
    vec![
        stage.pool.as_ref().map_or_else(|| format!("stage {number}"), |pool| format!("stage {number} in {pool}")),
        stage.steps.join(" > "),
        stage.messages.to_string(),
        rate(stage.rate),
        format!("{} queued{service}{late}", stage.queued),
    ]
}

fn sink_row(sink: &SinkReport) -> Vec<String> {
    let place = format!("{}  {}", sink.place, sink.name);
    let pending = format!("{} pending", ByteSize(sink.pending_bytes as u64));
    vec!["sink".to_owned(), place, sink.messages.to_string(), rate(sink.rate), pending]
}

fn worker_row(worker: &WorkerReport) -> Vec<String> {
    let interpreter = worker.interpreter.as_ref().map_or_else(String::new, interpreter_of);
    let resident = worker.resident_bytes.map_or_else(String::new, |bytes| ByteSize(bytes).to_string());
    let history = worker.seat.as_ref().map_or_else(String::new, history_of);
    vec![
        place_of(worker),
        format!("pid {}", worker.pid),
        format!("generation {}", worker.generation),
        interpreter,
        resident,
        worker.seat.as_ref().map_or_else(String::new, |seat| format!("journal {}", journal_of(seat))),
        history,
    ]
}

pub(super) fn place_of(worker: &WorkerReport) -> String {
    let place = match (&worker.seat, worker.state) {
        (Some(seat), _) => format!("slot {}", seat.slot),
        (None, WorkerState::Starting) => "starting".to_owned(),
        (None, WorkerState::Standby) => "standby".to_owned(),
        (None, WorkerState::Seated | WorkerState::Leaving) => "leaving".to_owned(),
    };
    worker.pool.as_ref().map_or_else(|| place.clone(), |pool| format!("{pool} {place}"))
}

pub(super) fn interpreter_of(interpreter: &InterpreterReport) -> String {
    format!("{} {}", interpreter.implementation, interpreter.version)
}

/// The size of a journal, and of how much if it must not outgrow that.
pub(super) fn journal_of(seat: &SeatReport) -> String {
    let bytes = ByteSize(seat.journal_bytes as u64);
    match seat {
        SeatReport { rebuildable: false, .. } => "given up".to_owned(),
        SeatReport { unsaved_state: Some(_), .. } => {
            format!("{bytes} of {}", ByteSize(seat.journal_limit_bytes as u64))
        }
        SeatReport { unsaved_state: None, .. } => bytes.to_string(),
    }
}

pub(super) fn history_of(seat: &SeatReport) -> String {
    match (&seat.last_death, seat.restarts) {
        (None, _) => String::new(),
        (Some(cause), 1) => format!("1 restart: {cause}"),
        (Some(cause), restarts) => format!("{restarts} restarts, the last: {cause}"),
    }
}

pub(super) fn latency_of(latency: &LatencyReport) -> String {
    let LatencyReport { p50_seconds, p99_seconds, p999_seconds, longest_seconds, .. } = *latency;
    let times = [("p50", p50_seconds), ("p99", p99_seconds), ("p99.9", p999_seconds), ("longest", longest_seconds)];
    times.map(|(name, seconds)| format!("{name} {}", duration_of(seconds))).join("  ")
}

pub(super) fn rate(rate: f64) -> String {
    format!("{rate:.0}/s")
}

/// A duration in a unit that suits its size.
pub(super) fn duration_of(seconds: f64) -> String {
    match seconds {
        ..1e-3 => format!("{:.1} µs", seconds * 1e6),
        ..1.0 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}
