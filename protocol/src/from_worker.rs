//! Messages from a worker to the orchestrator.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    BatchId, BatchResult, Measurement, Outgoing, PROTOCOL_VERSION, ProtocolError, RequestId, SnapshotPart,
    reader::Reader, writer::Writer,
};

const HELLO: u8 = 33;
const REFUSED: u8 = 34;
const TOPOLOGY: u8 = 35;
const READY: u8 = 36;
const RESULT: u8 = 37;
const CUT_RESULT: u8 = 38;
const SNAPSHOT_PART: u8 = 39;
const TRIED: u8 = 40;
const MEASURED: u8 = 41;

/// A message from a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum FromWorker {
    /// First message of the connection.
    Hello(WorkerHello),
    /// The worker cannot load the application or the plan, and exits.
    Refused(Refused),
    /// The application's topology, still encoded, so that workers can be compared byte for byte;
    /// see [`topology::decode`](crate::topology::decode).
    Topology(Bytes),
    /// The plan is understood; batches may come.
    Ready,
    /// The answer to a batch of frames, groups or generated values.
    Result(BatchResult),
    /// The positions of the frames in a batch of stream bytes.
    CutResult(CutResult),
    /// State that was requested.
    SnapshotPart(SnapshotPart),
    /// Whether snapshots could be loaded.
    Tried {
        /// The request answered.
        request: RequestId,
        /// One line: the first snapshot that could not be loaded, and the exception.
        problem: Option<String>,
    },
    /// What metrics of the application have measured since the last such message.
    Measured(Vec<Measurement>),
}

/// The worker's `hello`. It is decoded only if its protocol version is this crate's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerHello {
    /// Version of the SDK.
    pub version: String,
    /// Optional abilities; none are defined yet.
    pub capabilities: Vec<String>,
    /// `cpython`, `pypy`.
    pub implementation: String,
    /// The Python version it implements.
    pub python: String,
    /// `sys.executable`.
    pub executable: String,
    /// Process id of the worker, as it sees itself.
    pub pid: u32,
    /// The highest pickle protocol it can read and write.
    pub pickle_protocol: u32,
}

/// Why a worker gives up before it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What the worker refuses.
    pub kind: RefusedKind,
    /// One line: what was wrong and where.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The user's traceback.
    pub traceback: Option<String>,
}

/// What a worker refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedKind {
    /// The orchestrator's version, or its plan.
    Protocol,
    /// The application cannot be imported, or has no `application_setup`.
    Import,
    /// `application_setup` raised.
    Setup,
    /// What `application_setup` returned cannot run.
    Topology,
}

/// The frames found in the bytes of a `cut` batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutResult {
    /// The batch answered.
    pub batch: BatchId,
    /// The time the worker spent on the batch.
    pub elapsed: Duration,
    /// Start and end of each frame in the batch's bytes, header excluded: ascending, disjoint, within `consumed`.
    pub frames: Vec<(u32, u32)>,
    /// Bytes that need not be sent again.
    pub consumed: u32,
    /// Bytes, counted from `consumed`, that the next frame needs.
    pub need: u32,
    /// The header after `consumed` cannot be read; the connection it came from is to be closed.
    pub error: Option<CutError>,
}

/// What a decoder raised when it read a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutError {
    /// Qualified type of the exception.
    pub exception: String,
    /// The exception's text.
    pub message: String,
    /// The user's traceback.
    pub traceback: String,
}

impl FromWorker {
    /// Decodes the message in a body. Its groups and states are slices of `body`.
    pub fn decode(body: Bytes) -> Result<Self, ProtocolError> {
        let (number, found, mut reader) = Reader::open(body)?;
        let message = match number {
            HELLO => Self::Hello(WorkerHello::read(&mut reader, found)?),
            REFUSED => {
                reader.expect("refused", 4, found)?;
                Self::Refused(Refused::read(&mut reader)?)
            }
            TOPOLOGY => {
                reader.expect("topology", 1, found)?;
                reader.expect_map("topology")?;
                Self::Topology(reader.value(1, "topology")?)
            }
            READY => {
                reader.expect("ready", 0, found)?;
                Self::Ready
            }
            RESULT => {
                reader.expect("result", 8, found)?;
                Self::Result(BatchResult::read(&mut reader)?)
            }
            CUT_RESULT => {
                reader.expect("cut_result", 6, found)?;
                Self::CutResult(CutResult::read(&mut reader)?)
            }
            SNAPSHOT_PART => {
                reader.expect("snapshot_part", 5, found)?;
                Self::SnapshotPart(SnapshotPart::read(&mut reader)?)
            }
            TRIED => {
                reader.expect("tried", 2, found)?;
                let request = RequestId(reader.uint("request")?);
                Self::Tried { request, problem: reader.optional_string("problem")? }
            }
            MEASURED => {
                reader.expect("measured", 1, found)?;
                Self::Measured(Measurement::read_all(&mut reader)?)
            }
            number => return Err(ProtocolError::UnknownType { number }),
        };
        reader.finish()?;
        Ok(message)
    }

