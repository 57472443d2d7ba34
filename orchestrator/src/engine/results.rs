//! What becomes of a result: it is put in order, and its outputs go on to the lanes of the next stage, to sinks, or to the dead
//! letters.

use std::time::Duration;

use wallaroo_protocol::{BatchId, BatchResult, Failure, Group, NodeId, Output, OutputData, StageId};

use super::batch::{Answer, Batch, InFlight, Origin};
use super::commit::Outcome;
use super::invariant::{Checked, Invariant};
use super::order::Finished;
use super::{Action, Engine};
use crate::dead_message::DeadMessage;
use crate::death::KillReason;
use crate::ids::{Generation, SlotId};
use crate::plan::{Input, Target};
use crate::record::Routed;
use crate::sink_chunk::SinkChunk;

impl Engine {
    /// Takes in a result, or a part of one.
    pub(super) fn result(
        &mut self,
        slot: SlotId,
        generation: Generation,
        result: BatchResult,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        if self.answered(slot, generation, result.batch, actions).is_none() {
            return Ok(());
        }
        if self.dispatch.is_withdrawn(slot) {
            return if result.more { Ok(()) } else { self.drop_answer(slot, now, actions) };
        }
        let BatchResult { batch: _, more, elapsed, outputs, failures, ended, timing, slow } = result;
        if let Some(answer) = self.dispatch.answer(slot) {
            answer.extend(outputs, failures, timing);
        }
        if more {
            return Ok(());
        }
        let front = self.dispatch.front(slot).map(|front| (front.stage, front.messages));
        let is_slow = front.is_some_and(|(stage, messages)| self.is_slow(stage, messages, elapsed));
        if self.dispatch.is_probe(slot) {
            return self.end_probe(slot, now, actions);
        }
        let Some(InFlight { mut batch, replay, begun, answer, .. }) = self.dispatch.complete(slot, elapsed, now) else {
            return Ok(());
        };
        if is_slow {
            self.relieve_slow(slot, &batch, slow, now);
        }
        self.change.end_pauses(slot, batch.id, now);
        let mut messages = batch.messages;
        if let (Input::Generate(source, _), Some(values)) = (self.plan.stages[batch.stage.index()].input, ended) {
            self.intake.end(source);
            batch.ends_generator = true;
            messages = messages.min(values.try_into().unwrap_or(u32::MAX));
        }
        self.end_trial(batch.stage);
        if replay {
            self.note_health(&batch, begun, actions);
            self.recovery.count_replayed(slot, batch.id);
            return self.after_batch(slot, now, actions);
        }
        // A replayed answer is no progress: a batch that kills every worker behind a replay must come to its end.
        self.workers.note_progress(slot);
        if let Some((lost_at, replayed)) = self.recovery.end_outage(slot) {
            actions.push(Action::Recovered { slot, after: now.saturating_sub(lost_at), replayed });
        }
        self.note_health(&batch, begun, actions);
        self.workers.serve(slot, messages);
        self.latencies.answered(batch.stage, now.saturating_sub(begun), messages.into());
        self.dispatch.count(batch.stage, messages);
        if self.plan.stages[batch.stage.index()].stateful {
            self.recovery.complete(slot, &batch, elapsed);
        }
        let (stage, sequence) = (batch.stage, batch.sequence());
        let finished = Finished { batch, answer, elapsed };
        if let Some(sequence) = sequence {
            self.order.hold(stage, sequence, finished)?;
            while let Some(finished) = self.order.next(stage)? {
                self.emit(finished, now, actions)?;
            }
        } else {
            self.emit(finished, now, actions)?;
        }
        self.after_batch(slot, now, actions)
    }

    /// Takes in that a batch was answered which was run without messages that had hung. Only that counts, not the answer: the batch is
    /// run again as a whole. Where it may have changed state, that is by a worker which has not seen a part of it.
    fn end_probe(&mut self, slot: SlotId, now: Duration, actions: &mut Vec<Action>) -> Checked<()> {
        let Some((batch, begun)) = self.dispatch.end_probe(slot) else { return Ok(()) };
        self.end_trial(batch.stage);
        self.note_health(&batch, begun, actions);
        self.workers.note_progress(slot);
        if self.plan.stages[batch.stage.index()].input.is_shared() {
            self.dispatch.complete(slot, Duration::ZERO, now);
            self.recovery.repeat_first(batch);
            return self.after_batch(slot, now, actions);
        }
        self.kill(slot, KillReason::Retired, actions);
        Ok(())
    }

    /// Drops the answer to a batch that was withdrawn: another worker gives it.
    pub(super) fn drop_answer(&mut self, slot: SlotId, now: Duration, actions: &mut Vec<Action>) -> Checked<()> {
        if let Some(InFlight { batch, .. }) = self.dispatch.complete(slot, Duration::ZERO, now) {
            self.end_trial(batch.stage);
        }
        self.after_batch(slot, now, actions)
    }

