//! Why a run ended early.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::StateError;
use crate::control::listener::BindError;
use crate::dead_letter::DeadLetterError;
use crate::engine::EngineError;
use crate::plan::PlanError;
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::worker::pool::PoolError;

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Workers cannot be started.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The topology cannot run.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A step names a pool that is not defined.
    #[error("step {step:?} names the pool {pool:?}, which is not defined")]
    UnknownPool {
        /// The step.
        step: String,
        /// The pool.
        pool: String,
    },
    /// A source cannot be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The file of a source is not the one that an earlier run has read.
    #[error("source {name:?}: {error}")]
    SourceChanged {
        /// The source.
        name: String,
        /// The state folder, in which its position is.
        folder: PathBuf,
        /// Bytes of its stream that are behind the position.
        offset: u64,
        /// What is different.
        error: SourceError,
    },
    /// A sink cannot be opened, or has failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A file that is written has another part in the run. Nothing was changed.
    #[error("{part} and {other} are one file: {path}")]
    SameFile {
        /// What writes it.
        part: String,
        /// What else uses it.
        other: String,
        /// Its path as configured.
        path: String,
    },
    /// A TCP sink leads to a source of the same run.
    #[error("sink {sink:?} would send to {to}, where source {listener:?} of this application listens ({address})")]
    OwnSource {
        /// The sink.
        sink: String,
        /// Its address as configured.
        to: String,
        /// The source.
        listener: String,
        /// Where it listens.
        address: SocketAddr,
    },
    /// More messages became dead letters than are allowed.
    #[error("{count} messages became dead letters, more than the {most} that are allowed")]
    TooManyDeadLetters {
        /// How many, the last one included.
        count: u64,
        /// How many are allowed.
        most: u64,
    },
    /// Dead letters cannot be written.
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
    /// The state folder cannot be used, or not any more.
    #[error(transparent)]
    State(#[from] StateError),
    /// The engine cannot go on.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A message failed, and the policy is to stop then.
    #[error("a message failed in step {step:?}: {exception}: {message}")]
    MessageFailed {
        /// The step.
        step: String,
        /// The exception's type.
        exception: String,
        /// Its message.
        message: String,
        /// The user's traceback.
        traceback: String,
        /// The step says so, and not the run.
        by_step: bool,
    },
    /// A second signal stopped the run while it was draining.
    #[error("stopped at once by a second signal; {undelivered} bytes were not delivered")]
    Interrupted {
        /// The next run delivers them.
        is_kept: bool,
        /// Bytes in queues and sinks.
        undelivered: usize,
    },
    /// A second signal stopped the run while it was waiting for consumers.
    #[error("stopped at once by a second signal; consumers may not have received everything that was sent")]
    InterruptedLate,
    /// A client of the control socket stopped the run.
    #[error("stopped at once through the control socket; {undelivered} bytes were not delivered")]
    Stopped {
        /// Bytes in queues and sinks.
        undelivered: usize,
    },
    /// The control socket, or the port for metrics, cannot be bound.
    #[error(transparent)]
    Control(#[from] BindError),
    /// A signal arrived before the application ran.
    #[error("interrupted")]
    InterruptedEarly,
    /// A socket for the process of a connector cannot be made.
    #[error("cannot make the socket of a connector")]
    LocalSocket(#[source] std::io::Error),
    /// Signals cannot be received.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
}
