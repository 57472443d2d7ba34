//! Results of batches: what a stage's outlets emitted, and which messages failed.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::{
    BatchId, EventTime, Group, NodeId, ProtocolError, Timer, Timing, group::GROUP_ELEMENTS, group::read_groups,
    reader::Reader, writer::Writer,
};

/// Elements of one output in the flat array `outlet, kind, data, …`.
const OUTPUT_ELEMENTS: usize = 3;

/// The smallest output: three elements of one byte.
const LEAST_OUTPUT_BYTES: usize = 3;

/// Elements of one failure.
const FAILURE_ELEMENTS: usize = 9;

/// The smallest failure: its array's header, eight elements of one byte and an empty bin.
const LEAST_FAILURE_BYTES: usize = 11;

/// Elements of a `timing`.
const TIMING_ELEMENTS: usize = 3;

/// Elements of one timer in the flat array `key, deadline, …`.
const TIMER_ELEMENTS: usize = 2;

/// The answer, or one part of it, to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchResult {
    /// The batch answered.
    pub batch: BatchId,
    /// Whether another part of this answer follows.
    pub more: bool,
    /// The time the worker spent on the batch. Valid in the last part.
    pub elapsed: Duration,
    /// What the stage's outlets emitted, in order.
    pub outputs: Vec<Output>,
    /// The messages that failed, in order.
    pub failures: Vec<Failure>,
    /// Values that the generator made for this batch, if it has ended.
    pub ended: Option<u64>,
    /// Event times, if the stage is clocked.
    pub timing: Option<Timing>,
    /// Index of the group at which the worker stood still for long, if it did. Valid in the last part.
    pub slow: Option<u32>,
}

/// What one outlet emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The outlet: a `key_by`, a `collect` or a sink.
    pub outlet: NodeId,
    /// What it emitted.
    pub data: OutputData,
}

/// What an outlet emits, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputData {
    /// From a `key_by` or `collect`.
    Groups(Vec<Group>),
    /// From a sink.
    Messages(Messages),
}

/// Encoded messages for a sink, one after another in `bytes`, with the lengths in `lengths`.
///
/// This is the only payload that is copied out of its frame, so sinks can write it in one piece and it keeps no frame
/// in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Messages {
    /// The messages, one after another.
    pub bytes: Bytes,
    /// Length in bytes of each message.
    pub lengths: Vec<u32>,
}

/// A message that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step that failed.
    pub node: NodeId,
    /// Index of the frame in the batch, or of the group.
    pub origin: u32,
    /// The encoded key of the value, if it had one.
    pub key: Option<Bytes>,
    /// Qualified type of the exception.
    pub exception: String,
    /// The exception's text.
    pub message: String,
    /// The user's traceback.
    pub traceback: String,
    /// `repr` of the value the step was given, cut short.
    pub value: String,
    /// The value the step was given, encoded as one value list of one element; empty when it is the frame itself.
    pub payload: Bytes,
    /// The encoding of `payload`; 0 when it is empty.
    pub codec: u32,
}

impl BatchResult {
    pub(crate) fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        Ok(Self {
            batch: BatchId(reader.uint("batch")?),
            more: reader.bool("more")?,
            elapsed: Duration::from_nanos(reader.uint("elapsed")?),
            outputs: read_outputs(reader)?,
            failures: read_failures(reader)?,
            ended: reader.false_or_uint("ended")?,
            timing: if reader.skip_nil() { None } else { Some(Timing::read(reader)?) },
            slow: if reader.skip_nil() { None } else { Some(reader.uint32("slow")?) },
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.uint(self.batch.0);
        writer.bool(self.more);
        writer.nanoseconds(self.elapsed);
        writer.array(self.outputs.len() * OUTPUT_ELEMENTS);
        for output in &self.outputs {
            output.write(writer);
        }
        writer.array(self.failures.len());
        for failure in &self.failures {
            failure.write(writer);
        }
        match self.ended {
            Some(values) => writer.uint(values),
            None => writer.bool(false),
        }
        match &self.timing {
            Some(timing) => timing.write(writer),
            None => writer.nil(),
        }
        match self.slow {
            Some(group) => writer.uint(group.into()),
            None => writer.nil(),
        }
    }
}

impl Timing {
    fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        reader.record("timing", TIMING_ELEMENTS)?;
        let time = reader.optional_int("time")?.map(EventTime);
        let late = reader.uint32("late")?;
        let count = reader.records(TIMER_ELEMENTS, "timers")?;
        let timer =
            |_| Ok(Timer { key: reader.key("key")?, deadline: reader.optional_int("deadline")?.map(EventTime) });
        let timers = (0..count).map(timer).collect::<Result<_, ProtocolError>>()?;
        Ok(Self { time, late, timers })
    }

