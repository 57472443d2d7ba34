//! The control socket: how a run is looked at and changed while it goes on.
//!
//! HTTP with JSON bodies over a Unix socket that only its owner can use; the routes are laid down in `spec/control.md`. What a
//! client asks for becomes a [`Request`] in the runtime's queue, with a one-time channel for the answer: the runtime's loop stays
//! the only owner of the engine and the pool. [`place`] says where sockets lie, [`listener`] binds one, [`routes`] serves it,
//! [`client`] is the commands' end of it. [`metrics`] serves the same to
//! Prometheus.

pub mod client;
pub mod listener;
mod metrics;
pub mod place;
pub mod report;
pub mod routes;

use std::io;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::causes::with_causes;
use crate::limit::Limit;

use self::listener::{BindError, SocketFile};
use self::place::Place;
use self::report::{Accepted, ChangeReport, Scale, StatusReport, Swap, WorkerStack};

/// Requests that wait for the runtime, at most; clients beyond wait for a place.
const QUEUED_REQUESTS: usize = 16;

/// Where the answer to a request goes. A client that has gone away is not missed.
pub type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// What a client wants of the runtime.
#[derive(Debug)]
pub enum Request {
    /// How the run is.
    Status(Reply<StatusReport>),
    /// Stop reading, finish what was accepted, end.
    Drain(Reply<Accepted>),
    /// End at once.
    Stop(Reply<Accepted>),
    /// The Python stacks of a worker, or of all that are loaded.
    Stacks {
        /// Process id of the worker.
        pid: Option<i32>,
        /// Where they go.
        reply: Reply<Vec<WorkerStack>>,
    },
    /// Another number of workers.
    Scale {
        /// How many, and where.
        scale: Scale,
        /// Answered when it is done, or has been undone.
        reply: Reply<ChangeReport>,
    },
    /// Workers of another interpreter, or with newer code.
    Swap {
        /// Which.
        swap: Swap,
        /// Answered when it is done, or has been undone.
        reply: Reply<ChangeReport>,
    },
}

impl Request {
    /// Answers that it cannot be done.
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
    /// What kind of reason.
    pub kind: RefusalKind,
    /// The reason.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The user's traceback, or what a process that was started for it last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// The limit that was exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// Kinds of reasons; each has an HTTP status of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The run has not begun: workers are being started.
    Starting,
    /// The run is over.
    Ending,
    /// There is no such worker, or no such route.
    NotFound,
    /// The request is not understood.
    Malformed,
    /// Another change is under way.
    Busy,
    /// It was tried and undone: the run goes on as before.
    RolledBack,
}

impl Refusal {
    /// A refusal without a hint.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, details: None, limit: None }
    }

    /// The same with a hint.
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

/// A run's end of its control socket. Dropping it closes the socket and removes its file.
#[derive(Debug)]
pub struct Control {
    requests: mpsc::Receiver<Request>,
    // Dropped before the servers, so that the file goes while somebody still listens.
    socket: Option<SocketFile>,
    servers: JoinSet<()>,
    /// Where metrics can be had.
    metrics: Option<SocketAddr>,
}

impl Control {
    /// Binds a socket, and a port for `metrics`, and serves both.
    ///
    /// # Errors
    /// [`BindError`] when what was asked for cannot be had. A run whose socket nobody asked for goes on without one, with a
    /// warning.
    pub async fn open(place: &Place, metrics: Option<SocketAddr>) -> Result<Self, BindError> {
        let (sender, requests) = mpsc::channel(QUEUED_REQUESTS);
        let mut control = Self { requests, socket: None, servers: JoinSet::new(), metrics: None };
        match (listener::bind(place), place) {
            (Ok((listener, socket)), _) => {
                control.socket = Some(socket);
                control.serve(axum::serve(listener, routes::router(sender.clone())));
            }
            (Err(error), Place::At(_)) => return Err(error),
            (Err(error), Place::Of(_)) => {
                tracing::warn!("{}; this run cannot be controlled", with_causes(&error));
            }
        }
        if let Some(address) = metrics {
            let listener = metrics::bind(address).await?;
            control.metrics = listener.local_addr().ok();
            control.serve(axum::serve(listener, metrics::router(sender)));
        }
        Ok(control)
    }

    fn serve(&mut self, server: impl IntoFuture<Output = io::Result<()>, IntoFuture: Send + 'static>) {
        let server = server.into_future();
        self.servers.spawn(async move {
            if let Err(error) = server.await {
                tracing::warn!("nobody can be answered any more: {error}");
            }
        });
    }

    /// Where metrics can be had, if they can.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Where the socket is, if there is one.
    pub fn path(&self) -> Option<&std::path::Path> {
        self.socket.as_ref().map(SocketFile::path)
    }

    /// The next request. Never, when there is no socket.
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
