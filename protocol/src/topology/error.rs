//! Errors in a topology.

use crate::NodeId;

/// Why a map is not a topology. These are defects of an SDK, because an SDK checks the user's application first.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The map lacks a key, has an unknown one, or has a value of the wrong type.
    #[error("the worker's topology cannot be read")]
    Malformed(#[source] rmp_serde::decode::Error),
    /// A node takes input from itself or from a later node.
    #[error("node {node} (`{name}`) takes input from node {input}, which does not come before it")]
    InputOrder {
        /// The node.
        node: NodeId,
        /// Its name.
        name: String,
        /// The input.
        input: NodeId,
    },
    /// A source takes input, or another node takes none.
    #[error("node {node} (`{name}`) is a {kind} with {found} inputs")]
    InputCount {
        /// The node.
        node: NodeId,
        /// Its name.
        name: String,
        /// Its kind.
        kind: &'static str,
        /// How many inputs it lists.
        found: usize,
    },
    /// A node takes input from a sink.
    #[error("node {node} (`{name}`) takes input from node {input}, which is a sink")]
    InputFromSink {
        /// The node.
        node: NodeId,
        /// Its name.
        name: String,
        /// The input.
        input: NodeId,
    },
    /// A stream source whose framing is missing or impossible, or a generator with one.
    #[error("node {node} (`{name}`) is a source whose framing is missing, impossible, or given to a generator")]
    Framing {
        /// The node.
        node: NodeId,
        /// Its name.
        name: String,
    },
}
