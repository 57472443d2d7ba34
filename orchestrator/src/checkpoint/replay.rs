//! Carries a checkpoint on by the records after it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use wallaroo_protocol::{BatchId, EventTime, Group, StageId, input};

use super::{Checkpoint, JournalEntry, Queued};
use crate::record::{Consumed, Journaled, LetterId, Lsn, Record, Routed};

/// A record that does not follow from those before it: the log is not what an engine has written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {lsn} does not follow from what is before it: {reason}")]
pub struct Inconsistent {
    /// The record.
    pub lsn: Lsn,
    /// Why.
    pub reason: String,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Replay {
    /// Its queues and timers are in `stages`.
    rest: Checkpoint,
    stages: Vec<Stage>,
}

/// What waits for a stage, so that the first group of a key is found at once.
#[derive(Debug, Default)]
struct Stage {
    next: u64,
    queue: BTreeMap<u64, Queued>,
    by_key: HashMap<Bytes, VecDeque<u64>>,
    timers: HashMap<Bytes, EventTime>,
}

impl Stage {
    fn push(&mut self, queued: Queued) {
        self.by_key.entry(queued.group.key_bytes()).or_default().push_back(self.next);
        self.queue.insert(self.next, queued);
        self.next += 1;
    }

    /// Takes the first group.
    fn pop(&mut self) -> Option<Group> {
        let (_, queued) = self.queue.pop_first()?;
        self.forget_first(&queued.group.key_bytes());
        Some(queued.group)
    }

    /// Takes the first group of a key.
    fn pop_of(&mut self, key: &Bytes) -> Option<Group> {
        let number = *self.by_key.get(key)?.front()?;
        self.forget_first(key);
        self.queue.remove(&number).map(|queued| queued.group)
    }

    fn forget_first(&mut self, key: &Bytes) {
        let Some(numbers) = self.by_key.get_mut(key) else { return };
        numbers.pop_front();
        if numbers.is_empty() {
            self.by_key.remove(key);
        }
    }

    /// Takes a timer that a batch was given. It may have been due after the checkpoint: then it is still among those that are not.
    fn pop_timer(&mut self, timer: &Group) {
        let key = timer.key_bytes();
        let first = self.by_key.get(&key).and_then(|numbers| self.queue.get(numbers.front()?));
        if first.is_some_and(|first| first.group.is_timer()) {
            self.pop_of(&key);
        } else if self.timers.get(&key).is_some_and(|deadline| Some(*deadline) <= timer.watermark()) {
            self.timers.remove(&key);
        }
    }
}

impl Replay {
    /// Begins at a checkpoint.
    pub fn new(mut checkpoint: Checkpoint) -> Self {
        let stages = checkpoint.stages.iter_mut().map(|mark| {
            let mut stage = Stage::default();
            for queued in std::mem::take(&mut mark.queue) {
                stage.push(queued);
            }
            stage.timers = std::mem::take(&mut mark.timers).into_iter().collect();
            stage
        });
        Self { stages: stages.collect(), rest: checkpoint }
    }

    /// Takes in the next record.
    pub fn apply(&mut self, record: Record) -> Result<(), Inconsistent> {
        let lsn = record.lsn;
        let broken = |reason: String| Inconsistent { lsn, reason };
        if lsn.0 != self.rest.lsn.0 + 1 {
            return Err(broken(format!("the one before it is {}", self.rest.lsn)));
        }
        let is_stage = |stage: StageId| stage.index() < self.stages.len();
        let targets = record.routed.iter().flat_map(|routed| &routed.to);
        if !is_stage(record.stage) || !targets.clone().all(|(stage, _)| is_stage(*stage)) {
            return Err(broken("it names a stage that the application does not have".to_owned()));
        }
        let sinks = record.written.iter().map(|(sink, _)| sink).chain(record.delivered.iter().map(|(sink, _)| sink));
        if sinks.clone().any(|sink| sink.index() >= self.rest.sinks.len()) {
            return Err(broken("it names a sink that the application does not have".to_owned()));
        }
        self.rest.lsn = lsn;
        self.rest.next_batch = self.rest.next_batch.max(BatchId(record.batch.0 + 1));
        self.rest.at = self.rest.at.max(record.at);
        let consumed = self.consume(record.stage, &record.consumed).map_err(broken)?;
        if let (Some(batch), Some(input)) = (record.journaled, consumed) {
            self.rest.journal.push(JournalEntry { stage: record.stage, input, batch });
        }
        self.end(record.stage, &record.consumed, &record.timing);
        record.routed.into_iter().for_each(|routed| self.route(routed));
        for (sink, chunk) in record.written {
            self.rest.sinks[sink.index()].chunks.push(chunk);
        }
        for (sink, bytes) in record.delivered {
            self.rest.sinks[sink.index()].deliver(bytes);
        }
        self.rest.unloadable.extend(record.unloadable);
        let numbered = (0..).zip(record.letters).map(|(index, letter)| (LetterId { lsn, index }, letter));
        self.rest.letters.extend(numbered);
        if let Some(kept) = record.kept {
            self.rest.letters.retain(|(id, _)| *id > kept);
        }
        Ok(())
    }

