//! Errors in bytes from the other side. The fields say where; the texts name a remedy if there is one.

use crate::{MAX_NESTING, PROTOCOL_VERSION, key::KeyError, topology::TopologyError};

/// Why a frame or a message was refused. Fatal only to the connection it came from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame's header announced more than the connection's cap. Nothing was allocated for it.
    #[error("a frame of {length} bytes exceeds the cap of {cap} bytes")]
    Oversize {
        /// Length of the body that was announced or was about to be sent.
        length: usize,
        /// The connection's `max_body`.
        cap: usize,
    },
    /// A frame's header announced a body of zero bytes.
    #[error("a frame has no body")]
    EmptyFrame,
    /// The stream ended inside a frame.
    #[error("the connection closed inside a frame, {received} bytes after the frame began")]
    ClosedInFrame {
        /// Bytes of the frame that arrived, header included.
        received: usize,
    },
    /// The body ended inside a message.
    #[error("{message}: the body ends inside `{field}`")]
    Truncated {
        /// The message's name.
        message: &'static str,
        /// The incomplete field.
        field: &'static str,
    },
    /// Arrays and maps nest deeper than [`MAX_NESTING`].
    #[error("{message}: `{field}` nests deeper than {MAX_NESTING} levels")]
    TooDeep {
        /// The message's name.
        message: &'static str,
        /// The field that nests too deep.
        field: &'static str,
    },
    /// The body is not an array that begins with a message type.
    #[error("a body must be an array that begins with a message type, this one begins with {found}")]
    NotAMessage {
        /// What the body begins with.
        found: &'static str,
    },
    /// The message type is not one this side receives.
    #[error("unknown message type {number}")]
    UnknownType {
        /// The number that was found.
        number: u8,
    },
    /// The other side speaks another version of the protocol.
    #[error(
        "the other side speaks protocol {theirs} (its version is {version}), this side speaks {PROTOCOL_VERSION}; \
         install wallaroo-sdk and wallaroo-orch of the same version"
    )]
    Version {
        /// The protocol version in the other side's `hello`.
        theirs: u64,
        /// The software version in the other side's `hello`.
        version: String,
    },
    /// A message has too many or too few fields.
    #[error("{message}: expected {expected} fields, found {found}")]
    FieldCount {
        /// The name of the message, or of the record inside it.
        message: &'static str,
        /// Fields after the type number.
        expected: usize,
        /// Fields that were announced.
        found: usize,
    },
    /// A field is of the wrong type, or a number is out of its range.
    #[error("{message}: `{field}` must be {expected}, found {found}")]
    FieldType {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// The type the field has in the specification.
        expected: &'static str,
        /// The type that was found.
        found: &'static str,
    },
    /// A field that must be one of a few words has another value.
    #[error("{message}: `{field}` must be one of {expected}, found {found:?}")]
    UnknownWord {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// The words, separated by commas.
        expected: &'static str,
        /// The word that was found.
        found: String,
    },
    /// Bytes follow the message's array.
    #[error("{message}: {count} bytes follow the message")]
    TrailingBytes {
        /// The message's name.
        message: &'static str,
        /// How many bytes follow.
        count: usize,
    },
    /// An array or a map announces more elements than bytes remain.
    #[error("{message}: `{field}` announces {announced} elements and only {remaining} bytes remain")]
    TooManyElements {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// Elements announced; for a map, keys and values.
        announced: u64,
        /// Bytes left in the body.
        remaining: usize,
    },
    /// A flat array of records does not hold whole records.
    #[error("{message}: `{field}` has {found} elements, which is not a multiple of {multiple}")]
    ElementCount {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// Elements announced.
        found: usize,
        /// Elements of one record.
        multiple: usize,
    },
    /// A str is not UTF-8.
    #[error("{message}: `{field}` is not UTF-8")]
    NotUtf8 {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// The byte 0xc1, which MessagePack never uses.
    #[error("{message}: `{field}` is not MessagePack")]
    NotMessagePack {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// The bytes of a key do not encode one.
    #[error("{message}: `{field}` is not a key")]
    Key {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// The frames of a `cut_result` overlap, run backwards, or reach past what it consumed.
    #[error(
        "cut_result: frame {index} spans {start}..{end}, which overlaps its neighbour or reaches past `consumed` ({consumed})"
    )]
    FrameSpan {
        /// Index of the frame in the message.
        index: usize,
        /// Where it starts.
        start: u32,
        /// Where it ends.
        end: u32,
        /// The message's `consumed`.
        consumed: u32,
    },
    /// The topology map does not describe a topology.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The stream under the codec failed.
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
}
