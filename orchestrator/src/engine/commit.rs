//! Nothing leaves before the record of the batch that made it is durable. Owns the numbers of records, and what is held back until
//! then: messages for sinks, dead letters and acknowledgements. Groups for other stages do not wait: their order in the log keeps all of it
//! consistent.
//!
//! Without a log there are no records, and nothing is held back.

use std::collections::VecDeque;
use std::time::Duration;

use wallaroo_protocol::{Timing, input};

use super::batch::{Batch, Origin};
use super::invariant::{Checked, Queue, take_bytes};
use super::{Action, Engine};
use crate::dead_message::DeadMessage;
use crate::ids::SinkId;
use crate::plan::Input;
use crate::record::{Consumed, Journaled, LetterId, Lsn, Record, Routed};
use crate::sink_chunk::SinkChunk;

/// A checkpoint is made once the batches since the last one have taken so many times the replay budget.
const REPLAY_BUDGETS: u32 = 4;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Commit {
    /// Whether there is a log.
    logged: bool,
    /// The last record.
    last: Lsn,
    /// What leaves once its record is durable.
    held: VecDeque<(Lsn, Action)>,
    /// Weights of records that are not durable.
    unsaved: VecDeque<(Lsn, usize)>,
    unsaved_bytes: usize,
    /// Bytes of records since the last checkpoint, and what a replay of it and of them would take.
    logged_bytes: usize,
    replay: Duration,
    /// The last record in the last checkpoint, and how much that one leaves to be finished.
    checkpoint: Lsn,
    left: usize,
    /// The checkpoint that is being stored.
    storing: Option<Lsn>,
}

/// What comes of a batch.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) letters: Vec<DeadMessage>,
    pub(super) routed: Vec<Routed>,
    pub(super) written: Vec<(SinkId, SinkChunk)>,
}

impl Commit {
    pub(super) fn new(logged: bool) -> Self {
        Self {
            logged,
            last: Lsn(0),
            held: VecDeque::new(),
            unsaved: VecDeque::new(),
            unsaved_bytes: 0,
            logged_bytes: 0,
            replay: Duration::ZERO,
            checkpoint: Lsn(0),
            left: 0,
            storing: None,
        }
    }

    /// Goes on behind the records of an earlier run, of which `bytes` came after its last checkpoint.
    pub(super) fn go_on(&mut self, after: Lsn, bytes: usize, replay: Duration) {
        self.last = after;
        (self.logged_bytes, self.replay) = (bytes, replay);
    }

    pub(super) fn is_logged(&self) -> bool {
        self.logged
    }

    /// The last record.
    pub(super) fn last(&self) -> Lsn {
        self.last
    }

    /// Bytes of records that are not durable.
    pub(super) fn unsaved_bytes(&self) -> usize {
        self.unsaved_bytes
    }

    /// Whether every record is durable.
    pub(super) fn is_idle(&self) -> bool {
        self.unsaved.is_empty() && self.storing.is_none()
    }

    /// Whether a checkpoint should be made: the log is long, or would take long to replay beyond what has to be replayed `anyway`,
    /// because no snapshot has it.
    pub(super) fn is_checkpoint_due(
        &self,
        most_bytes: usize,
        most_replay: Duration,
        anyway: impl FnOnce() -> Duration,
    ) -> bool {
        let most_replay = most_replay * REPLAY_BUDGETS;
        self.logged
            && self.storing.is_none()
            && (self.logged_bytes > most_bytes || self.replay > most_replay && self.replay > most_replay + anyway() * 2)
    }

    /// Whether a checkpoint that leaves so much to be finished says something that the last one does not.
    pub(super) fn has_news(&self, left: usize) -> bool {
        self.last > self.checkpoint || left < self.left
    }

    /// Notes that a checkpoint of all records is being stored, which leaves so much to be finished, and a journal that takes so long.
    pub(super) fn begin_storing(&mut self, left: usize, journal: Duration) {
        (self.logged_bytes, self.replay, self.left) = (0, journal, left);
        self.storing = Some(self.last);
        self.checkpoint = self.last;
    }

    /// Notes that a checkpoint is stored.
    pub(super) fn stored(&mut self, upto: Lsn) {
        self.storing.take_if(|storing| *storing == upto);
    }

    fn number(&mut self) -> Lsn {
        self.last.0 += 1;
        self.last
    }

    fn note(&mut self, record: &Record) {
        let weight = record.weight();
        self.unsaved.push_back((record.lsn, weight));
        self.unsaved_bytes += weight;
        self.logged_bytes += weight;
        self.replay += record.journaled.as_ref().map_or(Duration::ZERO, |journaled| journaled.elapsed);
    }

