//! What a source has under way, and how much of it the engine allows.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use wallaroo_orch::engine::EngineConfig;
use wallaroo_orch::frame::{FrameBlock, Place, Span};
use wallaroo_orch::position::{FilePosition, Mark, Position, StreamName};

use super::World;
use super::misfortune::MOST_SLOTS;
use crate::random::mix;
use crate::worker::encode_values;

/// Bytes that a source is allowed before the engine knows anything.
const FIRST: usize = 4 << 10;

/// The credit of one source.
#[derive(Debug, Default)]
pub(super) struct Intake {
    taken: usize,
    limit: usize,
    /// The most that a message of a block was charged.
    heaviest: usize,
    /// Messages in batches, and when they were sent.
    begun: VecDeque<(Duration, usize)>,
}

impl Intake {
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Whether something of this weight may be delivered, see `SourceBudget::acquire`.
    pub(super) fn admits(&self, weight: usize) -> bool {
        self.taken == 0 || self.taken + weight <= self.limit
    }

    /// Takes credit for a block of so many messages; for bytes of an uncut stream, as if they were one.
    pub(super) fn pay(&mut self, weight: usize, messages: usize) {
        assert!(self.admits(weight), "nobody sends without credit");
        self.taken += weight;
        self.heaviest = self.heaviest.max(weight.div_ceil(messages));
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        assert!(bytes <= self.taken, "{bytes} bytes of credit come back, {} were taken", self.taken);
        self.taken -= bytes;
    }

    /// Notes that messages have left the queue.
    pub(super) fn begin(&mut self, messages: usize, now: Duration) {
        self.begun.push_back((now, messages));
    }

    /// Takes in an allowance. It is at most what has left within the queue time, or what keeps the workers busy.
    pub(super) fn allow(&mut self, bytes: usize, busy: usize, config: &EngineConfig, now: Duration) {
        let begin = now.saturating_sub(config.queue_time);
        while self.begun.front().is_some_and(|(at, _)| *at < begin) {
            self.begun.pop_front();
        }
        let lately: usize = self.begun.iter().map(|(_, messages)| messages).sum();
        let bound = (lately.max(busy) * self.heaviest).max(FIRST).min(config.queue_bytes);
        assert!(bytes <= bound, "{bytes} bytes are allowed, {bound} at most should be");
        self.limit = bytes;
    }
}

impl World {
    /// Messages with which all workers of a pool may be busy.
    pub(super) fn busy_messages(&self) -> usize {
        let config = &self.scenario.config;
        let slots = config.slots.max(MOST_SLOTS) as usize;
        config.window * slots * config.batch_messages as usize
    }

    /// The next frames of a client.
    pub(super) fn block(&self, lane: usize, count: usize) -> FrameBlock {
        let mut data = BytesMut::new();
        let mut spans = Vec::new();
        let before = self.sent[lane] as u64;
        let is_marked = self.is_marked(lane);
        for (frame, number) in self.scenario.lanes[lane].frames[self.sent[lane]..][..count].iter().zip(before + 1..) {
            data.put_u32(0);
            let start = data.len() as u32;
            let mark = if is_marked { mark_of(number) } else { Bytes::new() };
            if is_marked {
                data.put_u32(mark.len() as u32);
            }
            data.extend_from_slice(&encode_values(frame));
            data.extend_from_slice(&mark);
            spans.push(Span { start, end: data.len() as u32 });
        }
        let stream = stream_of(lane);
        let place = match self.scenario.lanes[lane].is_acknowledged {
            true if is_marked => Place::Partition { partition: stream, before },
            true => Place::Stream { stream, before },
            false => Place::File { before: FilePosition::default().after(self.position(lane)), after: 0 },
        };
        let mut block = FrameBlock { data: data.freeze(), spans, place };
        if is_marked {
            block.split_marks().expect("every frame has its mark");
        }
        block
    }

