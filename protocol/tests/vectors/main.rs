//! Runs the vectors of `spec/vectors`, which the Python codec runs too.

mod neutral;
mod positional;

use std::path::Path;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::codec::{Decoder as _, Encoder as _};
use wallaroo_protocol::{FrameCodec, FromWorker, KeyError, Outgoing, ProtocolError, ToWorker, key, topology};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageVector {
    name: String,
    hex: String,
    decoded: Value,
    #[serde(default = "canonical")]
    canonical: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyVector {
    name: String,
    hex: String,
    decoded: Value,
    hash: String,
    partition_of_27: u64,
    display: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrameVector {
    name: String,
    max_body: usize,
    hex: String,
    bodies: Vec<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InvalidVector {
    name: String,
    direction: String,
    hex: String,
    error: String,
}

fn canonical() -> bool {
    true
}

fn load<T: for<'de> Deserialize<'de>>(file: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/vectors").join(file);
    let text = std::fs::read_to_string(&path).expect(file);
    let vectors: Vec<T> = serde_json::from_str(&text).expect(file);
    assert!(!vectors.is_empty(), "{file} has no vectors");
    vectors
}

fn unhex(text: &str) -> Bytes {
    assert!(text.len().is_multiple_of(2), "odd number of hex digits in {text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits")).collect()
}

fn check_message(vector: &MessageVector, decoded: impl FnOnce(Bytes) -> Result<(Value, Outgoing), ProtocolError>) {
    let MessageVector { name, hex, .. } = vector;
    let body = unhex(hex);
    let (value, encoded) = decoded(body.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(value, vector.decoded, "{name}: decoded");
    let encoded = encoded.into_body();
    assert_eq!(encoded == body, vector.canonical, "{name}: encoded again as {encoded:?}");
}

#[test]
fn messages_to_a_worker() {
    for vector in load::<MessageVector>("to_worker.json") {
        check_message(&vector, |body| {
            ToWorker::decode(body).map(|message| (positional::to_worker(&message), message.encode()))
        });
    }
}

#[test]
fn messages_from_a_worker() {
    for vector in load::<MessageVector>("from_worker.json") {
        check_message(&vector, |body| {
            FromWorker::decode(body).map(|message| (positional::from_worker(&message), message.encode()))
        });
    }
}

/// Every topology among the vectors is one to the typed decoder too, and means the same after a round trip.
#[test]
fn topologies() {
    let mut seen = 0;
    for vector in load::<MessageVector>("from_worker.json") {
        let Ok(FromWorker::Topology(map)) = FromWorker::decode(unhex(&vector.hex)) else {
            continue;
        };
        let topology = topology::decode(&map).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(serde_json::to_value(&topology).expect("JSON"), vector.decoded[1], "{}: as JSON", vector.name);
        let again = topology.encode();
        assert_eq!(neutral::value(&again), vector.decoded[1], "{}: encoded again", vector.name);
        assert_eq!(topology::decode(&again).expect("a topology"), topology, "{}", vector.name);
        seen += 1;
    }
    assert!(seen > 0, "from_worker.json has no topologies");
}

#[test]
fn keys() {
    for vector in load::<KeyVector>("keys.json") {
        let KeyVector { name, .. } = &vector;
        let bytes = unhex(&vector.hex);
        assert_eq!(key::validate(&bytes), Ok(()), "{name}");
        assert_eq!(neutral::value(&bytes), vector.decoded, "{name}: decoded");
        assert_eq!(neutral::key(&vector.decoded), bytes, "{name}: encoded");
        assert_eq!(key::display(&bytes), vector.display, "{name}: display");
        let hash = key::partition_hash(&bytes);
        assert_eq!(format!("{hash:016x}"), vector.hash, "{name}: hash");
        assert_eq!(hash % 27, vector.partition_of_27, "{name}: partition");
    }
}

#[test]
fn frames() {
    for vector in load::<FrameVector>("frames.json") {
        let FrameVector { name, max_body, .. } = &vector;
        let mut codec = FrameCodec::new(*max_body);
        let mut stream = BytesMut::from(&unhex(&vector.hex)[..]);
        let mut bodies = Vec::new();
        let ended = loop {
            match codec.decode_eof(&mut stream) {
                Ok(Some(body)) => bodies.push(body),
                Ok(None) => break None,
                Err(error) => break Some(error_word(&error)),
            }
        };
        assert_eq!(bodies, vector.bodies.iter().map(|hex| unhex(hex)).collect::<Vec<_>>(), "{name}: bodies");
        assert_eq!(ended, vector.error.as_deref(), "{name}: end");
        if vector.error.is_none() {
            let mut written = BytesMut::new();
            for body in bodies {
                codec.encode(body.into(), &mut written).expect("within the cap");
            }
            assert_eq!(written, unhex(&vector.hex), "{name}: written");
        }
    }
}

#[test]
fn invalid() {
    for vector in load::<InvalidVector>("invalid.json") {
        let body = unhex(&vector.hex);
        let error = match vector.direction.as_str() {
            "to_worker" => ToWorker::decode(body).map(drop).map_err(|error| error_word(&error)),
            "from_worker" => FromWorker::decode(body).map(drop).map_err(|error| error_word(&error)),
            "key" => key::validate(&body).map_err(key_error_word),
            other => panic!("{}: unknown direction {other}", vector.name),
        };
        assert_eq!(error, Err(vector.error.as_str()), "{}, {}", vector.direction, vector.name);
    }
}

fn error_word(error: &ProtocolError) -> &'static str {
    use ProtocolError as E;
    match error {
        E::Oversize { .. } => "oversize",
        E::EmptyFrame => "empty_frame",
        E::ClosedInFrame { .. } => "closed_in_frame",
        E::Truncated { .. } | E::TooManyElements { .. } | E::NotUtf8 { .. } | E::NotMessagePack { .. } => "malformed",
        E::TooDeep { .. } => "too_deep",
        E::NotAMessage { .. } => "not_a_message",
        E::UnknownType { .. } => "unknown_type",
        E::Version { .. } => "version",
        E::FieldCount { .. } => "field_count",
        E::FieldType { .. } | E::UnknownWord { .. } => "field_type",
        E::TrailingBytes { .. } => "trailing_bytes",
        E::ElementCount { .. } => "element_count",
        E::Key { .. } => "bad_key",
        E::FrameSpan { .. } => "frame_span",
        other => panic!("no word for {other:?}"),
    }
}

fn key_error_word(error: KeyError) -> &'static str {
    match error {
        KeyError::Truncated => "malformed",
        KeyError::TrailingBytes { .. } => "trailing_bytes",
        _ => "bad_key",
    }
}
