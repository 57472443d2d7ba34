//! Rules of the engine's own bookkeeping. A rule that does not hold ends the run with an error that names it: to go on would
//! mean to lose or to double messages in silence.

use wallaroo_protocol::{NodeId, StageId};

use crate::ids::{SinkId, SlotId};

/// A rule that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invariant {
    /// A queue's bytes are given back once.
    #[error("{queue} gave back {taken} of {held} bytes")]
    Bytes {
        /// The queue.
        queue: Queue,
        /// Bytes given back.
        taken: usize,
        /// Bytes it held.
        held: usize,
    },
    /// Every batch is answered once.
    #[error("stage {stage} was given result {sequence} and waits for {next}, {issued} were issued")]
    Sequence {
        /// The stage.
        stage: StageId,
        /// Sequence number of the result.
        sequence: u64,
        /// The next one to be emitted.
        next: u64,
        /// Sequence numbers issued.
        issued: u64,
    },
    /// What a stage is done with, it was given.
    #[error("stage {stage} is done with {done} messages of one time and was given {given}")]
    Outstanding {
        /// The stage.
        stage: StageId,
        /// Messages it is done with.
        done: u64,
        /// Messages it was given.
        given: u64,
    },
    /// Every outlet of a stage has a target that takes what the outlet gives.
    #[error("outlet {outlet} of stage {stage} has no target for its output")]
    Outlet {
        /// The stage.
        stage: StageId,
        /// The outlet.
        outlet: NodeId,
    },
    /// A journal takes as long to replay as its batches do.
    #[error("the journal of {slot:?} takes less time to replay than its batches")]
    Journal {
        /// The slot.
        slot: SlotId,
    },
    /// A worker is sent each snapshot it lacks once.
    #[error("the worker in {slot:?} lacks no snapshot and was sent one")]
    Restored {
        /// The slot.
        slot: SlotId,
    },
    /// One change of the number of slots at a time, of a pool there is, to at least one slot.
    #[error("asked for {slots} slots while another change is under way, or for a pool that does not exist")]
    OneChange {
        /// Slots asked for.
        slots: u32,
    },
    /// A slot that is removed has no work of its own.
    #[error("{slot:?} was removed with work in it")]
    RemovedWithWork {
        /// The slot.
        slot: SlotId,
    },
}

/// A queue whose bytes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Groups that wait for a stage.
    Lanes(StageId),
    /// Results of a stage that wait for an earlier one.
    Results(StageId),
    /// Messages that a sink has not written.
    Sink(SinkId),
    /// Dead letters that are not kept.
    DeadLetters,
    /// A slot's journal.
    Journal(SlotId),
    /// Snapshots of a partition.
    Snapshots,
    /// Records that are not durable.
    Log,
}

impl std::fmt::Display for Queue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lanes(stage) => write!(formatter, "the lanes of stage {stage}"),
            Self::Results(stage) => write!(formatter, "the results of stage {stage}"),
            Self::Sink(sink) => write!(formatter, "sink {sink}"),
            Self::DeadLetters => formatter.write_str("the dead letters"),
            Self::Journal(slot) => write!(formatter, "the journal of {slot:?}"),
            Self::Log => formatter.write_str("the log"),
            Self::Snapshots => formatter.write_str("the snapshots of a partition"),
        }
    }
}

/// A result that fails only if an invariant is broken.
pub(super) type Checked<T> = Result<T, Invariant>;

/// Takes `taken` bytes from those that `queue` holds.
pub(super) fn take_bytes(held: &mut usize, taken: usize, queue: Queue) -> Checked<()> {
    *held = held.checked_sub(taken).ok_or(Invariant::Bytes { queue, taken, held: *held })?;
    Ok(())
}
