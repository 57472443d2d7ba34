//! The topology: the SDK's description of an application. `wallaroo-orch graph` prints it as JSON, too.

mod error;
mod map;
mod window;
mod wire;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::error::TopologyError;
pub use self::window::{OnLate, Window};
use crate::{NodeId, ProtocolError, key::Key, reader::Reader};

/// The greatest width of the integer in a frame's header, in bytes.
const MAX_LENGTH_WIDTH: u32 = 8;

/// An application's nodes, each after the nodes it takes input from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// The application's name.
    pub name: String,
    /// The nodes; a node's id is its index.
    #[serde(deserialize_with = "map::nodes")]
    pub nodes: Vec<Node>,
    /// Steps where a message that fails ends the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_at: Vec<NodeId>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "wire::Node", into = "wire::Node")]
pub struct Node {
    /// The step's name, as metrics, logs and dead letters show it.
    pub name: String,
    /// The nodes whose output it takes; each comes before it.
    pub inputs: Vec<NodeId>,
    /// What it does.
    pub kind: NodeKind,
}

/// What a node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// Brings messages in.
    Source {
        /// The pipeline it belongs to.
        pipeline: String,
        /// Where they come from.
        source: SourceConfig,
        /// Name of the decoder.
        decoder: Option<String>,
        /// How a stream is cut into frames; a generator has none.
        framing: Option<Framing>,
        /// Whether messages carry their own event time; otherwise it is their arrival time.
        event_time: bool,
    },
    /// A stateless step.
    Computation {
        /// The pool whose workers run it; `None` for the main pool.
        pool: Option<String>,
        /// How full its batches are to be, if it waits for fuller ones.
        fill: Option<Fill>,
    },
    /// Gives every value a key.
    KeyBy {
        /// The listed keys, if there is a list: a key's index is its partition.
        keys: Option<Vec<Key>>,
        /// What happens to a value whose key is not listed.
        unknown_key: UnknownKey,
    },
    /// Gives every value the same key, nil.
    Collect,
    /// A step with keyed state.
    State {
        /// The state table it uses.
        table: String,
        /// The state class or builder.
        table_type: String,
    },
    /// Aggregates values of a key, with one output per window.
    Window {
        /// The state table that holds the open windows.
        table: String,
        /// The aggregation.
        table_type: String,
        /// Which values belong together.
        window: Window,
    },
    /// Takes messages out.
    Sink {
        /// Where they go.
        sink: SinkConfig,
        /// Name of the encoder.
        encoder: String,
    },
}

/// Where a source's messages come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceConfig {
    /// Listens for connections.
    Tcp {
        /// Name or address to listen on.
        host: String,
        /// Port to listen on; 0 picks one.
        port: u16,
        /// Clients name their streams and are told which messages are durable.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        acknowledged: bool,
    },
    /// Reads a file.
    File {
        /// Its path, as the application gave it.
        path: String,
        /// It grows, and is rotated: reading goes on. Absent on the wire: no.
        #[serde(default, skip_serializing_if = "is_false")]
        follow: bool,
    },
    /// Reads the orchestrator's standard input.
    Stdin {},
    /// Asks the application for values.
    Generator {},
    /// A class of the application reads it, in a process of its own.
    Connector {
        /// The class.
        class: String,
        /// The pool whose interpreter runs it. Absent on the wire: the main pool.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<String>,
    },
}

/// Where a sink's messages go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SinkConfig {
    /// Connects to a consumer.
    Tcp {
        /// Name or address to connect to.
        host: String,
        /// Port to connect to.
        port: u16,
    },
    /// Writes a file.
    File {
        /// Its path, as the application gave it.
        path: String,
        /// What is there stays. Absent on the wire: no.
        #[serde(default, skip_serializing_if = "is_false")]
        append: bool,
    },
    /// Writes to the orchestrator's standard output.
    Stdout {},
    /// A class of the application writes it, in a process of its own.
    Connector {
        /// The class.
        class: String,
        /// The pool whose interpreter runs it. Absent on the wire: the main pool.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<String>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// For how much the batches of a step wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// A batch with so many messages does not wait any longer. At least 1.
    pub messages: u32,
    /// How long the first of its messages waits at most, in nanoseconds.
    pub wait: u64,
}

