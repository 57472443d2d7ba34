//! What the engine is told and what it asks for: the whole surface between the pure core and the tasks that do I/O.

use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use wallaroo_protocol::{BatchId, BatchResult, CutResult, NodeId, Skip, SnapshotPart, ToWorker};

use crate::plan::PoolId;

/// Defines a copyable number newtype with `index()` for use as a vector index.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The id as an index into a vector with one element per id.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

id!(/** A source of the plan. */ SourceId);
id!(/** A sink of the plan. */ SinkId);
id!(/** How many workers were started before this one. */ Generation);

/// A seat in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId {
    /// The pool.
    pub pool: PoolId,
    /// Its number there.
    pub number: u32,
}

impl SlotId {
    /// A slot of the main pool.
    pub const fn main(number: u32) -> Self {
        Self { pool: PoolId::MAIN, number }
    }
}

/// One connection (or file) of a source; unique within the run, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct ConnectionId(pub u64);

/// Where one frame lies in its block, header excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset past the last byte.
    pub end: u32,
}

/// Frames cut from one read of one connection. Frames are spans of `data`: nothing is allocated per frame.
#[derive(Debug, Clone)]
pub struct FrameBlock {
    /// The bytes read, headers and delimiters included.
    pub data: Bytes,
    /// The frames, in stream order.
    pub spans: Vec<Span>,
}

/// Bytes charged for a frame beyond its own, so that a flood of empty frames is bounded too.
pub const FRAME_OVERHEAD: usize = 16;

impl FrameBlock {
    /// What this block weighs in a byte-bounded queue: its frames' bytes and [`FRAME_OVERHEAD`] for each.
    pub fn weight(&self) -> usize {
        self.spans.iter().map(|span| (span.end - span.start) as usize + FRAME_OVERHEAD).sum()
    }
}

/// Messages for a sink: `lengths` says where one ends and the next begins in `bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkChunk {
    /// The encoded messages, one after another.
    pub bytes: Bytes,
    /// Length in bytes of each message.
    pub lengths: Vec<u32>,
}

