//! Connections whose frames only the application's decoder can cut: their bytes go to a worker, which says where frames lie.
//!
//! One `cut` batch of a connection is outstanding at a time, so its frames stay in order.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use wallaroo_protocol::CutResult;

use super::batch::Origin;
use super::{Action, Engine};
use crate::death::KillReason;
use crate::frame::{FrameBlock, Span};
use crate::ids::{ConnectionId, Generation, SlotId, SourceId};
use crate::plan::Input;

/// All connections of one source that are cut in workers.
#[derive(Debug, Default)]
pub(super) struct Cutting {
    connections: HashMap<ConnectionId, Uncut>,
    /// Connections that have enough bytes to be worth a try.
    ready: VecDeque<ConnectionId>,
}

#[derive(Debug, Default)]
struct Uncut {
    /// Bytes no worker has been sent, or that were sent in vain.
    tail: BytesMut,
    /// How many bytes of credit the tail holds.
    charge: usize,
    /// What a worker is cutting now, and the credit it holds.
    sent: Option<(Bytes, usize)>,
    /// Without this many bytes the next frame cannot be cut.
    need: usize,
    listed: bool,
    closed: bool,
}

impl Cutting {
    pub(super) fn push(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let uncut = self.connections.entry(connection).or_default();
        uncut.tail.extend_from_slice(bytes);
        uncut.charge += bytes.len();
        self.list(connection);
    }

    fn list(&mut self, connection: ConnectionId) {
        let Some(uncut) = self.connections.get_mut(&connection) else { return };
        if uncut.sent.is_none() && !uncut.listed && !uncut.tail.is_empty() && uncut.tail.len() >= uncut.need {
            uncut.listed = true;
            self.ready.push_back(connection);
        }
    }

    /// The bytes of the next connection to be cut.
    pub(super) fn take(&mut self) -> Option<(ConnectionId, Bytes)> {
        let connection = self.ready.pop_front()?;
        let uncut = self.connections.get_mut(&connection)?;
        uncut.listed = false;
        let bytes = uncut.tail.split().freeze();
        uncut.sent = Some((bytes.clone(), std::mem::take(&mut uncut.charge)));
        Some((connection, bytes))
    }

    /// The connection has ended. What cannot be cut any more is reported.
    pub(super) fn close(&mut self, connection: ConnectionId, source: SourceId, actions: &mut Vec<Action>) {
        let Some(uncut) = self.connections.get_mut(&connection) else { return };
        uncut.closed = true;
        if uncut.sent.is_some() || uncut.listed {
            return;
        }
        let Some(uncut) = self.connections.remove(&connection) else { return };
        if uncut.charge > 0 {
            actions.push(Action::Credit { source, bytes: uncut.charge });
        }
        if !uncut.tail.is_empty() {
            let (have, need) = (uncut.tail.len(), uncut.need);
            actions.push(Action::Warn(format!(
                "connection {} ended inside a frame: its last {have} bytes were dropped, the frame needs {need}",
                connection.0
            )));
        }
    }

    /// Gives a connection up.
    pub(super) fn remove(&mut self, connection: ConnectionId, source: SourceId, actions: &mut Vec<Action>) {
        let Some(uncut) = self.connections.remove(&connection) else { return };
        self.ready.retain(|ready| *ready != connection);
        let bytes = uncut.charge + uncut.sent.map_or(0, |(_, charge)| charge);
        if bytes > 0 {
            actions.push(Action::Credit { source, bytes });
        }
    }

    /// Bytes that have not been cut.
    pub(super) fn bytes(&self) -> usize {
        let held = |uncut: &Uncut| uncut.tail.len() + uncut.sent.as_ref().map_or(0, |(sent, _)| sent.len());
        self.connections.values().map(held).sum()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.connections.values().all(|uncut| uncut.sent.is_none())
    }
}

impl Engine {
    pub(super) fn cut_result(
        &mut self,
        slot: SlotId,
        generation: Generation,
        result: &CutResult,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(in_flight) = self.answered(slot, generation, result.batch, actions) else { return };
        let Origin::Cut { connection } = in_flight.work.origin else {
            return self.kill(slot, KillReason::Protocol("answered a batch as if it were to be cut".into()), actions);
        };
        let stage = in_flight.work.stage;
        let Input::Cut(source) = self.plan.stages[stage.index()].input else { return };
        let _ = self.complete(slot, now);
        self.stages[stage.index()].service.observe(1, result.elapsed);
        self.take_cut(source, connection, result, now, actions);
        self.after_batch(slot, now, actions);
    }

    fn take_cut(
        &mut self,
        source: SourceId,
        connection: ConnectionId,
        result: &CutResult,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let arrived = self.wall_clock(now);
        let state = &mut self.sources[source.index()];
        let Some(uncut) = state.cutting.connections.get_mut(&connection) else { return };
        let Some((sent, charge)) = uncut.sent.take() else { return };
        let consumed = (result.consumed as usize).min(sent.len());
        let fits = result.frames.iter().all(|(start, end)| start <= end && *end as usize <= consumed);
        let spans: Vec<Span> = result.frames.iter().map(|&(start, end)| Span { start, end }).collect();
        let mut released = charge;
        if fits && !spans.is_empty() {
            let charge = consumed.min(charge);
            released -= charge;
            let block = FrameBlock { data: sent.slice(..consumed), spans };
            state.queue.push(connection, block, charge, arrived);
        }
        // What is left waits for more without holding credit: otherwise one frame larger than the credit could never arrive.
        if released > 0 {
            actions.push(Action::Credit { source, bytes: released });
        }
        let mut tail = BytesMut::from(&sent[consumed..]);
        tail.extend_from_slice(&uncut.tail);
        uncut.tail = tail;
        uncut.need = result.need as usize;
        let error = match &result.error {
            Some(error) => Some(format!("{}: {}", error.exception, error.message)),
            None if !fits => Some("the decoder's frames lie outside the bytes it was given".to_owned()),
            None if uncut.need > self.config.max_frame + (64 << 10) => Some(format!(
                "a frame of {} bytes is above the cap of {} bytes (--max-frame)",
                uncut.need, self.config.max_frame
            )),
            None => None,
        };
        if let Some(error) = error {
            state.cutting.remove(connection, source, actions);
            actions.push(Action::CloseConnection { source, connection, error });
            return;
        }
        state.cutting.list(connection);
        let closed = state.cutting.connections.get(&connection).is_some_and(|uncut| uncut.closed);
        if closed {
            state.cutting.close(connection, source, actions);
        }
    }
}
