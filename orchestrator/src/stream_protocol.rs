//! What a client of an acknowledged stream and its source say to each other, see `spec/streams.md`.

use std::io;

use bytes::Bytes;

/// The version of the protocol spoken here.
pub const VERSION: u8 = 1;
/// Bytes before each body: its length, four bytes in big-endian order, and what it is.
pub const HEADER: usize = 5;
/// Greatest length of a stream's name in bytes.
pub const MAX_NAME: usize = 255;

/// What a frame is.
pub mod kind {
    /// From a client, first: the version and the name of its stream.
    pub const HELLO: u8 = 1;
    /// From a client: a message.
    pub const MESSAGE: u8 = 2;
    /// From a source, first: where the client goes on.
    pub const WELCOME: u8 = 3;
    /// From a source: messages that are durable.
    pub const ACKNOWLEDGED: u8 = 4;
    /// From a source, last: why it closes the connection.
    pub const ERROR: u8 = 5;
    /// From a connector: a message and its mark.
    pub const MARKED: u8 = 6;
}

/// What a source says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToClient {
    /// The client goes on behind the messages that were received.
    Welcome {
        /// Messages of the stream that need not be sent again, as long as this source lives.
        received: u64,
        /// Messages of the stream that need never be sent again.
        acknowledged: u64,
        /// Bytes of messages that the client may have sent and not heard of.
        credit: u32,
        /// The mark of the last message received, which a connector has said. Empty: there is none.
        mark: Bytes,
    },
    /// Messages of the stream that need never be sent again.
    Acknowledged(u64),
    /// The connection is closed because of this.
    Error(String),
}

/// Appends a frame.
pub fn append(kind: u8, body: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(&(body.len() as u32).to_be_bytes());
    into.push(kind);
    into.extend_from_slice(body);
}

/// The first frame of a client.
pub fn hello(stream: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    append(kind::HELLO, &[&[VERSION], stream.as_bytes()].concat(), &mut frame);
    frame
}

impl ToClient {
    /// The frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        match self {
            Self::Welcome { received, acknowledged, credit, mark } => {
                let numbers =
                    [&received.to_be_bytes()[..], &acknowledged.to_be_bytes(), &credit.to_be_bytes()].concat();
                let body = [numbers.as_slice(), mark].concat();
                append(kind::WELCOME, &body, &mut frame);
            }
            Self::Acknowledged(messages) => append(kind::ACKNOWLEDGED, &messages.to_be_bytes(), &mut frame),
            Self::Error(reason) => append(kind::ERROR, reason.as_bytes(), &mut frame),
        }
        frame
    }

    /// Reads the next frame of a source. `None`: it has closed the connection between two frames.
    pub fn read(reader: &mut impl io::Read) -> io::Result<Option<Self>> {
        /// No text is longer.
        const MOST: usize = 1 << 16;
        let mut header = [0; HEADER];
        if reader.read(&mut header[..1])? == 0 {
            return Ok(None);
        }
        reader.read_exact(&mut header[1..])?;
        let [length @ .., kind] = header;
        let length = u32::from_be_bytes(length) as usize;
        if length > MOST {
            return Err(no_stream());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Self::decode(kind, &body).map(Some).ok_or_else(no_stream)
    }

    fn decode(kind: u8, body: &[u8]) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| Some(u64::from_be_bytes(body.get(range)?.try_into().ok()?));
        Some(match kind {
            kind::WELCOME => {
                let credit = u32::from_be_bytes(body.get(16..20)?.try_into().ok()?);
                let mark = Bytes::copy_from_slice(&body[20..]);
                Self::Welcome { received: number(0..8)?, acknowledged: number(8..16)?, credit, mark }
            }
            kind::ACKNOWLEDGED => Self::Acknowledged(number(0..8)?),
            kind::ERROR => Self::Error(String::from_utf8_lossy(body).into_owned()),
            _ => return None,
        })
    }
}

fn no_stream() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is no source of acknowledged streams")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_says_is_read_as_it_was_written() {
        let said = [
            ToClient::Welcome { received: 7, acknowledged: 5, credit: 1 << 20, mark: Bytes::new() },
            ToClient::Welcome { received: 7, acknowledged: 5, credit: 1 << 20, mark: Bytes::from_static(b"seven") },
            ToClient::Acknowledged(6),
            ToClient::Error("why".to_owned()),
        ];
        let mut written: &[u8] = &said.iter().flat_map(ToClient::encode).collect::<Vec<_>>();
        for expected in said {
            assert_eq!(ToClient::read(&mut written).expect("it can be read"), Some(expected));
        }
        assert_eq!(ToClient::read(&mut written).expect("it has ended"), None);
    }

    #[test]
    fn what_no_source_says_is_an_error() {
        for wrong in [&b"\0\0\0\x08\x04\0"[..], b"\xff\xff\xff\xff\x04", b"\0\0\0\0\x07", b"\0\0\0\x01\x04\0"] {
            assert!(ToClient::read(&mut &*wrong).is_err(), "{wrong:?}");
        }
    }
}
