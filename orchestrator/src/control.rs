//! The control socket, through which a run is observed and changed while it goes on.
//!
//! It speaks HTTP with JSON bodies over a Unix socket that only its owner can use; `spec/control.md` lists the routes. A client's
//! request becomes a [`Request`] in the runtime's queue, with a one-time channel for the answer, so the runtime's loop stays the
//! only owner of the engine and the pools. [`address`] says where sockets are, [`listener`] binds one, [`routes`] serves it, and
//! [`client`] is the side of the commands. [`metrics`] serves the same data to Prometheus.

pub mod address;
mod application_metrics;
mod bounded;
pub mod client;
pub mod listener;
mod metrics;
pub mod report;
pub mod routes;

use std::io;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::causes::with_causes;
use crate::limit::Limit;

use self::address::ControlAddress;
use self::bounded::BoundedListener;
use self::listener::{BindError, SocketFile};
use self::report::{Accepted, ChangeReport, Scale, StatusReport, Swap, WorkerStack};

/// The most requests that wait for the runtime. Further clients wait until there is room.
const QUEUED_REQUESTS: usize = 16;

/// Clients that may be connected to the port for metrics at a time.
const METRICS_CLIENTS: usize = 32;

/// Where the answer to a request goes. It is dropped if the client has gone away.
pub type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// What a client asks of the runtime.
#[derive(Debug)]
pub enum Request {
    /// The state of the run.
    Status(Reply<StatusReport>),
    /// Stop reading, finish what was accepted, and end.
    Drain(Reply<Accepted>),
    /// End at once.
    Stop(Reply<Accepted>),
    /// The Python stacks of one worker, or of all loaded workers.
    Stacks {
        /// Process id of the worker.
        pid: Option<i32>,
        /// Where the stacks go.
        reply: Reply<Vec<WorkerStack>>,
    },
    /// Change the number of workers.
    Scale {
        /// The number, and the pool.
        scale: Scale,
        /// Answered when the change is complete or rolled back.
        reply: Reply<ChangeReport>,
    },
    /// Replace the workers, to change the interpreter or to reload the code.
    Swap {
        /// The interpreter, and the pool.
        swap: Swap,
        /// Answered when the change is complete or rolled back.
        reply: Reply<ChangeReport>,
    },
}

impl Request {
    /// Answers with a refusal.
    pub fn refuse(self, refusal: Refusal) {
        match self {
            Self::Status(reply) => drop(reply.send(Err(refusal))),
            Self::Drain(reply) | Self::Stop(reply) => drop(reply.send(Err(refusal))),
            Self::Stacks { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Scale { reply, .. } | Self::Swap { reply, .. } => drop(reply.send(Err(refusal))),
        }
    }
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind of reason.
    pub kind: RefusalKind,
    /// The reason.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The user's traceback, or the last output of a process that was started for the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// The limit that was exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// Kinds of reasons. Each has its own HTTP status, but for `Starting` and `Ending`, which share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The run has not begun: its workers are starting.
    Starting,
    /// The run is over.
    Ending,
    /// There is no such worker, pool or route.
    NotFound,
    /// The request is malformed.
    Malformed,
    /// Another change is in progress.
    Busy,
    /// The change failed and was rolled back: the run goes on as before.
    RolledBack,
}

impl Refusal {
    /// A refusal without a hint.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, details: None, limit: None }
    }

    /// The same refusal with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The application is not running yet.
    pub fn starting() -> Self {
        Self::new(RefusalKind::Starting, "the application is starting")
    }

    /// The application is not running any more.
    pub fn ending() -> Self {
        Self::new(RefusalKind::Ending, "the application is ending")
    }
}

/// The run's side of its control socket. Dropping it closes the socket and removes its file.
#[derive(Debug)]
pub struct Control {
    requests: mpsc::Receiver<Request>,
    // Dropped before the servers, so that the file is removed while the socket is still open.
    socket: Option<SocketFile>,
    servers: JoinSet<()>,
    /// Where metrics are served.
    metrics: Option<SocketAddr>,
}

impl Control {
    /// Binds a socket, and a port for `metrics`, and serves both.
    ///
    /// # Errors
    /// [`BindError`] if a requested socket or port cannot be bound. If only the default socket cannot be bound, the run goes on
    /// without one, with a warning.
    pub async fn open(address: &ControlAddress, metrics: Option<SocketAddr>) -> Result<Self, BindError> {
        let (sender, requests) = mpsc::channel(QUEUED_REQUESTS);
        let mut control = Self { requests, socket: None, servers: JoinSet::new(), metrics: None };
        match (listener::bind(address), address) {
            (Ok((listener, socket)), _) => {
                control.socket = Some(socket);
                control.serve(axum::serve(listener, routes::router(sender.clone())));
            }
            (Err(error), ControlAddress::At(_)) => return Err(error),
            (Err(error), ControlAddress::NamedAfter(_)) => {
                tracing::warn!("{}; this run cannot be controlled", with_causes(&error));
            }
        }
        if let Some(address) = metrics {
            let listener = metrics::bind(address).await?;
            control.metrics = listener.local_addr().ok();
            let listener = BoundedListener::new(listener, METRICS_CLIENTS);
            control.serve(axum::serve(listener, metrics::router(sender)));
        }
        Ok(control)
    }

    fn serve(&mut self, server: impl IntoFuture<Output = io::Result<()>, IntoFuture: Send + 'static>) {
        let server = server.into_future();
        self.servers.spawn(async move {
            if let Err(error) = server.await {
                tracing::warn!("the control server has stopped, requests get no answers any more: {error}");
            }
        });
    }

    /// Where metrics are served, if they are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// The path of the socket, if there is one.
    pub fn path(&self) -> Option<&std::path::Path> {
        self.socket.as_ref().map(SocketFile::path)
    }

    /// The next request. Waits for ever if there is no socket.
    ///
    /// # Cancel safety
    /// Safe: no request is lost.
    pub async fn next(&mut self) -> Request {
        match self.requests.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }

    /// Refuses all requests.
    pub async fn refuse_all(&mut self, refusal: Refusal) -> ! {
        loop {
            self.next().await.refuse(refusal.clone());
        }
    }
}
