//! Frames of one source that wait for a batch.

use std::collections::VecDeque;

use bytes::Bytes;
use wallaroo_protocol::{EventTime, input};

use crate::engine::times::Times;
use crate::frame::{FRAME_OVERHEAD, FrameBlock};
use crate::ids::ConnectionId;
use crate::position::Position;

/// See the [module](self).
#[derive(Debug, Default)]
pub(in crate::engine) struct FrameQueue {
    blocks: VecDeque<QueuedBlock>,
    frames: usize,
}

#[derive(Debug)]
struct QueuedBlock {
    connection: ConnectionId,
    block: FrameBlock,
    /// Frames before this one have been taken.
    next: usize,
    /// Credit to give back to the source once every frame has been taken.
    charge: usize,
    arrival: EventTime,
}

/// Frames taken from the queue for one batch.
#[derive(Debug)]
pub(in crate::engine) struct TakenFrames {
    pub(in crate::engine) input: Bytes,
    pub(in crate::engine) messages: u32,
    /// Which connection the frames came on, as runs.
    pub(in crate::engine) connections: Vec<(ConnectionId, u32)>,
    /// When they arrived.
    pub(in crate::engine) arrivals: Times,
    /// Where the source goes on behind them.
    pub(in crate::engine) position: Position,
    /// Credit that goes back to the source.
    pub(in crate::engine) credit: usize,
}

impl FrameQueue {
    /// Appends a block; `charge` is the source's credit it holds.
    pub(in crate::engine) fn push(
        &mut self,
        connection: ConnectionId,
        block: FrameBlock,
        charge: usize,
        arrival: EventTime,
    ) {
        self.frames += block.spans.len();
        self.blocks.push_back(QueuedBlock { connection, block, next: 0, charge, arrival });
    }

    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Bytes of the frames that wait.
    pub(in crate::engine) fn bytes(&self) -> usize {
        let rest = |queued: &QueuedBlock| {
            queued.block.spans[queued.next..].iter().map(|span| (span.end - span.start) as usize).sum::<usize>()
        };
        self.blocks.iter().map(rest).sum()
    }

    /// When the first frame arrived.
    pub(in crate::engine) fn first_arrival(&self) -> Option<EventTime> {
        self.blocks.front().map(|queued| queued.arrival)
    }

    /// How many frames wait.
    pub(in crate::engine) fn len(&self) -> usize {
        self.frames
    }

    /// Takes frames from the front: at least one, at most `most_messages`, and no more than `most_bytes` unless one alone is larger.
    pub(in crate::engine) fn take(&mut self, most_messages: u32, most_bytes: usize) -> Option<TakenFrames> {
        let mut messages = 0_u32;
        let mut bytes = 0_usize;
        let mut connections: Vec<(ConnectionId, u32)> = Vec::new();
        let mut arrivals = Times::default();
        let mut position = Position::Unknown;
        for queued in &self.blocks {
            let mut taken = 0;
            let mut is_full = false;
            for span in &queued.block.spans[queued.next..] {
                let weight = (span.end - span.start) as usize + FRAME_OVERHEAD;
                is_full = messages > 0 && (messages >= most_messages || bytes + weight > most_bytes);
                if is_full {
                    break;
                }
                messages += 1;
                taken += 1;
                bytes += weight;
            }
            if taken > 0 {
                position.advance(&queued.block.position_after(queued.next + taken as usize - 1));
            }
            push_run(&mut connections, queued.connection, taken);
            arrivals.push(taken, queued.arrival);
            if is_full {
                break;
            }
        }
        if messages == 0 {
            return None;
        }
        let frames = self.blocks.iter().flat_map(|queued| {
            let data = &queued.block.data;
            queued.block.spans[queued.next..].iter().map(move |span| &data[span.start as usize..span.end as usize])
        });
        let input = input::frames(frames.take(messages as usize));
        let credit = self.advance(messages as usize);
        Some(TakenFrames { input, messages, connections, arrivals, position, credit })
    }

    /// Moves past `frames` frames. Returns the credit of the blocks that are empty then.
    fn advance(&mut self, mut frames: usize) -> usize {
        self.frames -= frames;
        let mut credit = 0;
        while let Some(front) = self.blocks.front_mut() {
            let taken = frames.min(front.block.spans.len() - front.next);
            front.next += taken;
            frames -= taken;
            if front.next < front.block.spans.len() {
                break;
            }
            credit += front.charge;
            self.blocks.pop_front();
        }
        credit
    }
}

fn push_run(runs: &mut Vec<(ConnectionId, u32)>, connection: ConnectionId, count: u32) {
    match runs.last_mut() {
        _ if count == 0 => {}
        Some((last, frames)) if *last == connection => *frames += count,
        _ => runs.push((connection, count)),
    }
}