    /// The batch that a reply answers. `None` for a worker of the past, and for a reply that cannot be right, which kills its worker.
    pub(super) fn answered(
        &mut self,
        slot: SlotId,
        generation: Generation,
        batch: BatchId,
        actions: &mut Vec<Action>,
    ) -> Option<&Batch> {
        if !self.workers.hears(slot, generation) {
            return None;
        }
        let due = self.dispatch.front(slot).map(|front| front.id);
        if due != Some(batch) {
            let error = match due {
                Some(due) => format!("answered batch {batch} when batch {due} was due"),
                None => format!("answered batch {batch}, but none was outstanding"),
            };
            self.kill(slot, KillReason::Protocol(error), actions);
            return None;
        }
        self.dispatch.front(slot)
    }

    /// Sends a result on: groups to the lanes of their slots, messages to sinks, failures to the dead letters.
    pub(super) fn emit(&mut self, finished: Finished, now: Duration, actions: &mut Vec<Action>) -> Checked<()> {
        let Finished { mut batch, answer: Answer { outputs, failures, timing }, elapsed } = finished;
        let mut outcome = Outcome::default();
        outcome.letters.extend(std::mem::take(&mut batch.letters).into_iter().map(|(_, letter)| letter));
        outcome.letters.extend(failures.into_iter().map(|failure| self.dead_message(&batch, failure)));
        for Output { outlet, data } in outputs {
            match data {
                OutputData::Groups(groups) => self.emit_groups(&batch, outlet, groups, &mut outcome)?,
                OutputData::Messages(messages) if messages.lengths.is_empty() => {}
                OutputData::Messages(messages) => {
                    let target = self.plan.stages[batch.stage.index()].targets(outlet).next();
                    let Some(Target::Sink(sink)) = target else {
                        return Err(Invariant::Outlet { stage: batch.stage, outlet });
                    };
                    let count = messages.lengths.len();
                    self.latencies.left(now.saturating_sub(batch.received_at), count as u64);
                    outcome.written.push((sink, SinkChunk { bytes: messages.bytes, lengths: messages.lengths }));
                }
            }
        }
        self.end_in_time(&batch, &timing, now)?;
        self.release(&batch, outcome, timing, elapsed, now, actions);
        Ok(())
    }

    /// Routes the groups of an outlet to the stages that it feeds: a copy to each but the first, which gets the groups themselves.
    fn emit_groups(&mut self, batch: &Batch, outlet: NodeId, groups: Vec<Group>, outcome: &mut Outcome) -> Checked<()> {
        let plan = self.plan.clone();
        let targets = plan.stages[batch.stage.index()].targets(outlet);
        let mut stages = targets.filter_map(|target| match target {
            Target::Stage(stage) => Some(stage),
            Target::Sink(_) => None,
        });
        if self.commit.is_logged() {
            let to = stages.clone().map(|stage| (stage, self.time.queued_at(stage))).collect();
            outcome.routed.push(Routed { to, groups: groups.clone() });
        }
        let Some(first) = stages.next() else { return Err(Invariant::Outlet { stage: batch.stage, outlet }) };
        for stage in stages {
            self.route(stage, groups.clone(), batch.received_at);
        }
        self.route(first, groups, batch.received_at);
        Ok(())
    }

    fn route(&mut self, stage: StageId, groups: Vec<Group>, received_at: Duration) {
        let watermark = self.time.watermark(stage);
        let Some(keyspace) = self.routing.keyspace(stage) else {
            for group in groups {
                let time = self.time.enqueue(stage, watermark);
                self.routing.push_value(stage, group, time, received_at);
            }
            return;
        };
        let clocked = self.plan.stages[stage.index()].clocked;
        let mut woken = None;
        for group in groups {
            let time = if clocked { self.time.enqueue(stage, watermark) } else { None };
            let slot = self.routing.push(stage, keyspace, group, time, received_at);
            if slot != woken
                && let Some(slot) = slot
            {
                self.dispatch.wake(slot);
                woken = Some(slot);
            }
        }
    }

    fn dead_message(&self, batch: &Batch, failure: Failure) -> DeadMessage {
        let source = self.plan.stages[batch.stage.index()].input.source();
        let frame = || {
            let frames = wallaroo_protocol::input::parse_frames(&batch.input).ok()?;
            frames.into_iter().nth(failure.origin as usize)
        };
        let (payload, codec) = match batch.origin {
            Origin::Frames { .. } => (frame().unwrap_or(failure.payload), 0),
            _ => (failure.payload, failure.codec),
        };
        DeadMessage {
            node: failure.node,
            key: failure.key,
            exception: failure.exception,
            message: failure.message,
            traceback: failure.traceback,
            value: failure.value,
            payload,
            payload_index: (codec != 0).then_some(0),
            codec,
            limit: None,
            source,
            connection: batch.connection_of(failure.origin),
        }
    }
}
