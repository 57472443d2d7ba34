use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use wallaroo_protocol::topology::{Framing, Node, NodeKind, SinkConfig, SourceConfig, Topology};
use wallaroo_protocol::{BatchId, BatchResult, NodeId, ToWorker};

use super::*;
use crate::engine::{EngineConfig, Event};
use crate::frame::{FrameBlock, Place, Span};
use crate::ids::{ConnectionId, Generation, SourceId};
use crate::plan::Plan;

const NOTHING: [u8; 0] = [];

/// An engine of one slot whose worker has taken 10 µs for a message: little is less than 50 of them.
struct Busy {
    engine: Engine,
    /// Batches sent and not answered.
    sent: Vec<BatchId>,
}

impl Busy {
    fn new() -> Self {
        let source = NodeKind::Source {
            pipeline: "pipeline".to_owned(),
            source: SourceConfig::Stdin {},
            decoder: Some("Decode".to_owned()),
            framing: Some(Framing::Delimiter { delimiter: Bytes::from_static(b"\n") }),
            event_time: false,
        };
        let sink = NodeKind::Sink { sink: SinkConfig::Stdout {}, encoder: "Encode".to_owned() };
        let node = |name: &str, inputs: &[NodeId], kind| Node { name: name.to_owned(), inputs: inputs.to_vec(), kind };
        let nodes = vec![node("source", &[], source), node("sink", &[NodeId(0)], sink)];
        let plan =
            Plan::new(Topology { name: "busy".to_owned(), nodes, stop_at: Vec::new() }).expect("a sound topology");
        let mut busy = Self { engine: Engine::new(Arc::new(plan), EngineConfig::default()), sent: Vec::new() };
        busy.handle(Event::WorkerSeated { slot: SlotId::main(0), generation: Generation(0) });
        assert_eq!(busy.frames(1), [1]);
        assert_eq!(busy.answer(Duration::from_micros(10)), NOTHING);
        busy
    }

    /// Messages of each batch that is sent because of so many frames.
    fn frames(&mut self, count: u32) -> Vec<u8> {
        let data = BytesMut::zeroed(count as usize).freeze();
        let spans = (0..count).map(|start| Span { start, end: start + 1 }).collect();
        let block = FrameBlock { data, spans, place: Place::Unknown };
        self.handle(Event::Frames { source: SourceId(0), connection: ConnectionId(1), block })
    }

    /// The same because the first batch is answered.
    fn answer(&mut self, elapsed: Duration) -> Vec<u8> {
        let batch = self.sent.remove(0);
        let (outputs, failures) = (Vec::new(), Vec::new());
        let result =
            BatchResult { batch, more: false, elapsed, outputs, failures, ended: None, timing: None, slow: None };
        self.handle(Event::Result { slot: SlotId::main(0), generation: Generation(0), result })
    }

    fn handle(&mut self, event: Event) -> Vec<u8> {
        let mut actions = Vec::new();
        self.engine.handle(event, Duration::ZERO, &mut actions);
        self.engine.end_turn(Duration::ZERO, &mut actions);
        let batches = actions.into_iter().filter_map(|action| match action {
            Action::Send { message: ToWorker::Batch(batch), .. } => Some(batch),
            _ => None,
        });
        batches
            .map(|batch| {
                self.sent.push(batch.batch);
                // The header of an array of less than 16, or of less than 65,536.
                if batch.input[0] == 0xdc { batch.input[2] } else { batch.input[0] & 0x0f }
            })
            .collect()
    }
}

#[test]
fn little_is_not_sent_after_little() {
    let mut busy = Busy::new();
    assert_eq!(busy.frames(3), [3]);
    assert_eq!(busy.frames(2), NOTHING);
    assert_eq!(busy.answer(Duration::from_micros(30)), [2], "what has gathered goes when the worker is free");
}

#[test]
fn much_is_sent_after_little() {
    let mut busy = Busy::new();
    assert_eq!(busy.frames(3), [3]);
    assert_eq!(busy.frames(30), NOTHING);
    assert_eq!(busy.frames(30), [60]);
}

#[test]
fn little_is_sent_after_much() {
    let mut busy = Busy::new();
    assert_eq!(busy.frames(60), [60]);
    assert_eq!(busy.frames(1), [1], "it would else wait for the worker and then the worker for it");
}
