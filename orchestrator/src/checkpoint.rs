//! All that lives at one place of the log, but the states of keys, which are kept in a store of their own.

mod encoding;
mod replay;

use std::collections::BTreeMap;

use bytes::Bytes;
use wallaroo_protocol::{BatchId, EventTime, Group, StageId};

use crate::dead_message::DeadMessage;
use crate::plan::Shape;
use crate::position::Position;
use crate::record::{Journaled, LetterId, Lsn};
use crate::sink_chunk::SinkChunk;

pub use self::replay::{Inconsistent, Replay};

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The steps that it is of, as [`Plan::shape`](crate::plan::Plan::shape) has them.
    pub topology: String,
    /// The last record that is in it.
    pub lsn: Lsn,
    /// The number of the next batch.
    pub next_batch: BatchId,
    /// The wall clock when it was made.
    pub at: EventTime,
    /// By source.
    pub sources: Vec<SourceMark>,
    /// By stage.
    pub stages: Vec<StageMark>,
    /// Batches that the stored states lack, in an order that keeps each key's.
    pub journal: Vec<JournalEntry>,
    /// By sink.
    pub sinks: Vec<SinkMark>,
    /// States that are fatal to load.
    pub unloadable: Vec<Bytes>,
    /// Dead letters that are not kept.
    pub letters: Vec<(LetterId, DeadMessage)>,
}

/// How far a source has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceMark {
    /// Where it goes on.
    pub position: Position,
    /// The greatest event time.
    pub reached: EventTime,
    /// It is a generator that has no more values.
    pub ended: bool,
}

/// What waits for a stage, and what it knows of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageMark {
    /// The watermark, or the last one before the end.
    pub watermark: EventTime,
    /// Values that came too late.
    pub late: u64,
    /// Groups that no released batch has consumed, in an order that keeps each key's.
    pub queue: Vec<Queued>,
    /// By key, in their order.
    pub timers: Vec<(Bytes, EventTime)>,
}

/// A group that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The group.
    pub group: Group,
    /// Its outputs are no older; where windows need that.
    pub time: Option<EventTime>,
}

/// A batch to be run again for what it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its stage.
    pub stage: StageId,
    /// Its input.
    pub input: Bytes,
    /// The rest.
    pub batch: Journaled,
}

/// How far a sink has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkMark {
    /// Bytes delivered since the log began; a message that is delivered in part does not count.
    pub delivered: u64,
    /// What is not delivered.
    pub chunks: Vec<SinkChunk>,
}

impl Checkpoint {
    /// Where a log begins: nothing has happened.
    pub fn beginning(topology: String) -> Self {
        let shape = Shape::parse(&topology);
        let (sources, sinks) = (shape.sources().count(), shape.sinks().count());
        Self {
            topology,
            lsn: Lsn(0),
            next_batch: BatchId(1),
            at: EventTime::BEGINNING,
            sources: vec![SourceMark::beginning(); sources],
            stages: vec![StageMark::beginning(); shape.stages.len()],
            journal: Vec::new(),
            sinks: vec![SinkMark::default(); sinks],
            unloadable: Vec::new(),
            letters: Vec::new(),
        }
    }
}

impl Checkpoint {
    /// Whether all that was accepted is finished: another set of steps can go on with the states.
    pub fn is_settled(&self) -> bool {
        self.left() == 0
    }

    /// How much is left to be finished: groups, batches, writes and letters together.
    pub fn left(&self) -> usize {
        let groups: usize = self.stages.iter().map(|stage| stage.queue.len()).sum();
        let writes: usize = self.sinks.iter().map(|sink| sink.chunks.len()).sum();
        groups + self.journal.len() + writes + self.letters.len()
    }
}

impl SourceMark {
    /// Nothing has been read.
    pub fn beginning() -> Self {
        Self { position: Position::Unknown, reached: EventTime::BEGINNING, ended: false }
    }
}

impl StageMark {
    /// Nothing waits, and nothing is known of time.
    pub fn beginning() -> Self {
        Self { watermark: EventTime::BEGINNING, late: 0, queue: Vec::new(), timers: Vec::new() }
    }

    /// What a stage knows that goes on where this one and another ended, for which nothing waits.
    #[must_use]
    pub fn beside(self, other: &Self) -> Self {
        let mut timers: BTreeMap<Bytes, EventTime> = self.timers.into_iter().collect();
        for (key, deadline) in &other.timers {
            timers.entry(key.clone()).and_modify(|known| *known = *deadline.min(known)).or_insert(*deadline);
        }
        Self {
            watermark: self.watermark.min(other.watermark),
            late: self.late + other.late,
            queue: Vec::new(),
            timers: timers.into_iter().collect(),
        }
    }
}

impl SinkMark {
    /// Drops the messages that are delivered once `delivered` bytes are.
    pub(crate) fn deliver(&mut self, delivered: u64) {
        let mut whole = 0;
        for chunk in &mut self.chunks {
            let messages = chunk.lengths.iter().take_while(|length| {
                let next = self.delivered + u64::from(**length);
                let is_delivered = next <= delivered;
                if is_delivered {
                    self.delivered = next;
                }
                is_delivered
            });
            let messages = messages.count();
            let bytes: usize = chunk.lengths.drain(..messages).map(|length| length as usize).sum();
            chunk.bytes = chunk.bytes.slice(bytes..);
            if !chunk.lengths.is_empty() {
                break;
            }
            whole += 1;
        }
        self.chunks.drain(..whole);
    }
}
