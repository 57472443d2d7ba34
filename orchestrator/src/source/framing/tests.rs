use proptest::prelude::*;

use super::*;

const CAP: usize = 1000;

fn cutter(framing: Framing) -> Cutter {
    Cutter::new(framing, CAP, Cutter::BLOCK_WEIGHT)
}

fn lines(delimiter: &'static [u8]) -> Framing {
    Framing::Delimiter(Bytes::from_static(delimiter))
}

fn payloads(block: &FrameBlock) -> Vec<Vec<u8>> {
    block.spans.iter().map(|span| block.data[span.start as usize..span.end as usize].to_vec()).collect()
}

/// Feeds `pieces` one by one and collects the frames, as a connection does.
fn cut_all(cutter: &mut Cutter, pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, FramingError> {
    let mut frames = Vec::new();
    for piece in pieces {
        cutter.append(piece);
        while let Some(block) = cutter.cut()? {
            frames.extend(payloads(&block));
        }
    }
    if let Some(block) = cutter.finish()? {
        frames.extend(payloads(&block));
    }
    Ok(frames)
}

fn prefixed(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for frame in frames {
        stream.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        stream.extend_from_slice(frame);
    }
    stream
}

/// `stream` cut into pieces at the given places.
fn pieces<'stream>(stream: &'stream [u8], places: &[prop::sample::Index]) -> Vec<&'stream [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

fn any_frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)
}