/// Something that happened outside the engine.
#[derive(Debug)]
pub enum Event {
    /// Frames were cut from a connection.
    Frames {
        /// The source that read them.
        source: SourceId,
        /// The connection they came on.
        connection: ConnectionId,
        /// The frames.
        block: FrameBlock,
    },
    /// Bytes of a connection whose frames only the decoder can cut.
    Chunk {
        /// The source that read them.
        source: SourceId,
        /// The connection they came on.
        connection: ConnectionId,
        /// What was read.
        bytes: Bytes,
    },
    /// A connection has no more bytes.
    ConnectionClosed {
        /// Its source.
        source: SourceId,
        /// The connection.
        connection: ConnectionId,
    },
    /// A source has ended; nothing more comes from it.
    SourceEnded {
        /// The source.
        source: SourceId,
    },
    /// A worker is ready and sits in a slot.
    WorkerSeated {
        /// The slot.
        slot: SlotId,
        /// The worker.
        generation: Generation,
    },
    /// A worker is gone.
    WorkerLost {
        /// The slot it sat in.
        slot: SlotId,
        /// The worker.
        generation: Generation,
        /// How it ended.
        death: Death,
    },
    /// A worker should give up its slot between two batches and be replaced. Ignored while it rebuilds its state.
    Retire {
        /// The slot.
        slot: SlotId,
        /// The worker meant; another one in the slot is left alone.
        generation: Generation,
    },
    /// A worker's resident memory is above its limit.
    Overweight {
        /// The slot.
        slot: SlotId,
        /// The worker meant.
        generation: Generation,
        /// Bytes resident.
        resident: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A worker answered a batch.
    Result {
        /// The worker's slot.
        slot: SlotId,
        /// The worker.
        generation: Generation,
        /// Its answer.
        result: BatchResult,
    },
    /// A worker answered a `cut` batch.
    CutResult {
        /// The worker's slot.
        slot: SlotId,
        /// The worker.
        generation: Generation,
        /// Its answer.
        result: CutResult,
    },
    /// A worker sent snapshots.
    Snapshot {
        /// The worker's slot.
        slot: SlotId,
        /// The worker.
        generation: Generation,
        /// The snapshots.
        part: SnapshotPart,
    },
    /// A sink handed bytes over.
    SinkWritten {
        /// The sink.
        sink: SinkId,
        /// How many bytes.
        bytes: usize,
    },
    /// Give a pool so many slots, and spread the partitions that live there over them. Ends with [`Action::Scaled`]; one at a time.
    Scale {
        /// The pool.
        pool: PoolId,
        /// How many.
        slots: u32,
    },
    /// Have the worker in a slot give it up to another one. Ends with [`Action::Replaced`].
    Replace {
        /// The slot.
        slot: SlotId,
    },
    /// Ask every worker for snapshots of what has changed.
    Save,
    /// Stop reading, finish what was accepted.
    Drain,
    /// Time has passed.
    Tick,
}

impl Event {
    /// The slot it is about.
    pub(super) fn slot(&self) -> Option<SlotId> {
        match self {
            Self::WorkerSeated { slot, .. }
            | Self::WorkerLost { slot, .. }
            | Self::Retire { slot, .. }
            | Self::Overweight { slot, .. }
            | Self::Result { slot, .. }
            | Self::CutResult { slot, .. }
            | Self::Snapshot { slot, .. }
            | Self::Replace { slot } => Some(*slot),
            Self::Frames { .. }
            | Self::Chunk { .. }
            | Self::ConnectionClosed { .. }
            | Self::SourceEnded { .. }
            | Self::SinkWritten { .. }
            | Self::Scale { .. }
            | Self::Save
            | Self::Drain
            | Self::Tick => None,
        }
    }
}

/// Something the engine wants done.
#[derive(Debug)]
pub enum Action {
    /// Send a message to a worker.
    Send {
        /// The worker's slot.
        slot: SlotId,
        /// The worker.
        generation: Generation,
        /// What to send.
        message: ToWorker,
    },
    /// Hand messages to a sink.
    Write {
        /// The sink.
        sink: SinkId,
        /// The messages.
        chunk: SinkChunk,
    },
    /// Give a source back credit for bytes that have left its queue.
    Release {
        /// The source.
        source: SourceId,
        /// How many bytes.
        bytes: usize,
    },
    /// Close a connection because its stream cannot be read.
    CloseConnection {
        /// Its source.
        source: SourceId,
        /// The connection.
        connection: ConnectionId,
        /// Why.
        error: String,
    },
    /// Stop reading at every source.
    StopSources,
    /// A message could not be processed.
    DeadLetter(DeadMessage),
    /// Kill a worker.
    Kill {
        /// Its slot.
        slot: SlotId,
        /// The worker.
        generation: Generation,
        /// Why, for the log.
        reason: KillReason,
    },
    /// Seat a worker in an empty slot.
    Seat {
        /// The slot.
        slot: SlotId,
    },
    /// A slot is about to go: no worker is to be seated in it any more.
    Vacate {
        /// The slot.
        slot: SlotId,
    },
    /// The number of a pool's slots has been changed, or has been put back because that could not be done.
    Scaled {
        /// Slots the pool has now.
        slots: u32,
        /// Partitions that moved.
        moved: usize,
        /// The longest time for which the keys of one partition were held.
        longest_pause: Duration,
        /// Why it was put back.
        problem: Option<String>,
    },
    /// A worker has given up its slot and the next one is at work.
    Replaced {
        /// The slot.
        slot: SlotId,
        /// Time between the last batch given to the old worker and the first answer of the new one.
        pause: Duration,
        /// Why it has not been replaced.
        problem: Option<String>,
    },
    /// A slot answers again after its worker died.
    Recovered {
        /// The slot.
        slot: SlotId,
        /// Time since the death was noticed.
        after: Duration,
        /// Batches that were replayed.
        replayed: u32,
    },
    /// Something the user should know about.
    Warn(String),
    /// Everything accepted has left through the sinks.
    Finished,
    /// The run cannot go on without losing something.
    Fail(EngineError),
}

/// Why the engine wants a worker killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KillReason {
    /// A batch took longer than the step timeout.
    Timeout(Duration),
    /// It broke the protocol.
    Protocol(String),
    /// Its resident memory was far above its limit.
    Memory {
        /// Bytes resident.
        resident: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// It was asked to retire.
    Retired,
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// What ended it.
    pub cause: DeathCause,
    /// What it was doing.
    pub marker: Option<Marker>,
    /// The Python stack it left behind, if it did.
    pub trace: String,
}

/// What ended a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeathCause {
    /// It exited by itself.
    Exited(i32),
    /// A signal killed it.
    Signalled(i32),
    /// The engine had it killed.
    Killed(KillReason),
    /// Its connection broke while the process lived.
    Disconnected(String),
}

