//! Messages from the orchestrator to a worker.

use bytes::Bytes;

use crate::{
    BatchId, EventTime, ForgottenState, NodeId, Outgoing, PROTOCOL_VERSION, ProtocolError, RequestId, StageId,
    StateEntry,
    reader::Reader,
    state::{read_entries, read_forgotten, write_entries, write_forgotten},
    writer::Writer,
};

const HELLO: u8 = 1;
const LOAD: u8 = 2;
const PLAN: u8 = 3;
const BATCH: u8 = 4;
const RESTORE: u8 = 5;
const SNAPSHOT: u8 = 6;
const STOP: u8 = 8;
const SNAPSHOT_KEYS: u8 = 9;
const FORGET: u8 = 10;
const TRY_RESTORE: u8 = 11;
const DO_NOT_SAVE: u8 = 12;
const DO_NOT_LOAD: u8 = 13;

/// Flag of a batch that runs only for its effect on state.
const DISCARD: u64 = 1;
/// Flag of a batch that runs message by message.
const CAREFUL: u64 = 2;
/// Fields of a batch.
const BATCH_FIELDS: usize = 6;

/// Elements of one message to skip in its flat array.
const SKIP_ELEMENTS: usize = 2;

/// Elements of one run in the flat array `times`.
const TIME_ELEMENTS: usize = 2;

/// Elements of a stage in `plan`.
const STAGE_ELEMENTS: usize = 5;

/// A message to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWorker {
    /// First message of the connection.
    Hello(OrchestratorHello),
    /// Import the application and describe its topology.
    Load(Load),
    /// The stages of the plan.
    Plan(Vec<StagePlan>),
    /// Run a stage.
    Batch(Batch),
    /// Install snapshots.
    Restore(Vec<StateEntry>),
    /// Serialize state that has changed.
    Snapshot {
        /// Repeated in the answer.
        request: RequestId,
        /// At most this many keys, those that have been dirty longest first.
        max_keys: u32,
    },
    /// Serialize the state of these keys, where it has changed.
    SnapshotKeys {
        /// Repeated in the answer.
        request: RequestId,
        /// The encoded keys.
        keys: Vec<Bytes>,
    },
    /// Drop states that are no longer this worker's.
    Forget(Vec<ForgottenState>),
    /// Test whether snapshots can be loaded, without keeping them.
    TryRestore {
        /// Repeated in the answer.
        request: RequestId,
        /// The snapshots.
        entries: Vec<StateEntry>,
    },
    /// Make no snapshots of these states, and report each as a failure when it is asked for: saving them has killed workers. Each is
    /// an encoded `[table, key]`, as workers note it in the marker.
    DoNotSave(Vec<Bytes>),
    /// Do not load these states, and let what needs them fail: loading them has killed workers. They are named in the same way.
    DoNotLoad(Vec<Bytes>),
    /// Finish what was sent before, then close.
    Stop,
}

/// The orchestrator's `hello`. Its protocol version is this crate's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrchestratorHello {
    /// Version of `wallaroo-orch`.
    pub version: String,
    /// Optional abilities; none are defined yet.
    pub capabilities: Vec<String>,
    /// The cap of this connection in bytes, both directions.
    pub max_body: u64,
}

/// Which application to import, and as which worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Path of a `.py` file, or a module name.
    pub application: String,
    /// The words after the application on the command line.
    pub args: Vec<String>,
    /// The seat in the pool.
    pub slot: u32,
    /// How many workers were started before this one.
    pub generation: u32,
}

/// One stage: the tree of nodes of one pool below `root`, cut at `outlets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagePlan {
    /// The stage.
    pub stage: StageId,
    /// What its batches carry.
    pub input: InputKind,
    /// The node at which the stage begins.
    pub root: NodeId,
    /// The nodes that emit.
    pub outlets: Vec<NodeId>,
    /// The pool whose workers run it; `None` for the main pool.
    pub pool: Option<String>,
}

/// What the batches of a stage carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InputKind {
    /// Frames for a source's decoder.
    Frames,
    /// The number of values wanted from a generator.
    Generate,
    /// Stream bytes that the decoder cuts into frames.
    Cut,
    /// Groups.
    Groups,
}

/// One batch for one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The batch.
    pub batch: BatchId,
    /// The stage to run.
    pub stage: StageId,
    /// Whether it runs only for its effect on state, and returns no outputs and no failures.
    pub discard: bool,
    /// Whether it runs message by message, and each is noted in the marker before it runs.
    pub careful: bool,
    /// Messages to leave out.
    pub skip: Vec<Skip>,
    /// Times of the messages as runs of (messages, time): the arrival of frames, or the watermark when groups were
    /// routed. Empty if no window needs them.
    pub times: Vec<(u32, EventTime)>,
    /// The encoded input; see [`input`](crate::input). It must be one MessagePack value; [`ToWorker::encode`] does not
    /// check.
    pub input: Bytes,
}

