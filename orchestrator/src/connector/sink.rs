//! A sink that a connector writes. Its process connects, says how far it has come, is sent messages and says what it has written.
//!
//! Messages are kept until they are written. A process that ends is followed by another, which goes on behind what the one before has
//! committed.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::time::{Instant, sleep, timeout};

use super::process::{Pauses, Program};
use crate::ids::SinkId;
use crate::local_socket::{accept, listen as listen_anew};
use crate::sink::{Outbox, Rejected, SinkChunks, SinkError, SinkEvent, SinkEvents};

/// Chunks of one write.
const SLICES: usize = 64;
/// Bytes of one write.
const WRITE: u64 = 1 << 20;
/// How long a process that has closed its end may take to exit.
const EXIT_GRACE: Duration = Duration::from_millis(500);
/// How long the last words of a process are waited for after its end.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// Bytes of what a process says, at most: a message that it rejects, and why.
const LONGEST: usize = 1 << 30;

/// What a frame of a process is.
mod kind {
    /// First: the last position that is committed, or nothing.
    pub(super) const OPENED: u8 = 1;
    /// Everything before a position is written.
    pub(super) const WRITTEN: u8 = 2;
    /// A message that cannot be written.
    pub(super) const REJECTED: u8 = 3;
}

/// Where a sink's stream of bytes goes on.
#[derive(Debug, Clone)]
pub struct Progress {
    /// What tells the stream from those of other runs, state folders and sinks.
    pub stream: Arc<str>,
    /// Bytes of it that are delivered.
    pub delivered: u64,
    /// Bytes of it that earlier runs have made. No target can have committed more.
    pub made: u64,
}

/// What a process says.
enum Said {
    /// First: the last position that is committed, if there is one.
    Opened(Option<String>),
    /// Everything before the position is written.
    Written(u64),
    /// A message cannot be written. It counts as written.
    Rejected(Rejected),
}

/// Runs the connector until `chunks` is closed and everything is written. It never gives up before.
pub async fn run(program: Program, progress: Progress, sink: SinkId, chunks: SinkChunks, events: SinkEvents) {
    let mut queue = Queue::new(progress, sink, chunks, events);
    let mut pauses = Pauses::default();
    loop {
        let (begun, before) = (Instant::now(), queue.done);
        // A socket of its own for each process: nothing that one before has begun is met there.
        let ended = match listen_anew() {
            Ok((listener, socket)) => tokio::select! {
                reason = queue.serve(&program, &listener) => Err(reason),
                ended = program.run(&socket) => ended,
            },
            Err(error) => Err(format!("there is no socket for its process: {error}")),
        };
        // What it said before it ended.
        queue.hear_the_rest().await;
        queue.take_in(u64::MAX);
        if queue.is_done() {
            if let Err(reason) = ended {
                tracing::warn!("{}: everything is written, but at its end: {reason}", program.name);
            }
            return;
        }
        let reason = ended.err().unwrap_or_else(|| "it has ended before everything was written".to_owned());
        queue.go_back(&program, &reason);
        program.pause(&reason, pauses.after(begun.elapsed(), queue.done > before)).await;
    }
}

/// What is to be written, by this process or by a later one. Positions are bytes of the sink's stream.
struct Queue {
    stream: Arc<str>,
    /// Position of the first byte of the outbox.
    start: u64,
    /// Everything before it is written.
    done: u64,
    /// Everything before it has been committed, though it may not have come here again yet.
    committed: u64,
    /// Nothing behind it was ever sent to a process, in this run or in one before.
    sent: u64,
    outbox: Outbox,
    sink: SinkId,
    chunks: SinkChunks,
    /// `chunks` is closed and empty.
    closed: bool,
    events: SinkEvents,
    heard: Option<mpsc::UnboundedReceiver<Said>>,
}

