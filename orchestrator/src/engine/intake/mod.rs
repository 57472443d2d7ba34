//! What has been read from the sources and is in no batch yet: frames in queues, and bytes whose frames only a worker can cut.
//! Owns the queues and knows which sources have ended.

mod allowance;
mod cutting;
mod error;
mod frame_queue;
mod outflow;

use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{CutResult, EventTime};

use self::allowance::Allowance;
use self::cutting::Cutting;
pub use self::error::CuttingError;
pub(super) use self::frame_queue::{FrameQueue, TakenFrames};
use super::batch::Origin;
use super::invariant::Checked;
use super::{Action, Engine, Event};
use crate::death::KillReason;
use crate::frame::FrameBlock;
use crate::ids::{ConnectionId, Generation, SlotId, SourceId};
use crate::plan::Input;
use crate::position::{FilePosition, Position};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Intake {
    sources: Vec<Source>,
    max_frame: usize,
}

#[derive(Debug)]
struct Source {
    queue: FrameQueue,
    cutting: Cutting,
    allowance: Allowance,
    ended: bool,
    /// It is a generator all of whose values are released.
    exhausted: bool,
    /// Where it goes on behind what was released.
    released: Position,
}

impl Source {
    fn new(queue_time: Duration) -> Self {
        let (queue, cutting) = (FrameQueue::default(), Cutting::default());
        Self {
            queue,
            cutting,
            allowance: Allowance::new(queue_time),
            ended: false,
            exhausted: false,
            released: Position::Unknown,
        }
    }
}

impl Intake {
    pub(super) fn new(sources: usize, max_frame: usize, queue_time: Duration) -> Self {
        Self { sources: (0..sources).map(|_| Source::new(queue_time)).collect(), max_frame }
    }

    /// Appends frames of a connection; they hold credit of the source until a batch takes them.
    pub(super) fn push(&mut self, source: SourceId, connection: ConnectionId, block: FrameBlock, arrival: EventTime) {
        let charge = block.weight();
        let Source { queue, allowance, .. } = &mut self.sources[source.index()];
        allowance.charged(block.spans.len(), charge);
        queue.push(connection, block, charge, arrival);
    }

    /// Appends bytes of a connection that a worker is to cut.
    fn push_uncut(
        &mut self,
        source: SourceId,
        connection: ConnectionId,
        (bytes, position): (&[u8], Option<FilePosition>),
        actions: &mut Vec<Action>,
    ) {
        self.sources[source.index()].cutting.push(source, connection, (bytes, position), actions);
    }

    /// Notes that a connection has no more bytes.
    pub(super) fn close(&mut self, source: SourceId, connection: ConnectionId, actions: &mut Vec<Action>) {
        self.sources[source.index()].cutting.close(connection, source, actions);
    }

    /// Gives up a connection whose bytes cannot be cut.
    pub(super) fn give_up(
        &mut self,
        source: SourceId,
        connection: ConnectionId,
        error: CuttingError,
        actions: &mut Vec<Action>,
    ) {
        self.sources[source.index()].cutting.remove(connection, source, actions);
        actions.push(Action::CloseConnection { source, connection, error });
    }

    /// Notes that nothing more comes from a source.
    pub(super) fn end(&mut self, source: SourceId) {
        self.sources[source.index()].ended = true;
    }

    /// Notes that all values of a generator are released.
    pub(super) fn exhaust(&mut self, source: SourceId) {
        self.end(source);
        self.sources[source.index()].exhausted = true;
    }

    pub(super) fn is_exhausted(&self, source: SourceId) -> bool {
        self.sources[source.index()].exhausted
    }

    /// Notes that frames were released, behind which a source goes on at `position`.
    pub(super) fn release(&mut self, source: SourceId, position: &Position) {
        self.sources[source.index()].released.advance(position);
    }

    /// Where a source goes on behind what was released.
    pub(super) fn released(&self, source: SourceId) -> &Position {
        &self.sources[source.index()].released
    }

    pub(super) fn has_ended(&self, source: SourceId) -> bool {
        self.sources[source.index()].ended
    }

    /// Frames of a source that wait for a batch.
    pub(super) fn frames(&self, source: SourceId) -> usize {
        self.sources[source.index()].queue.len()
    }