/// One message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    /// Index of the frame, or of the group.
    pub origin: u32,
    /// Index of the value in its group, or [`Skip::WHOLE`]; 0 for a frame.
    pub value: u32,
}

impl Skip {
    /// The `value` that means all values of the group.
    pub const WHOLE: u32 = u32::MAX;
}

impl InputKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Generate => "generate",
            Self::Cut => "cut",
            Self::Groups => "groups",
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        let word = reader.str("input")?;
        [Self::Frames, Self::Generate, Self::Cut, Self::Groups]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| ProtocolError::UnknownWord {
                message: "plan",
                field: "input",
                expected: "frames, generate, cut, groups",
                found: word.to_owned(),
            })
    }
}

impl ToWorker {
    /// Encodes the message. Only a batch has a tail: its input, which is not copied.
    pub fn encode(&self) -> Outgoing {
        match self {
            Self::Hello(hello) => hello.encode(),
            Self::Load(load) => load.encode(),
            Self::Plan(stages) => encode_plan(stages),
            Self::Batch(batch) => return batch.encode(),
            Self::Restore(entries) => {
                let mut writer = Writer::message(RESTORE, 1);
                write_entries(&mut writer, entries);
                writer.finish()
            }
            Self::Snapshot { request, max_keys } => {
                let mut writer = Writer::message(SNAPSHOT, 2);
                writer.uint(request.0);
                writer.uint((*max_keys).into());
                writer.finish()
            }
            Self::SnapshotKeys { request, keys } => {
                let mut writer = Writer::message(SNAPSHOT_KEYS, 2);
                writer.uint(request.0);
                write_keys(&mut writer, keys);
                writer.finish()
            }
            Self::Forget(states) => {
                let mut writer = Writer::message(FORGET, 1);
                write_forgotten(&mut writer, states);
                writer.finish()
            }
            Self::TryRestore { request, entries } => {
                let mut writer = Writer::message(TRY_RESTORE, 2);
                writer.uint(request.0);
                write_entries(&mut writer, entries);
                writer.finish()
            }
            Self::DoNotSave(keys) => {
                let mut writer = Writer::message(DO_NOT_SAVE, 1);
                write_keys(&mut writer, keys);
                writer.finish()
            }
            Self::DoNotLoad(keys) => {
                let mut writer = Writer::message(DO_NOT_LOAD, 1);
                write_keys(&mut writer, keys);
                writer.finish()
            }
            Self::Stop => Writer::message(STOP, 0).finish(),
        }
        .into()
    }

    /// Decodes the message in a body. Its payloads are slices of `body`.
    pub fn decode(body: Bytes) -> Result<Self, ProtocolError> {
        let (number, found, mut reader) = Reader::open(body)?;
        let message = match number {
            HELLO => Self::Hello(OrchestratorHello::read(&mut reader, found)?),
            LOAD => {
                reader.expect("load", 4, found)?;
                Self::Load(Load::read(&mut reader)?)
            }
            PLAN => {
                reader.expect("plan", 1, found)?;
                Self::Plan(read_plan(&mut reader)?)
            }
            BATCH => {
                reader.expect("batch", BATCH_FIELDS, found)?;
                Self::Batch(Batch::read(&mut reader)?)
            }
            RESTORE => {
                reader.expect("restore", 1, found)?;
                Self::Restore(read_entries(&mut reader)?)
            }
            SNAPSHOT => {
                reader.expect("snapshot", 2, found)?;
                Self::Snapshot { request: RequestId(reader.uint("request")?), max_keys: reader.uint32("max_keys")? }
            }
            SNAPSHOT_KEYS => {
                reader.expect("snapshot_keys", 2, found)?;
                let request = RequestId(reader.uint("request")?);
                Self::SnapshotKeys { request, keys: read_keys(&mut reader)? }
            }
            FORGET => {
                reader.expect("forget", 1, found)?;
                Self::Forget(read_forgotten(&mut reader)?)
            }
            TRY_RESTORE => {
                reader.expect("try_restore", 2, found)?;
                let request = RequestId(reader.uint("request")?);
                Self::TryRestore { request, entries: read_entries(&mut reader)? }
            }
            DO_NOT_SAVE => {
                reader.expect("do_not_save", 1, found)?;
                Self::DoNotSave(read_keys(&mut reader)?)
            }
            DO_NOT_LOAD => {
                reader.expect("do_not_load", 1, found)?;
                Self::DoNotLoad(read_keys(&mut reader)?)
            }
            STOP => {
                reader.expect("stop", 0, found)?;
                Self::Stop
            }
            number => return Err(ProtocolError::UnknownType { number }),
        };
        reader.finish()?;
        Ok(message)
    }
}

