//! Steps that are out: what they call, a database say, is away, so that message after message times out. No message is to blame. The
//! stage waits and is tried again, after longer and longer.
//!
//! A message that hangs is convicted if messages before it in its batch got through, or if it hangs once more although its step has
//! been seen to work: another batch of the stage that was begun after the hang was answered. If nothing shows that, the batch is run
//! without the message, as a probe. What the probe gives is dropped: it only proves that the step works. When another
//! message hangs too, in the probe or elsewhere, and none got through in between, the step is out.

use std::time::Duration;

use wallaroo_protocol::{BatchId, NodeId, Skip, StageId};

use super::poison::everything;
use crate::engine::batch::{Batch, Origin};
use crate::engine::{Action, Engine};

/// How long a stage waits at first.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// How long a stage waits, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Times that a message hangs until it is convicted although nothing shows that its step works and nothing else in its batch could.
const MOST_HANGS_ALONE: u32 = 3;
/// The same while its step is out. With the waits in between that is several minutes.
const MOST_HANGS: u32 = 10;

/// What is known of the steps of one stage.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// When the last batch began that was answered and had a message.
    worked: Option<Duration>,
    /// The last message that hung, if none has got through since.
    suspect: Option<(BatchId, Skip)>,
    outage: Option<Outage>,
}

/// A stage that waits, or is being tried again.
#[derive(Debug)]
struct Outage {
    node: NodeId,
    wait: Duration,
    /// When it is tried again; `None` since then.
    until: Option<Duration>,
    /// A worker tries: one at a time, for the others have better things to do than to wait for a timeout.
    is_tried: bool,
}

impl Health {
    /// Whether nothing of the stage is to be sent now.
    pub(super) fn is_waiting(&self) -> bool {
        self.outage.as_ref().is_some_and(|outage| outage.until.is_some() || outage.is_tried)
    }

    /// Takes in that a batch which began at `begun` was answered. Returns the step that was out, if one was.
    fn works(&mut self, begun: Duration) -> Option<NodeId> {
        self.worked = self.worked.max(Some(begun));
        self.suspect = None;
        self.outage.take().map(|outage| outage.node)
    }

    /// Takes in that a message has hung, for the first time or once more, and nothing shows that its step works. Returns whether the
    /// step is out.
    fn is_out(&mut self, batch: BatchId, message: Skip, again: bool) -> bool {
        let suspect = self.suspect.replace((batch, message));
        let another = !again && suspect.is_some_and(|suspect| suspect != (batch, message));
        another || self.outage.is_some()
    }

    /// Takes in that a batch of the stage is sent to a worker.
    pub(super) fn begin_trial(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.is_tried = true;
        }
    }

    /// Takes in that a batch of the stage is no longer with a worker, for whatever reason. Returns whether it was a trial.
    pub(super) fn end_trial(&mut self) -> bool {
        self.outage.as_mut().is_some_and(|outage| std::mem::take(&mut outage.is_tried))
    }

    /// Has the stage wait. Returns for how long.
    fn wait(&mut self, node: NodeId, now: Duration) -> Duration {
        if let Some(Outage { wait, until: Some(_), .. }) = self.outage {
            // What was sent before it waited says nothing new.
            return wait;
        }
        let last = self.outage.take().map(|outage| outage.wait);
        let wait = last.map_or(FIRST_WAIT, |last| (last * 2).min(LONGEST_WAIT));
        self.outage = Some(Outage { node, wait, until: Some(now + wait), is_tried: false });
        wait
    }
}

impl Engine {
    /// Weighs that a message of a batch has hung since `since` while each message was noted. Returns whether it is guilty. If not,
    /// something else is tried first.
    pub(super) fn is_guilty_of_hang(
        &mut self,
        batch: &mut Batch,
        message: Skip,
        node: NodeId,
        since: Duration,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> bool {
        if !matches!(batch.origin, Origin::Frames { .. } | Origin::Groups | Origin::Values { .. }) {
            return true;
        }
        let health = &mut self.recovery.health[batch.stage.index()];
        // A timer may get through without the step.
        let messages: Vec<Skip> = everything(batch).into_iter().filter(|other| other.value != Skip::WHOLE).collect();
        // While a group is read, no message has got through yet.
        let is_before = |other: &Skip| (other.origin, other.value) < (message.origin, message.value);
        let is_read = message.value == Skip::WHOLE;
        let got_through = !is_read && messages.iter().any(|other| is_before(other) && batch.runs(*other));
        let has_proof = std::mem::take(&mut batch.proven) || got_through;
        batch.proven = health.worked.is_some_and(|begun| begun > since);
        if has_proof || batch.proven {
            batch.probe = false;
            return has_proof;
        }
        let is_known = batch.hung.contains(&message);
        if !is_known {
            batch.hung.push(message);
        }
        let is_out = health.is_out(batch.id, message, is_known);
        let others = messages.iter().any(|other| !batch.skip.contains(other) && !batch.hung.contains(other));
        if !others && batch.struck >= if is_out { MOST_HANGS } else { MOST_HANGS_ALONE } {
            return true;
        }
        // While the step is out, a probe and the whole batch take turns.
        batch.probe = others && !batch.probe;
        if is_out {
            self.pause(batch.stage, node, now, actions);
        }
        false
    }

    /// Has a stage wait whose step is out.
    pub(super) fn pause(&mut self, stage: StageId, node: NodeId, now: Duration, actions: &mut Vec<Action>) {
        let wait = self.recovery.health[stage.index()].wait(node, now);
        let step = self.plan.name(node);
        actions.push(Action::Warn(format!(
            "step {step:?} does not answer: message after message times out; it is tried again in {wait:?}"
        )));
    }

    /// Lets a stage that is out be tried again, if the last trial has come to nothing.
    pub(in crate::engine) fn end_trial(&mut self, stage: StageId) {
        if self.recovery.health[stage.index()].end_trial() {
            self.wake_all();
        }
    }

    /// Takes in that a batch of a stage, which began at `begun`, was answered: its steps work.
    pub(in crate::engine) fn note_health(&mut self, batch: &Batch, begun: Duration, actions: &mut Vec<Action>) {
        if batch.messages as usize <= batch.skip.len() {
            return;
        }
        if let Some(node) = self.recovery.health[batch.stage.index()].works(begun) {
            actions.push(Action::Warn(format!("step {:?} answers again", self.plan.name(node))));
            self.wake_all();
        }
    }

    /// Tries stages again that have waited for long enough.
    pub(in crate::engine) fn end_waits(&mut self, now: Duration) {
        let mut ended = false;
        for outage in self.recovery.health.iter_mut().filter_map(|health| health.outage.as_mut()) {
            ended |= outage.until.take_if(|until| *until <= now).is_some();
        }
        if ended {
            self.wake_all();
        }
    }

    /// When the first stage that waits is tried again.
    pub(in crate::engine) fn next_trial(&self) -> Option<Duration> {
        self.recovery.health.iter().filter_map(|health| health.outage.as_ref()?.until).min()
    }

    /// What holds the run back, for people.
    pub fn problems(&self) -> Vec<String> {
        let outages = self.recovery.health.iter().filter_map(|health| health.outage.as_ref());
        let problem = |outage: &Outage| {
            format!("step {:?} does not answer: its messages wait, and it is tried again", self.plan.name(outage.node))
        };
        outages.map(problem).collect()
    }
}
