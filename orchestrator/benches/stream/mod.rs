//! A stream through the engine and the codec, without sockets, workers or clocks: a source's frames become groups by key, the
//! groups a sink's messages. Each message is a frame, a value of a group and a message for the sink.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use wallaroo_orch::engine::{Action, Engine, EngineConfig, Event};
use wallaroo_orch::frame::{FrameBlock, Place, Span};
use wallaroo_orch::ids::{ConnectionId, Generation};
use wallaroo_orch::ids::{SinkId, SlotId, SourceId};
use wallaroo_orch::plan::Plan;
use wallaroo_protocol::topology::{Framing, Node, NodeKind, SinkConfig, SourceConfig, Topology, UnknownKey};
use wallaroo_protocol::{
    Batch, BatchId, BatchResult, FromWorker, Group, Messages, NodeId, Output, OutputData, SnapshotPart, ToWorker, key,
};

/// Messages in one round, which is one batch of each stage.
pub(crate) const MESSAGES: u32 = 1000;
const FRAME: &[u8] = b"a line of text, 32 bytes long...";
const SINK_MESSAGE: &[u8] = b"word => 1000\n";
const KEY_BY: NodeId = NodeId(1);
const SINK: NodeId = NodeId(3);
/// Where a reply has the number of its batch, if it is written in eight bytes: behind the headers of the array and of the number, and
/// the type of the message.
const NUMBER: std::ops::Range<usize> = 3..11;

/// The engine with its slots, and what their workers answer.
pub(crate) struct Stream {
    engine: Engine,
    keys: usize,
    block: FrameBlock,
    /// Replies, with any number for the batch's, by stage and messages.
    replies: HashMap<(u32, u32), Bytes>,
    /// How many values each group has that was handed to the engine and has not come back.
    counts: VecDeque<u32>,
    actions: Vec<Action>,
}

impl Stream {
    /// A stream whose values have `keys` keys, run by `slots` workers, with the first rounds behind it.
    pub(crate) fn new(keys: usize, slots: u32) -> Self {
        let plan = Plan::new(topology()).expect("the plan of a sound topology");
        let config = EngineConfig { slots, batch_messages: MESSAGES, ..EngineConfig::default() };
        let mut stream = Self {
            engine: Engine::new(Arc::new(plan), config),
            keys,
            block: block(),
            replies: HashMap::new(),
            counts: VecDeque::new(),
            actions: Vec::new(),
        };
        for slot in (0..slots).map(SlotId::main) {
            stream.handle(Event::WorkerSeated { slot, generation: Generation(slot.number) });
        }
        // The first batch of a stage has one message, for nothing is known of what it takes.
        for _ in 0..5 {
            stream.round();
        }
        stream
    }

    /// Takes [`MESSAGES`] through, from frames to what the sink has written.
    pub(crate) fn round(&mut self) {
        let block = self.block.clone();
        self.handle(Event::Frames { source: SourceId(0), connection: ConnectionId(1), block });
    }

    /// Gives an event to the engine, and all that follows from it, in turns as the runtime does.
    fn handle(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while !events.is_empty() {
            let mut actions = std::mem::take(&mut self.actions);
            for event in std::mem::take(&mut events) {
                self.engine.handle(event, Duration::ZERO, &mut actions);
            }
            self.engine.end_turn(Duration::ZERO, &mut actions);
            for action in actions.drain(..) {
                match action {
                    Action::Send { slot, generation, message } => {
                        events.extend(self.answer(slot, generation, &message));
                    }
                    Action::Write { chunk, .. } => {
                        events.push_back(Event::SinkWritten { sink: SinkId(0), bytes: chunk.bytes.len() });
                    }
                    Action::Credit { .. } | Action::Allow { .. } | Action::Recovered { .. } => {}
                    other => panic!("a quiet stream asks for no {other:?}"),
                }
            }
            self.actions = actions;
        }
    }

