//! What outlives the orchestrator: checkpoints of a running engine, and engines made from a checkpoint and the stored states.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{BatchId, Group, StageId, input};

use super::batch::{Batch, Origin};
use super::times::Times;
use super::{Action, Engine, EngineConfig};
use crate::checkpoint::{Checkpoint, JournalEntry, Queued, SourceMark, StageMark};
use crate::ids::{SinkId, SourceId};
use crate::plan::{Input, Plan};
use crate::record::Journaled;

/// A state as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredState {
    /// Its table.
    pub table: Arc<str>,
    /// Its key, encoded.
    pub key: Bytes,
    /// The state, pickled. `None`: the key has none any more.
    pub state: Option<Bytes>,
}

impl Engine {
    /// An engine that goes on where another one ended, `logged_bytes` of records after its last checkpoint. Appended to `actions`:
    /// what that one had not delivered.
    pub fn recover(
        plan: Arc<Plan>,
        config: EngineConfig,
        (checkpoint, logged_bytes): (Checkpoint, usize),
        states: impl IntoIterator<Item = StoredState>,
        actions: &mut Vec<Action>,
    ) -> Self {
        let mut engine = Self::new(plan, config);
        let replay = checkpoint.journal.iter().map(|entry| entry.batch.elapsed).sum();
        engine.commit.go_on(checkpoint.lsn, logged_bytes, replay);
        engine.dispatch.number_from(checkpoint.next_batch);
        for StoredState { table, key, state } in states {
            let (Some(keyspace), Some(state)) = (engine.plan.keyspace_of(&table), state) else { continue };
            let partition = engine.routing.partition(keyspace, &key);
            engine.recovery.load(partition, key, table, state);
        }
        for state in checkpoint.unloadable {
            engine.recovery.note_unloadable(state);
        }
        for entry in checkpoint.journal {
            engine.take_over(entry);
        }
        for (id, mark) in (0..).map(StageId).zip(checkpoint.stages) {
            engine.go_on_at_stage(id, mark);
        }
        for (id, mark) in (0..).map(SourceId).zip(checkpoint.sources) {
            engine.time.go_on_at_source(id, mark.reached);
            engine.intake.release(id, &mark.position);
            if mark.ended {
                engine.intake.exhaust(id);
            }
        }
        for (id, letter) in checkpoint.letters {
            engine.sinks.give_up(id, &letter, true);
            actions.push(Action::DeadLetter { id, message: letter });
        }
        for (id, mark) in (0..).map(SinkId).zip(checkpoint.sinks) {
            engine.sinks.go_on(id, mark.delivered);
            for chunk in mark.chunks {
                engine.sinks.hand(id, &chunk, true);
                actions.push(Action::Write { sink: id, chunk });
            }
        }
        engine
    }

    /// Puts a journaled batch into the journals of the slots that have its keys now.
    fn take_over(&mut self, entry: JournalEntry) {
        let (stage, input, Journaled { messages, skip, times, elapsed }) = entry.into_parts();
        let origin = match self.plan.stages[stage.index()].input {
            Input::Generate(..) => Origin::Generate,
            _ => Origin::Groups,
        };
        let mut runs = Times::default();
        for (count, time) in times {
            runs.push(count, time);
        }
        let batch = Batch::new(BatchId(0), stage, (input, messages), Duration::ZERO, origin, runs);
        let batch = Batch { skip, ..batch };
        for slot in self.workers.ids() {
            if let Some(part) = self.part_in(slot, batch.clone()) {
                let part = Batch { id: self.dispatch.number_batch(), ..part };
                let share = elapsed / messages.max(1) * part.messages;
                self.recovery.complete(slot, &part, share);
            }
        }
    }

    fn go_on_at_stage(&mut self, stage: StageId, mark: StageMark) {
        let StageMark { watermark, late, queue, timers } = mark;
        self.time.go_on_at_stage(stage, watermark, late, timers);
        for Queued { group, time } in queue {
            let time = time.and_then(|time| self.time.enqueue(stage, time));
            match self.routing.keyspace(stage) {
                Some(keyspace) => {
                    if let Some(slot) = self.routing.push(stage, keyspace, group, time, Duration::ZERO) {
                        self.dispatch.wake(slot);
                    }
                }
                None => self.routing.push_value(stage, group, time, Duration::ZERO),
            }
        }
    }

