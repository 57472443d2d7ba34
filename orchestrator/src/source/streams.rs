//! The streams of messages that clients of a source go on with on later connections: how many messages of each have been received,
//! and how many are durable.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::SourceHandle;
use crate::frame::{FrameBlock, Place};
use crate::ids::ConnectionId;
use crate::position::StreamName;

/// All streams of one source. Clones share them.
#[derive(Debug, Clone)]
pub struct Streams {
    shared: Arc<Mutex<HashMap<StreamName, Stream>>>,
    /// Closes a connection whose stream goes on elsewhere.
    source: SourceHandle,
}

#[derive(Debug)]
struct Stream {
    /// Messages that were given to the engine, also by an earlier run.
    received: u64,
    /// Messages that are durable.
    acknowledged: watch::Sender<u64>,
    /// The connection that may go on with it.
    owner: Option<ConnectionId>,
}

impl Stream {
    fn begun(messages: u64) -> Self {
        Self { received: messages, acknowledged: watch::Sender::new(messages), owner: None }
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
    pub(super) acknowledged: watch::Receiver<u64>,
}

/// Another connection has taken the stream.
#[derive(Debug)]
pub(super) struct Taken;

impl Streams {
    /// The streams that an earlier run has left, by name with their messages.
    pub fn new(left: BTreeMap<StreamName, u64>, source: SourceHandle) -> Self {
        let streams = left.into_iter().map(|(name, messages)| (name, Stream::begun(messages))).collect();
        Self { shared: Arc::new(Mutex::new(streams)), source }
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
        let stream = streams.entry(name.clone()).or_insert_with(|| Stream::begun(0));
        if let Some(before) = stream.owner.replace(connection) {
            self.source.close(before, format!("its stream {name:?} goes on with another connection"));
        }
        let (received, acknowledged) = (stream.received, stream.acknowledged.subscribe());
        drop(streams);
        Lease { streams: self.clone(), name, owner: connection, received, acknowledged }
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
        block.place = Place::Stream { stream: self.name.clone(), before: stream.received };
        stream.received += block.spans.len() as u64;
        // Within the lock: who takes the stream now goes on behind these.
        deliver(block);
        Ok(())
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