/// What happens to a value whose key is not in the list of a `key_by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownKey {
    /// It becomes a dead letter.
    Reject,
    /// It is placed by its hash.
    Create,
}

/// How a stream is cut into frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Framing {
    /// A header holds the payload's length as an integer.
    Length {
        /// Bytes of the header.
        header: u32,
        /// Bytes of the integer, 1 to 8.
        width: u32,
        /// Where in the header the integer begins.
        offset: u32,
        /// The integer's byte order.
        order: ByteOrder,
        /// Whether the integer is in two's complement.
        signed: bool,
        /// What to add to the integer to get the payload's length.
        adjust: i64,
    },
    /// A delimiter ends every frame.
    Delimiter {
        /// The delimiter; not empty.
        #[serde(with = "wire::binary")]
        delimiter: Bytes,
    },
    /// Only the decoder can find the frames: a worker cuts them.
    Decoder {
        /// Bytes of the header.
        header: u32,
    },
}

/// The order of an integer's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByteOrder {
    /// Most significant first.
    Big,
    /// Least significant first.
    Little,
}

/// Decodes the map of a `topology` message. Checks what the orchestrator relies on about how nodes fit together.
pub fn decode(map: &[u8]) -> Result<Topology, ProtocolError> {
    let mut reader = Reader::new(Bytes::copy_from_slice(map), "topology");
    reader.expect_map("topology")?;
    reader.value(1, "topology")?;
    reader.finish()?;
    let topology: map::Map<Topology> = rmp_serde::from_slice(map).map_err(TopologyError::Malformed)?;
    topology.0.check()?;
    Ok(topology.0)
}

impl Topology {
    /// Encodes the topology as the map of a `topology` message, for tests and the simulator.
    pub fn encode(&self) -> Bytes {
        rmp_serde::to_vec_named(self).expect("a topology has a MessagePack form").into()
    }

    /// The node with this id, which must be one of this topology.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    fn check(&self) -> Result<(), TopologyError> {
        self.nodes.iter().zip(0..).try_for_each(|(node, id)| node.check(NodeId(id), &self.nodes))
    }
}

impl Node {
    /// The word for the node's kind on the wire.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            NodeKind::Source { .. } => "source",
            NodeKind::Computation { .. } => "computation",
            NodeKind::KeyBy { .. } => "key_by",
            NodeKind::Collect => "collect",
            NodeKind::State { .. } => "state",
            NodeKind::Window { .. } => "window",
            NodeKind::Sink { .. } => "sink",
        }
    }

    fn check(&self, id: NodeId, nodes: &[Node]) -> Result<(), TopologyError> {
        let name = || self.name.clone();
        let is_source = matches!(self.kind, NodeKind::Source { .. });
        if is_source != self.inputs.is_empty() {
            let (kind, found) = (self.kind_name(), self.inputs.len());
            return Err(TopologyError::InputCount { node: id, name: name(), kind, found });
        }
        for &input in &self.inputs {
            if input >= id {
                return Err(TopologyError::InputOrder { node: id, name: name(), input });
            }
            if matches!(nodes[input.index()].kind, NodeKind::Sink { .. }) {
                return Err(TopologyError::InputFromSink { node: id, name: name(), input });
            }
        }
        if let NodeKind::Source { source, framing, .. } = &self.kind {
            let generator = matches!(source, SourceConfig::Generator {});
            let follows = matches!(source, SourceConfig::File { follow: true, .. });
            let cuttable = framing.as_ref().map_or(generator, |framing| !generator && framing.is_usable());
            // The files of a followed one are read in order, which only holds for frames that are cut as they are read.
            let cuttable = cuttable && !(follows && matches!(framing, Some(Framing::Decoder { .. })));
            if !cuttable {
                return Err(TopologyError::Framing { node: id, name: name() });
            }
        }
        Ok(())
    }
}

impl Framing {
    fn is_usable(&self) -> bool {
        match self {
            Self::Length { header, width, offset, .. } => {
                (1..=MAX_LENGTH_WIDTH).contains(width) && offset.checked_add(*width).is_some_and(|end| end <= *header)
            }
            Self::Delimiter { delimiter } => !delimiter.is_empty(),
            Self::Decoder { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests;
