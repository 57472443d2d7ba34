//! A message that could not be processed. The engine makes it, the dead letters keep it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wallaroo_protocol::NodeId;

use crate::ids::{ConnectionId, SourceId};
use crate::limit::Limit;

/// A message that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadMessage {
    /// The step that failed.
    pub node: NodeId,
    /// The message's key, encoded.
    pub key: Option<Bytes>,
    /// Type of the exception, or of the accident.
    pub exception: String,
    /// Its message.
    pub message: String,
    /// The Python traceback, if there is one.
    pub traceback: String,
    /// `repr` of the value the step was given.
    pub value: String,
    /// The value, encoded with `codec`.
    pub payload: Bytes,
    /// Which value of `payload` it is; `None`: all of them, or a frame.
    pub payload_index: Option<u32>,
    /// 0: `payload` is the frame as it was read.
    pub codec: u32,
    /// The limit that the worker was killed for exceeding, if it was.
    pub limit: Option<Limit>,
    /// The source, where it is known.
    pub source: Option<SourceId>,
    /// The connection, where it is known.
    pub connection: Option<ConnectionId>,
}

impl DeadMessage {
    /// What it counts for while it waits to be kept, in bytes.
    pub fn weight(&self) -> usize {
        /// The rest of its letter.
        const FRAME: usize = 512;
        let texts = [&self.exception, &self.message, &self.traceback, &self.value];
        let key = self.key.as_ref().map_or(0, Bytes::len);
        FRAME + key + self.payload.len() + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}
