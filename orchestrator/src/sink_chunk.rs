//! Messages on their way from the engine to a sink.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Messages for a sink: `lengths` says where one ends and the next begins in `bytes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkChunk {
    /// The encoded messages, one after another.
    pub bytes: Bytes,
    /// Length in bytes of each message.
    pub lengths: Vec<u32>,
}
