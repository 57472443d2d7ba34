//! Cutting a byte stream into frames. No I/O: bytes are put into [`Cutter::buffer`], blocks of whole frames come out.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;
use wallaroo_protocol::topology;

pub use wallaroo_protocol::topology::ByteOrder;

use crate::frame::{FRAME_OVERHEAD, FrameBlock, Place, Span};
use crate::limit::Limit;
use crate::position::FilePosition;

/// How one source's byte stream is divided into frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// A header holding the payload's length, then the payload.
    Length(LengthPrefix),
    /// Each frame ends with these bytes, which are not part of it. A topology's are never empty.
    Delimiter(Bytes),
    /// Only the application's decoder can find the frames: the stream is passed on as it is read, and a worker cuts it.
    Uncut {
        /// Bytes the decoder wants to see before it can tell a length.
        header: usize,
    },
}

/// A fixed-size header with an integer in it: payload length = that integer + `adjust`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthPrefix {
    /// Bytes of the whole header.
    pub header: usize,
    /// Bytes of the integer, 1 to 8. `offset + width` is at most `header`.
    pub width: usize,
    /// Where in the header the integer starts.
    pub offset: usize,
    /// Byte order of the integer.
    pub order: ByteOrder,
    /// Whether the integer is in two's complement.
    pub signed: bool,
    /// Added to the integer, for headers whose length counts more or less than the payload.
    pub adjust: i64,
}

impl From<&topology::Framing> for Framing {
    fn from(framing: &topology::Framing) -> Self {
        match framing {
            &topology::Framing::Length { header, width, offset, order, signed, adjust } => Self::Length(LengthPrefix {
                header: header as usize,
                width: width as usize,
                offset: offset as usize,
                order,
                signed,
                adjust,
            }),
            topology::Framing::Delimiter { delimiter } => Self::Delimiter(delimiter.clone()),
            topology::Framing::Decoder { header } => Self::Uncut { header: *header as usize },
        }
    }
}

impl LengthPrefix {
    /// The prefix that `send` and `receive` use: four bytes, big-endian, counting the payload.
    pub const U32: Self = Self { header: 4, width: 4, offset: 0, order: ByteOrder::Big, signed: false, adjust: 0 };

    /// The payload length announced by `header`, which may be negative or absurd: the caller compares it with its cap.
    fn payload_length(&self, header: &[u8]) -> i128 {
        let field = &header[self.offset..self.offset + self.width];
        let shift = |value: i128, byte: &u8| (value << 8) | i128::from(*byte);
        let unsigned = match self.order {
            ByteOrder::Big => field.iter().fold(0, shift),
            ByteOrder::Little => field.iter().rev().fold(0, shift),
        };
        let bits = self.width * 8;
        let negative = self.signed && unsigned >> (bits - 1) & 1 == 1;
        unsigned - if negative { 1 << bits } else { 0 } + i128::from(self.adjust)
    }
}

/// The stream cannot be cut any further. Its connection has to be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The header announces more than the cap. Nothing was allocated for it.
    #[error("a frame header announces {length} bytes, more than the cap of {cap}")]
    TooLong {
        /// Announced bytes.
        length: i128,
        /// Greatest allowed payload in bytes.
        cap: usize,
    },
    /// The header's length is below zero.
    #[error("a frame header announces a negative length, {length} (the cap is {cap})")]
    Negative {
        /// Announced bytes.
        length: i128,
        /// Greatest allowed payload in bytes.
        cap: usize,
    },
    /// No delimiter within the cap.
    #[error("{length} bytes without a delimiter, more than the cap of {cap}")]
    Undelimited {
        /// Bytes from the frame's start to its delimiter, or as many as were read so far.
        length: usize,
        /// Greatest allowed frame in bytes.
        cap: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame: {have} of {need} bytes, header included, had arrived")]
    Truncated {
        /// Bytes of the incomplete frame, header included.
        have: usize,
        /// Bytes the frame needs, as far as its header tells.
        need: usize,
    },
    /// The stream was left before the frame's delimiter arrived.
    #[error("reading stopped inside a frame: {have} bytes had arrived, no delimiter")]
    Unterminated {
        /// Bytes of the incomplete frame.
        have: usize,
    },
}

impl FramingError {
    /// The limit that the stream exceeded, if it did.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::TooLong { .. } | Self::Negative { .. } | Self::Undelimited { .. } => Some(Limit::MaxFrame),
            Self::Truncated { .. } | Self::Unterminated { .. } => None,
        }
    }
}

/// The next frame in the buffer.
enum Next {
    /// Whole: payload from `start` to `end`, the frame after it begins at `after`.
    Frame { start: usize, end: usize, after: usize },
    /// Incomplete: it has at least `need` bytes.
    Partial { need: usize },
}