    /// When the first frame of a source that waits arrived.
    pub(super) fn first_arrival(&self, source: SourceId) -> Option<EventTime> {
        self.sources[source.index()].queue.first_arrival()
    }

    /// Whether nothing of a source waits here, nor is being cut.
    pub(super) fn is_idle(&self, source: SourceId) -> bool {
        let source = &self.sources[source.index()];
        source.queue.is_empty() && source.cutting.is_idle()
    }

    /// Whether every source has ended and nothing of them is left here.
    pub(super) fn is_done(&self) -> bool {
        self.sources.iter().all(|source| source.ended && source.queue.is_empty() && source.cutting.is_idle())
    }

    /// Takes frames for a batch, see [`FrameQueue::take`]. The credit of blocks that are empty then goes back to the source.
    pub(super) fn take(
        &mut self,
        source: SourceId,
        most_messages: u32,
        most_bytes: usize,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Option<TakenFrames> {
        let Source { queue, allowance, .. } = &mut self.sources[source.index()];
        let taken = queue.take(most_messages, most_bytes)?;
        allowance.leave(taken.messages as usize, now);
        if taken.credit > 0 {
            actions.push(Action::Credit { source, bytes: taken.credit });
        }
        Some(taken)
    }

    /// Whether some connection of a source has bytes that are worth a try to cut.
    pub(super) fn has_uncut(&self, source: SourceId) -> bool {
        self.sources[source.index()].cutting.is_ready()
    }

    /// Takes the bytes of the next connection to be cut.
    pub(super) fn take_uncut(&mut self, source: SourceId) -> Option<(ConnectionId, Bytes)> {
        self.sources[source.index()].cutting.take()
    }

    /// Queues the frames that a worker found in the bytes of a connection.
    fn cut(
        &mut self,
        source: SourceId,
        connection: ConnectionId,
        result: &CutResult,
        arrival: EventTime,
        actions: &mut Vec<Action>,
    ) {
        let Source { queue, cutting, allowance, .. } = &mut self.sources[source.index()];
        let Some(cut) = cutting.answered(connection, result, self.max_frame) else { return };
        let mut credit = cut.credit;
        if let Some(block) = cut.block {
            let charge = block.data.len().min(credit);
            credit -= charge;
            allowance.charged(block.spans.len(), charge);
            queue.push(connection, block, charge, arrival);
        }
        if credit > 0 {
            actions.push(Action::Credit { source, bytes: credit });
        }
        match cut.error {
            Some(error) => self.give_up(source, connection, error, actions),
            None => cutting.go_on(connection, source, actions),
        }
    }

    /// Bytes of frames and of uncut streams.
    pub(super) fn bytes(&self) -> usize {
        self.sources.iter().map(|source| source.queue.bytes() + source.cutting.bytes()).sum()
    }
}

impl Engine {
    /// Takes in what comes from a source.
    pub(super) fn take_in_source(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::Frames { source, connection, block } => {
                self.intake.push(source, connection, block, self.time.wall_clock(now));
            }
            Event::Chunk { source, connection, bytes, position } => {
                self.intake.push_uncut(source, connection, (&bytes, position), actions);
            }
            Event::ConnectionClosed { source, connection } => self.intake.close(source, connection, actions),
            Event::SourceEnded { source } => self.intake.end(source),
            _ => {}
        }
    }

    /// Takes in how a worker cut the bytes of a connection.
    pub(super) fn cut_result(
        &mut self,
        slot: SlotId,
        generation: Generation,
        result: &CutResult,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        let withdrawn = self.dispatch.is_withdrawn(slot);
        let Some(batch) = self.answered(slot, generation, result.batch, actions) else { return Ok(()) };
        if withdrawn {
            return self.drop_answer(slot, now, actions);
        }
        let (stage, connection) = match batch.origin {
            Origin::Cut { connection } => (batch.stage, Some(connection)),
            _ => (batch.stage, None),
        };
        let (Some(connection), Input::Cut(source)) = (connection, self.plan.stages[stage.index()].input) else {
            let error = "answered a batch as if it were to be cut".to_owned();
            self.kill(slot, KillReason::Protocol(error), actions);
            return Ok(());
        };
        self.dispatch.complete(slot, result.elapsed, now);
        self.workers.note_progress(slot);
        self.intake.cut(source, connection, result, self.time.wall_clock(now), actions);
        self.after_batch(slot, now, actions)
    }
}
