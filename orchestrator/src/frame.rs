//! Frames as a source cuts them from a stream: spans of the bytes that were read. Sources make them, the engine queues them.

use bytes::Bytes;

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
}

/// Bytes charged for a frame beyond its own, so that a flood of empty frames is bounded too.
pub const FRAME_OVERHEAD: usize = 16;

impl FrameBlock {
    /// What this block weighs in a byte-bounded queue: its frames' bytes and [`FRAME_OVERHEAD`] for each.
    pub fn weight(&self) -> usize {
        self.spans.iter().map(|span| (span.end - span.start) as usize + FRAME_OVERHEAD).sum()
    }
}