    /// Makes a checkpoint once the log since the last one is long, or would take long to replay.
    pub(super) fn checkpoint_in_time(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let slots = self.workers.ids().len() as u32;
        let journals = || self.workers.ids().into_iter().map(|slot| self.recovery.journal_size(slot).replay).sum();
        let most_replay = self.config.replay_budget * slots;
        if self.commit.is_checkpoint_due(self.config.checkpoint_bytes, most_replay, journals) {
            self.make_checkpoint(now, actions);
        }
    }

    fn make_checkpoint(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let checkpoint = self.checkpoint(now);
        self.store(checkpoint, actions);
    }

    fn store(&mut self, checkpoint: Checkpoint, actions: &mut Vec<Action>) {
        let replay = checkpoint.journal.iter().map(|entry| entry.batch.elapsed).sum();
        self.commit.begin_storing(checkpoint.left(), replay);
        let states = self.recovery.take_changes();
        actions.push(Action::Checkpoint { checkpoint: Box::new(checkpoint), states });
    }

    /// Makes the last checkpoint of a run. Returns whether it has to be stored first.
    pub(super) fn checkpoint_at_end(&mut self, now: Duration, actions: &mut Vec<Action>) -> bool {
        if !self.commit.is_logged() {
            return false;
        }
        let checkpoint = self.checkpoint(now);
        let has_news = self.commit.has_news(checkpoint.left());
        if has_news {
            self.store(checkpoint, actions);
        }
        has_news
    }

    /// All that lives now, but the states in snapshots.
    fn checkpoint(&self, now: Duration) -> Checkpoint {
        let source = |id: SourceId| SourceMark {
            position: self.intake.released(id).clone(),
            reached: self.time.reached(id),
            ended: self.intake.is_exhausted(id),
        };
        let (sinks, letters) = self.sinks.undelivered();
        Checkpoint {
            topology: self.plan.shape(),
            lsn: self.commit.last(),
            next_batch: self.dispatch.next_batch(),
            at: self.time.wall_clock(now),
            sources: (0..self.plan.sources.len() as u32).map(SourceId).map(source).collect(),
            stages: self.plan.stages.iter().map(|stage| self.stage_mark(stage.id)).collect(),
            journal: self.journal_entries(),
            sinks,
            unloadable: self.recovery.verdicts(),
            letters,
        }
    }

    fn stage_mark(&self, stage: StageId) -> StageMark {
        let (watermark, late, timers) = self.time.mark(stage);
        let begun = self.begun(stage).into_iter().flat_map(|batch| {
            let times = batch.times.clone().into_each().map(Some).chain(std::iter::repeat(None));
            let groups: Vec<Group> = input::parse_groups(&batch.input).unwrap_or_default();
            groups.into_iter().zip(times).map(|(group, time)| Queued { group, time }).collect::<Vec<_>>()
        });
        let waiting = self.routing.all_waiting(stage).map(|(group, time)| Queued { group, time });
        StageMark { watermark, late, queue: begun.chain(waiting).collect(), timers }
    }

    /// Batches of groups that were formed and not released, in an order that keeps each key's.
    fn begun(&self, stage: StageId) -> Vec<&Batch> {
        let mut begun: Vec<&Batch> = match self.plan.stages[stage.index()].input {
            Input::Groups(_) | Input::Values => Vec::new(),
            Input::Frames(_) | Input::Cut(_) | Input::Generate(..) => return Vec::new(),
        };
        for slot in self.workers.ids() {
            let sent = self.dispatch.in_flight(slot).filter(|sent| !sent.replay && !sent.withdrawn);
            begun.extend(sent.map(|sent| &sent.batch).filter(|batch| batch.stage == stage));
            begun.extend(self.recovery.repeated_in(slot).filter(|batch| batch.stage == stage));
        }
        begun.extend(self.recovery.repeated_of(stage));
        begun.extend(self.order.held(stage));
        // Where batches have a sequence, any worker may have any of them.
        begun.sort_by_key(|batch| batch.sequence());
        begun
    }

    fn journal_entries(&self) -> Vec<JournalEntry> {
        let mut entries = Vec::new();
        for slot in self.workers.ids() {
            for (batch, elapsed) in self.recovery.journal_entries(slot) {
                let Some(part) = self.uncovered(slot, batch.clone()) else { continue };
                let batch = Journaled {
                    messages: part.messages,
                    skip: part.skip,
                    times: part.times.runs().collect(),
                    elapsed: elapsed / batch.messages.max(1) * part.messages,
                };
                entries.push(JournalEntry { stage: part.stage, input: part.input, batch });
            }
        }
        entries
    }
}
