use proptest::prelude::*;

use super::*;

const CAP: usize = 1000;

/// All bodies that the codec finds in `pieces`, which arrive one after another, and how the stream ended.
fn receive(pieces: &[&[u8]], cap: usize) -> (Vec<Bytes>, Result<(), ProtocolError>) {
    let mut codec = FrameCodec::new(cap);
    let mut buffer = BytesMut::new();
    let mut bodies = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(body)) => bodies.push(body),
                Ok(None) => break,
                Err(error) => return (bodies, Err(error)),
            }
        }
    }
    match codec.decode_eof(&mut buffer) {
        Ok(None) => (bodies, Ok(())),
        Ok(Some(body)) => panic!("{body:?} was whole before the end"),
        Err(error) => (bodies, Err(error)),
    }
}

fn sent(bodies: &[Vec<u8>]) -> BytesMut {
    let mut stream = BytesMut::new();
    for body in bodies {
        let outgoing = Outgoing { head: Bytes::copy_from_slice(&body[..1]), tail: Bytes::copy_from_slice(&body[1..]) };
        FrameCodec::new(CAP).encode(outgoing, &mut stream).expect("within the cap");
    }
    stream
}

proptest! {
    #[test]
    fn frames_arrive_whole_wherever_the_stream_is_split(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
    ) {
        let stream = sent(&bodies);
        for at in 0..=stream.len() {
            let (received, end) = receive(&[&stream[..at], &stream[at..]], CAP);
            prop_assert!(end.is_ok());
            prop_assert_eq!(&received, &bodies);
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(receive(&bytes, CAP).0, bodies);
    }

    #[test]
    fn a_stream_that_ends_early_is_an_error_unless_it_ends_between_frames(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..6),
    ) {
        let stream = sent(&bodies);
        let mut boundaries = vec![0];
        for body in &bodies {
            boundaries.push(boundaries[boundaries.len() - 1] + HEADER_LENGTH + body.len());
        }
        for at in 0..=stream.len() {
            let begun = boundaries.iter().rev().find(|boundary| **boundary <= at).expect("0 is a boundary");
            let whole = boundaries.iter().position(|boundary| boundary == begun).expect("found above");
            let (received, end) = receive(&[&stream[..at]], CAP);
            prop_assert_eq!(&received, &bodies[..whole]);
            match end {
                Ok(()) => prop_assert_eq!(at, *begun),
                Err(ProtocolError::ClosedInFrame { received }) => prop_assert_eq!(received, at - begun),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}

#[test]
fn a_header_of_4_gib_allocates_nothing() {
    let mut buffer = BytesMut::with_capacity(64);
    let before = buffer.capacity();
    buffer.put_u32(u32::MAX);
    let error = FrameCodec::new(17 << 20).decode(&mut buffer).expect_err("above the cap");
    assert!(matches!(error, ProtocolError::Oversize { length: 0xffff_ffff, cap } if cap == 17 << 20), "{error:?}");
    assert_eq!(buffer.capacity(), before);
    let message = error.to_string();
    assert_eq!(message, "a frame of 4294967295 bytes exceeds the cap of 17825792 bytes");
}

#[test]
fn a_header_within_the_cap_reserves_little_ahead_of_what_arrives() {
    let length = 16 << 20;
    let mut codec = FrameCodec::new(length);
    let mut buffer = BytesMut::new();
    buffer.put_slice(&encode_header(length));
    assert!(codec.decode(&mut buffer).expect("no error").is_none());
    assert!(buffer.capacity() <= 2 * READ_AHEAD, "reserved {} bytes for a header", buffer.capacity());
    while buffer.len() < HEADER_LENGTH + length {
        assert!(codec.decode(&mut buffer).expect("no error").is_none());
        let bound = 2 * (buffer.len() + READ_AHEAD);
        assert!(buffer.capacity() <= bound, "{} bytes for {}", buffer.capacity(), buffer.len());
        buffer.put_bytes(7, (READ_AHEAD / 2).min(HEADER_LENGTH + length - buffer.len()));
    }
    assert_eq!(codec.decode(&mut buffer).expect("no error").map(|body| body.len()), Some(length));
}

#[test]
fn after_an_error_the_stream_stays_refused() {
    let mut codec = FrameCodec::new(CAP);
    let mut buffer = BytesMut::from(&[0, 0, 0, 0, 0, 0, 0, 1, 7][..]);
    for _ in 0..3 {
        assert!(matches!(codec.decode(&mut buffer), Err(ProtocolError::EmptyFrame)));
    }
}

#[test]
fn bodies_beyond_the_cap_or_empty_are_not_sent() {
    let codec = FrameCodec::new(CAP);
    assert_eq!(codec.header(CAP).expect("as long as the cap"), [0, 0, 3, 232]);
    assert!(matches!(codec.header(CAP + 1), Err(ProtocolError::Oversize { length: 1001, cap: CAP })));
    let mut target = BytesMut::new();
    let empty = Outgoing::from(Bytes::new());
    assert!(empty.is_empty());
    assert!(matches!(FrameCodec::new(CAP).encode(empty, &mut target), Err(ProtocolError::EmptyFrame)));
    assert!(target.is_empty());
}

#[test]
fn a_body_in_one_piece_is_not_copied() {
    let head = Bytes::from(vec![1, 2, 3]);
    let body = Outgoing::from(head.clone()).into_body();
    assert_eq!(body.as_ptr(), head.as_ptr());
}
