use proptest::prelude::*;

use super::*;
use crate::key;

/// Whether `part` lies in the memory of `whole`.
fn shares_memory(part: &Bytes, whole: &Bytes) -> bool {
    part.is_empty() || whole.as_ptr_range().contains(&part.as_ptr())
}

proptest! {
    #[test]
    fn frames_round_trip_without_copying(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..40),
    ) {
        let input = super::frames(frames.iter().map(Vec::as_slice));
        let parsed = parse_frames(&input).unwrap();
        prop_assert_eq!(&parsed, &frames);
        prop_assert!(parsed.iter().all(|frame| shares_memory(frame, &input)));
    }

    #[test]
    fn groups_round_trip_without_copying(
        parts in prop::collection::vec((any::<i64>(), any::<u32>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..300)), 0..40),
    ) {
        let groups: Vec<Group> = parts
            .iter()
            .map(|(number, count, codec, values)| Group::new(&key::from_int(*number), *count, *codec, values))
            .collect();
        let input = super::groups(&groups);
        let parsed = parse_groups(&input).unwrap();
        prop_assert_eq!(&parsed, &groups);
        prop_assert!(parsed.iter().all(|group| shares_memory(&group.raw, &input)));
        for (group, (number, count, codec, values)) in parsed.iter().zip(&parts) {
            prop_assert_eq!(group.key(), key::from_int(*number));
            prop_assert_eq!((group.count, group.codec()), (*count, *codec));
            prop_assert_eq!(group.values(), values);
        }
    }

    #[test]
    fn numbers_and_stream_bytes_round_trip(most in any::<u32>(), stream in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(parse_generate(&generate(most)).unwrap(), most);
        prop_assert_eq!(parse_cut(&cut(&stream)).unwrap(), stream);
    }
}

#[test]
fn building_does_not_grow_its_buffer() {
    let frames = vec![vec![1_u8; 70_000]; 20];
    let input = super::frames(frames.iter().map(Vec::as_slice));
    let capacity = Vec::from(input.clone()).capacity();
    assert!(capacity <= input.len() + (frames.len() + 1) * LONGEST_HEADER, "{capacity} for {}", input.len());
}

#[test]
fn an_input_of_another_kind_is_refused() {
    let half_a_group = Bytes::from_static(&[0x92, 0xa1, b'k', 0x01]);
    assert!(matches!(parse_groups(&half_a_group), Err(ProtocolError::ElementCount { found: 2, multiple: 4, .. })));
    assert!(matches!(parse_frames(&generate(3)), Err(ProtocolError::FieldType { field: "input", .. })));
    assert!(matches!(parse_generate(&cut(b"x")), Err(ProtocolError::FieldType { field: "input", .. })));
    assert!(matches!(parse_cut(&super::frames([])), Err(ProtocolError::FieldType { field: "input", .. })));
    let two = Bytes::from_static(&[0x90, 0x90]);
    assert!(matches!(parse_frames(&two), Err(ProtocolError::TrailingBytes { count: 1, .. })));
}
