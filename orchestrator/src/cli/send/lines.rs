//! Encodes the lines of the input as messages on the wire.

use std::io::{self, BufRead};

use super::{Marking, WireFraming};

/// Messages ready to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch<'a> {
    /// What to write.
    pub(super) encoded: &'a [u8],
    /// The number of messages in it.
    pub(super) messages: u64,
    /// The bytes of input that were read for it.
    pub(super) read: u64,
}

/// Reads lines, each of which is a message. The last line may lack its newline.
#[derive(Debug)]
pub(super) struct Lines {
    marking: Marking,
    encoded: Vec<u8>,
    /// The start of a line whose end has not been read yet.
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn new(marking: Marking) -> Self {
        Self { marking, encoded: Vec::new(), line: Vec::new() }
    }

    /// The messages that one read yields: at least one, at most `limit`. `None` at the end of the input.
    pub(super) fn next(&mut self, reader: &mut impl BufRead, limit: u64) -> io::Result<Option<Batch<'_>>> {
        self.encoded.clear();
        let available = loop {
            match reader.fill_buf() {
                Ok(available) => break available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let (mut messages, mut read) = self.marking.encode(available, limit, &mut self.encoded);
        if messages > 0 {
            reader.consume(read);
        } else {
            self.line.clear();
            read = reader.read_until(b'\n', &mut self.line)?;
            if read == 0 {
                return Ok(None);
            }
            if self.line.last() != Some(&b'\n') {
                self.line.push(b'\n');
            }
            (messages, _) = self.marking.encode(&self.line, 1, &mut self.encoded);
        }
        Ok(Some(Batch { encoded: &self.encoded, messages, read: read as u64 }))
    }
}

impl Marking {
    /// Appends the whole lines of `text`, at most `limit`, to `encoded`. Returns their number and the bytes of `text` they
    /// take.
    fn encode(self, text: &[u8], limit: u64, encoded: &mut Vec<u8>) -> (u64, usize) {
        let (mut count, mut start) = (0, 0);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        for newline in memchr::memchr_iter(b'\n', text).take(limit) {
            // Lines that stay lines are copied as they are.
            if self != Self::Framed(WireFraming::Newline) {
                self.append(&text[start..newline], encoded);
            }
            count += 1;
            start = newline + 1;
        }
        if self == Self::Framed(WireFraming::Newline) {
            encoded.extend_from_slice(&text[..start]);
        }
        (count, start)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    fn all(framing: WireFraming, text: &[u8], capacity: usize, limit: u64) -> (Vec<u8>, u64, u64) {
        let mut reader = BufReader::with_capacity(capacity, text);
        let mut lines = Lines::new(Marking::Framed(framing));
        let (mut encoded, mut messages, mut read) = (Vec::new(), 0, 0);
        while let Some(batch) = lines.next(&mut reader, limit).expect("memory can be read") {
            assert!((1..=limit).contains(&batch.messages));
            encoded.extend_from_slice(batch.encoded);
            messages += batch.messages;
            read += batch.read;
        }
        (encoded, messages, read)
    }

    proptest! {
        #[test]
        fn every_line_is_a_message(
            text in prop::collection::vec(prop::sample::select(b"ab\n".as_slice()), 0..100),
            capacity in 1_usize..50,
            limit in 1_u64..10,
        ) {
            let mut expected: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
            if expected.last().is_some_and(|last| last.is_empty()) {
                expected.pop();
            }
            let newlines: Vec<u8> = expected.iter().flat_map(|line| [line, b"\n".as_slice()].concat()).collect();
            let prefixed: Vec<u8> = expected
                .iter()
                .flat_map(|line| [&(line.len() as u32).to_be_bytes(), *line].concat())
                .collect();
            let (count, size) = (expected.len() as u64, text.len() as u64);
            prop_assert_eq!(all(WireFraming::Newline, &text, capacity, limit), (newlines, count, size));
            prop_assert_eq!(all(WireFraming::U32, &text, capacity, limit), (prefixed, count, size));
        }
    }
}
