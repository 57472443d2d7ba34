//! What the engine is told and what it asks for: the whole surface between the pure core and the tasks that do I/O.

use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{BatchId, BatchResult, CutResult, SnapshotPart, ToWorker};

use super::invariant::Invariant;
use super::{CuttingError, StoredState};
use crate::checkpoint::Checkpoint;
use crate::dead_message::DeadMessage;
use crate::death::{Death, KillReason};
use crate::frame::FrameBlock;
use crate::ids::{ConnectionId, Generation, PoolId, SinkId, SlotId, SourceId};
use crate::position::{FilePosition, StreamName};
use crate::record::{LetterId, Lsn, Record};
use crate::sink_chunk::SinkChunk;

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
        /// Bytes of the stream before these, if the source has positions.
        position: Option<FilePosition>,
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
    /// A worker has moved on within what it was sent: to another message, step or state.
    Moved {
        /// The worker's slot.
        slot: SlotId,
        /// The worker.
        generation: Generation,
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
    /// Records are durable.
    Durable {
        /// The last of them.
        upto: Lsn,
    },
    /// A checkpoint is stored, and with it the states that had changed.
    Stored {
        /// The last record in it.
        upto: Lsn,
    },
    /// A sink handed bytes over.
    SinkWritten {
        /// The sink.
        sink: SinkId,
        /// How many bytes.
        bytes: usize,
    },
    /// Dead letters have been written to where they are kept.
    DeadLettersKept {
        /// The sum of their weights.
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
    /// Stop reading, finish what was accepted, and leave windows and generators as they are: another engine goes on with them.
    Suspend,
    /// The orchestrator stood still for `gap`: what it did not hear meanwhile is nobody's fault.
    StoodStill {
        /// How long.
        gap: Duration,
    },
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
            | Self::Moved { slot, .. }
            | Self::Snapshot { slot, .. }
            | Self::Replace { slot } => Some(*slot),
            Self::Frames { .. }
            | Self::Chunk { .. }
            | Self::ConnectionClosed { .. }
            | Self::SourceEnded { .. }
            | Self::Durable { .. }
            | Self::Stored { .. }
            | Self::SinkWritten { .. }
            | Self::DeadLettersKept { .. }
            | Self::Scale { .. }
            | Self::Save
            | Self::Drain
            | Self::Suspend
            | Self::StoodStill { .. }
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
    /// Messages of a stream need not be sent again: what came of them is durable.
    Acknowledge {
        /// The source.
        source: SourceId,
        /// The stream.
        stream: StreamName,
        /// How many of its messages.
        messages: u64,
    },
    /// Give a source back credit for bytes that have left its queue.
    Credit {
        /// The source.
        source: SourceId,
        /// How many bytes.
        bytes: usize,
    },
    /// How many bytes a source may have under way now: fewer where messages take long. What is under way already stays.
    Allow {
        /// The source.
        source: SourceId,
        /// How many bytes. A block that is larger passes when nothing else is under way.
        bytes: usize,
    },
    /// Close a connection because its stream cannot be read.
    CloseConnection {
        /// Its source.
        source: SourceId,
        /// The connection.
        connection: ConnectionId,
        /// Why.
        error: CuttingError,
    },
    /// Stop reading at every source.
    StopSources,
    /// Append a record to the log. Answered by [`Event::Durable`]; only then is what the batch gave handed out.
    Commit(Box<Record>),
    /// Store a checkpoint with the states that have changed since the last one, all or nothing, once the records in it are durable.
    /// Answered by [`Event::Stored`]. The log before it is not needed any more.
    Checkpoint {
        /// The checkpoint.
        checkpoint: Box<Checkpoint>,
        /// The states.
        states: Vec<StoredState>,
    },
    /// A message could not be processed. Answered by [`Event::DeadLettersKept`] with its weight; as long as too many are not, nothing
    /// is begun that could make more.
    DeadLetter {
        /// The same letter has the same id, also after a restart.
        id: LetterId,
        /// The message.
        message: DeadMessage,
    },
    /// Kill a worker.
    Kill {
        /// Its slot.
        slot: SlotId,
        /// The worker.
        generation: Generation,
        /// Why, for the log.
        reason: KillReason,
    },
    /// A worker need not run a batch that it was sent, if it has not begun: another worker was given it.
    Withdraw {
        /// The worker's slot.
        slot: SlotId,
        /// The worker.
        generation: Generation,
        /// The batch.
        batch: BatchId,
    },
    /// Seat a worker in an empty slot.
    Seat {
        /// The slot.
        slot: SlotId,
    },
    /// A slot is being removed: no worker is to be seated in it any more.
    RemoveSlot {
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
    /// A state is in no snapshot, and its journal has grown too long to be kept for the next run.
    #[error(
        "{reason}, and the journal of {slot}, from which it could be rebuilt, no longer fits: nothing is lost, but the run cannot go on"
    )]
    StateUnsaved {
        /// The slot, for people.
        slot: String,
        /// Which state, and why.
        reason: String,
    },
    /// The engine's own bookkeeping is wrong.
    #[error("the engine broke a rule of its own: {0}")]
    Broken(#[from] Invariant),
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
