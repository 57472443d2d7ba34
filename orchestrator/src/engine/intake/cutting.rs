//! Connections whose frames only the application's decoder can cut: a worker is given their bytes and says where frames lie.
//!
//! One `cut` batch of a connection is outstanding at a time, so its frames stay in order.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::{Bytes, BytesMut};
use wallaroo_protocol::CutResult;

use super::CuttingError;
use crate::engine::Action;
use crate::frame::{FrameBlock, Place, Span};
use crate::ids::{ConnectionId, SourceId};
use crate::position::FilePosition;

/// Bytes that a frame may need beyond its own, for a header.
const HEADER_ROOM: usize = 64 << 10;

/// All connections of one source that are cut in workers.
#[derive(Debug, Default)]
pub(super) struct Cutting {
    connections: HashMap<ConnectionId, Uncut>,
    /// Connections that have enough bytes to be worth a try.
    ready: VecDeque<ConnectionId>,
    /// Connections that were given up and have not closed yet: more of them may be on the way.
    given_up: HashSet<ConnectionId>,
}

#[derive(Debug, Default)]
struct Uncut {
    /// Bytes that no worker has cut.
    tail: BytesMut,
    /// Where what a worker is cutting begins, or the tail, if the source has positions.
    position: Option<FilePosition>,
    /// Bytes of credit that the tail holds.
    charge: usize,
    /// What a worker is cutting now, and the credit it holds.
    sent: Option<(Bytes, usize)>,
    /// Bytes without which the next frame cannot be cut.
    need: usize,
    /// It is in the list of those that are ready.
    queued: bool,
    closed: bool,
}

/// What a worker found in the bytes of a connection.
#[derive(Debug)]
pub(super) struct Cut {
    /// The frames, if there are any.
    pub(super) block: Option<FrameBlock>,
    /// Credit that the bytes held.
    pub(super) credit: usize,
    /// Why the connection cannot be read any further.
    pub(super) error: Option<CuttingError>,
}

impl Cutting {
    /// Takes in bytes of a connection. What comes of a connection that was given up is dropped.
    pub(super) fn push(
        &mut self,
        source: SourceId,
        connection: ConnectionId,
        (bytes, position): (&[u8], Option<FilePosition>),
        actions: &mut Vec<Action>,
    ) {
        if self.given_up.contains(&connection) {
            actions.push(Action::Credit { source, bytes: bytes.len() });
            return;
        }
        let uncut = self.connections.entry(connection).or_default();
        if uncut.tail.is_empty() && uncut.sent.is_none() {
            uncut.position = position;
        }
        uncut.tail.extend_from_slice(bytes);
        uncut.charge += bytes.len();
        self.enqueue(source, connection, actions);
    }

    /// Queues a connection that has enough bytes. An incomplete frame waits without credit: its rest could not come if it held all
    /// there is.
    fn enqueue(&mut self, source: SourceId, connection: ConnectionId, actions: &mut Vec<Action>) {
        let Some(uncut) = self.connections.get_mut(&connection) else { return };
        if uncut.sent.is_some() || uncut.queued {
            return;
        }
        if !uncut.tail.is_empty() && uncut.tail.len() >= uncut.need {
            uncut.queued = true;
            self.ready.push_back(connection);
        } else if uncut.charge > 0 {
            actions.push(Action::Credit { source, bytes: std::mem::take(&mut uncut.charge) });
        }
    }

    /// The bytes of the next connection to be cut.
    pub(super) fn take(&mut self) -> Option<(ConnectionId, Bytes)> {
        let connection = self.ready.pop_front()?;
        let uncut = self.connections.get_mut(&connection)?;
        uncut.queued = false;
        let bytes = uncut.tail.split().freeze();
        uncut.sent = Some((bytes.clone(), std::mem::take(&mut uncut.charge)));
        Some((connection, bytes))
    }

    /// Takes in what a worker found in the bytes it was sent. `None` if the connection has been given up meanwhile.
    pub(super) fn answered(&mut self, connection: ConnectionId, result: &CutResult, max_frame: usize) -> Option<Cut> {
        let uncut = self.connections.get_mut(&connection)?;
        let (sent, credit) = uncut.sent.take()?;
        let consumed = (result.consumed as usize).min(sent.len());
        let fits = result.frames.iter().all(|(start, end)| start <= end && *end as usize <= consumed);
        let spans: Vec<Span> = result.frames.iter().map(|&(start, end)| Span { start, end }).collect();
        let block = (fits && !spans.is_empty()).then(|| FrameBlock {
            data: sent.slice(..consumed),
            spans,
            place: uncut.position.map_or(Place::Unknown, |before| Place::File { before, after: 0 }),
        });
        uncut.position = uncut.position.map(|position| position.after(consumed as u64));
        let mut tail = BytesMut::from(&sent[consumed..]);
        tail.extend_from_slice(&uncut.tail);
        uncut.tail = tail;
        // More than was there, whatever the worker says: it would be asked for ever.
        uncut.need = (result.need as usize).max(sent.len() - consumed + 1);
        let error = match &result.error {
            Some(error) => {
                let (exception, message) = (error.exception.clone(), error.message.clone());
                Some(CuttingError::Decoder { exception, message })
            }
            None if !fits => Some(CuttingError::OutOfBounds),
            None if uncut.need > max_frame + HEADER_ROOM => {
                Some(CuttingError::TooLong { length: uncut.need, cap: max_frame })
            }
            None => None,
        };
        Some(Cut { block, credit, error })
    }

    /// Has a connection cut again when it has enough bytes, or ends it if it is closed.
    pub(super) fn go_on(&mut self, connection: ConnectionId, source: SourceId, actions: &mut Vec<Action>) {
        self.enqueue(source, connection, actions);
        if self.connections.get(&connection).is_some_and(|uncut| uncut.closed) {
            self.close(connection, source, actions);
        }
    }

    /// The connection has ended. What cannot be cut any more is reported.
    pub(super) fn close(&mut self, connection: ConnectionId, source: SourceId, actions: &mut Vec<Action>) {
        self.given_up.remove(&connection);
        let Some(uncut) = self.connections.get_mut(&connection) else { return };
        uncut.closed = true;
        if uncut.sent.is_some() || uncut.queued {
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
        if !uncut.closed {
            self.given_up.insert(connection);
        }
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

    /// Whether a connection has enough bytes to be worth a try.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.connections.values().all(|uncut| uncut.sent.is_none())
    }
}
