//! Numbers that must not be confused with each other.

use serde::{Deserialize, Serialize};

/// Defines a number newtype that prints and serializes as the number.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident($number:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $number);

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

id!(
    /// One batch; unique within a run, never reused.
    BatchId(u64)
);
id!(
    /// A stage of the plan.
    StageId(u32)
);
id!(
    /// A node of the topology: its index in the list of nodes.
    NodeId(u32)
);
id!(
    /// One request for a snapshot; unique within a connection.
    RequestId(u64)
);

impl StageId {
    /// The id as an index into a vector with one element a stage.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    /// The id as an index into a vector with one element a node.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
