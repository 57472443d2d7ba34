//! What leaves the engine: messages that were handed to sinks, and dead letters. Owns the counts of bytes not written yet.

use crate::dead_message::DeadMessage;
use crate::ids::SinkId;

use super::invariant::{Checked, Queue, take_bytes};
use super::{Action, Engine};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Sinks {
    sinks: Vec<Sink>,
    /// Weight of the dead letters that are not kept yet.
    letter_bytes: usize,
}

#[derive(Debug, Default, Clone)]
struct Sink {
    pending_bytes: usize,
    messages: u64,
}

impl Sinks {
    pub(super) fn new(count: usize) -> Self {
        Self { sinks: vec![Sink::default(); count], letter_bytes: 0 }
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

    /// Notes that dead letters of `bytes` bytes are kept.
    pub(super) fn letters_kept(&mut self, bytes: usize) -> Checked<()> {
        take_bytes(&mut self.letter_bytes, bytes, Queue::DeadLetters)
    }

    /// Bytes of dead letters that are not kept yet.
    pub(super) fn letter_bytes(&self) -> usize {
        self.letter_bytes
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
        self.letter_bytes == 0 && self.all_pending_bytes().all(|bytes| bytes == 0)
    }
}

impl Engine {
    /// Makes a dead letter of a message.
    pub(super) fn give_up(&mut self, message: DeadMessage, actions: &mut Vec<Action>) {
        self.sinks.letter_bytes += message.weight();
        actions.push(Action::DeadLetter(message));
    }
}