    fn write(&self, writer: &mut Writer) {
        writer.array(TIMING_ELEMENTS);
        writer.optional_int(self.time.map(|time| time.0));
        writer.uint(self.late.into());
        writer.array(self.timers.len() * TIMER_ELEMENTS);
        for Timer { key, deadline } in &self.timers {
            writer.raw(key);
            writer.optional_int(deadline.map(|deadline| deadline.0));
        }
    }
}

impl Output {
    fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        let outlet = NodeId(reader.uint32("outlet")?);
        let data = match reader.uint("kind")? {
            0 => OutputData::Groups(read_groups(reader, "data")?),
            1 => OutputData::Messages(Messages::read(reader)?),
            _ => {
                return Err(ProtocolError::FieldType {
                    message: "result",
                    field: "kind",
                    expected: "0 (groups) or 1 (messages)",
                    found: "another number",
                });
            }
        };
        Ok(Self { outlet, data })
    }

    fn write(&self, writer: &mut Writer) {
        writer.uint(self.outlet.0.into());
        match &self.data {
            OutputData::Groups(groups) => {
                writer.uint(0);
                writer.array(groups.len() * GROUP_ELEMENTS);
                for group in groups {
                    writer.raw(&group.raw);
                }
            }
            OutputData::Messages(messages) => {
                writer.uint(1);
                writer.array(messages.lengths.len());
                for message in messages.iter() {
                    writer.bin(message);
                }
            }
        }
    }
}

impl Messages {
    /// The messages one by one.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.lengths.iter().scan(0, |start, length| {
            let end = *start + *length as usize;
            self.bytes.get(std::mem::replace(start, end)..end)
        })
    }

    /// Reserves room for the rest of the body, which is enough. That is cheaper than a first pass to measure the
    /// messages.
    fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        let count = reader.array("data")?;
        let mut lengths = Vec::with_capacity(count);
        let mut bytes = BytesMut::with_capacity(reader.remaining());
        for _ in 0..count {
            let message = reader.payload("data")?;
            lengths.push(message.len() as u32);
            bytes.put_slice(message);
        }
        // Unused capacity is released if it is more than half.
        let mostly_empty = bytes.len() < bytes.capacity() / 2;
        let bytes = if mostly_empty { Bytes::copy_from_slice(&bytes) } else { bytes.freeze() };
        Ok(Self { bytes, lengths })
    }
}

impl<M: AsRef<[u8]>> FromIterator<M> for Messages {
    fn from_iter<I: IntoIterator<Item = M>>(messages: I) -> Self {
        let mut bytes = BytesMut::new();
        let lengths = messages
            .into_iter()
            .map(|message| {
                bytes.put_slice(message.as_ref());
                message.as_ref().len() as u32
            })
            .collect();
        Self { bytes: bytes.freeze(), lengths }
    }
}

impl Failure {
    fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        reader.record("failure", FAILURE_ELEMENTS)?;
        Ok(Self {
            node: NodeId(reader.uint32("node")?),
            origin: reader.uint32("origin")?,
            key: if reader.skip_nil() { None } else { Some(reader.key("key")?) },
            exception: reader.string("exception")?,
            message: reader.string("message")?,
            traceback: reader.string("traceback")?,
            value: reader.string("value")?,
            payload: reader.bin("payload")?,
            codec: reader.uint32("codec")?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.array(FAILURE_ELEMENTS);
        writer.uint(self.node.0.into());
        writer.uint(self.origin.into());
        match &self.key {
            Some(key) => writer.raw(key),
            None => writer.nil(),
        }
        for text in [&self.exception, &self.message, &self.traceback, &self.value] {
            writer.str(text);
        }
        writer.bin(&self.payload);
        writer.uint(self.codec.into());
    }
}

fn read_outputs(reader: &mut Reader) -> Result<Vec<Output>, ProtocolError> {
    let count = reader.records(OUTPUT_ELEMENTS, "outputs")?;
    let mut outputs = Vec::with_capacity(count.min(reader.remaining() / LEAST_OUTPUT_BYTES));
    for _ in 0..count {
        outputs.push(Output::read(reader)?);
    }
    Ok(outputs)
}

fn read_failures(reader: &mut Reader) -> Result<Vec<Failure>, ProtocolError> {
    let count = reader.array("failures")?;
    let mut failures = Vec::with_capacity(count.min(reader.remaining() / LEAST_FAILURE_BYTES));
    for _ in 0..count {
        failures.push(Failure::read(reader)?);
    }
    Ok(failures)
}
