//! The messages a sink still answers for. No I/O: it says what to write next, is told how far that went, and can go back.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::sink_chunk::SinkChunk;

/// What a step forward newly completed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes written for the first time.
    pub(crate) bytes: usize,
    /// Messages whose last byte was written for the first time.
    pub(crate) messages: usize,
}

/// A chunk and where it stands in the stream of everything this sink ever got.
#[derive(Debug)]
struct Entry {
    chunk: SinkChunk,
    /// Position of its first byte.
    start: u64,
    /// Number of its first message.
    first_message: u64,
}

impl Entry {
    fn end(&self) -> u64 {
        self.start + self.chunk.bytes.len() as u64
    }
}

/// A place between two bytes.
#[derive(Debug, Default, Clone, Copy)]
struct Cursor {
    /// Index into `entries` of the chunk it is in, or one past the last.
    entry: usize,
    /// Index in that chunk of the message it is in.
    message: usize,
    /// Position in the stream of that message's start.
    message_start: u64,
    /// Its own position in the stream.
    position: u64,
}

/// Chunks from the first one not wholly acknowledged to the last one queued, with a cursor for what is written.
/// Positions count all bytes ever queued.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: VecDeque<Entry>,
    cursor: Cursor,
    /// Position after the last byte queued.
    end: u64,
    /// Messages ever queued.
    messages: u64,
    /// Position up to which writing has been reported.
    reported: u64,
    /// Messages reported as written.
    reported_messages: u64,
}

impl Outbox {
    /// Queues a chunk, whose lengths add up to its bytes.
    pub(crate) fn push(&mut self, chunk: SinkChunk) {
        let messages = chunk.lengths.len() as u64;
        let entry = Entry { start: self.end, first_message: self.messages, chunk };
        debug_assert_eq!(
            entry.chunk.lengths.iter().map(|length| u64::from(*length)).sum::<u64>(),
            entry.end() - entry.start,
            "lengths are those of the messages in the chunk"
        );
        self.end = entry.end();
        self.messages += messages;
        self.entries.push_back(entry);
    }

    /// Position of the next byte to write.
    pub(crate) fn position(&self) -> u64 {
        self.cursor.position
    }

    /// Bytes queued and not written.
    pub(crate) fn unwritten(&self) -> u64 {
        self.end - self.cursor.position
    }

    /// Whether every message queued is written. Empty messages count: they are written by [`Self::advance`] of 0.
    pub(crate) fn is_written(&self) -> bool {
        self.cursor.entry == self.entries.len()
    }

    /// Bytes left of a message that is partly written; 0 at a message boundary.
    pub(crate) fn rest_of_message(&self) -> u64 {
        let Some(entry) = self.entries.get(self.cursor.entry) else { return 0 };
        let length = u64::from(entry.chunk.lengths.get(self.cursor.message).copied().unwrap_or(0));
        match self.cursor.position - self.cursor.message_start {
            0 => 0,
            written => length - written,
        }
    }

    /// Fills `slices` with what to write next, at most `limit` bytes, and says how many of them are filled.
    pub(crate) fn gather<'outbox>(&'outbox self, slices: &mut [IoSlice<'outbox>], limit: u64) -> usize {
        let mut room = limit;
        let mut count = 0;
        let mut position = self.cursor.position;
        for entry in self.entries.range(self.cursor.entry..) {
            if count == slices.len() || room == 0 {
                break;
            }
            let bytes = &entry.chunk.bytes[(position - entry.start) as usize..];
            let bytes = &bytes[..bytes.len().min(room as usize)];
            position = entry.end();
            if !bytes.is_empty() {
                room -= bytes.len() as u64;
                slices[count] = IoSlice::new(bytes);
                count += 1;
            }
        }
        count
    }

    /// `count` more bytes are written.
    pub(crate) fn advance(&mut self, count: usize) -> Progress {
        let cursor = &mut self.cursor;
        cursor.position += count as u64;
        while let Some(entry) = self.entries.get(cursor.entry) {
            match entry.chunk.lengths.get(cursor.message) {
                Some(length) if cursor.message_start + u64::from(*length) <= cursor.position => {
                    cursor.message_start += u64::from(*length);
                    cursor.message += 1;
                }
                Some(_) => break,
                None => {
                    cursor.entry += 1;
                    cursor.message = 0;
                }
            }
        }
        let written_messages = match self.entries.get(cursor.entry) {
            Some(entry) => entry.first_message + cursor.message as u64,
            None => self.messages,
        };
        let progress = Progress {
            bytes: cursor.position.saturating_sub(self.reported) as usize,
            messages: written_messages.saturating_sub(self.reported_messages) as usize,
        };
        self.reported = self.reported.max(cursor.position);
        self.reported_messages = self.reported_messages.max(written_messages);
        progress
    }

    /// Messages ever queued that end before `position`, which is behind what was dropped.
    pub(crate) fn messages_before(&self, position: u64) -> u64 {
        let Some(entry) = self.entries.iter().find(|entry| entry.end() > position) else { return self.messages };
        let mut end = entry.start;
        let is_before = |length: &&u32| {
            end += u64::from(**length);
            end <= position
        };
        entry.first_message + entry.chunk.lengths.iter().take_while(is_before).count() as u64
    }

    /// Everything before `position` has arrived: whole chunks of it are dropped.
    pub(crate) fn acknowledge(&mut self, position: u64) {
        while self.cursor.entry > 0 && self.entries.front().is_some_and(|entry| entry.end() <= position) {
            self.entries.pop_front();
            self.cursor.entry -= 1;
        }
    }

