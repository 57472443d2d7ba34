//! How a checkpoint is written: MessagePack, see `spec/log.md`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wallaroo_protocol::{BatchId, EventTime, Group, StageId, input};

use super::{Checkpoint, JournalEntry, Queued, SinkMark, SourceMark, StageMark};
use crate::dead_message::DeadMessage;
use crate::position::Position;
use crate::record::encoding::{JournaledForm, write};
use crate::record::{LetterId, Lsn, RecordError};
use crate::sink_chunk::SinkChunk;

#[derive(Serialize, Deserialize)]
struct Form {
    topology: String,
    lsn: Lsn,
    next_batch: BatchId,
    at: EventTime,
    sources: Vec<(Position, EventTime, bool)>,
    stages: Vec<StageForm>,
    journal: Vec<(StageId, Bytes, JournaledForm)>,
    sinks: Vec<(u64, Vec<SinkChunk>)>,
    unloadable: Vec<Bytes>,
    letters: Vec<(LetterId, DeadMessage)>,
}

/// The groups that wait are written as inputs of batches are, and their times beside them.
#[derive(Serialize, Deserialize)]
struct StageForm {
    watermark: EventTime,
    late: u64,
    groups: Bytes,
    times: Vec<Option<EventTime>>,
    timers: Vec<(Bytes, EventTime)>,
}

impl Checkpoint {
    /// Appends the checkpoint as it is stored.
    pub fn encode(self, into: &mut Vec<u8>) {
        let stage = |stage: StageMark| {
            let (groups, times): (Vec<Group>, Vec<_>) =
                stage.queue.into_iter().map(|queued| (queued.group, queued.time)).unzip();
            let groups = input::groups(&groups);
            StageForm { watermark: stage.watermark, late: stage.late, groups, times, timers: stage.timers }
        };
        let entry = |entry: JournalEntry| {
            let (stage, input, batch) = entry.into_parts();
            (stage, input, batch.into())
        };
        let form = Form {
            topology: self.topology,
            lsn: self.lsn,
            next_batch: self.next_batch,
            at: self.at,
            sources: self.sources.into_iter().map(|source| (source.position, source.reached, source.ended)).collect(),
            stages: self.stages.into_iter().map(stage).collect(),
            journal: self.journal.into_iter().map(entry).collect(),
            sinks: self.sinks.into_iter().map(|sink| (sink.delivered, sink.chunks)).collect(),
            unloadable: self.unloadable,
            letters: self.letters,
        };
        write(&form, into);
    }

    /// Reads a checkpoint.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let form: Form = rmp_serde::from_slice(bytes)?;
        let source = |(position, reached, ended)| SourceMark { position, reached, ended };
        let stage = |stage: StageForm| {
            let groups = input::parse_groups(&stage.groups)?.into_iter();
            let queue = groups.zip(stage.times).map(|(group, time)| Queued { group, time }).collect();
            Ok(StageMark { watermark: stage.watermark, late: stage.late, queue, timers: stage.timers })
        };
        let entry = |(stage, input, batch): (_, _, JournaledForm)| JournalEntry { stage, input, batch: batch.into() };
        Ok(Self {
            topology: form.topology,
            lsn: form.lsn,
            next_batch: form.next_batch,
            at: form.at,
            sources: form.sources.into_iter().map(source).collect(),
            stages: form.stages.into_iter().map(stage).collect::<Result<_, RecordError>>()?,
            journal: form.journal.into_iter().map(entry).collect(),
            sinks: form.sinks.into_iter().map(|(delivered, chunks)| SinkMark { delivered, chunks }).collect(),
            unloadable: form.unloadable,
            letters: form.letters,
        })
    }
}
