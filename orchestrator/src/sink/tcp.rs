//! A sink that connects to a TCP consumer and stays connected.
//!
//! The sink keeps what it has written until the consumer's kernel has acknowledged it. When a connection breaks, the next one
//! starts with the first message that was not wholly acknowledged. So nothing is lost, and no consumer gets the rest of a message
//! whose start went to another. A message comes twice only if it arrived and its acknowledgement was lost with the connection.
//! Bytes that the consumer's kernel has acknowledged are lost if the consumer dies before it reads them: plain TCP cannot tell.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::acknowledged::{bytes_acknowledged, unanswered_for};
use super::outbox::{Outbox, Progress};
use super::{SinkChunks, SinkError, SinkEvent, SinkEvents};
use crate::ids::SinkId;
use crate::keepalive::keep_alive;
use crate::sink_chunk::SinkChunk;

/// First pause between attempts to connect; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the log mentions a consumer that stays away.
const REMINDER: Duration = Duration::from_secs(10);
/// How long a consumer that has closed its sending half may take for the message being written.
const LINGER: Duration = Duration::from_secs(5);
/// First and longest pause between queries of what the peer has acknowledged, since there is no event for it.
const SETTLE_PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// How long a consumer's kernel may answer no retransmission. Then its machine or the network is gone. The kernel itself would try
/// for a quarter of an hour, and its own limit (`TCP_USER_TIMEOUT`) also ends connections to consumers that only read slowly.
const LONGEST_SILENCE: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Bytes taken from the channel before they are written, and bytes of one write.
const GATHER: u64 = 1 << 20;
/// Chunks of one write.
const SLICES: usize = 256;
/// Bytes written between two queries of what may be dropped.
const FORGET_EVERY: u64 = 256 << 10;

/// Sends everything from `chunks` to `host`:`port`, in order. Ends when `chunks` is closed and the consumer's kernel has
/// acknowledged everything; never gives up before.
pub async fn run(host: String, port: u16, sink: SinkId, chunks: SinkChunks, events: SinkEvents) {
    let peer = format!("{host}:{port}");
    let queue = Queue { sink, chunks, closed: false, events, outbox: Outbox::default() };
    let mut sink = TcpSink { host, port, peer, queue, pause: Duration::ZERO, outage: None };
    while let Some(stream) = sink.connect().await {
        let connection = match Connection::new(stream, &sink.queue.outbox) {
            Ok(connection) => connection,
            Err(error) => {
                sink.down(SinkError::Lost { peer: sink.peer.clone(), error });
                continue;
            }
        };
        let end = sink.queue.serve(&connection).await;
        let arrived = connection.arrived(&sink.queue.outbox);
        if arrived > connection.origin {
            sink.pause = Duration::ZERO;
        }
        let peer = sink.peer.clone();
        let error = match end {
            Ok(End::Finished) => return,
            Ok(End::PeerClosed) => SinkError::Closed { peer },
            Err(error) => SinkError::Lost { peer, error },
        };
        if arrived < sink.queue.outbox.position() {
            // A reset: bytes that count as not arrived must not arrive any more. On a broken connection it cannot be sent.
            let _ = connection.stream.set_zero_linger();
        }
        drop(connection);
        sink.queue.outbox.rewind(arrived);
        if sink.queue.closed && sink.queue.outbox.is_written() {
            return;
        }
        sink.down(error);
    }
}

/// The sink between connections.
#[derive(Debug)]
struct TcpSink {
    host: String,
    port: u16,
    /// Host and port as the user wrote them.
    peer: String,
    queue: Queue,
    /// Pause before the next attempt to connect. Zero only after a connection that delivered something, so that a consumer which
    /// accepts and closes at once is not dialled in a tight loop.
    pause: Duration,
    outage: Option<Outage>,
}

/// A time without a connection.
#[derive(Debug, Clone, Copy)]
struct Outage {
    since: Instant,
    mentioned: Instant,
}

impl TcpSink {
    /// The next connection; `None` when there will be nothing more to send.
    async fn connect(&mut self) -> Option<TcpStream> {
        loop {
            let attempt = async {
                sleep(self.pause).await;
                let connect = TcpStream::connect((self.host.as_str(), self.port));
                timeout(CONNECT_TIMEOUT, connect).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
            };
            let attempt = tokio::select! {
                attempt = attempt => attempt,
                () = self.queue.finished() => return None,
            };
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            match attempt {
                Ok(stream) => {
                    self.up();
                    return Some(stream);
                }
                Err(error) => self.down(SinkError::Connect { peer: self.peer.clone(), error }),
            }
        }
    }

    fn up(&mut self) {
        if let Some(outage) = self.outage.take() {
            let after = outage.since.elapsed();
            tracing::info!(peer = %self.peer, ?after, "sink is connected again");
        }
        self.queue.send(SinkEvent::Connected { sink: self.queue.sink });
    }

    fn down(&mut self, error: SinkError) {
        let now = Instant::now();
        if let Some(outage) = &mut self.outage {
            if now.duration_since(outage.mentioned) >= REMINDER {
                outage.mentioned = now;
                let since = now.duration_since(outage.since);
                let held = self.queue.outbox.unwritten();
                tracing::warn!(%error, ?since, held, "sink is still down, its messages are kept");
            }
            return;
        }
        tracing::warn!(%error, "sink is down, its messages are kept until it is back");
        self.outage = Some(Outage { since: now, mentioned: now });
        self.queue.send(SinkEvent::Disconnected { sink: self.queue.sink, error });
    }
}