/// Cuts one connection's stream. Holds at most one incomplete frame and whatever was read behind it.
#[derive(Debug)]
pub struct Cutter {
    framing: Framing,
    finder: Option<memmem::Finder<'static>>,
    max_frame: usize,
    block_weight: usize,
    buffer: BytesMut,
    /// `buffer` lies in the same memory as the block that was cut last.
    is_shared: bool,
    /// Bytes at the front of `buffer` already searched for a delimiter, so that long lines are searched once.
    searched: usize,
    /// Bytes the incomplete frame at the front is known to need.
    need: usize,
}

impl Cutter {
    /// Past this weight a block is closed and the next begun, so that one read never floods a queue.
    pub const BLOCK_WEIGHT: usize = 1 << 20;
    /// Greatest cap on a frame: positions in a block are 32-bit numbers.
    pub const MAX_FRAME_LIMIT: usize = 1 << 31;

    /// A cutter that refuses payloads above `max_frame` bytes (itself at most [`Self::MAX_FRAME_LIMIT`]) and closes
    /// blocks at `block_weight` bytes (at most [`Self::BLOCK_WEIGHT`]).
    pub fn new(framing: Framing, max_frame: usize, block_weight: usize) -> Self {
        let finder = match &framing {
            Framing::Delimiter(delimiter) if delimiter.len() > 1 => {
                Some(memmem::Finder::new(delimiter.as_ref()).into_owned())
            }
            _ => None,
        };
        Self {
            framing,
            finder,
            max_frame: max_frame.min(Self::MAX_FRAME_LIMIT),
            block_weight: block_weight.clamp(1, Self::BLOCK_WEIGHT),
            buffer: BytesMut::new(),
            is_shared: false,
            searched: 0,
            need: 0,
        }
    }

    /// Closes blocks at `weight` bytes from now on (at most [`Self::BLOCK_WEIGHT`]).
    pub fn set_block_weight(&mut self, weight: usize) {
        self.block_weight = weight.clamp(1, Self::BLOCK_WEIGHT);
    }

    /// Where the next bytes of a large frame are read into, see [`Cutter::make_room`].
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Bytes that were appended and are in no block yet.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Appends the next bytes of the stream, in little more memory than they need.
    pub fn append(&mut self, read: &[u8]) {
        let wanted = self.buffer.len() + read.len();
        // By doubling, so that a frame that comes byte by byte is not copied as often.
        let doubled = (2 * self.buffer.len()).min(self.most_needed().unwrap_or(usize::MAX));
        self.grow(wanted, wanted.max(doubled));
        self.buffer.extend_from_slice(read);
    }

    /// Bytes that the incomplete frame at the front may come to have, if it is larger than `small`: what its header announces, or the
    /// cap where only a delimiter ends it.
    pub fn large_frame(&self, small: usize) -> Option<usize> {
        let most = match self.framing {
            Framing::Length(_) => self.need,
            Framing::Delimiter(_) if self.buffer.len() > small => self.max_frame,
            Framing::Delimiter(_) | Framing::Uncut { .. } => 0,
        };
        (self.need > self.buffer.len() && most > small).then_some(most)
    }

    /// Makes room for the next read of a large frame. Grows by doubling only as bytes arrive, so a header that merely claims a large
    /// frame costs nothing, and no further than the frame needs, if that is known.
    pub fn make_room(&mut self, least: usize) {
        if self.buffer.len() < self.buffer.capacity() {
            return;
        }
        let doubled = (2 * self.buffer.len()).max(self.buffer.len() + least);
        let wanted = doubled.min(self.most_needed().unwrap_or(usize::MAX));
        self.grow(wanted, wanted);
    }

    /// Bytes of the incomplete frame at the front, if its header has told them.
    fn most_needed(&self) -> Option<usize> {
        (matches!(self.framing, Framing::Length(_)) && self.need > self.buffer.len()).then_some(self.need)
    }