    /// Only bytes before `position` have arrived: writing goes on at the start of the first message that did not arrive whole.
    pub(crate) fn rewind(&mut self, position: u64) {
        self.acknowledge(position);
        let start = self.entries.front().map_or(self.end, |entry| entry.start);
        self.cursor = Cursor { entry: 0, message: 0, message_start: start, position: start };
        let Some(entry) = self.entries.front() else { return };
        for length in &entry.chunk.lengths {
            let end = self.cursor.message_start + u64::from(*length);
            if end > position {
                break;
            }
            self.cursor.message += 1;
            self.cursor.message_start = end;
        }
        self.cursor.position = self.cursor.message_start;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn chunk(messages: &[&str]) -> SinkChunk {
        SinkChunk {
            bytes: Bytes::from(messages.concat()),
            lengths: messages.iter().map(|message| message.len() as u32).collect(),
        }
    }

    fn outbox(chunks: &[&[&str]]) -> Outbox {
        let mut outbox = Outbox::default();
        for messages in chunks {
            outbox.push(chunk(messages));
        }
        outbox
    }

    fn gathered(outbox: &Outbox, limit: u64) -> String {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = outbox.gather(&mut slices, limit);
        slices[..count].iter().map(|slice| String::from_utf8_lossy(slice)).collect()
    }

    #[test]
    fn gathers_across_chunks_up_to_a_limit() {
        let mut outbox = outbox(&[&["one", "two"], &[""], &["three"]]);
        assert_eq!(gathered(&outbox, 100), "onetwothree");
        assert_eq!(gathered(&outbox, 7), "onetwot");
        outbox.advance(4);
        assert_eq!(gathered(&outbox, 100), "wothree");
        assert_eq!(outbox.rest_of_message(), 2);
        outbox.advance(2);
        assert_eq!(outbox.rest_of_message(), 0);
    }

    #[test]
    fn progress_counts_whole_messages_once() {
        let mut outbox = outbox(&[&["one", "two"], &["three"]]);
        assert_eq!(outbox.advance(4), Progress { bytes: 4, messages: 1 });
        assert_eq!(outbox.advance(5), Progress { bytes: 5, messages: 1 });
        outbox.rewind(4);
        assert_eq!(gathered(&outbox, 100), "twothree");
        assert_eq!(outbox.advance(7), Progress { bytes: 1, messages: 0 });
        assert_eq!(outbox.advance(1), Progress { bytes: 1, messages: 1 });
        assert!(outbox.is_written());
    }

    #[test]
    fn empty_messages_are_written_without_a_byte() {
        let mut outbox = outbox(&[&["", ""]]);
        assert!(!outbox.is_written());
        assert_eq!(outbox.advance(0), Progress { bytes: 0, messages: 2 });
        assert!(outbox.is_written());
    }

    #[test]
    fn messages_are_counted_by_their_ends() {
        let mut outbox = outbox(&[&["one", "two"], &["three"]]);
        assert_eq!([0, 2, 3, 5, 6, 11].map(|position| outbox.messages_before(position)), [0, 0, 1, 1, 2, 3]);
        outbox.advance(7);
        outbox.acknowledge(6);
        assert_eq!([6, 10, 11].map(|position| outbox.messages_before(position)), [2, 2, 3]);
    }

    #[test]
    fn acknowledged_chunks_are_forgotten() {
        let mut outbox = outbox(&[&["one"], &["two"], &["three"]]);
        outbox.advance(7);
        outbox.acknowledge(5);
        assert_eq!(outbox.entries.len(), 2);
        outbox.acknowledge(7);
        assert_eq!(outbox.entries.len(), 1);
        assert_eq!(gathered(&outbox, 100), "hree");
        outbox.rewind(7);
        assert_eq!(gathered(&outbox, 100), "three");
    }

    proptest! {
        /// Whatever is written, lost and acknowledged in between: each peer gets whole messages in order, from the first
        /// one its predecessor did not wholly get, and the reports add up.
        #[test]
        fn nothing_is_lost_and_nothing_acknowledged_comes_again(
            chunks in prop::collection::vec(prop::collection::vec("[a-z]{0,5}", 0..5), 0..10),
            connections in prop::collection::vec((0_usize..40, any::<prop::sample::Index>()), 0..10),
        ) {
            let mut outbox = Outbox::default();
            for messages in &chunks {
                outbox.push(chunk(&messages.iter().map(String::as_str).collect::<Vec<_>>()));
            }
            let messages = chunks.concat();
            let whole = messages.concat();
            let mut total = Progress::default();
            let mut add = |progress: Progress| {
                total.bytes += progress.bytes;
                total.messages += progress.messages;
            };
            for (write, acknowledged) in connections {
                let before = outbox.position() as usize;
                let write = write.min(whole.len() - before);
                prop_assert_eq!(gathered_all(&outbox), &whole[before..]);
                add(outbox.advance(write));
                let acknowledged = before + acknowledged.index(write + 1);
                outbox.acknowledge(acknowledged as u64);
                outbox.rewind(acknowledged as u64);
                let ends = messages.iter().scan(0, |end, message| { *end += message.len(); Some(*end) });
                let boundary = ends.take_while(|end| *end <= acknowledged).last().unwrap_or(0);
                prop_assert_eq!(outbox.position() as usize, boundary);
            }
            add(outbox.advance(outbox.unwritten() as usize));
            prop_assert!(outbox.is_written());
            prop_assert_eq!(total, Progress { bytes: whole.len(), messages: messages.len() });
        }
    }

    fn gathered_all(outbox: &Outbox) -> String {
        let mut slices = [IoSlice::new(&[]); 64];
        let count = outbox.gather(&mut slices, u64::MAX);
        slices[..count].iter().map(|slice| String::from_utf8_lossy(slice)).collect()
    }
}