    /// Lets out what was held back for records that are durable now.
    fn let_out(&mut self, upto: Lsn, actions: &mut Vec<Action>) -> Checked<()> {
        while let Some((_, weight)) = front_upto(&mut self.unsaved, upto) {
            take_bytes(&mut self.unsaved_bytes, weight, Queue::Log)?;
        }
        while let Some((_, action)) = front_upto(&mut self.held, upto) {
            actions.push(action);
        }
        Ok(())
    }
}

impl Engine {
    /// Releases what came of a batch: writes its record, and hands out what leaves once that is durable.
    pub(super) fn release(
        &mut self,
        batch: &Batch,
        outcome: Outcome,
        timing: Timing,
        elapsed: Duration,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let lsn = if self.commit.logged { self.commit.number() } else { Lsn(0) };
        let ids = (0..outcome.letters.len() as u32).map(|index| LetterId { lsn, index });
        for (id, letter) in ids.zip(&outcome.letters) {
            self.sinks.give_up(id, letter, self.commit.logged);
        }
        for (sink, chunk) in &outcome.written {
            self.sinks.hand(*sink, chunk, self.commit.logged);
        }
        if !self.commit.logged {
            actions.extend(leaving(lsn, outcome).chain(self.acknowledgements(batch)));
            return;
        }
        let stage = &self.plan.stages[batch.stage.index()];
        let journaled = (stage.stateful && batch.messages > 0).then(|| Journaled {
            messages: batch.messages,
            skip: batch.skip.clone(),
            times: batch.times.runs().collect(),
            elapsed,
        });
        let (delivered, kept) = self.sinks.progress();
        let consumed = self.consumed(batch);
        let record = Record {
            lsn,
            batch: batch.id,
            stage: batch.stage,
            at: self.time.wall_clock(now),
            consumed,
            journaled,
            routed: outcome.routed.clone(),
            written: outcome.written.clone(),
            letters: outcome.letters.clone(),
            timing,
            unloadable: self.recovery.take_verdicts(),
            delivered,
            kept,
        };
        self.commit.note(&record);
        actions.push(Action::Commit(Box::new(record)));
        let held = leaving(lsn, outcome).chain(self.acknowledgements(batch)).map(|action| (lsn, action));
        self.commit.held.extend(held);
    }

    /// What the clients of acknowledged streams are told of a batch.
    fn acknowledgements(&self, batch: &Batch) -> impl Iterator<Item = Action> + use<> {
        let streams = match (&batch.origin, self.plan.stages[batch.stage.index()].input) {
            (Origin::Frames { position, .. }, Input::Frames(source)) => Some((source, position.clone())),
            _ => None,
        };
        streams.into_iter().flat_map(|(source, position)| {
            position.into_messages().map(move |(stream, messages)| Action::Acknowledge { source, stream, messages })
        })
    }

    /// What a batch was made of.
    fn consumed(&mut self, batch: &Batch) -> Consumed {
        match (&batch.origin, self.plan.stages[batch.stage.index()].input) {
            (Origin::Frames { position, .. }, Input::Frames(source)) => {
                self.intake.release(source, position);
                Consumed::Frames { source, position: position.clone() }
            }
            (Origin::Generate, Input::Generate(source, _)) => {
                if batch.ends_generator {
                    self.intake.exhaust(source);
                }
                Consumed::Generated { source, input: batch.input.clone(), ended: batch.ends_generator }
            }
            (Origin::Values { .. }, _) => {
                let groups = input::parse_groups(&batch.input).map_or(0, |groups| groups.len() as u32);
                Consumed::Values { groups }
            }
            _ => Consumed::Groups { input: batch.input.clone() },
        }
    }

    /// Takes in that records are durable.
    pub(super) fn durable(&mut self, upto: Lsn, actions: &mut Vec<Action>) -> Checked<()> {
        self.commit.let_out(upto, actions)
    }
}

/// Takes the first entry if it belongs to a record up to `upto`.
fn front_upto<T>(queue: &mut VecDeque<(Lsn, T)>, upto: Lsn) -> Option<(Lsn, T)> {
    queue.front().is_some_and(|(lsn, _)| *lsn <= upto).then(|| queue.pop_front())?
}

/// The actions that let a batch's outcome out.
fn leaving(lsn: Lsn, outcome: Outcome) -> impl Iterator<Item = Action> {
    let letters = (0..).zip(outcome.letters);
    let letters = letters.map(move |(index, message)| Action::DeadLetter { id: LetterId { lsn, index }, message });
    letters.chain(outcome.written.into_iter().map(|(sink, chunk)| Action::Write { sink, chunk }))
}
