//! One connection of a source: read, cut, pay, deliver.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::acknowledged;
use super::framing::Cutter;
use super::held::{Held, HeldBytes, LARGE_FRAME, Room};
use super::streams::Lease;
use super::{
    CloseReason, CloseRequests, ConnectionError, ConnectionIds, Framing, FramingError, SourceBudget, SourceContext,
    SourceEvent, SourceEvents,
};
use crate::frame::{FrameBlock, Place};
use crate::ids::{ConnectionId, SourceId};
use crate::position::FilePosition;

/// Bytes of a read.
const READ: usize = 64 << 10;

/// How long a client may send nothing in the middle of a frame while others wait for the memory it takes.
const STALLED: Duration = Duration::from_secs(30);

/// What all connections of a source share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) source: SourceId,
    pub(super) framing: Framing,
    pub(super) max_frame: usize,
    pub(super) events: SourceEvents,
    pub(super) budget: SourceBudget,
    pub(super) held: HeldBytes,
    pub(super) stop: CancellationToken,
    /// The next run goes on: an incomplete frame at the end of a followed file is left to it.
    pub(super) suspended: CancellationToken,
    pub(super) kind: StreamKind,
}

/// What a source reads. That decides about the start of a frame whose rest does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamKind {
    /// Other programs send it. They may stop in the middle of a frame.
    Network,
    /// It is there, or comes through a pipe.
    File,
    /// A file that others write on: it ends in the middle of a frame at any time.
    Followed,
}

/// A stream that is read.
pub(super) trait Stream: AsyncRead + Unpin {
    /// Whether there is no more for now.
    fn is_at_end(&self) -> bool {
        false
    }
}

impl Stream for OwnedReadHalf {}

impl Shared {
    /// What the connections of a source share, and what each is begun with.
    pub(super) fn of(
        context: SourceContext,
        stop: CancellationToken,
        kind: StreamKind,
    ) -> (Arc<Self>, ConnectionIds, CloseRequests) {
        let SourceContext {
            source,
            framing,
            max_frame,
            events,
            budget,
            streams,
            connections,
            close_requests,
            suspended,
            ..
        } = context;
        let framing = if streams.is_some() { acknowledged::FRAMING } else { framing };
        let held = HeldBytes::of(&budget);
        let shared = Self { source, framing, max_frame, events, budget, held, stop, suspended, kind };
        (Arc::new(shared), connections, close_requests)
    }