    /// Encodes the message as a worker would, for tests and the simulator. Messages for sinks are written as bin.
    pub fn encode(&self) -> Outgoing {
        let mut writer;
        match self {
            Self::Hello(hello) => {
                writer = Writer::message(HELLO, 8);
                hello.write(&mut writer);
            }
            Self::Refused(refused) => {
                writer = Writer::message(REFUSED, 4);
                refused.write(&mut writer);
            }
            Self::Topology(topology) => {
                writer = Writer::message(TOPOLOGY, 1);
                writer.raw(topology);
            }
            Self::Ready => writer = Writer::message(READY, 0),
            Self::Result(result) => {
                writer = Writer::message(RESULT, 8);
                result.write(&mut writer);
            }
            Self::CutResult(result) => {
                writer = Writer::message(CUT_RESULT, 6);
                result.write(&mut writer);
            }
            Self::SnapshotPart(part) => {
                writer = Writer::message(SNAPSHOT_PART, 5);
                part.write(&mut writer);
            }
            Self::Tried { request, problem } => {
                writer = Writer::message(TRIED, 2);
                writer.uint(request.0);
                writer.optional_str(problem.as_deref());
            }
            Self::Measured(measurements) => {
                writer = Writer::message(MEASURED, 1);
                Measurement::write_all(measurements, &mut writer);
            }
        }
        writer.finish().into()
    }
}

impl WorkerHello {
    fn read(reader: &mut Reader, found: usize) -> Result<Self, ProtocolError> {
        let version = reader.hello(8, found)?;
        Ok(Self {
            version,
            capabilities: reader.strings("capabilities")?,
            implementation: reader.string("implementation")?,
            python: reader.string("python")?,
            executable: reader.string("executable")?,
            pid: reader.uint32("pid")?,
            pickle_protocol: reader.uint32("pickle_protocol")?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.uint(PROTOCOL_VERSION.into());
        writer.str(&self.version);
        writer.strs(&self.capabilities);
        writer.str(&self.implementation);
        writer.str(&self.python);
        writer.str(&self.executable);
        writer.uint(self.pid.into());
        writer.uint(self.pickle_protocol.into());
    }
}

impl Refused {
    fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        Ok(Self {
            kind: RefusedKind::read(reader)?,
            message: reader.string("message")?,
            hint: reader.optional_string("hint")?,
            traceback: reader.optional_string("traceback")?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.str(self.kind.as_str());
        writer.str(&self.message);
        writer.optional_str(self.hint.as_deref());
        writer.optional_str(self.traceback.as_deref());
    }
}

impl RefusedKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Import => "import",
            Self::Setup => "setup",
            Self::Topology => "topology",
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        let word = reader.str("kind")?;
        [Self::Protocol, Self::Import, Self::Setup, Self::Topology]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| ProtocolError::UnknownWord {
                message: "refused",
                field: "kind",
                expected: "protocol, import, setup, topology",
                found: word.to_owned(),
            })
    }
}

impl CutResult {
    fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        let batch = BatchId(reader.uint("batch")?);
        let elapsed = Duration::from_nanos(reader.uint("elapsed")?);
        let count = reader.records(2, "frames")?;
        let mut frames = Vec::with_capacity(count);
        for _ in 0..count {
            frames.push((reader.uint32("start")?, reader.uint32("end")?));
        }
        let consumed = reader.uint32("consumed")?;
        check_spans(&frames, consumed)?;
        let need = reader.uint32("need")?;
        let error = if reader.skip_nil() { None } else { Some(CutError::read(reader)?) };
        Ok(Self { batch, elapsed, frames, consumed, need, error })
    }

    fn write(&self, writer: &mut Writer) {
        writer.uint(self.batch.0);
        writer.nanoseconds(self.elapsed);
        writer.array(self.frames.len() * 2);
        for (start, end) in &self.frames {
            writer.uint((*start).into());
            writer.uint((*end).into());
        }
        writer.uint(self.consumed.into());
        writer.uint(self.need.into());
        match &self.error {
            Some(error) => {
                writer.array(3);
                for text in [&error.exception, &error.message, &error.traceback] {
                    writer.str(text);
                }
            }
            None => writer.nil(),
        }
    }
}

impl CutError {
    fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        reader.record("error", 3)?;
        Ok(Self {
            exception: reader.string("exception")?,
            message: reader.string("message")?,
            traceback: reader.string("traceback")?,
        })
    }
}

/// Checks the offsets by which the orchestrator slices a connection's bytes. They must not overlap, run backwards or
/// reach past `consumed`.
fn check_spans(frames: &[(u32, u32)], consumed: u32) -> Result<(), ProtocolError> {
    let mut least = 0;
    for (index, &(start, end)) in frames.iter().enumerate() {
        if start < least || end < start || end > consumed {
            return Err(ProtocolError::FrameSpan { index, start, end, consumed });
        }
        least = end;
    }
    Ok(())
}
