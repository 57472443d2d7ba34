//! The routes of `spec/control.md`: each makes a [`Request`] and hands back its answer.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use super::report::{Accepted, ChangeReport, Problem, Scale, StatusReport, Swap, WorkerStack};
use super::{Refusal, RefusalKind, Reply, Request};

/// The most workers a pool may have.
pub const MOST_WORKERS: u32 = 1024;

type Requests = State<mpsc::Sender<Request>>;
type Answer<T> = Result<Json<T>, Refusal>;

/// All routes. `requests` go to the runtime, whose answers they serve.
pub(super) fn router(requests: mpsc::Sender<Request>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/stacks", get(stacks))
        .route("/v1/drain", post(drain))
        .route("/v1/stop", post(stop))
        .route("/v1/scale", post(scale))
        .route("/v1/swap", post(swap))
        .fallback(nothing_there)
        .method_not_allowed_fallback(nothing_there)
        .with_state(requests)
}

async fn status(requests: Requests) -> Answer<StatusReport> {
    ask(requests, Request::Status).await
}

async fn drain(requests: Requests) -> Answer<Accepted> {
    ask(requests, Request::Drain).await
}

async fn stop(requests: Requests) -> Answer<Accepted> {
    ask(requests, Request::Stop).await
}

#[derive(Debug, Deserialize)]
struct WhichWorker {
    pid: Option<i32>,
}

async fn stacks(requests: Requests, which: Result<Query<WhichWorker>, QueryRejection>) -> Answer<Vec<WorkerStack>> {
    let Query(WhichWorker { pid }) = which.map_err(|error| malformed(&error.body_text()))?;
    ask(requests, |reply| Request::Stacks { pid, reply }).await
}

async fn scale(requests: Requests, body: Result<Json<Scale>, JsonRejection>) -> Answer<ChangeReport> {
    let Json(scale) = body.map_err(|error| malformed(&error.body_text()))?;
    let workers = scale.workers;
    if !(1..=MOST_WORKERS).contains(&workers) {
        return Err(malformed(&format!("workers is {workers}, not between 1 and {MOST_WORKERS}")));
    }
    ask(requests, |reply| Request::Scale { scale, reply }).await
}

async fn swap(requests: Requests, body: Result<Json<Swap>, JsonRejection>) -> Answer<ChangeReport> {
    let Json(swap) = body.map_err(|error| malformed(&error.body_text()))?;
    ask(requests, |reply| Request::Swap { swap, reply }).await
}

async fn nothing_there() -> Refusal {
    Refusal::new(RefusalKind::NotFound, "no such route").hint("spec/control.md lists them")
}

fn malformed(reason: &str) -> Refusal {
    Refusal::new(RefusalKind::Malformed, format!("the request is malformed: {reason}"))
}

async fn ask<T>(State(requests): Requests, request: impl FnOnce(Reply<T>) -> Request) -> Answer<T> {
    let (reply, answer) = oneshot::channel();
    requests.send(request(reply)).await.map_err(|_| Refusal::ending())?;
    answer.await.map_err(|_| Refusal::ending())?.map(Json)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.kind {
            RefusalKind::Starting | RefusalKind::Ending => StatusCode::SERVICE_UNAVAILABLE,
            RefusalKind::NotFound => StatusCode::NOT_FOUND,
            RefusalKind::Malformed => StatusCode::BAD_REQUEST,
            RefusalKind::Busy => StatusCode::CONFLICT,
            RefusalKind::RolledBack => StatusCode::UNPROCESSABLE_ENTITY,
        };
        (status, Json(Problem { error: self })).into_response()
    }
}
