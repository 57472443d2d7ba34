//! One worker's life, from spawn to the report of its death: messages both ways, output, exit.
//!
//! [`start`] returns a handle; a task of its own owns the process. Everything the worker says, and at last how it ended,
//! arrives as [`WorkerEvent`]s, exactly one of which is [`WorkerNews::Ended`] and is the last.

use std::time::Duration;

use bytes::Buf;
use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_util::codec::FramedRead;
use wallaroo_protocol::{BatchId, ENVELOPE_BYTES, FrameCodec, FromWorker, Outgoing, ProtocolError, encode_header};

use super::descendants::{kill_tagged, worker_tag};
use super::marker_file::MarkerFile;
use super::output::{Listener, Speaker, Stream, Tail, pump};
use super::process::{Interpreter, Process, SpawnError, Streams, death_cause};
use super::socket::{FromWorkerHalf, ToWorkerHalf};
use crate::death::{DeathCause, Marker};
use crate::ids::Generation;

/// How long a worker whose connection has ended may take to exit before it is killed.
const EXIT_GRACE: Duration = Duration::from_millis(500);
/// How long a hung worker may take to dump its Python stack.
const DUMP_GRACE: Duration = Duration::from_millis(250);
/// How long output is read after the death: a grandchild can hold the pipe open for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(50);
/// Stack and buffer space for reading.
const READ_BUFFER: usize = 256 << 10;

/// Something a worker did.
#[derive(Debug)]
pub struct WorkerEvent {
    /// Which worker.
    pub generation: Generation,
    /// What it did.
    pub news: WorkerNews,
}

/// What a worker did.
#[derive(Debug)]
pub enum WorkerNews {
    /// It sent a message.
    Said(FromWorker),
    /// It has ended and was reaped.
    Ended {
        /// What ended it.
        cause: DeathCause,
        /// What it was doing.
        marker: Option<Marker>,
        /// The Python stack it left on standard error.
        trace: String,
        /// Its last lines on standard error.
        last_lines: String,
    },
}

/// A running worker. Dropping it kills the worker.
#[derive(Debug)]
pub struct WorkerHandle {
    outgoing: mpsc::UnboundedSender<Outgoing>,
    orders: mpsc::UnboundedSender<Order>,
    marker: MarkerFile,
    /// Its process id.
    pub pid: i32,
}

#[derive(Debug)]
enum Order {
    /// Kill the process group.
    Kill,
    /// Have it print its stacks, then kill its group.
    KillAfterStack,
    /// Have it print its stacks.
    Stack(oneshot::Sender<String>),
}

impl WorkerHandle {
    /// Queues a message. The engine bounds what is queued by its window.
    pub fn send(&self, message: Outgoing) {
        // The last event of a dead worker reports its end; the engine repeats what it was sent.
        let _ = self.outgoing.send(message);
    }

    /// A number that changes when the worker has moved on.
    pub fn progress(&self) -> u64 {
        self.marker.progress()
    }

    /// Tells the worker not to run a batch that it has not begun.
    pub fn withdraw(&self, batch: BatchId) {
        self.marker.withdraw(batch);
    }

    /// Kills the worker's process group.
    pub fn kill(&self) {
        let _ = self.orders.send(Order::Kill);
    }

    /// Has the worker print its Python stacks, then kills its group.
    pub fn kill_after_stack(&self) {
        let _ = self.orders.send(Order::KillAfterStack);
    }

    /// Has the worker print its Python stacks and sends them to `reply`. Only for a worker that has greeted: before that, the
    /// signal would kill it.
    pub fn stack(&self, reply: oneshot::Sender<String>) {
        let _ = self.orders.send(Order::Stack(reply));
    }
}

/// Starts a worker. Must be called on the runtime's own thread, see [`Process::spawn`].
pub fn start(
    interpreter: &Interpreter,
    generation: Generation,
    max_frame: usize,
    events: mpsc::UnboundedSender<WorkerEvent>,
) -> Result<WorkerHandle, SpawnError> {
    let (process, streams) = Process::spawn(interpreter, generation)?;
    let (outgoing, queue) = mpsc::unbounded_channel();
    let (orders, received) = mpsc::unbounded_channel();
    let (pid, marker) = (process.pid().as_raw(), process.marker().clone());
    let max_body = max_frame + ENVELOPE_BYTES;
    tokio::spawn(live(process, streams, generation, max_body, queue, received, events));
    Ok(WorkerHandle { outgoing, orders, marker, pid })
}

