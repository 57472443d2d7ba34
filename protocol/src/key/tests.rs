use proptest::prelude::*;

use super::*;

/// A key other than nil, with any nesting within the limit.
fn part() -> impl Strategy<Value = Part> {
    let scalar = prop_oneof![
        any::<i64>().prop_map(Part::Int),
        (-200_i64..200).prop_map(Part::Int),
        ".{0,40}".prop_map(Part::Str),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Part::Bin),
    ];
    scalar.prop_recursive(4, 60, 20, |inner| prop::collection::vec(inner, 0..20).prop_map(Part::Tuple))
}

fn encode(part: &Part) -> Bytes {
    encoded(|writer| part.write(writer))
}

proptest! {
    #[test]
    fn keys_round_trip(part in part()) {
        let encoded = encode(&part);
        prop_assert_eq!(validate(&encoded), Ok(()));
        prop_assert_eq!(Part::parse(&encoded).unwrap(), part.clone());
        let key = Key::new(encoded.clone()).unwrap();
        let again: Key = rmp_serde::from_slice(&rmp_serde::to_vec(&key).unwrap()).unwrap();
        prop_assert_eq!(again, key);
    }

    #[test]
    fn a_key_has_one_encoding(one in part(), other in part()) {
        prop_assert_eq!(one == other, encode(&one) == encode(&other));
    }

    #[test]
    fn scanning_a_prefix_finds_the_key_and_nothing_shorter_is_one(part in part(), after in prop::collection::vec(any::<u8>(), 1..9)) {
        let encoded = encode(&part);
        let longer = [&encoded[..], &after].concat();
        prop_assert_eq!(scan(&longer), Ok(encoded.len()));
        prop_assert_eq!(validate(&longer), Err(KeyError::TrailingBytes { count: after.len() }));
        for length in 0..encoded.len() {
            prop_assert!(scan(&encoded[..length]).is_err(), "{} of {} bytes", length, encoded.len());
        }
    }
}

/// Writes each number in every width that can hold it, signed and unsigned: only the shortest encoding is a key.
#[test]
fn an_int_in_any_other_width_is_refused() {
    let around_limits = [7, 8, 15, 16, 31, 32, 63].into_iter().flat_map(|bits| {
        let limit = 1_i128 << bits;
        (-2..=2).flat_map(move |distance| [limit + distance, -limit + distance])
    });
    let numbers = (-300..300).chain(around_limits).filter_map(|number| i64::try_from(number).ok());
    for number in numbers {
        let shortest = from_int(number);
        assert_eq!(validate(&shortest), Ok(()), "{number}");
        for (unsigned, signed, size) in [(0xcc, 0xd0, 1), (0xcd, 0xd1, 2), (0xce, 0xd2, 4), (0xcf, 0xd3, 8)] {
            for marker in [unsigned, signed] {
                let written = [&[marker], &number.to_be_bytes()[8 - size..]].concat();
                if rmp_serde::from_slice::<i64>(&written).is_ok_and(|read| read == number) {
                    assert_eq!(validate(&written).is_ok(), written == shortest, "{number} as {written:x?}");
                }
            }
        }
    }
}

/// The partitions of keys are part of the protocol: these values never change.
#[test]
fn routing_is_stable() {
    let hashes = [
        (from_str("a"), 0x0975_4307_bc88_c470_u64),
        (from_str(""), 0xaf64_1d4c_2966_47b3),
        (from_bytes(b"a"), 0x35bf_e11c_33d4_fc69),
        (from_int(0), 0xaf63_bd4c_2962_0a93),
        (nil(), 0xaf64_7d4c_2966_8353),
        (tuple(&[from_int(1), from_str("x")]), 0x802f_7640_4256_c4ad),
    ];
    for (key, hash) in hashes {
        assert_eq!(format!("{:016x}", partition_hash(&key)), format!("{hash:016x}"), "{}", display(&key));
    }
}

/// Folding the high half into the low half spreads consecutive keys over all partitions.
#[test]
fn partitions_fill_evenly() {
    const KEYS: usize = 27_000;
    for partitions in [2_usize, 3, 16, 27, 256] {
        let mut filled = vec![0_usize; partitions];
        for number in 0..KEYS {
            let key = from_str(&format!("user-{number}"));
            filled[(partition_hash(&key) % partitions as u64) as usize] += 1;
        }
        let expected = KEYS / partitions;
        let (least, most) = (filled.iter().min().unwrap(), filled.iter().max().unwrap());
        assert!(*least * 2 > expected && *most < expected * 2, "{partitions} partitions: {least} to {most}");
    }
}

#[test]
fn what_is_no_key_is_shown_in_hex() {
    assert_eq!(display(&[0xca, 0x01]), "<no key: ca01>");
    assert_eq!(display(&[]), "<no key: >");
}

#[test]
fn keys_are_readable_in_json() {
    let key = Key::new(tuple(&[from_int(-1), from_bytes(&[0, 255]), from_str("x")])).unwrap();
    assert_eq!(serde_json::to_string(&key).unwrap(), r#"[-1,{"hex":"00ff"},"x"]"#);
    assert_eq!(key.to_string(), r"(-1, b'\x00\xff', 'x')");
}