impl Queue {
    fn new(progress: Progress, sink: SinkId, chunks: SinkChunks, events: SinkEvents) -> Self {
        let Progress { stream, delivered, made } = progress;
        Self {
            stream,
            start: delivered,
            done: delivered,
            committed: delivered,
            sent: made,
            outbox: Outbox::default(),
            sink,
            chunks,
            closed: false,
            events,
            heard: None,
        }
    }

    /// Serves a process until it has ended its connection. Returns why it is to be started again.
    async fn serve(&mut self, program: &Program, listener: &UnixListener) -> String {
        let client = match accept(listener).await {
            Ok(client) => client,
            Err(error) => return format!("its connection cannot be accepted: {error}"),
        };
        let (reader, writer) = client.into_split();
        let (sender, heard) = mpsc::unbounded_channel();
        tokio::spawn(listen(reader, sender));
        let heard = self.heard.insert(heard);
        let Some(Said::Opened(position)) = heard.recv().await else { return its_end().await };
        if let Err(reason) = self.open(position.as_deref()) {
            let name = program.name.to_string();
            self.send(SinkEvent::Failed { sink: self.sink, error: SinkError::Connector { name, reason } });
            return std::future::pending().await;
        }
        self.send(SinkEvent::Connected { sink: self.sink });
        match self.write_all(writer).await {
            Ok(()) => its_end().await,
            Err(error) => format!("its connection broke: {error}"),
        }
    }

    /// Takes in the position that was committed last.
    fn open(&mut self, position: Option<&str>) -> Result<(), String> {
        // That of another stream says nothing: the target was used by another run.
        let of_this = |position: &str| position.strip_prefix(&*self.stream)?.strip_prefix(':')?.parse().ok();
        let Some(position) = position.and_then(of_this) else { return Ok(()) };
        if position < self.done {
            return Err(format!(
                "open() returned a position behind which {} bytes were written: the target has lost what it had committed",
                self.done - position
            ));
        }
        if position > self.sent {
            return Err(format!(
                "open() returned a position that is {} bytes ahead of all that was ever sent to it: the state folder is an \
                 older copy of the one that the target goes with; restore the target of that time, or begin both anew",
                position - self.sent
            ));
        }
        self.committed = position;
        Ok(())
    }

    /// Writes, and hears what is written, until everything is or the process has closed its end.
    async fn write_all(&mut self, mut writer: OwnedWriteHalf) -> io::Result<()> {
        // What was committed may not have come here again yet.
        let go_on = greeting(&self.stream, self.committed.max(self.done));
        tokio::io::AsyncWriteExt::write_all(&mut writer, &go_on).await?;
        let mut writer = Some(writer);
        loop {
            self.take_in(WRITE);
            self.pass_committed();
            if let Some(writer) = &writer {
                self.write(writer)?;
            }
            if self.is_done() {
                // The process closes what it has opened, and ends.
                writer = None;
            }
            let pending = self.outbox.unwritten() > 0;
            let room = async {
                match &writer {
                    Some(writer) if pending => writer.writable().await,
                    _ => std::future::pending().await,
                }
            };
            let heard = async {
                match &mut self.heard {
                    Some(heard) => heard.recv().await,
                    None => None,
                }
            };
            tokio::select! {
                room = room => room?,
                said = heard => match said {
                    Some(said) => self.hear(said)?,
                    None => return Ok(()),
                },
                chunk = self.chunks.recv(), if !pending && !self.closed => match chunk {
                    Some(chunk) => self.outbox.push(chunk),
                    None => self.closed = true,
                },
            }
        }
    }

