//! Where messages go. A sink owns its socket or file; it takes [`SinkChunk`]s from the runtime in order, writes them, and
//! reports with [`SinkEvent`]s. When its channel closes it writes what it holds and ends.

pub(crate) mod acknowledged;
pub mod file;
mod outbox;
pub mod tcp;

pub(crate) use self::outbox::Outbox;

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::ids::SinkId;
use crate::sink_chunk::SinkChunk;

/// Where a sink gets its messages. Unbounded, because the engine bounds what is under way by bytes.
pub type SinkChunks = mpsc::UnboundedReceiver<SinkChunk>;

/// Where a sink reports.
pub type SinkEvents = mpsc::UnboundedSender<SinkEvent>;

/// What happened at a sink.
#[derive(Debug)]
pub enum SinkEvent {
    /// Bytes were taken by the operating system. Each byte and message is reported once, also when a broken connection
    /// made it travel twice.
    Written {
        /// The sink.
        sink: SinkId,
        /// How many bytes.
        bytes: usize,
        /// How many messages are now wholly written that were not before.
        messages: usize,
    },
    /// A connector cannot write a message. Its bytes are reported as written afterwards.
    Rejected {
        /// The sink.
        sink: SinkId,
        /// The message, and why.
        rejected: Rejected,
    },
    /// The sink cannot go on; what it holds is not written.
    Failed {
        /// The sink.
        sink: SinkId,
        /// Why.
        error: SinkError,
    },
    /// The peer is reached. The first connection is reported, too.
    Connected {
        /// The sink.
        sink: SinkId,
    },
    /// The peer is lost, or a first attempt to reach it failed. The sink keeps trying.
    Disconnected {
        /// The sink.
        sink: SinkId,
        /// Why.
        error: SinkError,
    },
}

/// A message that the code of a connector has refused for good.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rejected {
    /// The encoded message.
    pub payload: Bytes,
    /// Type of the exception.
    pub exception: String,
    /// Its message.
    pub message: String,
    /// The user's traceback.
    pub traceback: String,
    /// `repr` of the message.
    pub value: String,
}

/// What can go wrong at a sink. The first three are for the log and complete in one line; the others name their cause.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Nobody answers there.
    #[error("cannot connect to {peer}: {error}")]
    Connect {
        /// Host and port as configured.
        peer: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// The connection broke.
    #[error("connection to {peer} lost: {error}")]
    Lost {
        /// Host and port as configured.
        peer: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// The peer closed the connection, or its sending half.
    #[error("{peer} closed the connection")]
    Closed {
        /// Host and port as configured.
        peer: String,
    },
    /// A connector has failed.
    #[error("{name}: {reason}")]
    Connector {
        /// The sink.
        name: String,
        /// Why.
        reason: String,
    },
    /// The file cannot be created.
    #[error("cannot write to {}", path.display())]
    Create {
        /// The file as configured.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file lacks what an earlier run has delivered to it.
    #[error("{} has {length} bytes, but {delivered} were delivered to it: restore it, or begin anew with another state folder", path.display())]
    Shorter {
        /// The file as configured.
        path: PathBuf,
        /// Bytes it has.
        length: u64,
        /// Bytes it should have at least.
        delivered: u64,
    },
    /// Writing failed: the disk is full, or the reader of standard output has gone.
    #[error("cannot write to {}", path.display())]
    Write {
        /// The file as configured.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests;
