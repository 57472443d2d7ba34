//! How messages are marked off on the wire.

use super::WireFraming;
use crate::stream_protocol::{self, kind};

/// How the messages of a connection are marked off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Marking {
    /// As the user has said.
    Framed(WireFraming),
    /// As messages of an acknowledged stream.
    Stream,
}

impl Marking {
    /// Appends one message to `encoded`.
    pub(in crate::cli) fn append(self, message: &[u8], encoded: &mut Vec<u8>) {
        match self {
            Self::Framed(WireFraming::U32) => {
                encoded.extend_from_slice(&(message.len() as u32).to_be_bytes());
                encoded.extend_from_slice(message);
            }
            Self::Framed(WireFraming::Newline) => {
                encoded.extend_from_slice(message);
                encoded.push(b'\n');
            }
            Self::Stream => stream_protocol::append(kind::MESSAGE, message, encoded),
        }
    }
}
