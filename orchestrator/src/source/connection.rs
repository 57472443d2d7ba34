//! One connection of a source: read, cut, pay, deliver.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::framing::Cutter;
use super::{CloseReason, ConnectionError, Framing, FramingError, SourceBudget, SourceEvent, SourceEvents};
use crate::frame::FrameBlock;
use crate::ids::{ConnectionId, SourceId};

/// Bytes of the first reads, so that a thousand quiet connections cost little.
const FIRST_READ: usize = 16 << 10;
/// Bytes of a read on a connection that keeps filling smaller ones.
const LARGEST_READ: usize = 256 << 10;

/// How long a client may send nothing in the middle of a large frame while others wait for the memory it takes.
const STALLED: Duration = Duration::from_secs(30);

/// What all connections of a source share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) source: SourceId,
    pub(super) framing: Framing,
    pub(super) max_frame: usize,
    pub(super) events: SourceEvents,
    pub(super) budget: SourceBudget,
    pub(super) stop: CancellationToken,
    /// Its peers are other programs, which may stop in the middle of a frame.
    pub(super) is_network: bool,
}

impl Shared {
    /// Waits until a client has sent nothing for [`STALLED`] while others wait for the memory that its incomplete frame takes.
    async fn outwaited(&self) {
        loop {
            sleep(STALLED).await;
            if self.is_network && self.budget.is_awaited() {
                return;
            }
        }
    }
}

/// A connection that is being read.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    id: ConnectionId,
    peer: String,
    /// Fires when the runtime wants the connection closed. Its sender outlives the connection.
    refusal: oneshot::Receiver<String>,
}

impl Connection {
    /// A connection that closes when something is sent into the returned sender, which the caller keeps until
    /// [`Self::serve`] is done.
    pub(super) fn new(shared: Arc<Shared>, id: ConnectionId, peer: String) -> (Self, oneshot::Sender<String>) {
        let (refuse, refusal) = oneshot::channel();
        (Self { shared, id, peer, refusal }, refuse)
    }

    /// Reads to the end, announcing the connection first and its end last.
    pub(super) async fn serve(mut self, mut reader: impl AsyncRead + Unpin) -> ConnectionId {
        let (source, connection) = (self.shared.source, self.id);
        self.send(SourceEvent::Opened { source, connection, peer: self.peer.clone() });
        let outcome = match self.read(&mut reader).await {
            Ok(reason) => reason,
            Err(error) => CloseReason::Failed(error),
        };
        self.send(SourceEvent::Closed { source, connection, outcome });
        connection
    }

    async fn read(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> Result<CloseReason, ConnectionError> {
        let shared = Arc::clone(&self.shared);
        // Small budgets get small blocks, so that several connections can hold a share.
        let block_weight = shared.budget.total() / 4;
        let mut cutter = Cutter::new(shared.framing.clone(), shared.max_frame, block_weight);
        let mut read_size = FIRST_READ;
        let mut assembling = None;
        loop {
            match cutter.large_frame(LARGEST_READ) {
                None => assembling = None,
                Some(length) if assembling.is_none() => {
                    assembling = tokio::select! {
                        biased;
                        reason = &mut self.refusal => return Err(self.refused(reason)),
                        () = shared.stop.cancelled() => None,
                        permit = shared.budget.assemble(length) => Some(permit),
                    };
                }
                Some(_) => {}
            }
            cutter.reserve(read_size);
            let room = cutter.buffer().capacity() - cutter.buffer().len();
            let read = tokio::select! {
                biased;
                reason = &mut self.refusal => return Err(self.refused(reason)),
                () = shared.stop.cancelled() => {
                    cutter.abandon().map_err(|error| self.broken(error))?;
                    return Ok(CloseReason::Stopped);
                }
                read = reader.read_buf(cutter.buffer()) => read,
                () = shared.outwaited(), if assembling.is_some() => {
                    return Err(ConnectionError::Stalled { peer: self.peer.clone(), have: cutter.buffer().len() });
                }
            };
            match read {
                Ok(0) => break,
                Ok(read) if read == room => read_size = (read_size * 2).min(LARGEST_READ),
                Ok(_) => {}
                Err(error) => {
                    return Err(ConnectionError::Read { peer: self.peer.clone(), error });
                }
            }
            if let Framing::Uncut { .. } = shared.framing {
                self.deliver_chunk(cutter.take_raw()).await?;
            } else {
                while let Some(block) = cutter.cut().map_err(|error| self.broken(error))? {
                    self.deliver_block(block).await?;
                }
            }
        }
        if let Some(block) = cutter.finish().map_err(|error| self.broken(error))? {
            self.deliver_block(block).await?;
        }
        Ok(CloseReason::End)
    }

    async fn deliver_block(&mut self, block: FrameBlock) -> Result<(), ConnectionError> {
        self.pay(block.weight()).await?;
        let (source, connection) = (self.shared.source, self.id);
        self.send(SourceEvent::Frames { source, connection, block });
        Ok(())
    }

    async fn deliver_chunk(&mut self, bytes: Bytes) -> Result<(), ConnectionError> {
        self.pay(bytes.len()).await?;
        let (source, connection) = (self.shared.source, self.id);
        self.send(SourceEvent::Chunk { source, connection, bytes });
        Ok(())
    }

    /// Takes `weight` from the budget. Waits through a stop, because what was read whole is delivered.
    async fn pay(&mut self, weight: usize) -> Result<(), ConnectionError> {
        tokio::select! {
            biased;
            reason = &mut self.refusal => Err(self.refused(reason)),
            () = self.shared.budget.acquire(weight) => Ok(()),
        }
    }

    fn send(&self, event: SourceEvent) {
        // The runtime hangs up only when it is going away, and then it aborts this task too.
        let _ = self.shared.events.send(event);
    }

    fn broken(&self, error: FramingError) -> ConnectionError {
        ConnectionError::Framing { peer: self.peer.clone(), error }
    }

    fn refused(&self, reason: Result<String, oneshot::error::RecvError>) -> ConnectionError {
        let reason = reason.unwrap_or_else(|_| "its source is gone".to_owned());
        ConnectionError::Refused { peer: self.peer.clone(), reason }
    }
}