    /// Whether a lane is a partition that a connector reads, and not a client. All lanes of a scenario are of one kind.
    fn is_marked(&self, lane: usize) -> bool {
        self.scenario.lanes[lane].is_acknowledged && self.scenario.lanes.len() % 2 == 1
    }

    /// Bytes of the stream of a client that are behind what it has sent.
    fn position(&self, lane: usize) -> u64 {
        self.scenario.lanes[lane].frames[..self.sent[lane]].iter().map(|frame| framed_bytes(frame)).sum()
    }

    /// Has a client go on behind what its source has released.
    pub(super) fn go_on(&mut self, lane: usize, position: &Position) {
        let known = &self.scenario.lanes[lane];
        self.closed[lane] = false;
        if known.is_acknowledged {
            let reached = position.clone().into_marks().find(|(stream, _)| *stream == stream_of(lane));
            let Mark { messages, mark } = reached.map_or_else(Mark::default, |(_, mark)| mark);
            let expected = if self.is_marked(lane) && messages > 0 { mark_of(messages) } else { Bytes::new() };
            assert_eq!(mark, expected, "a mark is that of the last message");
            self.sent[lane] = messages as usize;
            let acknowledged = self.acknowledged[lane];
            assert!(self.sent[lane] >= acknowledged, "{acknowledged} messages were acknowledged and are forgotten");
            // It is told when it connects.
            self.acknowledged[lane] = self.sent[lane];
        } else {
            let bytes = position.bytes().unwrap_or(0);
            self.sent[lane] = bytes as usize;
            if known.is_uncut {
                return;
            }
            let mut end = 0;
            let is_behind = |frame: &&Vec<u64>| {
                end += framed_bytes(frame);
                end <= bytes
            };
            self.sent[lane] = known.frames.iter().take_while(is_behind).count();
            assert_eq!(self.position(lane), bytes, "a position is between two frames");
        }
        // These come again.
        let again: BTreeSet<u64> =
            self.scenario.lanes[lane].frames[self.sent[lane]..].iter().flatten().copied().collect();
        self.order.retain(|value| !again.contains(value));
    }

    /// Tells a client what is durable.
    pub(super) fn acknowledge(&mut self, stream: &StreamName, messages: u64) {
        let lane = (0..self.acknowledged.len()).find(|lane| stream_of(*lane) == *stream).expect("a client's stream");
        let (before, sent) = (self.acknowledged[lane] as u64, self.sent[lane] as u64);
        assert!(before < messages && messages <= sent, "{messages} are acknowledged after {before}, {sent} are sent");
        self.acknowledged[lane] = messages as usize;
    }

    /// Fails unless all that clients have sent is acknowledged.
    pub(super) fn check_acknowledged(&self) {
        for (lane, known) in self.scenario.lanes.iter().enumerate() {
            let (acknowledged, sent) = (self.acknowledged[lane], self.sent[lane]);
            assert!(
                !known.is_acknowledged || acknowledged == sent,
                "{acknowledged} of {sent} messages are acknowledged"
            );
        }
    }

    /// Bytes of an uncut stream that are read next, whatever credit there is.
    pub(super) fn next_chunk(&self, lane: usize) -> usize {
        let at = self.sent[lane];
        (1 + mix(at as u64 ^ (lane as u64) << 32) as usize % 200).min(self.to_send(lane) - at)
    }

    /// Whether a client may send something.
    pub(super) fn admits(&self, lane: usize, source: usize) -> bool {
        let weight =
            if self.scenario.lanes[lane].is_uncut { self.next_chunk(lane) } else { self.block(lane, 1).weight() };
        self.intake[source].admits(weight)
    }
}

/// What a connector says of its message of this number. Marks have several lengths.
fn mark_of(number: u64) -> Bytes {
    Bytes::from(number.to_string())
}

fn stream_of(lane: usize) -> StreamName {
    format!("client {lane}").into()
}

fn framed_bytes(frame: &[u64]) -> u64 {
    4 + encode_values(frame).len() as u64
}