async fn live(
    mut process: Process,
    streams: Streams,
    generation: Generation,
    max_body: usize,
    queue: mpsc::UnboundedReceiver<Outgoing>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::UnboundedSender<WorkerEvent>,
) {
    let worker = Speaker::Worker(generation.0);
    let (from_worker, to_worker) = streams.socket;
    let writer = tokio::spawn(write(to_worker, queue));
    let mut tail = Tail::default();
    let mut discarded = Tail::default();
    let (listeners, mut to_stderr) = mpsc::unbounded_channel();
    let (_nobody, mut to_stdout) = mpsc::unbounded_channel();
    let mut reading = std::pin::pin!(read(from_worker, generation, max_body, events.clone()));
    let (cause, noted) = {
        let output = async {
            tokio::join!(
                pump(streams.stdout, Stream::Stdout, &worker, &mut discarded, &mut to_stdout),
                pump(streams.stderr, Stream::Stderr, &worker, &mut tail, &mut to_stderr)
            )
        };
        let mut output = std::pin::pin!(output);
        let life = live_until_its_end(&mut process, &mut reading, &mut orders, &listeners);
        let mut life = std::pin::pin!(life);
        let mut output_open = true;
        let end = loop {
            tokio::select! {
                end = &mut life => break end,
                _ = &mut output, if output_open => output_open = false,
            }
        };
        if output_open {
            let _ = timeout(OUTPUT_GRACE, output).await;
        }
        end
    };
    writer.abort();
    process.kill();
    let _ = process.wait().await;
    // What it has started may have left its group. Nobody waits for that: looking through all processes takes a while.
    tokio::task::spawn_blocking(move || kill_tagged(&worker_tag(generation)));
    let marker = noted.unwrap_or_else(|| process.marker().read());
    let (trace, last_lines) = (tail.stack(), tail.last(40));
    let _ = events.send(WorkerEvent { generation, news: WorkerNews::Ended { cause, marker, trace, last_lines } });
}

/// Waits until a worker ends or is to be killed: what ended it, and its marker if that had to be read before the end.
async fn live_until_its_end(
    process: &mut Process,
    reading: &mut (impl Future<Output = Option<ProtocolError>> + Unpin),
    orders: &mut mpsc::UnboundedReceiver<Order>,
    listeners: &mpsc::UnboundedSender<Listener>,
) -> (DeathCause, Option<Option<Marker>>) {
    loop {
        let order = tokio::select! {
            ended = &mut *reading => return (disconnected(process, ended, orders).await, None),
            status = process.wait() => {
                // Messages that it sent before it died are still in the socket.
                let _ = timeout(OUTPUT_GRACE, reading).await;
                let cause = status.map_or_else(|error| DeathCause::Disconnected(error.to_string()), death_cause);
                return (cause, None);
            }
            order = orders.recv() => order,
        };
        let killed = DeathCause::Signalled(Signal::SIGKILL as i32);
        match order {
            Some(Order::Stack(reply)) => {
                let _ = listeners.send(Listener::new(DUMP_GRACE, reply));
                process.signal(Signal::SIGUSR1);
            }
            Some(Order::KillAfterStack) => {
                // Read before the signal: it ends a call that gives up on EINTR, and the worker would go on to the next message.
                let marker = process.marker().read();
                process.signal(Signal::SIGUSR1);
                let _ = timeout(DUMP_GRACE, process.wait()).await;
                return (killed, Some(marker));
            }
            Some(Order::Kill) | None => return (killed, None),
        }
    }
}

/// The connection has ended. The process is probably about to end too, and its exit status says more.
async fn disconnected(
    process: &mut Process,
    ended: Option<ProtocolError>,
    orders: &mut mpsc::UnboundedReceiver<Order>,
) -> DeathCause {
    if let Some(error) = ended {
        return DeathCause::Disconnected(error.to_string());
    }
    let killed = async { while let Some(Order::Stack(_)) = orders.recv().await {} };
    tokio::select! {
        status = timeout(EXIT_GRACE, process.wait()) => match status {
            Ok(Ok(status)) => death_cause(status),
            Ok(Err(error)) => DeathCause::Disconnected(error.to_string()),
            Err(_) => DeathCause::Disconnected("the worker closed its socket and lived on".to_owned()),
        },
        () = killed => DeathCause::Signalled(Signal::SIGKILL as i32),
    }
}

/// Passes the worker's messages on until the connection ends. Returns an error if it broke the protocol.
async fn read(
    from_worker: FromWorkerHalf,
    generation: Generation,
    max_body: usize,
    events: mpsc::UnboundedSender<WorkerEvent>,
) -> Option<ProtocolError> {
    let mut bodies = FramedRead::with_capacity(from_worker, FrameCodec::new(max_body), READ_BUFFER);
    while let Some(body) = bodies.next().await {
        match body.and_then(FromWorker::decode) {
            Ok(message) => {
                let _ = events.send(WorkerEvent { generation, news: WorkerNews::Said(message) });
            }
            Err(ProtocolError::Io(_) | ProtocolError::Truncated { .. }) => return None,
            Err(error) => return Some(error),
        }
    }
    None
}

/// Writes messages until the handle is dropped or the worker is gone.
async fn write(mut to_worker: ToWorkerHalf, mut queue: mpsc::UnboundedReceiver<Outgoing>) {
    while let Some(message) = queue.recv().await {
        let header = encode_header(message.len());
        let mut frame = header.as_slice().chain(message.head).chain(message.tail);
        if to_worker.write_all(&mut frame).await.is_err() {
            return;
        }
    }
}
