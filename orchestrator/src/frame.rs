//! Frames as a source cuts them from a stream: spans of the bytes that were read. Sources make them, the engine queues them.

use bytes::Bytes;

use crate::position::{FilePosition, Position, StreamName};

/// Where one frame lies in its block, header excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset past the last byte.
    pub end: u32,
}

/// Frames cut from one read of one connection. Frames are spans of `data`: nothing is allocated per frame.
#[derive(Debug, Clone)]
pub struct FrameBlock {
    /// The bytes read, headers and delimiters included.
    pub data: Bytes,
    /// The frames, in stream order.
    pub spans: Vec<Span>,
    /// Where they lie in what the source reads.
    pub place: Place,
}

/// Where the frames of a block lie in what their source reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Place {
    /// It does not matter: the source cannot go on there.
    #[default]
    Unknown,
    /// In a file.
    File {
        /// Where `data` begins.
        before: FilePosition,
        /// Bytes after each frame that end it, but for the last one of the file, which may lack them.
        after: u32,
    },
    /// In a client's stream of messages.
    Stream {
        /// The stream.
        stream: StreamName,
        /// Messages before the first frame.
        before: u64,
    },
    /// In a partition of a connector: each frame is between the length of its mark, [`MARK_LENGTH`] bytes in big-endian order, and its
    /// mark.
    Partition {
        /// The partition.
        partition: StreamName,
        /// Messages before the first frame.
        before: u64,
    },
}

/// Bytes of the length of a mark.
pub const MARK_LENGTH: usize = 4;

/// Bytes charged for a frame beyond its own, so that a flood of empty frames is bounded too.
pub const FRAME_OVERHEAD: usize = 16;

/// Bytes charged for a block beyond its frames: its entry in a queue, and what its two allocations cost. Slow clients send blocks of
/// one frame.
pub const BLOCK_OVERHEAD: usize = 256;

impl FrameBlock {
    /// Where the source goes on behind frame `index`.
    pub fn position_after(&self, index: usize) -> Position {
        match &self.place {
            Place::Unknown => Position::Unknown,
            Place::File { before, after } => {
                let end = (self.spans[index].end + after) as usize;
                Position::File(before.after(end.min(self.data.len()) as u64))
            }
            Place::Stream { stream, before } => Position::in_stream(stream.clone(), before + index as u64 + 1),
            Place::Partition { partition, before } => {
                Position::in_partition(partition.clone(), before + index as u64 + 1, self.mark_of(index))
            }
        }
    }

    /// Finds the marks of frames that came with them. Returns the first frame that has none.
    pub fn split_marks(&mut self) -> Result<(), usize> {
        for (index, span) in self.spans.iter_mut().enumerate() {
            let start = span.start as usize + MARK_LENGTH;
            let length = self.data.get(span.start as usize..start).and_then(|bytes| bytes.first_chunk());
            let length = length.map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes));
            match span.end.checked_sub(length) {
                Some(end) if end as usize >= start => *span = Span { start: start as u32, end },
                _ => return Err(index),
            }
        }
        Ok(())
    }

    /// The mark of frame `index`, once they are split.
    pub fn mark_of(&self, index: usize) -> Bytes {
        let Span { start, end } = self.spans[index];
        let length = &self.data[start as usize - MARK_LENGTH..start as usize];
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        // A copy: a mark that is kept must not keep what was read with it.
        Bytes::copy_from_slice(&self.data[end as usize..end as usize + length])
    }

    /// What this block weighs in a byte-bounded queue: its frames' bytes, [`FRAME_OVERHEAD`] for each, and [`BLOCK_OVERHEAD`].
    pub fn weight(&self) -> usize {
        let weight = |span: &Span| (span.end - span.start) as usize + FRAME_OVERHEAD;
        BLOCK_OVERHEAD + self.spans.iter().map(weight).sum::<usize>()
    }
}
