//! Messages that kill workers: found by their marker, given up, so that the rest of their batch can be run again.

use std::collections::VecDeque;

use bytes::Bytes;
use wallaroo_protocol::{Group, NodeId, Skip, input};

use super::batch::{CAREFUL_AFTER, Origin, Work};
use super::{Action, Engine};
use crate::dead_message::DeadMessage;
use crate::death::{Death, DeathCause};
use crate::ids::ConnectionId;
use crate::plan::Input;

/// Deaths under a careful batch that convict what the worker noted: a message, or, where nothing is noted, all of them.
///
/// A crash convicts at once. A kill that may have come from outside convicts only what it keeps striking: a worker that somebody
/// kills now and then is hardly ever at the same message.
fn verdict_after(noted: bool, cause: &DeathCause) -> u32 {
    match (noted, cause.may_be_from_outside()) {
        (true, false) => 1,
        (true, true) | (false, false) => 3,
        (false, true) => 6,
    }
}

/// Deaths after which bytes that cannot be cut are given up.
fn most_deaths_of_a_cut(cause: &DeathCause) -> u32 {
    if cause.may_be_from_outside() { 10 } else { CAREFUL_AFTER }
}

impl Engine {
    pub(super) fn recut(
        &mut self,
        work: Work,
        connection: ConnectionId,
        cause: &DeathCause,
        actions: &mut Vec<Action>,
    ) {
        let Input::Cut(source) = self.plan.stages[work.stage.index()].input else { return };
        if work.deaths <= most_deaths_of_a_cut(cause) {
            return self.stages[work.stage.index()].retry.push_front(work);
        }
        self.sources[source.index()].cutting.remove(connection, source, actions);
        let error = format!("cutting its frames killed {} workers: {cause}", work.deaths);
        actions.push(Action::CloseConnection { source, connection, error });
    }

    pub(super) fn regenerate(&mut self, work: Work, repeat: &mut VecDeque<Work>) {
        let Input::Generate(source, _) = self.plan.stages[work.stage.index()].input else { return };
        if work.skip.contains(&GENERATOR) {
            // No value of it was at fault: the generator itself kills whoever asks it for the next one.
            self.sources[source.index()].ended = true;
            self.give_up(&work);
        } else {
            repeat.push_front(work);
        }
    }

    /// Gives up the message a worker died of while it ran `work` carefully. Returns whether one was found.
    pub(super) fn isolate(&mut self, work: &mut Work, death: &Death, actions: &mut Vec<Action>) -> bool {
        let root = self.plan.stages[work.stage.index()].root;
        let node = death.marker.map_or(root, |marker| marker.node);
        let noted = death.marker.and_then(|marker| marker.message);
        if work.suspicion.confirm(noted) < verdict_after(noted.is_some(), &death.cause) {
            return false;
        }
        let guilty = noted.map_or_else(|| everything(work), |message| vec![message]);
        let guilty: Vec<Skip> = guilty.into_iter().filter(|message| !work.skip.contains(message)).collect();
        for message in &guilty {
            let letter = self.poison(work, *message, node, death);
            actions.push(Action::DeadLetter(letter));
            work.skip.push(*message);
        }
        !guilty.is_empty()
    }

    fn poison(&self, work: &Work, message: Skip, node: NodeId, death: &Death) -> DeadMessage {
        let frame = || input::parse_frames(&work.input).ok()?.into_iter().nth(message.origin as usize);
        let group = || input::parse_groups(&work.input).ok()?.into_iter().nth(message.origin as usize);
        let (key, payload, codec) = match work.origin {
            Origin::Frames { .. } => (None, frame().unwrap_or_default(), 0),
            Origin::Groups | Origin::Values { .. } => group().map_or((None, Bytes::new(), 0), |group| {
                let (codec, values) = group.untimed();
                (Some(group.key_bytes()), values, codec)
            }),
            Origin::Generate | Origin::Cut { .. } => (None, Bytes::new(), 0),
        };
        let payload_index = Some(message.value).filter(|value| codec != 0 && *value != Skip::WHOLE);
        let source = self.plan.stages[work.stage.index()].input.source();
        DeadMessage {
            node,
            key,
            exception: "WorkerDeath".to_owned(),
            message: format!("killed its worker {} times: {}", work.deaths, death.cause),
            traceback: death.trace.clone(),
            value: String::new(),
            payload,
            payload_index,
            codec,
            source,
            connection: work.connection_of(message.origin),
        }
    }
}

/// In the skip list of a batch of generated values: the generator itself.
const GENERATOR: Skip = Skip { origin: 0, value: Skip::WHOLE };

/// Every message of a batch.
fn everything(work: &Work) -> Vec<Skip> {
    let values = |(origin, group): (u32, Group)| {
        // How many windows a timer completes only workers know.
        let values = if group.is_timer() { Skip::WHOLE..=Skip::WHOLE } else { 0..=group.count.saturating_sub(1) };
        values.map(move |value| Skip { origin, value })
    };
    match work.origin {
        Origin::Frames { .. } => (0..work.messages).map(|origin| Skip { origin, value: 0 }).collect(),
        Origin::Groups | Origin::Values { .. } => {
            (0..).zip(input::parse_groups(&work.input).unwrap_or_default()).flat_map(values).collect()
        }
        Origin::Generate => vec![GENERATOR],
        Origin::Cut { .. } => Vec::new(),
    }
}
