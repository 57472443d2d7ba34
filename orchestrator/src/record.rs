//! What the log is made of: one record for each batch whose outputs are released.
//!
//! A record says what a batch has consumed and what came of it. All that lives at one moment is in a
//! [`Checkpoint`](crate::checkpoint::Checkpoint); a checkpoint and the records after it give what lives later.

pub(crate) mod encoding;

use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{BatchId, EventTime, Group, Skip, StageId, Timing, id};

use crate::dead_message::DeadMessage;
use crate::ids::{SinkId, SourceId};
use crate::position::Position;
use crate::sink_chunk::SinkChunk;

pub use self::encoding::RecordError;

id!(
    /// The number of a record: from 1 on, without gaps.
    #[derive(Default)]
    Lsn(u64)
);

/// A batch that was answered, in the order in which answers are released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log.
    pub lsn: Lsn,
    /// The batch.
    pub batch: BatchId,
    /// Its stage.
    pub stage: StageId,
    /// The wall clock when it was released.
    pub at: EventTime,
    /// What it was made of.
    pub consumed: Consumed,
    /// What a replay of it needs, if it may have changed state.
    pub journaled: Option<Journaled>,
    /// Groups for other stages, by outlet.
    pub routed: Vec<Routed>,
    /// Messages for sinks.
    pub written: Vec<(SinkId, SinkChunk)>,
    /// Messages that could not be processed.
    pub letters: Vec<DeadMessage>,
    /// What the answer says of time.
    pub timing: Timing,
    /// States, as encoded `[table, key]`, that are found to be fatal to load since the last record: what needs them fails.
    pub unloadable: Vec<Bytes>,
    /// Bytes that sinks have delivered since the log began, where that has changed since the last record.
    pub delivered: Vec<(SinkId, u64)>,
    /// The last dead letter that was kept, if that has changed since the last record.
    pub kept: Option<LetterId>,
}

/// What a batch was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consumed {
    /// Frames of a source.
    Frames {
        /// The source.
        source: SourceId,
        /// Where it goes on behind them.
        position: Position,
    },
    /// The first groups of their keys that wait for the stage, as an `input` of groups. Their values need not be in it: they are in
    /// earlier records. Timers are.
    Groups {
        /// The groups.
        input: Bytes,
    },
    /// So many groups that wait for the stage, whatever their keys.
    Values {
        /// How many.
        groups: u32,
    },
    /// Values of a generator.
    Generated {
        /// The source.
        source: SourceId,
        /// The `input` that asked for them.
        input: Bytes,
        /// It has no more.
        ended: bool,
    },
}

/// What a replay of a batch needs beyond its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journaled {
    /// How many messages it has.
    pub messages: u32,
    /// Messages that were made dead letters.
    pub skip: Vec<Skip>,
    /// Event times of its groups, as runs.
    pub times: Vec<(u32, EventTime)>,
    /// Time that a worker took for it.
    pub elapsed: Duration,
}

/// Groups that an outlet gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    /// The stages that get them, and the watermark there, if they have windows.
    pub to: Vec<(StageId, Option<EventTime>)>,
    /// The groups.
    pub groups: Vec<Group>,
}

/// A dead letter: the record it came of, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct LetterId {
    /// The record.
    pub lsn: Lsn,
    /// Its place among the letters of the record.
    pub index: u32,
}

impl std::fmt::Display for LetterId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.lsn, self.index)
    }
}

impl std::str::FromStr for LetterId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (lsn, index) = text.split_once('.').unwrap_or((text, "0"));
        Ok(Self { lsn: Lsn(lsn.parse()?), index: index.parse()? })
    }
}

impl Record {
    /// About the bytes it takes.
    pub fn weight(&self) -> usize {
        /// What is always there.
        const FRAME: usize = 128;
        let routed = |routed: &Routed| routed.groups.iter().map(Group::len).sum::<usize>();
        let consumed = if let Consumed::Groups { input } = &self.consumed { input.len() } else { 0 };
        FRAME
            + consumed
            + self.routed.iter().map(routed).sum::<usize>()
            + self.written.iter().map(|(_, chunk)| chunk.bytes.len()).sum::<usize>()
            + self.letters.iter().map(DeadMessage::weight).sum::<usize>()
    }
}
