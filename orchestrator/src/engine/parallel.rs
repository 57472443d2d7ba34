//! A stage that may run on every worker at once: its queue of frames, and the resequencer that puts its results back in order.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use wallaroo_protocol::{EventTime, Failure, Output, Timing, input};

use super::batch::Work;
use super::times::Times;
use crate::frame::{FRAME_OVERHEAD, FrameBlock};
use crate::ids::ConnectionId;

/// Frames of one source that wait for a worker.
#[derive(Debug, Default)]
pub(super) struct FrameQueue {
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
    arrived: EventTime,
}

/// Frames taken from the queue for one batch.
#[derive(Debug)]
pub(super) struct TakenFrames {
    pub(super) input: Bytes,
    pub(super) messages: u32,
    /// Which connection the frames came on, as runs.
    pub(super) connections: Vec<(ConnectionId, u32)>,
    /// When they arrived.
    pub(super) arrivals: Times,
    /// Credit that goes back to the source.
    pub(super) released: usize,
}

impl FrameQueue {
    /// Appends a block; `charge` is the source's credit it holds.
    pub(super) fn push(&mut self, connection: ConnectionId, block: FrameBlock, charge: usize, arrived: EventTime) {
        self.frames += block.spans.len();
        self.blocks.push_back(QueuedBlock { connection, block, next: 0, charge, arrived });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Bytes of the frames that wait.
    pub(super) fn bytes(&self) -> usize {
        let rest = |queued: &QueuedBlock| {
            queued.block.spans[queued.next..].iter().map(|span| (span.end - span.start) as usize).sum::<usize>()
        };
        self.blocks.iter().map(rest).sum()
    }

    /// When the first of them arrived.
    pub(super) fn first_arrival(&self) -> Option<EventTime> {
        self.blocks.front().map(|queued| queued.arrived)
    }

    /// Frames that wait.
    pub(super) fn len(&self) -> usize {
        self.frames
    }

    /// Takes frames from the front: at least one, at most `most_messages`, and no more than `most_bytes` unless one alone is larger.
    pub(super) fn take(&mut self, most_messages: u32, most_bytes: usize) -> Option<TakenFrames> {
        let mut messages = 0_u32;
        let mut bytes = 0_usize;
        let mut connections: Vec<(ConnectionId, u32)> = Vec::new();
        let mut arrivals = Times::default();
        'count: for queued in &self.blocks {
            let mut taken = 0;
            for span in &queued.block.spans[queued.next..] {
                let weight = (span.end - span.start) as usize + FRAME_OVERHEAD;
                if messages > 0 && (messages >= most_messages || bytes + weight > most_bytes) {
                    push_run(&mut connections, queued.connection, taken);
                    arrivals.push(taken, queued.arrived);
                    break 'count;
                }
                messages += 1;
                taken += 1;
                bytes += weight;
            }
            push_run(&mut connections, queued.connection, taken);
            arrivals.push(taken, queued.arrived);
        }
        if messages == 0 {
            return None;
        }
        let frames = self.blocks.iter().flat_map(|queued| {
            let data = &queued.block.data;
            queued.block.spans[queued.next..].iter().map(move |span| &data[span.start as usize..span.end as usize])
        });
        let input = input::frames(frames.take(messages as usize));
        let released = self.advance(messages as usize);
        Some(TakenFrames { input, messages, connections, arrivals, released })
    }

    /// Moves past `frames` frames and returns the credit of the blocks that are done with.
    fn advance(&mut self, mut frames: usize) -> usize {
        self.frames -= frames;
        let mut released = 0;
        while let Some(front) = self.blocks.front_mut() {
            let taken = frames.min(front.block.spans.len() - front.next);
            front.next += taken;
            frames -= taken;
            if front.next < front.block.spans.len() {
                break;
            }
            released += front.charge;
            self.blocks.pop_front();
        }
        released
    }
}

fn push_run(runs: &mut Vec<(ConnectionId, u32)>, connection: ConnectionId, count: u32) {
    match runs.last_mut() {
        _ if count == 0 => {}
        Some((last, frames)) if *last == connection => *frames += count,
        _ => runs.push((connection, count)),
    }
}

/// What a finished batch of a parallel stage gave, held until its turn.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) work: Work,
    pub(super) outputs: Vec<Output>,
    pub(super) failures: Vec<Failure>,
    pub(super) timing: Timing,
}

/// Releases the results of batches in the order the batches were formed.
#[derive(Debug, Default)]
pub(super) struct Resequencer {
    issued: u64,
    released: u64,
    held: BTreeMap<u64, (usize, Finished)>,
    held_bytes: usize,
}

impl Resequencer {
    /// The sequence number for a batch being formed.
    pub(super) fn issue(&mut self) -> u64 {
        self.issued += 1;
        self.issued - 1
    }

    /// Takes the result of batch `sequence`, which weighs `bytes`.
    pub(super) fn hold(&mut self, sequence: u64, bytes: usize, finished: Finished) {
        debug_assert!(sequence >= self.released && sequence < self.issued, "a batch is answered once");
        self.held_bytes += bytes;
        self.held.insert(sequence, (bytes, finished));
    }

    /// The next result in order, if it is here.
    pub(super) fn release(&mut self) -> Option<Finished> {
        let (bytes, finished) = self.held.remove(&self.released)?;
        self.released += 1;
        self.held_bytes -= bytes;
        Some(finished)
    }

    /// Bytes of results that wait for an earlier one.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether every batch issued has been released.
    pub(super) fn is_idle(&self) -> bool {
        self.issued == self.released
    }
}
