//! Frames: a big-endian u32 length and a body. Cuts a stream into bodies, and puts headers before outgoing bodies.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::ProtocolError;

/// Bytes before a body.
pub const HEADER_LENGTH: usize = 4;

/// How far the read buffer may grow beyond the bytes that have arrived. A sender pays four bytes for a header; the
/// receiver must not allocate more than this for what it announces.
const READ_AHEAD: usize = 64 * 1024;

/// An outgoing body in two pieces: `head` followed by `tail`. So a large payload that is kept (a batch's input in the
/// ledger) is sent, and sent again, without a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The message up to its large payload, or all of it.
    pub head: Bytes,
    /// The large payload, already encoded; empty for most messages.
    pub tail: Bytes,
}

impl Outgoing {
    /// Length of the body in bytes.
    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Whether there is no body. No message encodes to this.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body in one piece; copies unless one of the pieces is empty.
    pub fn into_body(self) -> Bytes {
        if self.tail.is_empty() {
            return self.head;
        }
        let mut body = BytesMut::with_capacity(self.len());
        body.put(self.head);
        body.put(self.tail);
        body.freeze()
    }
}

impl From<Bytes> for Outgoing {
    fn from(head: Bytes) -> Self {
        Self { head, tail: Bytes::new() }
    }
}

/// The header of a frame whose body has `length` bytes.
///
/// # Panics
/// If `length` does not fit 32 bits. Compare with the connection's cap first; no cap is that large.
pub fn encode_header(length: usize) -> [u8; HEADER_LENGTH] {
    u32::try_from(length).expect("a body within its connection's cap fits a u32").to_be_bytes()
}

/// Cuts frames of at most `max_body` bytes out of a stream, and writes them into one.
///
/// After an error the codec keeps reporting it: frame boundaries are lost, and the connection must be closed.
#[derive(Debug, Clone)]
pub struct FrameCodec {
    max_body: usize,
}

impl FrameCodec {
    /// A codec for a connection whose bodies have at most `max_body` bytes.
    pub fn new(max_body: usize) -> Self {
        Self { max_body: max_body.min(u32::MAX as usize) }
    }

    /// The header for a body of `length` bytes, or [`ProtocolError::Oversize`] or [`ProtocolError::EmptyFrame`].
    pub fn header(&self, length: usize) -> Result<[u8; HEADER_LENGTH], ProtocolError> {
        self.check(length)?;
        Ok(encode_header(length))
    }

    fn check(&self, length: usize) -> Result<(), ProtocolError> {
        match length {
            0 => Err(ProtocolError::EmptyFrame),
            _ if length > self.max_body => Err(ProtocolError::Oversize { length, cap: self.max_body }),
            _ => Ok(()),
        }
    }
}

impl Decoder for FrameCodec {
    type Item = Bytes;
    type Error = ProtocolError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Bytes>, ProtocolError> {
        let Some(header) = source.first_chunk::<HEADER_LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*header) as usize;
        self.check(length)?;
        let missing = (HEADER_LENGTH + length).saturating_sub(source.len());
        if missing > 0 {
            source.reserve(missing.min(READ_AHEAD));
            return Ok(None);
        }
        source.advance(HEADER_LENGTH);
        Ok(Some(source.split_to(length).freeze()))
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Bytes>, ProtocolError> {
        match self.decode(source)? {
            None if !source.is_empty() => Err(ProtocolError::ClosedInFrame { received: source.len() }),
            frame => Ok(frame),
        }
    }
}

/// Copies the body behind its header. A connection that writes large bodies uses [`FrameCodec::header`] and a vectored
/// write.
impl Encoder<Outgoing> for FrameCodec {
    type Error = ProtocolError;

    fn encode(&mut self, body: Outgoing, target: &mut BytesMut) -> Result<(), ProtocolError> {
        let header = self.header(body.len())?;
        target.reserve(HEADER_LENGTH + body.len());
        target.put_slice(&header);
        target.put(body.head);
        target.put(body.tail);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
