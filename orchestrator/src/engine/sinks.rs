//! What has been handed to the sinks. Owns the count of bytes that each has not written yet.

use crate::ids::SinkId;

use super::invariant::{Checked, Queue, take_bytes};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Sinks {
    sinks: Vec<Sink>,
}

#[derive(Debug, Default, Clone)]
struct Sink {
    pending_bytes: usize,
    messages: u64,
}

impl Sinks {
    pub(super) fn new(count: usize) -> Self {
        Self { sinks: vec![Sink::default(); count] }
    }

    /// Notes that a sink is handed `messages` messages of `bytes` bytes.
    pub(super) fn hand(&mut self, sink: SinkId, messages: usize, bytes: usize) {
        let sink = &mut self.sinks[sink.index()];
        sink.pending_bytes += bytes;
        sink.messages += messages as u64;
    }

    /// Notes that a sink has written `bytes` bytes.
    pub(super) fn written(&mut self, sink: SinkId, bytes: usize) -> Checked<()> {
        take_bytes(&mut self.sinks[sink.index()].pending_bytes, bytes, Queue::Sink(sink))
    }

    /// Bytes handed to a sink and not written.
    pub(super) fn pending_bytes(&self, sink: SinkId) -> usize {
        self.sinks[sink.index()].pending_bytes
    }

    /// Bytes handed to each sink and not written.
    pub(super) fn all_pending_bytes(&self) -> impl Iterator<Item = usize> + '_ {
        self.sinks.iter().map(|sink| sink.pending_bytes)
    }

    /// Messages handed to each sink.
    pub(super) fn messages(&self) -> impl Iterator<Item = u64> + '_ {
        self.sinks.iter().map(|sink| sink.messages)
    }

    /// Whether everything has been written.
    pub(super) fn is_idle(&self) -> bool {
        self.all_pending_bytes().all(|bytes| bytes == 0)
    }
}
