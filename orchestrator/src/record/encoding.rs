//! How a record is written: MessagePack, see `spec/log.md`. Groups are written as inputs of batches are.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wallaroo_protocol::{BatchId, EventTime, Group, ProtocolError, Skip, StageId, Timer, Timing, input};

use super::{Consumed, Journaled, LetterId, Lsn, Record, Routed};
use crate::dead_message::DeadMessage;
use crate::ids::{SinkId, SourceId};
use crate::position::Position;
use crate::sink_chunk::SinkChunk;

/// A record or a checkpoint that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is no MessagePack of the form that is laid down.
    #[error("not of the form of spec/log.md: {0}")]
    Form(#[from] rmp_serde::decode::Error),
    /// Groups in it cannot be read.
    #[error("its groups cannot be read: {0}")]
    Groups(#[from] ProtocolError),
}

/// Stages, and the watermark there.
type Targets = Vec<(StageId, Option<EventTime>)>;

#[derive(Serialize, Deserialize)]
struct RecordForm {
    lsn: Lsn,
    batch: BatchId,
    stage: StageId,
    at: EventTime,
    consumed: ConsumedForm,
    journaled: Option<JournaledForm>,
    routed: Vec<(Targets, Bytes)>,
    written: Vec<(SinkId, SinkChunk)>,
    letters: Vec<DeadMessage>,
    timing: TimingForm,
    unloadable: Vec<Bytes>,
    delivered: Vec<(SinkId, u64)>,
    kept: Option<LetterId>,
}

#[derive(Serialize, Deserialize)]
enum ConsumedForm {
    Frames(SourceId, Position),
    Groups(Bytes),
    Values(u32),
    Generated(SourceId, Bytes, bool),
}

/// See [`Journaled`]. The time is in nanoseconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct JournaledForm {
    messages: u32,
    skip: Vec<(u32, u32)>,
    times: Vec<(u32, EventTime)>,
    elapsed: u64,
}

#[derive(Serialize, Deserialize)]
struct TimingForm {
    time: Option<EventTime>,
    late: u32,
    timers: Vec<(Bytes, Option<EventTime>)>,
}

impl From<Journaled> for JournaledForm {
    fn from(journaled: Journaled) -> Self {
        let Journaled { messages, skip, times, elapsed } = journaled;
        let skip = skip.into_iter().map(|skip| (skip.origin, skip.value)).collect();
        Self { messages, skip, times, elapsed: elapsed.as_nanos().try_into().unwrap_or(u64::MAX) }
    }
}

impl From<JournaledForm> for Journaled {
    fn from(form: JournaledForm) -> Self {
        let skip = form.skip.into_iter().map(|(origin, value)| Skip { origin, value }).collect();
        Self { messages: form.messages, skip, times: form.times, elapsed: Duration::from_nanos(form.elapsed) }
    }
}

/// The groups of an input with nothing but what names them: values are in earlier records. Timers are kept whole.
fn without_values(groups: &Bytes) -> Bytes {
    let name = |group: Group| if group.is_timer() { group } else { Group::new(group.key(), group.count, 0, &[]) };
    let names: Vec<Group> = input::parse_groups(groups).unwrap_or_default().into_iter().map(name).collect();
    input::groups(&names)
}

impl Record {
    /// Appends the record as it is written to the log.
    pub fn encode(self, into: &mut Vec<u8>) {
        let consumed = match self.consumed {
            Consumed::Frames { source, position } => ConsumedForm::Frames(source, position),
            Consumed::Groups { input } => ConsumedForm::Groups(without_values(&input)),
            Consumed::Values { groups } => ConsumedForm::Values(groups),
            Consumed::Generated { source, input, ended } => ConsumedForm::Generated(source, input, ended),
        };
        let timers = self.timing.timers.into_iter().map(|timer| (timer.key, timer.deadline)).collect();
        let form = RecordForm {
            lsn: self.lsn,
            batch: self.batch,
            stage: self.stage,
            at: self.at,
            consumed,
            journaled: self.journaled.map(Into::into),
            routed: self.routed.into_iter().map(|routed| (routed.to, input::groups(&routed.groups))).collect(),
            written: self.written,
            letters: self.letters,
            timing: TimingForm { time: self.timing.time, late: self.timing.late, timers },
            unloadable: self.unloadable,
            delivered: self.delivered,
            kept: self.kept,
        };
        write(&form, into);
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let form: RecordForm = rmp_serde::from_slice(bytes)?;
        let consumed = match form.consumed {
            ConsumedForm::Frames(source, position) => Consumed::Frames { source, position },
            ConsumedForm::Groups(input) => Consumed::Groups { input },
            ConsumedForm::Values(groups) => Consumed::Values { groups },
            ConsumedForm::Generated(source, input, ended) => Consumed::Generated { source, input, ended },
        };
        let routed = |(to, groups): (Targets, Bytes)| Ok(Routed { to, groups: input::parse_groups(&groups)? });
        let timers = form.timing.timers.into_iter().map(|(key, deadline)| Timer { key, deadline }).collect();
        Ok(Self {
            lsn: form.lsn,
            batch: form.batch,
            stage: form.stage,
            at: form.at,
            consumed,
            journaled: form.journaled.map(Into::into),
            routed: form.routed.into_iter().map(routed).collect::<Result<_, ProtocolError>>()?,
            written: form.written,
            letters: form.letters,
            timing: Timing { time: form.timing.time, late: form.timing.late, timers },
            unloadable: form.unloadable,
            delivered: form.delivered,
            kept: form.kept,
        })
    }
}

/// Appends a value as MessagePack: structures are arrays.
pub(crate) fn write(value: &impl Serialize, into: &mut Vec<u8>) {
    let written = rmp_serde::encode::write(into, value);
    debug_assert!(written.is_ok(), "a Vec takes everything, and every field has a form: {written:?}");
}