    /// Takes in messages that have come, until so many bytes are to be written.
    fn take_in(&mut self, most: u64) {
        while self.outbox.unwritten() < most {
            match self.chunks.try_recv() {
                Ok(chunk) => self.outbox.push(chunk),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    /// Leaves out what was committed by a process before.
    fn pass_committed(&mut self) {
        let left = self.committed.saturating_sub(self.position()).min(self.outbox.unwritten());
        if left > 0 {
            self.outbox.advance(left as usize);
            self.note_written(self.position());
        }
    }

    /// Writes as much as the socket takes.
    fn write(&mut self, writer: &OwnedWriteHalf) -> io::Result<()> {
        while self.outbox.unwritten() > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.outbox.gather(&mut slices, WRITE);
            match writer.try_write_vectored(&slices[..count]) {
                Ok(written) => {
                    self.outbox.advance(written);
                    self.sent = self.sent.max(self.position());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn hear(&mut self, said: Said) -> io::Result<()> {
        match said {
            Said::Written(position) if (self.done..=self.position()).contains(&position) => self.note_written(position),
            Said::Rejected(rejected) => self.send(SinkEvent::Rejected { sink: self.sink, rejected }),
            Said::Written(_) | Said::Opened(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it says what cannot be"));
            }
        }
        Ok(())
    }

    /// Takes in what a process that is ending has said.
    async fn hear_the_rest(&mut self) {
        let Some(mut heard) = self.heard.take() else { return };
        let rest = async {
            while let Some(said) = heard.recv().await {
                if self.hear(said).is_err() {
                    return;
                }
            }
        };
        // Something that it has started may hold its end open.
        let _ = timeout(LAST_WORDS, rest).await;
    }

    fn note_written(&mut self, position: u64) {
        let bytes = (position - self.done) as usize;
        if bytes == 0 {
            return;
        }
        let before = |position: u64| self.outbox.messages_before(position - self.start);
        let messages = (before(position) - before(self.done)) as usize;
        self.done = position;
        self.outbox.acknowledge(position - self.start);
        self.send(SinkEvent::Written { sink: self.sink, bytes, messages });
    }

    /// What was not written is written by the next process.
    fn go_back(&mut self, program: &Program, reason: &str) {
        self.outbox.rewind(self.done - self.start);
        let error = SinkError::Connector { name: program.name.to_string(), reason: reason.to_owned() };
        self.send(SinkEvent::Disconnected { sink: self.sink, error });
    }

    /// Position of the next byte to write.
    fn position(&self) -> u64 {
        self.start + self.outbox.position()
    }

    fn is_done(&self) -> bool {
        self.closed && self.outbox.is_written() && self.done == self.position()
    }

    fn send(&self, event: SinkEvent) {
        // The runtime hangs up only when it is going away, and then it aborts this task too.
        let _ = self.events.send(event);
    }
}

/// The process has closed its end. How it exits says more.
async fn its_end() -> String {
    sleep(EXIT_GRACE).await;
    "it has closed its connection and lives on".to_owned()
}

/// The first frame to a process: where its stream goes on.
fn greeting(stream: &str, position: u64) -> Vec<u8> {
    let body = [&position.to_be_bytes()[..], stream.as_bytes()].concat();
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

/// Passes on what a process says until it closes its end, or says what nobody understands.
async fn listen(mut reader: OwnedReadHalf, said: mpsc::UnboundedSender<Said>) {
    while let Some(word) = read(&mut reader).await {
        if said.send(word).is_err() {
            return;
        }
    }
}

async fn read(reader: &mut OwnedReadHalf) -> Option<Said> {
    let mut header = [0; 5];
    reader.read_exact(&mut header).await.ok()?;
    let [length @ .., kind] = header;
    let length = u32::from_be_bytes(length) as usize;
    let mut body = vec![0; (length <= LONGEST).then_some(length)?];
    reader.read_exact(&mut body).await.ok()?;
    Some(match kind {
        kind::OPENED if body.is_empty() => Said::Opened(None),
        kind::OPENED => Said::Opened(Some(String::from_utf8(body).ok()?)),
        kind::WRITTEN => Said::Written(u64::from_be_bytes(body.try_into().ok()?)),
        kind::REJECTED => Said::Rejected(rmp_serde::from_slice(&body).ok()?),
        _ => return None,
    })
}
