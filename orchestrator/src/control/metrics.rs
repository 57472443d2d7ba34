//! Metrics for Prometheus: the status in its text format, served on a separate TCP port.
//!
//! This module keeps no data. Each scrape asks the runtime for its status, as the `status` command does, so the numbers agree and
//! cost nothing between scrapes.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics::{Label, counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::application_metrics;
use super::report::{
    HealthReport, HealthState, LatencyReport, LogReport, SinkReport, SourceReport, StageReport, StatusReport,
    WorkerReport,
};
use super::{Request, listener::BindError};

/// The content type that Prometheus expects.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Listens on `address`.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError::Metrics { address, source })
}

/// The routes: the status for Prometheus, and what a supervisor asks. `requests` go to the runtime, whose answers they serve.
pub(super) fn router(requests: mpsc::Sender<Request>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/health", get(async || "the orchestrator runs\n"))
        .route("/ready", get(ready))
        .with_state(requests)
}

async fn ready(State(requests): State<mpsc::Sender<Request>>) -> Response {
    match status(&requests).await {
        Ok(_) => "the application runs\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

/// The status, or why there is none.
async fn status(requests: &mpsc::Sender<Request>) -> Result<StatusReport, String> {
    let (reply, answer) = oneshot::channel();
    let ending = || "the application is ending".to_owned();
    requests.send(Request::Status(reply)).await.map_err(|_| ending())?;
    answer.await.map_err(|_| ending())?.map_err(|refusal| refusal.message)
}

async fn scrape(State(requests): State<mpsc::Sender<Request>>) -> Response {
    match status(&requests).await {
        Ok(report) => ([(CONTENT_TYPE, TEXT)], text(&report)).into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

/// A status in the text format of Prometheus.
fn text(report: &StatusReport) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    with_local_recorder(&recorder, || {
        describe();
        gauge!("wallaroo_uptime_seconds").set(report.uptime_seconds);
        gauge!("wallaroo_ledger_keys").set(report.ledger_keys as f64);
        counter!("wallaroo_dead_letters_total").absolute(report.dead_letters);
        counter!("wallaroo_worker_deaths_total").absolute(report.worker_deaths);
        gauge!("wallaroo_problems").set(report.problems.len() as f64);
        latency("wallaroo_latency_seconds", &report.latency, &[]);
        if let Some(log) = &report.log {
            record_log(log);
        }
        for source in &report.sources {
            record_source(source);
        }
        for (number, stage) in report.stages.iter().enumerate() {
            record_stage(number, stage);
        }
        for sink in &report.sinks {
            record_sink(sink);
        }
        for worker in &report.workers {
            record_worker(worker);
        }
    });
    recorder.handle().render() + &application_metrics::text(&report.metrics)
}

fn describe() {
    describe_gauge!("wallaroo_uptime_seconds", "Seconds since the application was ready.");
    describe_gauge!("wallaroo_ledger_keys", "Keys that have state in the ledger.");
    describe_counter!("wallaroo_dead_letters_total", "Messages that could not be processed.");
    describe_counter!(
        "wallaroo_worker_deaths_total",
        "Workers that died in a slot, excluding those that were replaced on purpose."
    );
    describe_gauge!("wallaroo_problems", "Things that hold the run back or soon will; the status says which.");
    describe_gauge!(
        "wallaroo_latency_seconds",
        "Time from reading a message at a source to handing its result to a sink, of all messages so far."
    );
    describe_counter!("wallaroo_log_records_total", "Records that were ever written to the state folder.");
    describe_gauge!("wallaroo_log_bytes", "Bytes of the log after its last checkpoint.");
    describe_gauge!("wallaroo_log_unsaved_bytes", "Bytes of records that are not on the disk yet.");
    describe_gauge!("wallaroo_log_commit_seconds", "Time that a record took lately until it was on the disk.");
    describe_gauge!("wallaroo_log_recovery_seconds", "Time it took to read what an earlier run had left.");
    describe_gauge!("wallaroo_source_up", "1 if the source can be read, 0 if it is connecting or down.");
    describe_gauge!("wallaroo_source_connections", "Open connections.");
    describe_counter!("wallaroo_source_messages_total", "Messages of a source that were processed.");
    describe_counter!("wallaroo_stage_messages_total", "Messages a stage has processed.");
    describe_gauge!("wallaroo_stage_queued_messages", "Messages waiting for a stage.");
    describe_gauge!(
        "wallaroo_stage_latency_seconds",
        "Time from when a worker could begin a batch to its answer, of all messages so far."
    );
    describe_gauge!("wallaroo_sink_up", "1 if the sink can be written, 0 if it is connecting or down.");
    describe_counter!(
        "wallaroo_stage_late_values_total",
        "Values that arrived too late for all of their windows in a stage."
    );
    describe_counter!("wallaroo_sink_messages_total", "Messages handed to a sink.");
    describe_gauge!("wallaroo_sink_pending_bytes", "Bytes handed to a sink and not yet written.");
    describe_gauge!("wallaroo_worker_resident_bytes", "Resident memory of a worker.");
    describe_counter!("wallaroo_slot_restarts_total", "Workers that have taken a slot after the first one.");
    describe_gauge!("wallaroo_slot_in_flight_batches", "Batches sent to the worker in a slot and not yet answered.");
    describe_gauge!("wallaroo_slot_journal_bytes", "Size of the journal of a slot.");
    describe_gauge!(
        "wallaroo_slot_journal_limit_bytes",
        "Size at which the journal of a slot is given up, if it holds a state that cannot be saved."
    );
    describe_gauge!(
        "wallaroo_slot_unsaved_state",
        "1 if a state of a slot is in no snapshot; the status names its key."
    );
    describe_gauge!(
        "wallaroo_slot_rebuildable",
        "1 if the state of a slot can be rebuilt when its worker dies; 0 if that ends the run."
    );
}

fn record_log(log: &LogReport) {
    counter!("wallaroo_log_records_total").absolute(log.last_record);
    gauge!("wallaroo_log_bytes").set(log.bytes as f64);
    gauge!("wallaroo_log_unsaved_bytes").set(log.unsaved_bytes as f64);
    gauge!("wallaroo_log_commit_seconds").set(log.commit_seconds.unwrap_or(0.0));
    gauge!("wallaroo_log_recovery_seconds").set(log.recovery_seconds);
}

fn up(health: &HealthReport) -> f64 {
    f64::from(health.state == HealthState::Up)
}

fn record_source(source: &SourceReport) {
    let labels = vec![Label::new("source", source.name.clone()), Label::new("place", source.place.clone())];
    gauge!("wallaroo_source_up", labels.clone()).set(up(&source.health));
    gauge!("wallaroo_source_connections", labels.clone()).set(source.connections as f64);
    counter!("wallaroo_source_messages_total", labels).absolute(source.messages);
}

fn record_stage(number: usize, stage: &StageReport) {
    let name = stage.steps.first().cloned().unwrap_or_default();
    let mut labels = vec![Label::new("stage", number.to_string()), Label::new("root", name)];
    labels.extend(pool_label(stage.pool.as_ref()));
    counter!("wallaroo_stage_messages_total", labels.clone()).absolute(stage.messages);
    gauge!("wallaroo_stage_queued_messages", labels.clone()).set(stage.queued as f64);
    counter!("wallaroo_stage_late_values_total", labels.clone()).absolute(stage.late);
    latency("wallaroo_stage_latency_seconds", &stage.latency, &labels);
}

fn record_sink(sink: &SinkReport) {
    let labels = vec![Label::new("sink", sink.name.clone()), Label::new("place", sink.place.clone())];
    gauge!("wallaroo_sink_up", labels.clone()).set(up(&sink.health));
    counter!("wallaroo_sink_messages_total", labels.clone()).absolute(sink.messages);
    gauge!("wallaroo_sink_pending_bytes", labels).set(sink.pending_bytes as f64);
}

fn record_worker(worker: &WorkerReport) {
    if let Some(resident) = worker.resident_bytes {
        let mut labels = vec![Label::new("pid", worker.pid.to_string())];
        labels.extend(pool_label(worker.pool.as_ref()));
        gauge!("wallaroo_worker_resident_bytes", labels).set(resident as f64);
    }
    if let Some(seat) = &worker.seat {
        let mut labels = vec![Label::new("slot", seat.slot.to_string())];
        labels.extend(pool_label(worker.pool.as_ref()));
        counter!("wallaroo_slot_restarts_total", labels.clone()).absolute(seat.restarts.into());
        gauge!("wallaroo_slot_in_flight_batches", labels.clone()).set(seat.in_flight as f64);
        gauge!("wallaroo_slot_journal_bytes", labels.clone()).set(seat.journal_bytes as f64);
        gauge!("wallaroo_slot_journal_limit_bytes", labels.clone()).set(seat.journal_limit_bytes as f64);
        gauge!("wallaroo_slot_unsaved_state", labels.clone()).set(f64::from(seat.unsaved_state.is_some()));
        gauge!("wallaroo_slot_rebuildable", labels).set(f64::from(seat.rebuildable));
    }
}

/// The label of a pool. The main pool has none.
fn pool_label(pool: Option<&String>) -> Option<Label> {
    pool.map(|pool| Label::new("pool", pool.clone()))
}

fn latency(name: &'static str, latency: &LatencyReport, labels: &[Label]) {
    let LatencyReport { p50_seconds, p90_seconds, p99_seconds, p999_seconds, longest_seconds, .. } = *latency;
    let shares = [
        ("0.5", p50_seconds),
        ("0.9", p90_seconds),
        ("0.99", p99_seconds),
        ("0.999", p999_seconds),
        ("1", longest_seconds),
    ];
    for (share, seconds) in shares {
        let mut labels = labels.to_vec();
        labels.push(Label::new("quantile", share));
        gauge!(name, labels).set(seconds);
    }
}
