//! A node in the form of the specification: one flat map whose keys depend on `kind`. It is separate from
//! [`Node`](super::Node), because serde cannot flatten and refuse unknown keys at the same time.

use serde::{Deserialize, Serialize};

use super::{Fill, Framing, NodeKind, SinkConfig, SourceConfig, UnknownKey, Window, map};
use crate::{NodeId, key::Key};

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Node {
    Source {
        name: String,
        inputs: Vec<NodeId>,
        pipeline: String,
        #[serde(deserialize_with = "map::required")]
        source: SourceConfig,
        #[serde(deserialize_with = "Option::deserialize")]
        decoder: Option<String>,
        #[serde(deserialize_with = "map::optional")]
        framing: Option<Framing>,
        event_time: bool,
    },
    Computation {
        name: String,
        inputs: Vec<NodeId>,
        #[serde(deserialize_with = "Option::deserialize")]
        pool: Option<String>,
        #[serde(deserialize_with = "map::optional")]
        fill: Option<Fill>,
    },
    KeyBy {
        name: String,
        inputs: Vec<NodeId>,
        #[serde(deserialize_with = "Option::deserialize")]
        keys: Option<Vec<Key>>,
        unknown_key: UnknownKey,
    },
    Collect {
        name: String,
        inputs: Vec<NodeId>,
    },
    State {
        name: String,
        inputs: Vec<NodeId>,
        table: String,
        table_type: String,
    },
    Window {
        name: String,
        inputs: Vec<NodeId>,
        table: String,
        table_type: String,
        #[serde(deserialize_with = "map::required")]
        window: Window,
    },
    Sink {
        name: String,
        inputs: Vec<NodeId>,
        #[serde(deserialize_with = "map::required")]
        sink: SinkConfig,
        encoder: String,
    },
}

impl From<Node> for super::Node {
    fn from(node: Node) -> Self {
        let (name, inputs, kind) = match node {
            Node::Source { name, inputs, pipeline, source, decoder, framing, event_time } => {
                (name, inputs, NodeKind::Source { pipeline, source, decoder, framing, event_time })
            }
            Node::Computation { name, inputs, pool, fill } => (name, inputs, NodeKind::Computation { pool, fill }),
            Node::KeyBy { name, inputs, keys, unknown_key } => (name, inputs, NodeKind::KeyBy { keys, unknown_key }),
            Node::Collect { name, inputs } => (name, inputs, NodeKind::Collect),
            Node::State { name, inputs, table, table_type } => (name, inputs, NodeKind::State { table, table_type }),
            Node::Window { name, inputs, table, table_type, window } => {
                (name, inputs, NodeKind::Window { table, table_type, window })
            }
            Node::Sink { name, inputs, sink, encoder } => (name, inputs, NodeKind::Sink { sink, encoder }),
        };
        Self { name, inputs, kind }
    }
}

impl From<super::Node> for Node {
    fn from(node: super::Node) -> Self {
        let super::Node { name, inputs, kind } = node;
        match kind {
            NodeKind::Source { pipeline, source, decoder, framing, event_time } => {
                Self::Source { name, inputs, pipeline, source, decoder, framing, event_time }
            }
            NodeKind::Computation { pool, fill } => Self::Computation { name, inputs, pool, fill },
            NodeKind::KeyBy { keys, unknown_key } => Self::KeyBy { name, inputs, keys, unknown_key },
            NodeKind::Collect => Self::Collect { name, inputs },
            NodeKind::State { table, table_type } => Self::State { name, inputs, table, table_type },
            NodeKind::Window { table, table_type, window } => Self::Window { name, inputs, table, table_type, window },
            NodeKind::Sink { sink, encoder } => Self::Sink { name, inputs, sink, encoder },
        }
    }
}

/// Bytes: a bin on the wire, `{"hex": …}` in JSON.
pub(super) mod binary {
    use std::fmt;

    use bytes::Bytes;
    use serde::{
        Deserializer, Serializer,
        de::{self, Visitor},
    };

    use crate::key;

    pub(in crate::topology) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        key::serialize_bin(bytes, serializer)
    }

    pub(in crate::topology) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_bytes(BinaryVisitor)
    }

    struct BinaryVisitor;

    impl Visitor<'_> for BinaryVisitor {
        type Value = Bytes;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a bin")
        }

        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
            Ok(Bytes::copy_from_slice(bytes))
        }
    }
}
