//! What must hold for any bytes whatever; shared with the fuzz target.

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder as _;
use wallaroo_protocol::{
    BatchResult, FrameCodec, FromWorker, Group, OutputData, ProtocolError, ToWorker, input, key, topology,
};

/// The cap of the stream that the bytes are taken for.
const MAX_BODY: usize = 1 << 16;

/// Takes `bytes` for everything this crate decodes. Whatever is accepted must survive being encoded and decoded again;
/// whatever is refused must have something to say about it. Returns how many of the decoders accepted.
pub(crate) fn exercise(bytes: &[u8]) -> usize {
    let body = Bytes::copy_from_slice(bytes);
    let accepted = [to_worker(&body), from_worker(&body), topology(&body), key(bytes), inputs(&body), frames(bytes)];
    accepted.into_iter().filter(|accepted| *accepted).count()
}

fn to_worker(body: &Bytes) -> bool {
    let Some(message) = accept(ToWorker::decode(body.clone())) else {
        return false;
    };
    let again = ToWorker::decode(message.encode().into_body()).expect("an encoded message decodes");
    assert_eq!(again, message);
    true
}

fn from_worker(body: &Bytes) -> bool {
    let Some(message) = accept(FromWorker::decode(body.clone())) else {
        return false;
    };
    let again = FromWorker::decode(message.encode().into_body()).expect("an encoded message decodes");
    assert_eq!(again, message);
    match &message {
        FromWorker::Topology(map) => {
            topology(map);
        }
        FromWorker::Result(result) => check_result(result),
        _ => {}
    }
    true
}

fn check_result(result: &BatchResult) {
    for output in &result.outputs {
        match &output.data {
            OutputData::Groups(groups) => groups.iter().for_each(check_group),
            OutputData::Messages(messages) => {
                assert_eq!(messages.iter().count(), messages.lengths.len());
                assert_eq!(messages.iter().map(<[u8]>::len).sum::<usize>(), messages.bytes.len());
            }
        }
    }
    for failure in &result.failures {
        failure.key.iter().for_each(|key| check_key(key));
    }
}

fn check_group(group: &Group) {
    check_key(group.key());
    let again = Group::new(group.key(), group.count, group.codec(), &group.values());
    assert_eq!((again.count, again.codec(), again.values()), (group.count, group.codec(), group.values()));
}

fn check_key(encoded: &[u8]) {
    assert_eq!(key::validate(encoded), Ok(()));
    let shown = key::display(encoded);
    assert!(!shown.starts_with("<no key"), "{encoded:x?} is shown as {shown}");
}

fn topology(map: &Bytes) -> bool {
    let Some(topology) = accept(topology::decode(map)) else {
        return false;
    };
    assert_eq!(topology::decode(&topology.encode()).expect("an encoded topology decodes"), topology);
    true
}

fn key(bytes: &[u8]) -> bool {
    let valid = key::validate(bytes).is_ok();
    if valid {
        check_key(bytes);
    }
    valid
}

fn inputs(body: &Bytes) -> bool {
    let frames = accept(input::parse_frames(body));
    if let Some(frames) = &frames {
        let again = input::frames(frames.iter().map(AsRef::as_ref));
        assert_eq!(input::parse_frames(&again).expect("frames"), *frames);
    }
    let groups = accept(input::parse_groups(body));
    groups.iter().flatten().for_each(check_group);
    let others = accept(input::parse_generate(body)).is_some() || accept(input::parse_cut(body)).is_some();
    frames.is_some() || groups.is_some() || others
}

fn frames(bytes: &[u8]) -> bool {
    let mut codec = FrameCodec::new(MAX_BODY);
    let mut stream = BytesMut::from(bytes);
    loop {
        match accept(codec.decode_eof(&mut stream)) {
            Some(Some(body)) => assert!((1..=MAX_BODY).contains(&body.len())),
            Some(None) => return true,
            None => return false,
        }
    }
}

/// What was accepted, or `None` once the error has proved that it can be reported.
fn accept<T>(result: Result<T, ProtocolError>) -> Option<T> {
    result.map_err(|error| assert!(!error.to_string().is_empty())).ok()
}
