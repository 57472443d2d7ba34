use super::*;

fn skip(encoded: &[u8], levels: usize) -> Result<Bytes, ProtocolError> {
    let mut reader = Reader::new(Bytes::copy_from_slice(encoded), "test");
    let value = reader.value(levels, "value")?;
    reader.finish()?;
    Ok(value)
}

/// `depth` nested arrays of one element each.
fn nested(depth: usize) -> Vec<u8> {
    let mut encoded = vec![0x91; depth - 1];
    encoded.push(0x90);
    encoded
}

#[test]
fn every_kind_of_value_is_stepped_over_exactly() {
    let values: &[&[u8]] = &[
        &[0x00],
        &[0xe0],
        &[0xc0],
        &[0xc2],
        &[0xc3],
        &[0xcc, 1],
        &[0xd0, 1],
        &[0xcd, 1, 2],
        &[0xd1, 1, 2],
        &[0xce, 1, 2, 3, 4],
        &[0xd2, 1, 2, 3, 4],
        &[0xca, 1, 2, 3, 4],
        &[0xcf, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0xd3, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0xcb, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0xa0],
        &[0xa1, 1],
        &[0xd9, 1, 1],
        &[0xda, 0, 1, 1],
        &[0xdb, 0, 0, 0, 1, 1],
        &[0xc4, 1, 1],
        &[0xc5, 0, 1, 1],
        &[0xc6, 0, 0, 0, 1, 1],
        &[0x90],
        &[0x91, 1],
        &[0xdc, 0, 1, 1],
        &[0xdd, 0, 0, 0, 1, 1],
        &[0x80],
        &[0x81, 1, 1],
        &[0xde, 0, 1, 1, 1],
        &[0xdf, 0, 0, 0, 1, 1, 1],
        &[0xc7, 1, 9, 1],
        &[0xc8, 0, 1, 9, 1],
        &[0xc9, 0, 0, 0, 1, 9, 1],
        &[0xd4, 9, 1],
        &[0xd5, 9, 1, 2],
        &[0xd6, 9, 1, 2, 3, 4],
        &[0xd7, 9, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0xd8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x93, 0x92, 1, 2, 0x81, 1, 0x90, 0xc0],
    ];
    for value in values {
        assert_eq!(skip(value, 0).expect("one value"), *value);
        let longer = [value, &[0xc0][..]].concat();
        let error = skip(&longer, 0).expect_err("a byte follows");
        assert!(matches!(error, ProtocolError::TrailingBytes { count: 1, .. }), "{value:x?}: {error}");
        let error = skip(&value[..value.len() - 1], 0).expect_err("a byte is missing");
        assert!(
            matches!(error, ProtocolError::Truncated { .. } | ProtocolError::TooManyElements { .. }),
            "{value:x?}: {error}"
        );
    }
}

#[test]
fn nesting_ends_at_the_same_depth_wherever_a_value_lies() {
    for levels in 0..MAX_NESTING {
        let deepest = nested(MAX_NESTING - levels);
        assert_eq!(skip(&deepest, levels).expect("as deep as allowed"), deepest);
        let error = skip(&nested(MAX_NESTING - levels + 1), levels).expect_err("too deep");
        assert!(matches!(error, ProtocolError::TooDeep { message: "test", field: "value" }), "{error}");
    }
    assert!(matches!(skip(&nested(1_000_000), 0), Err(ProtocolError::TooDeep { .. })));
}

#[test]
fn depth_counts_what_is_open_not_what_has_been_closed() {
    let mut siblings = vec![0xdc, 0, 100];
    siblings.extend(std::iter::repeat_n(nested(MAX_NESTING - 1), 100).flatten());
    assert_eq!(skip(&siblings, 0).expect("deep siblings"), siblings);
}

#[test]
fn a_count_above_what_remains_is_refused_before_it_is_used() {
    let cases: &[(&[u8], u64)] = &[
        (&[0x92, 1], 2),
        (&[0xdd, 0xff, 0xff, 0xff, 0xff, 1], u64::from(u32::MAX)),
        (&[0x81, 1], 2),
        (&[0xdf, 0xff, 0xff, 0xff, 0xff, 1], 2 * u64::from(u32::MAX)),
    ];
    for (encoded, expected) in cases {
        let error = skip(encoded, 0).expect_err("a lie");
        let ProtocolError::TooManyElements { announced, remaining: 1, .. } = error else {
            panic!("{encoded:x?}: {error}");
        };
        assert_eq!(announced, *expected);
    }
}

#[test]
fn a_type_number_is_a_positive_fixint() {
    let written_long = Reader::open(Bytes::from_static(&[0x91, 0xcc, 0x08])).expect_err("written long");
    assert_eq!(written_long.to_string(), "message: `type` must be a positive fixint, found a uint");
    let nothing = Reader::open(Bytes::new()).expect_err("no body");
    assert!(matches!(nothing, ProtocolError::Truncated { .. }), "{nothing}");
}

#[test]
fn errors_say_where_and_what() {
    let mut reader = Reader::new(Bytes::from_static(&[0xa1, 0x78]), "result");
    let error = reader.uint("batch").expect_err("a str");
    assert_eq!(error.to_string(), "result: `batch` must be a uint, found a str");
    let mut reader = Reader::new(Bytes::from_static(&[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]), "result");
    let error = reader.uint32("outlet").expect_err("2^32");
    assert_eq!(error.to_string(), "result: `outlet` must be a uint of 32 bits, found a larger one");
    let mut reader = Reader::new(Bytes::from_static(&[0xc1]), "batch");
    let error = reader.bin("input").expect_err("no MessagePack");
    assert_eq!(error.to_string(), "batch: `input` is not MessagePack");
}
