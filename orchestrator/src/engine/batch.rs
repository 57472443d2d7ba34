//! A formed batch, wherever it is: waiting to be run again, in flight, or in a journal.

use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{self as protocol, BatchId, Failure, Output, OutputData, Skip, StageId, Timing, ToWorker};

use super::times::Times;
use crate::dead_message::DeadMessage;
use crate::ids::ConnectionId;
use crate::position::Position;

/// A batch as it was formed. The input is the encoded bytes that were sent, so running it again copies nothing.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) id: BatchId,
    pub(super) stage: StageId,
    pub(super) input: Bytes,
    pub(super) messages: u32,
    /// When the engine was given the oldest of its messages.
    pub(super) received_at: Duration,
    pub(super) origin: Origin,
    /// Event times of its frames or groups, where windows need them.
    pub(super) times: Times,
    /// Messages that were made dead letters.
    pub(super) skip: Vec<Skip>,
    /// Their letters. They leave with what comes of the batch.
    pub(super) letters: Vec<(Skip, DeadMessage)>,
    /// The generator has nothing more after it.
    pub(super) ends_generator: bool,
    /// Workers that died while they ran this batch; a hang counts as enough of them to run it carefully.
    pub(super) deaths: u32,
    /// Those among them since a message of it was last given up.
    pub(super) struck: u32,
    /// What the markers of those said that ran it carefully.
    pub(super) suspicion: Suspicion,
    /// Messages that hung although their step may be to blame.
    pub(super) hung: Vec<Skip>,
    /// It is run without those, to see whether the step works.
    pub(super) probe: bool,
    /// The step works: a message that hangs is guilty.
    pub(super) proven: bool,
}

/// The message that the deaths under a careful batch point at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Suspicion {
    message: Option<Skip>,
    times: u32,
}

impl Suspicion {
    /// Takes in what the marker of one more dead worker said. Returns how often in a row markers have now said that.
    pub(super) fn confirm(&mut self, message: Option<Skip>) -> u32 {
        self.times = if self.message == message { self.times + 1 } else { 1 };
        self.message = message;
        self.times
    }
}

/// What a batch was made of.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// Frames of a source; `sequence` is the batch's place in the order of its stage, `position` where the
    /// source goes on behind it.
    Frames { sequence: u64, connections: Vec<(ConnectionId, u32)>, position: Position },
    /// Groups of keys of one slot.
    Groups,
    /// Groups that a stage of another pool handed over; `sequence` is the batch's place in the order of its stage.
    Values { sequence: u64 },
    /// A request for values of a generator.
    Generate,
    /// Stream bytes of a connection that a worker cuts into frames.
    Cut { connection: ConnectionId },
}

/// From this many deaths on, a batch is run message by message.
pub(super) const CAREFUL_AFTER: u32 = 2;

impl Batch {
    /// A batch that no worker has been sent.
    pub(super) fn new(
        id: BatchId,
        stage: StageId,
        (input, messages): (Bytes, u32),
        received_at: Duration,
        origin: Origin,
        times: Times,
    ) -> Self {
        Self {
            id,
            stage,
            input,
            messages,
            received_at,
            origin,
            times,
            skip: Vec::new(),
            letters: Vec::new(),
            ends_generator: false,
            deaths: 0,
            struck: 0,
            suspicion: Suspicion::default(),
            hung: Vec::new(),
            probe: false,
            proven: false,
        }
    }

    /// Whether a message is run when the batch is.
    pub(super) fn runs(&self, message: Skip) -> bool {
        !(self.skip.contains(&message) || self.probe && self.hung.contains(&message))
    }

    /// The batch as a worker is sent it. `discard`: its outputs are not wanted, only its changes of state.
    pub(super) fn message(&self, discard: bool) -> ToWorker {
        ToWorker::Batch(protocol::Batch {
            batch: self.id,
            stage: self.stage,
            discard,
            careful: self.deaths >= CAREFUL_AFTER,
            skip: if self.probe { [self.skip.as_slice(), &self.hung].concat() } else { self.skip.clone() },
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

    /// The batch's place in the order of its stage, if results of the stage are put in order.
    pub(super) fn sequence(&self) -> Option<u64> {
        match self.origin {
            Origin::Frames { sequence, .. } | Origin::Values { sequence } => Some(sequence),
            Origin::Groups | Origin::Generate | Origin::Cut { .. } => None,
        }
    }
}

/// A batch that a worker has been sent and has not answered.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) batch: Batch,
    /// It rebuilds state; its outputs were emitted before.
    pub(super) replay: bool,
    /// Another worker was given it; the answer is dropped.
    pub(super) withdrawn: bool,
    /// Time that it was expected to take when it was sent.
    pub(super) expected: Duration,
    /// When the worker could begin with it: when it was sent, or when the batch before it was answered.
    pub(super) begun: Duration,
    /// When the worker last gave a sign of life: it began, or moved on within the batch.
    pub(super) alive: Duration,
    /// The parts of the answer received so far.
    pub(super) answer: Answer,
}

/// What a worker said to a batch.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) outputs: Vec<Output>,
    pub(super) failures: Vec<Failure>,
    pub(super) timing: Timing,
}

impl Answer {
    /// Takes in one part of the answer.
    pub(super) fn extend(&mut self, outputs: Vec<Output>, failures: Vec<Failure>, timing: Option<Timing>) {
        if self.outputs.is_empty() {
            self.outputs = outputs;
        } else {
            self.outputs.extend(outputs);
        }
        self.failures.extend(failures);
        if let Some(Timing { time, late, timers }) = timing {
            self.timing.time = self.timing.time.max(time);
            self.timing.late = self.timing.late.saturating_add(late);
            self.timing.timers.extend(timers);
        }
    }

    /// What the outputs weigh in a byte-bounded queue.
    pub(super) fn weight(&self) -> usize {
        let weight = |output: &Output| match &output.data {
            OutputData::Groups(groups) => groups.iter().map(protocol::Group::len).sum(),
            OutputData::Messages(messages) => messages.bytes.len(),
        };
        self.outputs.iter().map(weight).sum()
    }
}