    /// All that lives after the records taken in.
    pub fn finish(self) -> Checkpoint {
        let mut checkpoint = self.rest;
        for (mark, stage) in checkpoint.stages.iter_mut().zip(self.stages) {
            mark.queue = stage.queue.into_values().collect();
            mark.timers = stage.timers.into_iter().collect();
            mark.timers.sort_unstable();
        }
        checkpoint
    }

    /// Takes what a batch has consumed out of the queues. Returns its input, as far as a journal needs it.
    fn consume(&mut self, stage: StageId, consumed: &Consumed) -> Result<Option<Bytes>, String> {
        match consumed {
            Consumed::Frames { source, position } => {
                let source =
                    self.rest.sources.get_mut(source.index()).ok_or("it names a source that does not exist")?;
                source.position.advance(position);
                Ok(None)
            }
            Consumed::Generated { source, input, ended } => {
                let source =
                    self.rest.sources.get_mut(source.index()).ok_or("it names a source that does not exist")?;
                source.ended |= ended;
                Ok(Some(input.clone()))
            }
            Consumed::Values { groups } => {
                for _ in 0..*groups {
                    self.stages[stage.index()].pop().ok_or("it consumes values that do not wait")?;
                }
                Ok(None)
            }
            Consumed::Groups { input } => {
                let names = input::parse_groups(input).map_err(|error| error.to_string())?;
                let mut groups = Vec::with_capacity(names.len());
                for name in names {
                    if name.is_timer() {
                        self.stages[stage.index()].pop_timer(&name);
                        let mark = &mut self.rest.stages[stage.index()].watermark;
                        *mark = (*mark).max(name.watermark().filter(|time| *time != EventTime::END).unwrap_or(*mark));
                        groups.push(name);
                        continue;
                    }
                    let group = self.stages[stage.index()].pop_of(&name.key_bytes());
                    groups.push(group.ok_or("it consumes a group that does not wait")?);
                }
                Ok(Some(input::groups(&groups)))
            }
        }
    }

    /// Takes in what the answer to a batch says of time.
    fn end(&mut self, stage: StageId, consumed: &Consumed, timing: &wallaroo_protocol::Timing) {
        let mark = &mut self.rest.stages[stage.index()];
        mark.late += u64::from(timing.late);
        let timers = &mut self.stages[stage.index()].timers;
        for timer in &timing.timers {
            match timer.deadline {
                Some(deadline) => timers.insert(timer.key.clone(), deadline),
                None => timers.remove(&timer.key),
            };
        }
        if let (Consumed::Frames { source, .. } | Consumed::Generated { source, .. }, Some(time)) =
            (consumed, timing.time)
        {
            let reached = &mut self.rest.sources[source.index()].reached;
            *reached = (*reached).max(time);
        }
    }

    fn route(&mut self, routed: Routed) {
        for (stage, time) in routed.to {
            if let Some(time) = time.filter(|time| *time != EventTime::END) {
                let mark = &mut self.rest.stages[stage.index()].watermark;
                *mark = (*mark).max(time);
            }
            for group in &routed.groups {
                self.stages[stage.index()].push(Queued { group: group.clone(), time });
            }
        }
    }
}

impl JournalEntry {
    /// The parts of an entry.
    pub(crate) fn into_parts(self) -> (StageId, Bytes, Journaled) {
        (self.stage, self.input, self.batch)
    }
}