proptest! {
    #[test]
    fn prefixed_frames_survive_any_split(
        frames in any_frames(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        block_weight in 1_usize..500,
    ) {
        let stream = prefixed(&frames);
        let mut cutter = Cutter::new(Framing::Length(LengthPrefix::U32), CAP, block_weight);
        prop_assert_eq!(cut_all(&mut cutter, &pieces(&stream, &places)), Ok(frames));
    }

    #[test]
    fn delimited_frames_survive_any_split(
        // Few distinct bytes, so that delimiters, their beginnings and overlaps are everywhere.
        stream in prop::collection::vec(prop::sample::select(b"ab\r\n".as_slice()), 0..200),
        delimiter in prop::sample::select(vec![b"\n".as_slice(), b"\r\n", b"aab"]),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        block_weight in 1_usize..500,
    ) {
        let mut expected = Vec::new();
        let mut rest = stream.as_slice();
        while let Some(at) = rest.windows(delimiter.len()).position(|window| window == delimiter) {
            expected.push(rest[..at].to_vec());
            rest = &rest[at + delimiter.len()..];
        }
        if !rest.is_empty() {
            expected.push(rest.to_vec());
        }
        let mut cutter = Cutter::new(lines(delimiter), CAP, block_weight);
        prop_assert_eq!(cut_all(&mut cutter, &pieces(&stream, &places)), Ok(expected));
    }

    #[test]
    fn no_stream_panics(
        stream in prop::collection::vec(any::<u8>(), 0..300),
        header in 0_usize..10, width in 1_usize..=8, offset in 0_usize..4,
        big in any::<bool>(), signed in any::<bool>(), adjust in any::<i64>(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let order = if big { ByteOrder::Big } else { ByteOrder::Little };
        let prefix = LengthPrefix { header: header + width + offset, width, offset, order, signed, adjust };
        let _ = cut_all(&mut cutter(Framing::Length(prefix)), &pieces(&stream, &places));
    }
}

#[test]
fn lengths_are_read_in_either_order_signed_and_adjusted() {
    let plain = LengthPrefix::U32;
    let two = LengthPrefix { header: 4, width: 2, offset: 1, ..plain };
    let cases = [
        (plain, [0, 0, 1, 2], 258),
        (LengthPrefix { order: ByteOrder::Little, ..plain }, [2, 1, 0, 0], 258),
        (plain, [0xff; 4], 0xffff_ffff),
        (LengthPrefix { signed: true, ..plain }, [0xff; 4], -1),
        (LengthPrefix { adjust: -4, ..plain }, [0, 0, 0, 12], 8),
        (two, [0xff, 0, 7, 0xff], 7),
        (LengthPrefix { order: ByteOrder::Little, signed: true, ..two }, [0, 0xfe, 0xff, 0], -2),
    ];
    for (prefix, header, length) in cases {
        assert_eq!(prefix.payload_length(&header), length, "{prefix:?} {header:?}");
    }
    let eight = LengthPrefix { header: 8, width: 8, signed: true, adjust: i64::MIN, ..plain };
    assert_eq!(eight.payload_length(&[0x80, 0, 0, 0, 0, 0, 0, 0]), 2 * i128::from(i64::MIN));
}

#[test]
fn empty_frames_are_frames() {
    assert_eq!(cut_all(&mut cutter(lines(b"\n")), &[b"\n\na\n"]), Ok(vec![vec![], vec![], b"a".to_vec()]));
    assert_eq!(cut_all(&mut cutter(Framing::Length(LengthPrefix::U32)), &[&[0; 8]]), Ok(vec![vec![], vec![]]));
}

#[test]
fn a_header_of_four_gigabytes_allocates_nothing() {
    let mut cutter = cutter(Framing::Length(LengthPrefix::U32));
    cutter.append(&[0xff; 4]);
    let before = cutter.buffer().capacity();
    let error = FramingError::TooLong { length: 0xffff_ffff, cap: CAP };
    assert_eq!(cutter.cut().map(|_| ()), Err(error.clone()));
    assert_eq!(cutter.buffer().capacity(), before);
    let text = error.to_string();
    assert!(text.contains("4294967295") && text.contains("1000"), "{text}");
}

#[test]
fn a_large_frame_is_allocated_as_it_arrives() {
    let mut cutter = Cutter::new(Framing::Length(LengthPrefix::U32), 16 << 20, Cutter::BLOCK_WEIGHT);
    cutter.append(&(16_u32 << 20).to_be_bytes());
    assert!(matches!(cutter.cut(), Ok(None)));
    cutter.make_room(4096);
    assert!(cutter.buffer().capacity() < 64 << 10, "{}", cutter.buffer().capacity());
    cutter.append(&vec![7; 1 << 20]);
    cutter.make_room(4096);
    assert!(cutter.buffer().capacity() >= 2 << 20);
    // A frame takes no more than it needs, so that its block is charged for what it holds.
    cutter.append(&vec![7; 15 << 20]);
    assert!(cutter.buffer().capacity() <= (16 << 20) + 4);
}

/// The memory that the bytes of a block take.
fn memory(block: FrameBlock) -> usize {
    block.data.try_into_mut().expect("nothing else lies in it").capacity()
}

#[test]
fn a_block_keeps_no_more_memory_than_its_frames_take() {
    let mut cutter = cutter(lines(b"\n"));
    for piece in [&b"one\ntwo\nthr"[..], b"ee\n", &b"x\n".repeat(30_000), b"y"] {
        cutter.append(piece);
        while let Some(block) = cutter.cut().expect("lines have no bad header") {
            let bytes = block.data.len();
            let taken = memory(block);
            assert!(taken <= 2 * bytes, "{taken} bytes for {bytes}");
        }
        assert!(cutter.buffer().capacity() <= 2 * cutter.held(), "the rest has memory of its own");
    }
}

#[test]
fn frames_before_a_bad_header_are_given_out_first() {
    let mut cutter = cutter(Framing::Length(LengthPrefix { signed: true, ..LengthPrefix::U32 }));
    cutter.append(&[0, 0, 0, 1, b'x', 0xff, 0xff, 0xff, 0xff]);
    let block = cutter.cut().expect("the first frame is whole").expect("one frame");
    assert_eq!(payloads(&block), [b"x"]);
    let error = Err(FramingError::Negative { length: -1, cap: CAP });
    assert_eq!(cutter.cut().map(|_| ()), error);
    assert_eq!(cutter.cut().map(|_| ()), error);
}

#[test]
fn a_stream_ending_inside_a_prefixed_frame_is_truncated() {
    let cases: [(&[u8], usize, usize); 3] = [(&[0, 0], 2, 4), (&[0, 0, 0, 9], 4, 13), (&[0, 0, 0, 9, 1, 1], 6, 13)];
    for (stream, have, need) in cases {
        let result = cut_all(&mut cutter(Framing::Length(LengthPrefix::U32)), &[stream]);
        assert_eq!(result, Err(FramingError::Truncated { have, need }));
    }
}

#[test]
fn an_unterminated_line_is_a_frame_at_the_end_but_lost_when_reading_stops() {
    let mut at_end = cutter(lines(b"\n"));
    assert_eq!(cut_all(&mut at_end, &[b"a\nb"]), Ok(vec![b"a".to_vec(), b"b".to_vec()]));
    let mut stopped = cutter(lines(b"\n"));
    stopped.append(b"a\nbc");
    assert!(matches!(stopped.cut(), Ok(Some(_))));
    assert!(matches!(stopped.cut(), Ok(None)));
    assert_eq!(stopped.abandon(), Err(FramingError::Unterminated { have: 2 }));
}

#[test]
fn a_line_may_be_as_long_as_the_cap_and_no_longer() {
    let line = vec![b'x'; CAP];
    for delimiter in [b"\n".as_slice(), b"\r\n"] {
        let longest = [&line, delimiter].concat();
        assert_eq!(
            cut_all(&mut cutter(Framing::Delimiter(Bytes::copy_from_slice(delimiter))), &[&longest]),
            Ok(vec![line.clone()])
        );
        // Also when the delimiter comes in its own time.
        let mut split = cutter(Framing::Delimiter(Bytes::copy_from_slice(delimiter)));
        let pieces: Vec<&[u8]> = longest.chunks(1).collect();
        assert_eq!(cut_all(&mut split, &pieces), Ok(vec![line.clone()]));
    }
    let too_long = [line.as_slice(), b"x\n"].concat();
    let error = Err(FramingError::Undelimited { length: CAP + 1, cap: CAP });
    assert_eq!(cut_all(&mut cutter(lines(b"\n")), &[&too_long]), error);
    assert_eq!(cut_all(&mut cutter(lines(b"\n")), &[&too_long[..=CAP]]), error);
}

#[test]
fn blocks_are_closed_at_their_weight() {
    let mut cutter = Cutter::new(lines(b"\n"), CAP, 4 * (1 + FRAME_OVERHEAD));
    cutter.append(&b"a\n".repeat(10));
    let mut sizes = Vec::new();
    while let Some(block) = cutter.cut().expect("lines have no bad header") {
        sizes.push(block.spans.len());
    }
    assert_eq!(sizes, [4, 4, 2]);
}