    /// Moves to memory of `target` bytes unless there are `wanted`.
    fn grow(&mut self, wanted: usize, target: usize) {
        if self.buffer.capacity() < wanted {
            let mut larger = BytesMut::with_capacity(target);
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
    }

    /// Everything read and not cut: the bytes of an uncut stream.
    pub fn take_raw(&mut self) -> Bytes {
        std::mem::take(&mut self.buffer).freeze()
    }

    fn block(&self, data: Bytes, spans: Vec<Span>) -> FrameBlock {
        let after = if let Framing::Delimiter(delimiter) = &self.framing { delimiter.len() as u32 } else { 0 };
        FrameBlock { place: Place::File { before: FilePosition::default(), after }, data, spans }
    }

    /// The whole frames at the front of the buffer, as one block; `None` if there is none. Call it until it returns `None`.
    /// Frames before a bad header are still given out; the error follows on the next call and on every one after it.
    pub fn cut(&mut self) -> Result<Option<FrameBlock>, FramingError> {
        if self.buffer.len() < self.need {
            return Ok(None);
        }
        let mut spans = Vec::new();
        let (mut position, mut weight, mut need) = (0, 0, 0);
        let mut is_last = false;
        while weight < self.block_weight {
            match self.next(position) {
                Ok(Next::Frame { start, end, after }) => {
                    spans.push(Span { start: start as u32, end: end as u32 });
                    weight += end - start + FRAME_OVERHEAD;
                    position = after;
                }
                Ok(Next::Partial { need: wanted }) => {
                    need = wanted;
                    is_last = true;
                    self.searched = self.buffer.len();
                    break;
                }
                Err(error) if spans.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        self.need = need;
        self.searched = self.searched.saturating_sub(position);
        let block = (!spans.is_empty()).then(|| {
            let data = self.take(position);
            self.block(data, spans)
        });
        if is_last && self.is_shared {
            // An incomplete frame may wait for long: it does not keep the memory of the blocks before it.
            self.buffer = BytesMut::from(self.buffer.as_ref());
            self.is_shared = false;
        }
        Ok(block)
    }

    /// Takes `count` bytes from the front, in memory of at most twice that: blocks are charged for their bytes.
    fn take(&mut self, count: usize) -> Bytes {
        if count < self.buffer.capacity() / 2 {
            let copy = Bytes::copy_from_slice(&self.buffer[..count]);
            self.buffer.advance(count);
            return copy;
        }
        self.is_shared = true;
        self.buffer.split_to(count).freeze()
    }

    /// The stream has ended and [`Self::cut`] has said `None`. A last line without its delimiter is a frame; the start
    /// of a length-prefixed frame is an error.
    pub fn finish(&mut self) -> Result<Option<FrameBlock>, FramingError> {
        if matches!(self.framing, Framing::Delimiter(_)) && !self.buffer.is_empty() {
            let span = Span { start: 0, end: self.buffer.len() as u32 };
            let data = self.take_raw();
            return Ok(Some(self.block(data, vec![span])));
        }
        self.abandon()?;
        Ok(None)
    }

    /// Reading stops before the stream has ended: the rest of the buffer is the start of a frame, which is lost.
    pub fn abandon(&mut self) -> Result<(), FramingError> {
        let have = self.buffer.len();
        match self.framing {
            _ if have == 0 => Ok(()),
            Framing::Length(prefix) => Err(FramingError::Truncated { have, need: self.need.max(prefix.header) }),
            Framing::Delimiter(_) => Err(FramingError::Unterminated { have }),
            Framing::Uncut { .. } => Ok(()),
        }
    }

    fn next(&self, position: usize) -> Result<Next, FramingError> {
        match &self.framing {
            Framing::Length(prefix) => self.next_prefixed(prefix, position),
            Framing::Delimiter(delimiter) => self.next_delimited(delimiter, position),
            Framing::Uncut { .. } => Ok(Next::Partial { need: 0 }),
        }
    }

    fn next_prefixed(&self, prefix: &LengthPrefix, position: usize) -> Result<Next, FramingError> {
        let rest = &self.buffer[position..];
        if rest.len() < prefix.header {
            return Ok(Next::Partial { need: prefix.header });
        }
        let length = prefix.payload_length(&rest[..prefix.header]);
        let cap = self.max_frame;
        if length < 0 {
            return Err(FramingError::Negative { length, cap });
        }
        if length > cap as i128 {
            return Err(FramingError::TooLong { length, cap });
        }
        let need = prefix.header + length as usize;
        if rest.len() < need {
            return Ok(Next::Partial { need });
        }
        let after = position + need;
        Ok(Next::Frame { start: position + prefix.header, end: after, after })
    }

    fn next_delimited(&self, delimiter: &[u8], position: usize) -> Result<Next, FramingError> {
        // A delimiter may have arrived in part: look again at the last bytes that could be its start.
        let from = position.max(self.searched.saturating_sub(delimiter.len() - 1));
        let found = match &self.finder {
            Some(finder) => finder.find(&self.buffer[from..]),
            None => memchr::memchr(delimiter[0], &self.buffer[from..]),
        };
        let end = found.map_or(self.buffer.len(), |offset| from + offset);
        let length = end - position;
        // Bytes at the end that may be the delimiter's start are not the frame's, so they do not count yet.
        let certain = if found.is_some() { length } else { length.saturating_sub(delimiter.len() - 1) };
        if certain > self.max_frame {
            return Err(FramingError::Undelimited { length, cap: self.max_frame });
        }
        if found.is_none() {
            return Ok(Next::Partial { need: length + 1 });
        }
        Ok(Next::Frame { start: position, end, after: end + delimiter.len() })
    }
}

#[cfg(test)]
mod tests;
