//! What leaves the engine: messages that were handed to sinks, and dead letters. Owns the counts of bytes not written yet and, where
//! there is a log, what is not delivered.

use std::collections::VecDeque;

use crate::checkpoint::SinkMark;
use crate::dead_message::DeadMessage;
use crate::ids::SinkId;
use crate::record::LetterId;
use crate::sink_chunk::SinkChunk;

use super::invariant::{Checked, Queue, take_bytes};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Sinks {
    all: Vec<Sink>,
    /// Weight of the dead letters that are not kept yet.
    letter_bytes: usize,
    /// These, with their weights.
    letters: VecDeque<(LetterId, DeadMessage)>,
    /// The bytes kept of those letters that are not wholly.
    letters_begun: usize,
    /// The last letter kept, if no record says so.
    kept: Option<LetterId>,
}

#[derive(Debug, Default, Clone)]
struct Sink {
    pending_bytes: usize,
    messages: u64,
    /// What is not delivered.
    mark: SinkMark,
    /// Bytes delivered since the log began.
    delivered: u64,
    /// A record says so.
    is_logged: bool,
}

impl Sinks {
    pub(super) fn new(count: usize) -> Self {
        let all = vec![Sink { is_logged: true, ..Sink::default() }; count];
        Self { all, letter_bytes: 0, letters: VecDeque::new(), letters_begun: 0, kept: None }
    }

    /// Goes on where so many bytes were delivered.
    pub(super) fn go_on(&mut self, sink: SinkId, delivered: u64) {
        let sink = &mut self.all[sink.index()];
        (sink.delivered, sink.mark.delivered) = (delivered, delivered);
    }

    /// Notes that a sink is handed messages. They are kept until they are delivered if `logged`.
    pub(super) fn hand(&mut self, sink: SinkId, chunk: &SinkChunk, logged: bool) {
        let sink = &mut self.all[sink.index()];
        sink.pending_bytes += chunk.bytes.len();
        sink.messages += chunk.lengths.len() as u64;
        if logged {
            sink.mark.chunks.push(chunk.clone());
        }
    }

    /// Notes that a sink has written `bytes` bytes.
    pub(super) fn written(&mut self, sink: SinkId, bytes: usize) -> Checked<()> {
        let held = &mut self.all[sink.index()];
        take_bytes(&mut held.pending_bytes, bytes, Queue::Sink(sink))?;
        held.delivered += bytes as u64;
        held.is_logged = false;
        let whole = |chunk: &SinkChunk, from: u64| from + chunk.bytes.len() as u64 <= held.delivered;
        let mut from = held.mark.delivered;
        let mut count = 0;
        while let Some(chunk) = held.mark.chunks.get(count)
            && whole(chunk, from)
        {
            from += chunk.bytes.len() as u64;
            count += 1;
        }
        held.mark.chunks.drain(..count);
        held.mark.delivered = from;
        Ok(())
    }

    /// Makes a dead letter of a message. It is kept here until it is kept elsewhere if `logged`.
    pub(super) fn give_up(&mut self, id: LetterId, letter: &DeadMessage, logged: bool) {
        self.letter_bytes += letter.weight();
        if logged {
            self.letters.push_back((id, letter.clone()));
        }
    }

    /// Notes that dead letters of `bytes` bytes are kept.
    pub(super) fn letters_kept(&mut self, bytes: usize) -> Checked<()> {
        take_bytes(&mut self.letter_bytes, bytes, Queue::DeadLetters)?;
        self.letters_begun += bytes;
        while let Some((_, letter)) = self.letters.front()
            && letter.weight() <= self.letters_begun
        {
            self.letters_begun -= letter.weight();
            self.kept = self.letters.pop_front().map(|(id, _)| id);
        }
        Ok(())
    }

    /// How far sinks and dead letters have come since this was last asked.
    pub(super) fn progress(&mut self) -> (Vec<(SinkId, u64)>, Option<LetterId>) {
        let mut delivered = Vec::new();
        for (id, sink) in (0..).map(SinkId).zip(&mut self.all) {
            if !std::mem::replace(&mut sink.is_logged, true) {
                delivered.push((id, sink.delivered));
            }
        }
        (delivered, self.kept.take())
    }

    /// What is not delivered: messages by sink, and dead letters.
    pub(super) fn undelivered(&self) -> (Vec<SinkMark>, Vec<(LetterId, DeadMessage)>) {
        let mark = |sink: &Sink| {
            let mut mark = sink.mark.clone();
            mark.deliver(sink.delivered);
            mark
        };
        (self.all.iter().map(mark).collect(), self.letters.iter().cloned().collect())
    }

    /// Bytes of dead letters that are not kept yet.
    pub(super) fn letter_bytes(&self) -> usize {
        self.letter_bytes
    }

    /// Bytes handed to a sink and not written.
    pub(super) fn pending_bytes(&self, sink: SinkId) -> usize {
        self.all[sink.index()].pending_bytes
    }

    /// Bytes handed to each sink and not written.
    pub(super) fn all_pending_bytes(&self) -> impl Iterator<Item = usize> + '_ {
        self.all.iter().map(|sink| sink.pending_bytes)
    }

    /// Messages handed to each sink.
    pub(super) fn messages(&self) -> impl Iterator<Item = u64> + '_ {
        self.all.iter().map(|sink| sink.messages)
    }

    /// Whether everything has been written.
    pub(super) fn is_idle(&self) -> bool {
        self.letter_bytes == 0 && self.all_pending_bytes().all(|bytes| bytes == 0)
    }
}