    /// Sends a message through the codec as the pool does, and what the worker says to it back through.
    fn answer(&mut self, slot: SlotId, generation: Generation, message: &ToWorker) -> Option<Event> {
        std::hint::black_box(message.encode());
        let body = match message {
            ToWorker::Batch(batch) => self.reply(batch),
            ToWorker::Snapshot { request, .. } => {
                let (request, entries, failures) = (*request, Vec::new(), Vec::new());
                let part = SnapshotPart { request, more: false, entries, failures, oldest_dirty: None };
                FromWorker::SnapshotPart(part).encode().into_body()
            }
            _ => return None,
        };
        match FromWorker::decode(body).expect("a sound reply") {
            FromWorker::Result(result) => Some(Event::Result { slot, generation, result }),
            FromWorker::SnapshotPart(part) => Some(Event::Snapshot { slot, generation, part }),
            other => panic!("no worker says {other:?}"),
        }
    }

    fn reply(&mut self, batch: &Batch) -> Bytes {
        let elements = array_length(&batch.input);
        let (messages, groups) = match batch.stage.0 {
            0 => (elements, self.keys.min(elements as usize) as u32),
            _ => (self.counts.drain(..elements as usize / 4).sum(), 0),
        };
        if let Some(count) = messages.checked_div(groups) {
            self.counts.extend((0..groups).map(|_| count));
        }
        let reply = self.replies.entry((batch.stage.0, messages)).or_insert_with(|| encode_reply(messages, groups));
        let mut body = BytesMut::from(&reply[..]);
        body[NUMBER].copy_from_slice(&batch.batch.0.to_be_bytes());
        body.freeze()
    }
}

/// A result's body: `groups` groups of the first stage, or else the sink's messages.
fn encode_reply(messages: u32, groups: u32) -> Bytes {
    let output = if let Some(count) = messages.checked_div(groups) {
        let values = vec![0xa5; 6 * count as usize];
        let group = |number| Group::new(&key_number(number), count, 1, &values);
        Output { outlet: KEY_BY, data: OutputData::Groups((0..groups).map(group).collect()) }
    } else {
        let messages: Messages = (0..messages).map(|_| SINK_MESSAGE).collect();
        Output { outlet: SINK, data: OutputData::Messages(messages) }
    };
    let result = BatchResult {
        batch: BatchId(u64::MAX),
        more: false,
        elapsed: Duration::from_nanos(1),
        outputs: vec![output],
        failures: Vec::new(),
        ended: None,
        timing: None,
        slow: None,
    };
    FromWorker::Result(result).encode().into_body()
}

fn key_number(number: u32) -> Bytes {
    let mut text = String::new();
    let _ = write!(text, "S{number:05}");
    key::from_str(&text)
}

/// The length that a `MessagePack` array's header gives.
fn array_length(input: &[u8]) -> u32 {
    match *input {
        [marker @ 0x90..=0x9f, ..] => u32::from(marker & 0x0f),
        [0xdc, high, low, ..] => u32::from(u16::from_be_bytes([high, low])),
        [0xdd, a, b, c, d, ..] => u32::from_be_bytes([a, b, c, d]),
        _ => panic!("an input is an array"),
    }
}

fn block() -> FrameBlock {
    let mut data = BytesMut::new();
    let mut spans = Vec::new();
    for _ in 0..MESSAGES {
        data.put_u32(FRAME.len() as u32);
        let start = data.len() as u32;
        data.put_slice(FRAME);
        spans.push(Span { start, end: data.len() as u32 });
    }
    FrameBlock { data: data.freeze(), spans, place: Place::Unknown }
}

fn topology() -> Topology {
    let node = |name: &str, inputs: &[NodeId], kind| Node { name: name.to_owned(), inputs: inputs.to_vec(), kind };
    let source = NodeKind::Source {
        pipeline: "stream".to_owned(),
        source: SourceConfig::Stdin {},
        decoder: Some("Decoder".to_owned()),
        framing: Some(Framing::Delimiter { delimiter: Bytes::from_static(b"\n") }),
        event_time: false,
    };
    let state = NodeKind::State { table: "table".to_owned(), table_type: "State".to_owned() };
    let sink = NodeKind::Sink { sink: SinkConfig::Stdout {}, encoder: "Encoder".to_owned() };
    let nodes = vec![
        node("source", &[], source),
        node("key", &[NodeId(0)], NodeKind::KeyBy { keys: None, unknown_key: UnknownKey::Create }),
        node("state", &[KEY_BY], state),
        node("sink", &[NodeId(2)], sink),
    ];
    Topology { name: "bench".to_owned(), nodes, stop_at: Vec::new() }
}