impl DeathCause {
    /// Whether somebody else may have killed the worker, which says nothing about what it was doing: a person, an
    /// administrator's script, the kernel when memory runs out.
    pub fn may_be_from_outside(&self) -> bool {
        let signals = [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
        matches!(self, Self::Signalled(number) if signals.iter().any(|signal| *signal as i32 == *number))
    }
}

impl std::fmt::Display for DeathCause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(formatter, "exit code {code}"),
            Self::Signalled(signal) => match Signal::try_from(*signal) {
                Ok(Signal::SIGKILL) => formatter.write_str("killed by SIGKILL (out of memory, or by hand)"),
                Ok(signal) => write!(formatter, "killed by {signal}"),
                Err(_) => write!(formatter, "killed by signal {signal}"),
            },
            Self::Killed(KillReason::Timeout(after)) => write!(formatter, "step timeout: no answer after {after:?}"),
            Self::Killed(KillReason::Protocol(error)) => write!(formatter, "broke the protocol: {error}"),
            Self::Killed(KillReason::Memory { resident, limit }) => {
                write!(formatter, "out of memory: {resident} bytes resident, the limit is {limit} (--worker-memory)")
            }
            Self::Killed(KillReason::Retired) => formatter.write_str("retired"),
            Self::Disconnected(error) => write!(formatter, "connection lost: {error}"),
        }
    }
}

/// What a worker noted it was doing before it died; see the marker in `spec/protocol.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The batch it was running.
    pub batch: BatchId,
    /// The step it was in.
    pub node: NodeId,
    /// The message it was at, when the batch was run carefully.
    pub message: Option<Skip>,
}

/// A message that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadMessage {
    /// The step that failed.
    pub node: NodeId,
    /// The message's key, encoded.
    pub key: Option<Bytes>,
    /// Type of the exception, or of the accident.
    pub exception: String,
    /// Its message.
    pub message: String,
    /// The Python traceback, if there is one.
    pub traceback: String,
    /// `repr` of the value the step was given.
    pub value: String,
    /// The value, encoded with `codec`.
    pub payload: Bytes,
    /// Which value of `payload` it is; `None`: all of them, or a frame.
    pub payload_index: Option<u32>,
    /// 0: `payload` is the frame as it was read.
    pub codec: u32,
    /// The source, where it is known.
    pub source: Option<SourceId>,
    /// The connection, where it is known.
    pub connection: Option<ConnectionId>,
}

/// Why the engine cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// State can be neither snapshotted nor replayed.
    #[error("the state of {slot} died with its worker ({cause}) and cannot be rebuilt: {reason}")]
    StateLost {
        /// The slot, for people.
        slot: String,
        /// What killed the worker.
        cause: String,
        /// Why there was no way back.
        reason: String,
    },
    /// Rebuilding kills every worker that tries.
    #[error("{deaths} workers in a row died while rebuilding the state of {slot}; the last one: {cause}")]
    RecoveryFails {
        /// The slot, for people.
        slot: String,
        /// How many.
        deaths: u32,
        /// What killed the last one.
        cause: String,
    },
}
