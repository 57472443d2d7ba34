//! Where messages come from. A source owns its listener or file and its connections: it reads them, cuts frames and sends
//! [`SourceEvent`]s to the runtime. It reads no further than its [`SourceBudget`] allows, so a slow pipeline makes TCP push
//! back on the sender.

mod acknowledged;
pub mod budget;
mod connection;
pub mod file;
pub mod follow;
pub mod framing;
mod held;
mod listening;
pub mod partitions;
mod reopening;
mod rotation;
mod streams;
pub mod tcp;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use budget::SourceBudget;
pub use framing::{Framing, FramingError};
pub use reopening::FileChange;
pub use streams::Streams;

use crate::descriptors::ClientLimit;
use crate::frame::FrameBlock;
use crate::ids::{ConnectionId, SourceId};
use crate::limit::Limit;
use crate::position::FilePosition;

/// Where a source reports. Unbounded, because every event with bytes in it was paid for from the budget.
pub type SourceEvents = mpsc::UnboundedSender<SourceEvent>;

/// What happened at a source. For each connection: one `Opened`, any `Frames` or `Chunk`s, one `Closed`.
#[derive(Debug)]
pub enum SourceEvent {
    /// A client connected, or a file was opened.
    Opened {
        /// The source.
        source: SourceId,
        /// The connection's number.
        connection: ConnectionId,
        /// Address of the client, or the file's name.
        peer: String,
    },
    /// Frames arrived. They hold [`FrameBlock::weight`] credits of the source's budget.
    Frames {
        /// The source.
        source: SourceId,
        /// The connection they came on.
        connection: ConnectionId,
        /// The frames.
        block: FrameBlock,
    },
    /// Bytes of an uncut stream arrived. They hold as many credits of the source's budget.
    Chunk {
        /// The source.
        source: SourceId,
        /// The connection they came on.
        connection: ConnectionId,
        /// The bytes, starting where the last chunk of the connection ended.
        bytes: Bytes,
        /// Where they begin, if the source has positions.
        position: Option<FilePosition>,
    },
    /// Nothing more comes from this connection.
    Closed {
        /// The source.
        source: SourceId,
        /// The connection.
        connection: ConnectionId,
        /// Why.
        outcome: CloseReason,
    },
    /// A connector's process has ended before it was done. The next connection says that it is up again.
    Down {
        /// The source.
        source: SourceId,
        /// Why.
        reason: String,
    },
    /// Nothing more comes from this source: the file has ended, or the source was stopped and all it read is delivered.
    Ended {
        /// The source.
        source: SourceId,
    },
}

/// Why a connection was closed.
#[derive(Debug)]
pub enum CloseReason {
    /// The client ended the stream at a frame boundary.
    End,
    /// The source was stopped. Every frame that had arrived whole was delivered, and nothing was left over.
    Stopped,
    /// The stream could not be read any further. Frames read whole before were delivered.
    Failed(ConnectionError),
}

/// Why a connection could not be read to its end. Its text is complete: it goes to the log as one line.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// A frame is too large, malformed or incomplete.
    #[error("connection from {peer}: {error}")]
    Framing {
        /// Address of the client.
        peer: String,
        /// What is wrong, with lengths and cap.
        error: FramingError,
    },
    /// The operating system reported an error.
    #[error("connection from {peer}: cannot read: {error}")]
    Read {
        /// Address of the client.
        peer: String,
        /// The error.
        error: io::Error,
    },
    /// A client of an acknowledged stream sends what is no message.
    #[error("connection from {peer}: a frame is no message of an acknowledged stream but of kind {kind}")]
    NoMessage {
        /// Address of the client.
        peer: String,
        /// What the frame says that it is.
        kind: u8,
    },
    /// The client stopped in the middle of a frame while others waited for the memory that it took.
    #[error(
        "connection from {peer}: nothing came for 30 s after {have} bytes of a frame, and others waited for that memory"
    )]
    Stalled {
        /// Address of the client.
        peer: String,
        /// Bytes that had arrived.
        have: usize,
    },
    /// The runtime closed it through [`SourceHandle::close`].
    #[error("connection from {peer}: {reason}")]
    Refused {
        /// Address of the client.
        peer: String,
        /// Why.
        reason: String,
    },
}

impl ConnectionError {
    /// The limit that the stream exceeded, if it did.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Framing { error, .. } => error.limit(),
            Self::Read { .. } | Self::NoMessage { .. } | Self::Stalled { .. } | Self::Refused { .. } => None,
        }
    }
}

/// Why a source could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The host has no address.
    #[error("cannot resolve {host}")]
    Resolve {
        /// The host as configured.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// A file is not the one that an earlier run has read.
    #[error("{} is not as an earlier run has read it: {change}", path.display())]
    Changed {
        /// The file as configured.
        path: PathBuf,
        /// What is different.
        change: FileChange,
    },
    /// The address is in use.
    #[error("cannot listen on {host}:{port}: the port is in use")]
    Busy {
        /// The host as configured.
        host: String,
        /// The port.
        port: u16,
    },
    /// Listening failed in another way.
    #[error("cannot listen on {host}:{port}")]
    Bind {
        /// The host as configured.
        host: String,
        /// The port.
        port: u16,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Open {
        /// The file as configured.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

/// What a source needs besides its socket or file.
#[derive(Debug)]
pub struct SourceContext {
    /// Which source this is.
    pub source: SourceId,
    /// How its streams are cut.
    pub framing: Framing,
    /// Greatest payload of a frame in bytes.
    pub max_frame: usize,
    /// Where it reports.
    pub events: SourceEvents,
    /// Bytes it may have under way.
    pub budget: SourceBudget,
    /// How many clients may be connected.
    pub clients: ClientLimit,
    /// The streams of its clients, if these are told what is durable.
    pub streams: Option<Streams>,
    /// Numbers for its connections, shared by all sources of a run.
    pub connections: ConnectionIds,
    /// Connections the runtime wants closed.
    pub close_requests: CloseRequests,
    /// Cancelled before the source is stopped, if the next run goes on.
    pub suspended: CancellationToken,
}

/// Hands out connection numbers, each once. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct ConnectionIds(Arc<AtomicU64>);

impl ConnectionIds {
    fn next(&self) -> ConnectionId {
        ConnectionId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// The runtime's handle of a running source.
#[derive(Debug, Clone)]
pub struct SourceHandle(mpsc::UnboundedSender<(ConnectionId, String)>);

/// The source's end of a [`SourceHandle`].
#[derive(Debug)]
pub struct CloseRequests(mpsc::UnboundedReceiver<(ConnectionId, String)>);

impl SourceHandle {
    /// A handle, and the other end of it for the source's [`SourceContext`].
    pub fn new() -> (Self, CloseRequests) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), CloseRequests(receiver))
    }

    /// Closes one connection at once, dropping what it read and could not deliver yet. Its `Closed` event carries
    /// `reason`. A connection that is closed already is left alone.
    pub fn close(&self, connection: ConnectionId, reason: String) {
        // A source that has ended has no connections left to close.
        let _ = self.0.send((connection, reason));
    }
}

impl CloseRequests {
    /// The next request; waits for ever once no handle is left.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    async fn next(&mut self) -> (ConnectionId, String) {
        match self.0.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
