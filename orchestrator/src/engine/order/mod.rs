//! Puts the results of stages that run on several workers at once back in the order in which their batches were formed. Owns the
//! results that wait for an earlier one.

use std::collections::BTreeMap;
use std::time::Duration;

use wallaroo_protocol::StageId;

use super::batch::{Answer, Batch};
use super::invariant::{Checked, Invariant, Queue, take_bytes};

/// A resequencer for each stage.
#[derive(Debug)]
pub(super) struct Order {
    stages: Vec<Resequencer>,
}

/// A batch with its answer.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) batch: Batch,
    pub(super) answer: Answer,
    /// Time that a worker took for it.
    pub(super) elapsed: Duration,
}

#[derive(Debug, Default)]
struct Resequencer {
    /// Sequence numbers issued.
    issued: u64,
    /// The sequence number whose result is emitted next.
    next: u64,
    /// Results that wait, by sequence number, with what they weigh.
    held: BTreeMap<u64, (usize, Finished)>,
    held_bytes: usize,
}

impl Order {
    pub(super) fn new(stages: usize) -> Self {
        Self { stages: (0..stages).map(|_| Resequencer::default()).collect() }
    }

    /// The sequence number of a batch that is being formed.
    pub(super) fn issue(&mut self, stage: StageId) -> u64 {
        let stage = &mut self.stages[stage.index()];
        stage.issued += 1;
        stage.issued - 1
    }

    /// Takes the result with number `sequence`.
    pub(super) fn hold(&mut self, stage: StageId, sequence: u64, finished: Finished) -> Checked<()> {
        let Resequencer { issued, next, held, held_bytes } = &mut self.stages[stage.index()];
        let broken = Invariant::Sequence { stage, sequence, next: *next, issued: *issued };
        let weight = finished.answer.weight();
        let is_due = sequence >= *next && sequence < *issued;
        if !is_due || held.insert(sequence, (weight, finished)).is_some() {
            return Err(broken);
        }
        *held_bytes += weight;
        Ok(())
    }

    /// Takes out the next result in order, if it is here.
    pub(super) fn next(&mut self, stage: StageId) -> Checked<Option<Finished>> {
        let resequencer = &mut self.stages[stage.index()];
        let Some((bytes, finished)) = resequencer.held.remove(&resequencer.next) else { return Ok(None) };
        resequencer.next += 1;
        take_bytes(&mut resequencer.held_bytes, bytes, Queue::Results(stage))?;
        Ok(Some(finished))
    }

    /// The batches of a stage whose results wait for an earlier one.
    pub(super) fn held(&self, stage: StageId) -> impl Iterator<Item = &Batch> {
        self.stages[stage.index()].held.values().map(|(_, finished)| &finished.batch)
    }

    /// Bytes of a stage's results that wait for an earlier one.
    pub(super) fn held_bytes(&self, stage: StageId) -> usize {
        self.stages[stage.index()].held_bytes
    }

    /// Bytes of all results that wait.
    pub(super) fn all_held_bytes(&self) -> usize {
        self.stages.iter().map(|stage| stage.held_bytes).sum()
    }

    /// Whether the result of every batch has been emitted.
    pub(super) fn is_idle(&self) -> bool {
        self.stages.iter().all(|stage| stage.issued == stage.next)
    }
}
