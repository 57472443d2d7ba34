//! The log's way to standard error: a thread of its own, behind a bounded queue. A reader that does not read, or a disk that is
//! full, stops that thread and nothing else; log lines that find the queue full are dropped, and their number is logged.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Records that may wait to be written.
const QUEUE: usize = 4096;
/// How long the end of the process waits for what is queued.
const FLUSH: Duration = Duration::from_secs(1);

static LOG: OnceLock<SyncSender<Order>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Order {
    Write(Vec<u8>),
    /// Answer once everything before has been written.
    Flush(SyncSender<()>),
}

/// Makes a writer for each record. See the [module](self).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LogWriter;

/// One record: queued as a whole when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Record(Vec<u8>);

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Record;

    fn make_writer(&'a self) -> Record {
        Record::default()
    }
}

impl Write for Record {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        queue(std::mem::take(&mut self.0));
    }
}

/// Queues text for people. It comes in order with the log.
pub fn note(text: &str) {
    queue(text.as_bytes().to_vec());
}

/// Waits, for a moment only, until everything that is queued has been written.
pub fn flush() {
    let Some(log) = LOG.get() else { return };
    let (answer, answered) = sync_channel(1);
    if log.try_send(Order::Flush(answer)).is_ok() {
        let _ = answered.recv_timeout(FLUSH);
    }
}

fn queue(bytes: Vec<u8>) {
    let log = LOG.get_or_init(start);
    if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = log.try_send(Order::Write(bytes)) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

fn start() -> SyncSender<Order> {
    let (sender, orders) = sync_channel(QUEUE);
    // Without the thread the queue is never read, and everything is dropped.
    let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&orders));
    sender
}

fn write(orders: &Receiver<Order>) {
    for order in orders {
        match order {
            Order::Write(bytes) => {
                let dropped = DROPPED.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    put(format!("{dropped} log records were dropped: standard error was not read in time\n").as_bytes());
                }
                put(&bytes);
            }
            Order::Flush(answer) => drop(answer.send(())),
        }
    }
}

/// Writes to standard error. What cannot be written (a closed pipe, a full disk) is counted as dropped.
fn put(bytes: &[u8]) {
    if std::io::stderr().write_all(bytes).is_err() {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}