impl OrchestratorHello {
    fn read(reader: &mut Reader, found: usize) -> Result<Self, ProtocolError> {
        let version = reader.hello(4, found)?;
        Ok(Self { version, capabilities: reader.strings("capabilities")?, max_body: reader.uint("max_body")? })
    }

    fn encode(&self) -> Bytes {
        let mut writer = Writer::message(HELLO, 4);
        writer.uint(PROTOCOL_VERSION.into());
        writer.str(&self.version);
        writer.strs(&self.capabilities);
        writer.uint(self.max_body);
        writer.finish()
    }
}

impl Load {
    fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        Ok(Self {
            application: reader.string("application")?,
            args: reader.strings("args")?,
            slot: reader.uint32("slot")?,
            generation: reader.uint32("generation")?,
        })
    }

    fn encode(&self) -> Bytes {
        let mut writer = Writer::message(LOAD, 4);
        writer.str(&self.application);
        writer.strs(&self.args);
        writer.uint(self.slot.into());
        writer.uint(self.generation.into());
        writer.finish()
    }
}

impl Batch {
    fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        let batch = BatchId(reader.uint("batch")?);
        let stage = StageId(reader.uint32("stage")?);
        let flags = reader.uint("flags")?;
        if flags & !(DISCARD | CAREFUL) != 0 {
            return Err(ProtocolError::FieldType {
                message: "batch",
                field: "flags",
                expected: "a sum of 1 (DISCARD) and 2 (CAREFUL)",
                found: "bits without a meaning",
            });
        }
        let (discard, careful) = (flags & DISCARD != 0, flags & CAREFUL != 0);
        let count = reader.records(SKIP_ELEMENTS, "skip")?;
        let mut skip = Vec::new();
        for _ in 0..count {
            skip.push(Skip { origin: reader.uint32("origin")?, value: reader.uint32("value")? });
        }
        let count = reader.records(TIME_ELEMENTS, "times")?;
        let run = |_| Ok((reader.uint32("count")?, EventTime(reader.int("time")?)));
        let times = (0..count).map(run).collect::<Result<_, ProtocolError>>()?;
        Ok(Self { batch, stage, discard, careful, skip, times, input: reader.value(1, "input")? })
    }

    /// Encodes the batch as a body whose tail is its input.
    pub fn encode(&self) -> Outgoing {
        let mut writer = Writer::message(BATCH, BATCH_FIELDS);
        writer.uint(self.batch.0);
        writer.uint(self.stage.0.into());
        writer.uint(if self.discard { DISCARD } else { 0 } | if self.careful { CAREFUL } else { 0 });
        writer.array(self.skip.len() * SKIP_ELEMENTS);
        for skip in &self.skip {
            writer.uint(skip.origin.into());
            writer.uint(skip.value.into());
        }
        writer.array(self.times.len() * TIME_ELEMENTS);
        for (count, time) in &self.times {
            writer.uint((*count).into());
            writer.int(time.0);
        }
        Outgoing { head: writer.finish(), tail: self.input.clone() }
    }
}

fn read_keys(reader: &mut Reader) -> Result<Vec<Bytes>, ProtocolError> {
    let count = reader.array("keys")?;
    (0..count).map(|_| reader.key("key")).collect()
}

fn write_keys(writer: &mut Writer, keys: &[Bytes]) {
    writer.array(keys.len());
    for key in keys {
        writer.raw(key);
    }
}

fn read_plan(reader: &mut Reader) -> Result<Vec<StagePlan>, ProtocolError> {
    let count = reader.array("stages")?;
    let mut stages = Vec::new();
    for _ in 0..count {
        reader.record("stage", STAGE_ELEMENTS)?;
        let stage = StageId(reader.uint32("stage")?);
        let input = InputKind::read(reader)?;
        let root = NodeId(reader.uint32("root")?);
        let outlets = reader.array("outlets")?;
        let outlets = (0..outlets).map(|_| reader.uint32("outlet").map(NodeId)).collect::<Result<_, _>>()?;
        let pool = if reader.skip_nil() { None } else { Some(reader.string("pool")?) };
        stages.push(StagePlan { stage, input, root, outlets, pool });
    }
    Ok(stages)
}

fn encode_plan(stages: &[StagePlan]) -> Bytes {
    let mut writer = Writer::message(PLAN, 1);
    writer.array(stages.len());
    for stage in stages {
        writer.array(STAGE_ELEMENTS);
        writer.uint(stage.stage.0.into());
        writer.str(stage.input.as_str());
        writer.uint(stage.root.0.into());
        writer.array(stage.outlets.len());
        for outlet in &stage.outlets {
            writer.uint(outlet.0.into());
        }
        match &stage.pool {
            Some(pool) => writer.str(pool),
            None => writer.nil(),
        }
    }
    writer.finish()
}