/// A connection, and what the consumer's kernel has acknowledged on it.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// Position in the outbox of the first byte written here.
    origin: u64,
    /// The acknowledgement count before the first byte.
    baseline: u64,
}

impl Connection {
    fn new(stream: TcpStream, outbox: &Outbox) -> io::Result<Self> {
        // Messages are put together here already; waiting for more would only delay them.
        stream.set_nodelay(true)?;
        keep_alive(&stream);
        let baseline = bytes_acknowledged(&stream)?;
        Ok(Self { stream, origin: outbox.position(), baseline })
    }

    /// Position up to which the consumer's kernel has everything.
    fn arrived(&self, outbox: &Outbox) -> u64 {
        // Without an answer from the kernel nothing counts as arrived: better twice than never.
        let count = bytes_acknowledged(&self.stream).unwrap_or(self.baseline);
        (self.origin + count.saturating_sub(self.baseline)).min(outbox.position())
    }

    /// Fails when the peer's kernel has been silent for too long.
    fn check_silence(&self) -> io::Result<()> {
        match unanswered_for(&self.stream) {
            Some(silence) if silence >= LONGEST_SILENCE => {
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer for {} s", silence.as_secs())))
            }
            _ => Ok(()),
        }
    }

    /// Whether the peer has ended its half of the connection. Bytes that a consumer sends are dropped.
    fn peer_closed(&self) -> io::Result<bool> {
        let mut ignored = [0; 4096];
        loop {
            match self.stream.try_read(&mut ignored) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends our half and waits until the peer's kernel has acknowledged everything.
    async fn settle(&self, outbox: &Outbox) -> io::Result<()> {
        shutdown(self.stream.as_raw_fd(), Shutdown::Write)?;
        let (mut pause, longest) = SETTLE_PAUSES;
        while self.arrived(outbox) < outbox.position() {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            self.check_silence()?;
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        Ok(())
    }
}

/// How serving a connection ended without an error.
enum End {
    /// The channel is closed and everything has arrived.
    Finished,
    /// The consumer wants no more.
    PeerClosed,
}

/// What is to be sent, on this connection or on a later one.
#[derive(Debug)]
struct Queue {
    sink: SinkId,
    chunks: SinkChunks,
    /// `chunks` is closed and empty.
    closed: bool,
    events: SinkEvents,
    outbox: Outbox,
}

impl Queue {
    /// Writes until there is nothing more to write, the consumer closes, or the connection breaks.
    async fn serve(&mut self, connection: &Connection) -> io::Result<End> {
        let mut forgotten = connection.origin;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while self.outbox.unwritten() < GATHER {
                let Ok(chunk) = self.chunks.try_recv() else { break };
                self.push(chunk);
            }
            if connection.peer_closed()? {
                return self.leave(connection).await;
            }
            self.write(connection, GATHER)?;
            if self.outbox.position() - forgotten >= FORGET_EVERY {
                forgotten = self.outbox.position();
                self.outbox.acknowledge(connection.arrived(&self.outbox));
            }
            if self.closed && self.outbox.is_written() {
                connection.settle(&self.outbox).await?;
                return Ok(End::Finished);
            }
            let pending = self.outbox.unwritten() > 0;
            let wanted = if pending { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            tokio::select! {
                ready = connection.stream.ready(wanted) => drop(ready?),
                _ = looks.tick() => connection.check_silence()?,
                chunk = self.chunks.recv(), if !pending && !self.closed => match chunk {
                    Some(chunk) => self.push(chunk),
                    None => self.closed = true,
                },
            }
        }
    }

    /// The consumer has ended its half: it gets the rest of the message that has begun, and no more.
    async fn leave(&mut self, connection: &Connection) -> io::Result<End> {
        let finish = async {
            while self.outbox.rest_of_message() > 0 {
                if self.write(connection, self.outbox.rest_of_message())? {
                    connection.stream.writable().await?;
                }
            }
            connection.settle(&self.outbox).await
        };
        // Late or broken, the outcome is the same: what has not arrived goes to the next connection.
        let _ = timeout(LINGER, finish).await;
        Ok(End::PeerClosed)
    }

    /// Writes up to `limit` bytes. Says whether the socket takes no more for now.
    fn write(&mut self, connection: &Connection, limit: u64) -> io::Result<bool> {
        let mut left = limit.min(self.outbox.unwritten());
        while left > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.outbox.gather(&mut slices, left);
            match connection.stream.try_write_vectored(&slices[..count]) {
                Ok(written) => {
                    left -= written as u64;
                    self.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Collects chunks while there is no connection. Done when there will be nothing more to send.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    async fn finished(&mut self) {
        while !self.closed {
            match self.chunks.recv().await {
                Some(chunk) => self.push(chunk),
                None => self.closed = true,
            }
        }
        if !self.outbox.is_written() {
            std::future::pending::<()>().await;
        }
    }

    fn push(&mut self, chunk: SinkChunk) {
        self.outbox.push(chunk);
        if self.outbox.unwritten() == 0 {
            // Nothing but empty messages: there is no write that would report them.
            self.advance(0);
        }
    }

    fn advance(&mut self, written: usize) {
        let Progress { bytes, messages } = self.outbox.advance(written);
        if bytes > 0 || messages > 0 {
            self.send(SinkEvent::Written { sink: self.sink, bytes, messages });
        }
    }

    fn send(&self, event: SinkEvent) {
        // The runtime hangs up only when it is going away, and then it aborts this task too.
        let _ = self.events.send(event);
    }
}
