//! A formed batch, wherever it is: waiting to be repeated, in flight, or in a journal.

use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{Batch, BatchId, Failure, Output, OutputData, Skip, StageId, Timing, ToWorker};

use super::times::Times;
use crate::ids::ConnectionId;

/// A batch as it was formed. The input is the encoded bytes that were sent, so repeating it copies nothing.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) batch: BatchId,
    pub(super) stage: StageId,
    pub(super) input: Bytes,
    pub(super) messages: u32,
    /// When the engine was given the oldest of what it was made of.
    pub(super) arrived: Duration,
    pub(super) origin: Origin,
    /// Times of its frames or groups, where windows need them.
    pub(super) times: Times,
    /// Messages that have been given up.
    pub(super) skip: Vec<Skip>,
    /// Workers that died with this batch at hand.
    pub(super) deaths: u32,
    /// What those noted that ran it carefully.
    pub(super) suspicion: Suspicion,
}

/// Whom the deaths under a careful batch point at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Suspicion {
    message: Option<Skip>,
    times: u32,
}

impl Suspicion {
    /// Takes in what one more worker noted before it died. Returns how often in a row that has now been noted.
    pub(super) fn confirm(&mut self, message: Option<Skip>) -> u32 {
        self.times = if self.message == message { self.times + 1 } else { 1 };
        self.message = message;
        self.times
    }
}

/// What a batch was made of.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// Frames of a source; `sequence` is the batch's turn in its stage.
    Frames { sequence: u64, connections: Vec<(ConnectionId, u32)> },
    /// Groups of keys of one slot.
    Groups,
    /// Groups another stage handed over; `sequence` is the batch's turn in its stage.
    Values { sequence: u64 },
    /// Values asked of a generator.
    Generate,
    /// Stream bytes of a connection to be cut.
    Cut { connection: ConnectionId },
}

/// From this many deaths on, a batch is run message by message.
pub(super) const CAREFUL_AFTER: u32 = 2;

impl Work {
    pub(super) fn message(&self, discard: bool) -> ToWorker {
        ToWorker::Batch(Batch {
            batch: self.batch,
            stage: self.stage,
            discard,
            careful: self.deaths >= CAREFUL_AFTER,
            skip: self.skip.clone(),
            times: self.times.runs().collect(),
            input: self.input.clone(),
        })
    }

    /// The connection that frame `index` of the batch came on.
    pub(super) fn connection_of(&self, index: u32) -> Option<ConnectionId> {
        match &self.origin {
            Origin::Frames { connections, .. } => {
                let mut before = 0;
                connections.iter().find(|(_, frames)| {
                    before += frames;
                    index < before
                })
            }
            .map(|(connection, _)| *connection),
            Origin::Cut { connection } => Some(*connection),
            Origin::Groups | Origin::Values { .. } | Origin::Generate => None,
        }
    }

    /// The batch's turn in its stage, where results wait for theirs.
    pub(super) fn sequence(&self) -> Option<u64> {
        match self.origin {
            Origin::Frames { sequence, .. } | Origin::Values { sequence } => Some(sequence),
            Origin::Groups | Origin::Generate | Origin::Cut { .. } => None,
        }
    }
}

/// A batch a worker has been sent and has not answered.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) work: Work,
    /// It is a repetition for the sake of state; what it outputs was released before.
    pub(super) replay: bool,
    /// When the worker could begin with it: when it was sent, or the one before it was answered.
    pub(super) begun: Duration,
    /// Parts of the answer received so far.
    pub(super) outputs: Vec<Output>,
    pub(super) failures: Vec<Failure>,
    pub(super) timing: Timing,
}

impl InFlight {
    /// Takes in what one part of the answer says of time.
    pub(super) fn hear_of_time(&mut self, timing: Option<Timing>) {
        if let Some(Timing { time, late, timers }) = timing {
            self.timing.time = self.timing.time.max(time);
            self.timing.late = self.timing.late.saturating_add(late);
            self.timing.timers.extend(timers);
        }
    }
}

/// What outputs weigh in a byte-bounded queue.
pub(super) fn outputs_weight(outputs: &[Output]) -> usize {
    outputs.iter().map(|output| data_weight(&output.data)).sum()
}

fn data_weight(data: &OutputData) -> usize {
    match data {
        OutputData::Groups(groups) => groups.iter().map(wallaroo_protocol::Group::len).sum(),
        OutputData::Messages(messages) => messages.bytes.len(),
    }
}