    /// Waits until a client has sent nothing for [`STALLED`] while others wait for the memory that its incomplete frame takes.
    async fn outwaited(&self) {
        loop {
            sleep(STALLED).await;
            if self.kind == StreamKind::Network && (self.budget.is_awaited() || self.held.is_awaited()) {
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
    /// Where what comes next begins, if the source has positions.
    position: Option<FilePosition>,
    /// The stream that its messages belong to, if the client is told what is durable.
    stream: Option<Arc<Lease>>,
    /// Fires when the runtime wants the connection closed. Its sender outlives the connection.
    refusal: oneshot::Receiver<String>,
}

impl Connection {
    /// A connection that closes when something comes through `refusal`, whose sender the caller keeps until [`Self::serve`] is done.
    pub(super) fn new(
        shared: Arc<Shared>,
        (id, peer): (ConnectionId, String),
        stream: Option<Arc<Lease>>,
        refusal: oneshot::Receiver<String>,
    ) -> Self {
        Self { shared, id, peer, position: None, stream, refusal }
    }

    /// It reads a file from this position on.
    pub(super) fn beginning_at(self, position: Option<FilePosition>) -> Self {
        Self { position, ..self }
    }

    /// Reads to the end, announcing the connection first and its end last. Returns why it could not be read to its end.
    pub(super) async fn serve(mut self, mut reader: impl Stream) -> Option<String> {
        let (source, connection) = (self.shared.source, self.id);
        self.send(SourceEvent::Opened { source, connection, peer: self.peer.clone() });
        let (outcome, failure) = match self.read(&mut reader).await {
            Ok(reason) => (reason, None),
            Err(error) => {
                let text = error.to_string();
                (CloseReason::Failed(error), Some(text))
            }
        };
        self.send(SourceEvent::Closed { source, connection, outcome });
        failure
    }

    async fn read(&mut self, reader: &mut impl Stream) -> Result<CloseReason, ConnectionError> {
        let shared = Arc::clone(&self.shared);
        let mut cutter = Cutter::new(shared.framing.clone(), shared.max_frame, Cutter::BLOCK_WEIGHT);
        let mut held = Held::none(&shared.budget, &shared.held);
        loop {
            let room = tokio::select! {
                biased;
                reason = &mut self.refusal => return Err(self.refused(reason)),
                () = shared.stop.cancelled() => return self.stopped(&mut cutter, reader.is_at_end()).await,
                room = held.room(&cutter, READ) => room,
            };
            let read = tokio::select! {
                biased;
                reason = &mut self.refusal => return Err(self.refused(reason)),
                () = shared.stop.cancelled() => return self.stopped(&mut cutter, reader.is_at_end()).await,
                read = read_some(reader, &mut cutter, room) => read,
                () = shared.outwaited(), if held.is_in_the_way() => {
                    return Err(ConnectionError::Stalled { peer: self.peer.clone(), have: cutter.held() });
                }
            };
            match read {
                Ok(0) => break,
                Ok(_) => held.note(cutter.held()),
                Err(error) => {
                    return Err(ConnectionError::Read { peer: self.peer.clone(), error });
                }
            }
            if let Framing::Uncut { .. } = shared.framing {
                self.deliver_chunk(cutter.take_raw()).await?;
            } else {
                loop {
                    // Small budgets get small blocks, so that several connections can hold a share.
                    cutter.set_block_weight(shared.budget.limit() / 4);
                    let Some(block) = cutter.cut().map_err(|error| self.broken(error))? else { break };
                    self.deliver_block(block).await?;
                    held.note(cutter.held());
                }
            }
        }
        if self.stream.as_ref().is_some_and(|stream| stream.is_marked()) {
            // A connector's process that died in the middle of a message is followed by one that sends it again.
            return Ok(CloseReason::End);
        }
        if let Some(block) = cutter.finish().map_err(|error| self.broken(error))? {
            self.deliver_block(block).await?;
        }
        Ok(CloseReason::End)
    }

    async fn stopped(&mut self, cutter: &mut Cutter, is_at_end: bool) -> Result<CloseReason, ConnectionError> {
        if self.shared.kind == StreamKind::Followed {
            if is_at_end
                && !self.shared.suspended.is_cancelled()
                && let Ok(Some(last_line)) = cutter.finish()
            {
                self.deliver_block(last_line).await?;
            }
        } else if self.position.is_none() && self.stream.is_none() {
            // The rest of its last frame is lost. Files have it, and clients of streams send it again.
            cutter.abandon().map_err(|error| self.broken(error))?;
        }
        Ok(CloseReason::Stopped)
    }

    async fn deliver_block(&mut self, mut block: FrameBlock) -> Result<(), ConnectionError> {
        if let Some(stream) = &self.stream {
            acknowledged::open_messages(&mut block, stream, &self.peer)?;
        }
        let weight = block.weight();
        self.pay(weight).await?;
        let (source, connection) = (self.shared.source, self.id);
        let deliver = |block| self.send(SourceEvent::Frames { source, connection, block });
        if let Some(stream) = &self.stream {
            let taken = stream.deliver(block, deliver).is_err();
            if taken {
                self.shared.budget.give_back(weight);
                return Err(self.refused(Ok("its stream goes on with another connection".to_owned())));
            }
            return Ok(());
        }
        block.place = match (self.read_on(&block.data), block.place) {
            (Some(before), Place::File { after, .. }) => Place::File { before, after },
            _ => Place::Unknown,
        };
        self.send(SourceEvent::Frames { source, connection, block });
        Ok(())
    }

    async fn deliver_chunk(&mut self, bytes: Bytes) -> Result<(), ConnectionError> {
        self.pay(bytes.len()).await?;
        let (source, connection) = (self.shared.source, self.id);
        let position = self.read_on(&bytes);
        self.send(SourceEvent::Chunk { source, connection, bytes, position });
        Ok(())
    }

    /// Moves past the next bytes of the stream. Returns where they begin, in a file that is known by them too.
    fn read_on(&mut self, bytes: &[u8]) -> Option<FilePosition> {
        let position = self.position.as_mut()?;
        let offset = position.offset;
        position.read(bytes);
        Some(FilePosition { offset, ..*position })
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

/// Reads what has come, as far as there is room. Small reads go by way of the stack, so that a connection has no memory of its own
/// while its client is silent, and blocks have no more than they need.
///
/// # Cancel safety
/// Nothing has been read when the future is dropped.
#[expect(clippy::large_stack_arrays, reason = "the main thread's stack is larger by far, and never given back anyway")]
async fn read_some(reader: &mut (impl AsyncRead + Unpin), cutter: &mut Cutter, room: Room) -> io::Result<usize> {
    let Room::Bytes(most) = room else {
        cutter.make_room(LARGE_FRAME);
        return reader.read_buf(cutter.buffer()).await;
    };
    poll_fn(|context| {
        let mut memory = [const { MaybeUninit::uninit() }; READ];
        let mut read = ReadBuf::uninit(&mut memory[..most]);
        ready!(Pin::new(&mut *reader).poll_read(context, &mut read))?;
        cutter.append(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
    .await
}
