//! Inputs of batches, one form for each [`InputKind`](crate::InputKind). A [`Batch`](crate::Batch) carries its input
//! encoded: it is built once, kept by the ledger, and sent any number of times.

use bytes::Bytes;

use crate::group::{GROUP_ELEMENTS, read_groups};
use crate::{Group, ProtocolError, reader::Reader, writer::Writer};

/// The longest header MessagePack puts before an array or a bin.
const LONGEST_HEADER: usize = 5;

/// The input of a `frames` stage: an array of bin. Iterates over the frames twice, first to measure them.
pub fn frames<'a, I>(frames: I) -> Bytes
where
    I: IntoIterator<Item = &'a [u8]>,
    I::IntoIter: Clone,
{
    let frames = frames.into_iter();
    let (count, bytes) = frames
        .clone()
        .fold((0, LONGEST_HEADER), |(count, bytes), frame| (count + 1, bytes + frame.len() + LONGEST_HEADER));
    let mut writer = Writer::with_capacity(bytes);
    writer.array(count);
    for frame in frames {
        writer.bin(frame);
    }
    writer.finish()
}

/// The input of a `groups` stage: the encoded groups after an array header.
pub fn groups(groups: &[Group]) -> Bytes {
    let bytes: usize = groups.iter().map(Group::len).sum();
    let mut writer = Writer::with_capacity(LONGEST_HEADER + bytes);
    writer.array(groups.len() * GROUP_ELEMENTS);
    for group in groups {
        writer.raw(&group.raw);
    }
    writer.finish()
}

/// The input of a `generate` stage: the greatest number of values wanted.
pub fn generate(most: u32) -> Bytes {
    let mut writer = Writer::with_capacity(LONGEST_HEADER);
    writer.uint(most.into());
    writer.finish()
}

/// The input of a `cut` stage: the unconsumed bytes of one connection.
pub fn cut(stream: &[u8]) -> Bytes {
    let mut writer = Writer::with_capacity(LONGEST_HEADER + stream.len());
    writer.bin(stream);
    writer.finish()
}

/// The frames of a `frames` input, as slices of it.
pub fn parse_frames(input: &Bytes) -> Result<Vec<Bytes>, ProtocolError> {
    parse(input, |reader| {
        let count = reader.array("input")?;
        (0..count).map(|_| reader.bin("frame")).collect()
    })
}

/// The groups of a `groups` input, as slices of it.
pub fn parse_groups(input: &Bytes) -> Result<Vec<Group>, ProtocolError> {
    parse(input, |reader| read_groups(reader, "input"))
}

/// The number of values that a `generate` input asks for.
pub fn parse_generate(input: &Bytes) -> Result<u32, ProtocolError> {
    parse(input, |reader| reader.uint32("input"))
}

/// The stream bytes of a `cut` input, as a slice of it.
pub fn parse_cut(input: &Bytes) -> Result<Bytes, ProtocolError> {
    parse(input, |reader| reader.bin("input"))
}

fn parse<T>(input: &Bytes, read: impl FnOnce(&mut Reader) -> Result<T, ProtocolError>) -> Result<T, ProtocolError> {
    let mut reader = Reader::new(input.clone(), "batch");
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

#[cfg(test)]
mod tests;
