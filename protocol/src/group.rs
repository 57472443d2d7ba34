//! Groups: all values of one key inside a batch, as the four elements `key, count, codec, values` of a flat array.

use bytes::Bytes;

use crate::{EventTime, ProtocolError, reader::Reader, writer::Writer};

/// Elements of one group in a flat array.
pub(crate) const GROUP_ELEMENTS: usize = 4;

/// The smallest group: a key, a count and a codec of one byte each, and an empty bin.
const LEAST_BYTES: usize = 5;

/// The encoding of a timer: the watermark, eight bytes.
const TIMER: u32 = 15;
/// Bit of an encoding: the event times of the values come before the values, eight bytes each.
const TIMES: u32 = 16;
/// Bit of an encoding: a watermark for each value comes after the event times and before the values.
const WATERMARKS: u32 = 32;

/// One group in encoded form. To pass it on, copy `raw`; the values are never read.
///
/// Only the decoders and [`Group::new`] create groups. They ensure that `raw` is whole and that the other fields match
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// The four elements, encoded, as one slice of the frame they arrived in. Keeping it keeps that frame.
    pub raw: Bytes,
    /// How many bytes of `raw` are the key.
    pub key_length: u32,
    /// How many values the group holds.
    pub count: u32,
}

impl Group {
    /// Encodes a group. `key` is an encoded key, `values` the payload of the bin.
    pub fn new(key: &[u8], count: u32, codec: u32, values: &[u8]) -> Self {
        let mut writer = Writer::with_capacity(key.len() + values.len() + 15);
        writer.raw(key);
        writer.uint(count.into());
        writer.uint(codec.into());
        writer.bin(values);
        Self { raw: writer.finish(), key_length: key.len() as u32, count }
    }

    /// Encodes a timer for a key: its windows that are complete at `watermark` give their outputs.
    pub fn timer(key: &[u8], watermark: EventTime) -> Self {
        Self::new(key, 1, TIMER, &watermark.0.to_le_bytes())
    }

    /// The encoded key.
    pub fn key(&self) -> &[u8] {
        &self.raw[..self.key_length as usize]
    }

    /// The encoded key, sharing the frame's memory.
    pub fn key_bytes(&self) -> Bytes {
        self.raw.slice(..self.key_length as usize)
    }

    /// Length of the encoded group in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a group is never empty")]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// The encoding of the values.
    pub fn codec(&self) -> u32 {
        self.codec_and_values().0
    }

    /// The encoded values.
    pub fn values(&self) -> Bytes {
        self.codec_and_values().1
    }

    /// Whether it is a timer.
    pub fn is_timer(&self) -> bool {
        self.codec() == TIMER
    }

    /// The watermark that a timer carries.
    pub fn watermark(&self) -> Option<EventTime> {
        let (codec, values) = self.codec_and_values();
        let bytes = values.as_ref().try_into().ok().filter(|_| codec == TIMER)?;
        Some(EventTime(i64::from_le_bytes(bytes)))
    }

    /// Encoding and encoded values, without the times that come before them. For a timer: 0 and empty.
    pub fn untimed(&self) -> (u32, Bytes) {
        let (codec, mut values) = self.codec_and_values();
        if codec == TIMER {
            return (0, Bytes::new());
        }
        let columns = usize::from(codec & TIMES != 0) + usize::from(codec & WATERMARKS != 0);
        let times = (columns * size_of::<EventTime>()).saturating_mul(self.count as usize);
        (codec & !(TIMES | WATERMARKS), values.split_off(times.min(values.len())))
    }

    fn codec_and_values(&self) -> (u32, Bytes) {
        let mut reader = Reader::new(self.raw.slice(self.key_length as usize..), "group");
        let mut read = || {
            reader.uint32("count")?;
            Ok::<_, ProtocolError>((reader.uint32("codec")?, reader.bin("values")?))
        };
        read().expect("a group was checked when it was made")
    }
}

/// Reads a flat array of groups.
pub(crate) fn read_groups(reader: &mut Reader, field: &'static str) -> Result<Vec<Group>, ProtocolError> {
    let count = reader.records(GROUP_ELEMENTS, field)?;
    let mut groups = Vec::with_capacity(count.min(reader.remaining() / LEAST_BYTES));
    for _ in 0..count {
        let start = reader.position();
        let key_length = reader.skip_key("key")? as u32;
        let count = reader.uint32("count")?;
        reader.uint32("codec")?;
        reader.skip_bin("values")?;
        groups.push(Group { raw: reader.since(start), key_length, count });
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key;

    #[test]
    fn a_group_gives_back_what_it_was_made_of() {
        let key = key::tuple(&[key::from_int(7), key::from_str("x")]);
        let values = vec![3; 70_000];
        let group = Group::new(&key, 300, 2, &values);
        assert_eq!((group.key(), group.key_bytes()), (&key[..], key.clone()));
        assert_eq!((group.count, group.codec(), group.len()), (300, 2, group.raw.len()));
        assert_eq!(group.values(), values);
        assert_eq!(group.untimed(), (2, values.into()));
    }

    #[test]
    fn times_are_no_part_of_the_values() {
        let timed = |codec, values: &[u8]| Group::new(&key::nil(), 2, codec, values).untimed();
        assert_eq!(timed(16 | 1, &[7; 19]), (1, vec![7; 3].into()));
        assert_eq!(timed(16 | 32 | 2, &[7; 35]), (2, vec![7; 3].into()));
        assert_eq!(timed(16 | 1, &[7; 3]), (1, Bytes::new()), "too short for its times");
    }
}
