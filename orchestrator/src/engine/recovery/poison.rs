//! Messages that kill workers: the marker finds them, they become dead letters, and the rest of their batch is run again.

use std::collections::VecDeque;

use bytes::Bytes;
use wallaroo_protocol::{Group, NodeId, Skip, input, key};

use crate::dead_message::DeadMessage;
use crate::death::{Death, DeathCause, Marker};
use crate::engine::batch::{Batch, CAREFUL_AFTER, Origin};
use crate::engine::invariant::Checked;
use crate::engine::{Action, CuttingError, Engine};
use crate::ids::{ConnectionId, SlotId};
use crate::plan::Input;

/// Characters of a value in a dead letter, at most.
const LONGEST_VALUE: usize = 1000;

/// Deaths under a careful batch that convict what the marker says: a message, or, where it says nothing, all of them.
///
/// A crash convicts at once. What may strike others than the guilty convicts only what it keeps striking: somebody who kills a
/// worker now and then hardly ever strikes the same message.
fn verdict_after(noted: bool, cause: &DeathCause) -> u32 {
    match (noted, cause.may_strike_others()) {
        (true, false) => 1,
        (true, true) | (false, false) => 3,
        (false, true) => 6,
    }
}

/// Deaths after which the bytes of a connection are no longer cut.
fn most_deaths_of_a_cut(cause: &DeathCause) -> u32 {
    if cause.may_be_from_outside() { 10 } else { CAREFUL_AFTER }
}

impl Engine {
    /// Has bytes of a connection cut by another worker, or closes the connection if that has killed too many.
    pub(super) fn cut_again(
        &mut self,
        batch: Batch,
        connection: ConnectionId,
        cause: &DeathCause,
        actions: &mut Vec<Action>,
    ) {
        let Input::Cut(source) = self.plan.stages[batch.stage.index()].input else { return };
        if batch.deaths <= most_deaths_of_a_cut(cause) {
            return self.recovery.repeat_first(batch);
        }
        let error = CuttingError::KillsWorkers { deaths: batch.deaths, cause: cause.clone() };
        self.intake.give_up(source, connection, error, actions);
    }

    /// Asks a generator again for what a dead worker was asked. One that kills who asks it is asked for the values before only, and
    /// has ended.
    pub(super) fn generate_again(&mut self, slot: SlotId, mut batch: Batch) -> Checked<()> {
        let Input::Generate(source, _) = self.plan.stages[batch.stage.index()].input else { return Ok(()) };
        if batch.skip.contains(&GENERATOR) {
            // To a worker it would mean all of the first value.
            batch.skip.retain(|message| *message != GENERATOR);
            self.intake.end(source);
            batch.ends_generator = true;
            let times = batch.times.take(batch.messages);
            self.time.abandon(&batch)?;
            batch.times = times;
            // Batches that were to ask for later values ask for the fatal one.
            let repeat = std::mem::take(&mut self.recovery.slots[slot].repeat);
            let (later, others): (VecDeque<_>, _) = repeat.into_iter().partition(|other| other.stage == batch.stage);
            self.recovery.slots[slot].repeat = others;
            for later in later {
                self.time.abandon(&later)?;
            }
        }
        // Even if it is to be asked for nothing: its letters and its end come behind the values of batches before it.
        self.recovery.slots[slot].repeat.push_front(batch);
        Ok(())
    }

    /// Makes the message a dead letter that a worker died of while it ran `batch` carefully. Returns whether one was found.
    pub(super) fn convict(&self, batch: &mut Batch, death: &Death) -> bool {
        let root = self.plan.stages[batch.stage.index()].root;
        let running = death.marker.as_ref().and_then(Marker::running);
        let node = running.map_or(root, |running| running.node);
        let noted = running.and_then(|running| running.message);
        // A generated value that is skipped is still asked for: who dies of it once more dies of the generator.
        let of_generator = matches!(batch.origin, Origin::Generate);
        let fatal = noted.filter(|noted| of_generator && batch.skip.contains(noted));
        let noted = fatal.map_or(noted, |_| Some(GENERATOR));
        if batch.suspicion.confirm(noted) < verdict_after(noted.is_some(), &death.cause) {
            return false;
        }
        let guilty = noted.map_or_else(|| everything(batch), |message| vec![message]);
        let guilty: Vec<Skip> = guilty.into_iter().filter(|message| !batch.skip.contains(message)).collect();
        for message in &guilty {
            let letter = self.dead_letter(batch, *message, node, death);
            batch.letters.push((*message, letter));
            batch.skip.push(*message);
        }
        batch.struck = 0;
        if guilty.contains(&GENERATOR) && of_generator {
            batch.messages = fatal.map_or(0, |fatal| fatal.origin);
            batch.input = input::generate(batch.messages);
        }
        !guilty.is_empty()
    }

    fn dead_letter(&self, batch: &Batch, message: Skip, node: NodeId, death: &Death) -> DeadMessage {
        let frame = || input::parse_frames(&batch.input).ok()?.into_iter().nth(message.origin as usize);
        let group = || input::parse_groups(&batch.input).ok()?.into_iter().nth(message.origin as usize);
        let (key, payload, codec) = match batch.origin {
            Origin::Frames { .. } => (None, frame().unwrap_or_default(), 0),
            Origin::Groups | Origin::Values { .. } => group().map_or((None, Bytes::new(), 0), |group| {
                let (codec, values) = group.untimed();
                (Some(group.key_bytes()), values, codec)
            }),
            Origin::Generate | Origin::Cut { .. } => (None, Bytes::new(), 0),
        };
        let value = match batch.origin {
            Origin::Frames { .. } => key::display(&key::from_bytes(&payload[..payload.len().min(LONGEST_VALUE)])),
            // Without the code that made it, not every value can be shown.
            _ if codec == 1 => key::display_of(&payload, message.value as usize).unwrap_or_default(),
            _ => String::new(),
        };
        let payload_index = Some(message.value).filter(|value| codec != 0 && *value != Skip::WHOLE);
        let source = self.plan.stages[batch.stage.index()].input.source();
        DeadMessage {
            node,
            key,
            exception: "WorkerDeath".to_owned(),
            message: match batch.struck {
                ..=1 => format!("killed its worker: {}", death.cause),
                deaths => format!("killed its worker {deaths} times: {}", death.cause),
            },
            traceback: death.trace.clone(),
            value: cut(value),
            payload,
            payload_index,
            codec,
            limit: death.cause.limit(),
            source,
            connection: batch.connection_of(message.origin),
        }
    }
}

/// The first characters of a value that is shown.
fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_VALUE - 1) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// In the skip list of a batch of generated values: the generator itself.
const GENERATOR: Skip = Skip { origin: 0, value: Skip::WHOLE };

/// Every message of a batch.
pub(super) fn everything(batch: &Batch) -> Vec<Skip> {
    let values = |(origin, group): (u32, Group)| {
        // Only workers know how many windows a timer completes.
        let (first, count) = if group.is_timer() { (Skip::WHOLE, 1) } else { (0, group.count) };
        (0..count).map(move |value| first + value).map(move |value| Skip { origin, value })
    };
    match batch.origin {
        Origin::Frames { .. } => (0..batch.messages).map(|origin| Skip { origin, value: 0 }).collect(),
        Origin::Groups | Origin::Values { .. } => {
            (0..).zip(input::parse_groups(&batch.input).unwrap_or_default()).flat_map(values).collect()
        }
        Origin::Generate => vec![GENERATOR],
        Origin::Cut { .. } => Vec::new(),
    }
}
