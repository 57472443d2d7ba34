//! The streams of messages that clients of a source go on with on later connections: how many messages of each have been received,
//! and how many are durable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::SourceHandle;
use crate::frame::{FrameBlock, Place};
use crate::ids::ConnectionId;
use crate::position::{Mark, StreamName};

/// All streams of one source. Clones share them.
#[derive(Debug, Clone)]
pub struct Streams {
    shared: Arc<Mutex<HashMap<StreamName, Stream>>>,
    /// Closes a connection whose stream goes on elsewhere.
    source: SourceHandle,
    /// They are partitions of a connector, whose messages come with their marks.
    are_marked: bool,
}

#[derive(Debug)]
struct Stream {
    /// Messages that were given to the engine, also by an earlier run.
    received: u64,
    /// The mark of the last of them, if they have marks.
    mark: Bytes,
    /// Messages that are durable.
    acknowledged: watch::Sender<u64>,
    /// The connection that may go on with it.
    owner: Option<ConnectionId>,
}

impl Stream {
    fn begun(Mark { messages, mark }: Mark) -> Self {
        Self { received: messages, mark, acknowledged: watch::Sender::new(messages), owner: None }
    }
}

/// The right of one connection to go on with a stream, until another one takes it.
#[derive(Debug)]
pub(super) struct Lease {
    streams: Streams,
    pub(super) name: StreamName,
    owner: ConnectionId,
    /// Messages that had been received when it was taken.
    pub(super) received: u64,
    /// The mark of the last of them, if they have marks.
    pub(super) mark: Bytes,
    pub(super) acknowledged: watch::Receiver<u64>,
}

/// Another connection has taken the stream.
#[derive(Debug)]
pub(super) struct Taken;

impl Streams {
    /// The streams of clients that an earlier run has left, by name with their messages.
    pub fn of_clients(left: impl Iterator<Item = (StreamName, Mark)>, source: SourceHandle) -> Self {
        Self::new(left, source, false)
    }

    /// The partitions of a connector that an earlier run has left, by name with their marks.
    pub fn of_connector(left: impl Iterator<Item = (StreamName, Mark)>, source: SourceHandle) -> Self {
        Self::new(left, source, true)
    }

    fn new(left: impl Iterator<Item = (StreamName, Mark)>, source: SourceHandle, are_marked: bool) -> Self {
        let streams = left.map(|(name, mark)| (name, Stream::begun(mark))).collect();
        Self { shared: Arc::new(Mutex::new(streams)), source, are_marked }
    }

    /// Notes that messages of a stream are durable.
    pub fn acknowledge(&self, stream: &StreamName, messages: u64) {
        if let Some(stream) = self.lock().get(stream) {
            stream.acknowledged.send_replace(messages);
        }
    }

    /// Lets a connection go on with a stream. The connection that had it before is closed: its client has lost it.
    pub(super) fn take(&self, name: StreamName, connection: ConnectionId) -> Lease {
        let mut streams = self.lock();
        let stream = streams.entry(name.clone()).or_insert_with(|| Stream::begun(Mark::default()));
        if let Some(before) = stream.owner.replace(connection) {
            self.source.close(before, format!("its stream {name:?} goes on with another connection"));
        }
        let (received, mark, acknowledged) = (stream.received, stream.mark.clone(), stream.acknowledged.subscribe());
        drop(streams);
        Lease { streams: self.clone(), name, owner: connection, received, mark, acknowledged }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamName, Stream>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Gives messages of the stream to `deliver`, with their place in it.
    pub(super) fn deliver(&self, mut block: FrameBlock, deliver: impl FnOnce(FrameBlock)) -> Result<(), Taken> {
        let mut streams = self.streams.lock();
        let stream = streams.get_mut(&self.name).filter(|stream| stream.owner == Some(self.owner)).ok_or(Taken)?;
        let (name, before) = (self.name.clone(), stream.received);
        block.place = if self.streams.are_marked {
            if let Some(last) = block.spans.len().checked_sub(1) {
                stream.mark = block.mark_of(last);
            }
            Place::Partition { partition: name, before }
        } else {
            Place::Stream { stream: name, before }
        };
        stream.received += block.spans.len() as u64;
        // Within the lock: who takes the stream now goes on behind these.
        deliver(block);
        Ok(())
    }

    /// Whether messages come with their marks.
    pub(super) fn is_marked(&self) -> bool {
        self.streams.are_marked
    }

    /// Whether everything that was received is durable.
    pub(super) fn is_settled(&self) -> bool {
        let streams = self.streams.lock();
        streams.get(&self.name).is_none_or(|stream| *stream.acknowledged.borrow() >= stream.received)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut streams = self.streams.lock();
        let Some(stream) = streams.get_mut(&self.name) else { return };
        // A name alone is not kept.
        if stream.owner.take_if(|owner| *owner == self.owner).is_some() && stream.received == 0 {
            streams.remove(&self.name);
        }
    }
}
