//! A worker's standard output and error: always drained, logged line by line, floods cut short with a count.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tracing::Level;

/// A line longer than this is logged in pieces.
const LONGEST_LINE: usize = 8 << 10;
/// Lines of one stream logged in one second; more are counted.
const LINES_A_SECOND: u32 = 200;
/// Lines of standard error kept to explain a death.
const KEPT_LINES: usize = 200;

/// The module of the SDK's thread that reports progress, in a line of its stack.
const REPORTER: &str = "/wallaroo/worker/_progress.py\"";

/// Begins a line whose level the SDK says, with the letter after it; see spec/protocol.md, "Output".
const LEVEL_MARK: u8 = 0x1e;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// The last lines of a stream, and those who wait for what comes next.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    lines: VecDeque<String>,
    listeners: Vec<Listener>,
}

/// A listener: it gets what a stream prints for a while.
#[derive(Debug)]
pub(crate) struct Listener {
    heard: String,
    until: tokio::time::Instant,
    reply: oneshot::Sender<String>,
}

impl Listener {
    /// Listens from now until `patience` has passed.
    pub(super) fn new(patience: Duration, reply: oneshot::Sender<String>) -> Self {
        Self { heard: String::new(), until: tokio::time::Instant::now() + patience, reply }
    }
}

impl Tail {
    fn push(&mut self, line: &str) {
        if self.lines.len() == KEPT_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
        for listener in &mut self.listeners {
            listener.heard.push_str(line);
            listener.heard.push('\n');
        }
    }

    /// When the first listener's time is up; never without a listener.
    async fn heard_enough(&self) {
        match self.listeners.iter().map(|listener| listener.until).min() {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Sends the listeners whose time is up what they got.
    fn answer(&mut self) {
        let now = tokio::time::Instant::now();
        for listener in self.listeners.extract_if(.., |listener| listener.until <= now) {
            let _ = listener.reply.send(listener.heard);
        }
    }

    /// The last stack that faulthandler, or Python on its way out, printed; empty if there is none.
    pub(crate) fn stack(&self) -> String {
        let begins = |line: &String| {
            line.starts_with("Fatal Python error") || line.starts_with("Traceback (most recent call last)")
        };
        let thread = |line: &String| line.starts_with("Current thread 0x") || line.starts_with("Thread 0x");
        let start = self.lines.iter().rposition(begins).or_else(|| self.lines.iter().position(thread));
        start.map(|start| without_reporter(self.lines.range(start..))).unwrap_or_default()
    }

    /// The last `count` lines.
    pub(crate) fn last(&self, count: usize) -> String {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.range(skipped..).fold(String::new(), |text, line| text + line + "\n")
    }
}

/// The lines of stacks, without that of the SDK's thread that reports progress.
fn without_reporter<'a>(lines: impl Iterator<Item = &'a String>) -> String {
    let mut stacks: Vec<(String, bool)> = Vec::new();
    for line in lines {
        let is_thread = line.starts_with("Current thread 0x") || line.starts_with("Thread 0x");
        if stacks.is_empty() || is_thread {
            stacks.push((String::new(), false));
        }
        if let Some((stack, is_reporter)) = stacks.last_mut() {
            stack.push_str(line);
            stack.push('\n');
            *is_reporter |= line.contains(REPORTER);
        }
    }
    stacks.into_iter().filter(|(_, is_reporter)| !is_reporter).map(|(stack, _)| stack).collect()
}

/// Whose output it is.
#[derive(Debug, Clone)]
pub(crate) enum Speaker {
    /// A worker, by its number.
    Worker(u32),
    /// A connector, by its name.
    Connector(Arc<str>),
}

/// Logs at a level, and says whose output it is.
macro_rules! say {
    ($level:ident, $speaker:expr, $($text:tt)+) => {
        match $speaker {
            Speaker::Worker(worker) => tracing::$level!(target: "worker", worker, $($text)+),
            Speaker::Connector(connector) => tracing::$level!(target: "worker", %connector, $($text)+),
        }
    };
}

/// Logs a stream until it ends, and keeps its last lines in `tail`.
///
/// # Cancel safety
/// Not safe: what was read is lost with the future.
pub(crate) async fn pump(
    mut from: impl AsyncRead + Unpin,
    stream: Stream,
    speaker: &Speaker,
    tail: &mut Tail,
    listeners: &mut mpsc::UnboundedReceiver<Listener>,
) {
    let mut buffer = Vec::with_capacity(LONGEST_LINE);
    let mut limit = Limit::new(Instant::now());
    let mut chunk = vec![0_u8; 16 << 10];
    loop {
        let read = tokio::select! {
            // A listener is registered before it asks the worker to print.
            biased;
            Some(listener) = listeners.recv() => {
                tail.listeners.push(listener);
                continue;
            }
            read = from.read(&mut chunk) => match read {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            },
            () = tail.heard_enough() => {
                tail.answer();
                continue;
            }
        };
        for byte in &chunk[..read] {
            if *byte != b'\n' {
                buffer.push(*byte);
            }
            if *byte == b'\n' || buffer.len() >= LONGEST_LINE {
                log(&buffer, stream, speaker, &mut limit, tail);
                buffer.clear();
            }
        }
    }
    if !buffer.is_empty() {
        log(&buffer, stream, speaker, &mut limit, tail);
    }
    limit.report(speaker);
}

fn log(line: &[u8], stream: Stream, speaker: &Speaker, limit: &mut Limit, tail: &mut Tail) {
    let (marked, line) = level_of(line);
    let text = String::from_utf8_lossy(line);
    if stream == Stream::Stderr {
        tail.push(&text);
    }
    if limit.admits(speaker, Instant::now()) {
        let level = marked.unwrap_or(match stream {
            Stream::Stdout => Level::INFO,
            Stream::Stderr => Level::WARN,
        });
        match level {
            Level::ERROR => say!(error, speaker, "{text}"),
            Level::WARN => say!(warn, speaker, "{text}"),
            Level::INFO => say!(info, speaker, "{text}"),
            _ => say!(debug, speaker, "{text}"),
        }
    }
}

/// The level of a line that Python's logging wrote, and the line without the mark that says so.
fn level_of(line: &[u8]) -> (Option<Level>, &[u8]) {
    let level = match line {
        [LEVEL_MARK, b'D', ..] => Level::DEBUG,
        [LEVEL_MARK, b'I', ..] => Level::INFO,
        [LEVEL_MARK, b'W', ..] => Level::WARN,
        [LEVEL_MARK, b'E', ..] => Level::ERROR,
        _ => return (None, line),
    };
    (Some(level), &line[2..])
}

/// Passes a number of lines a second and counts the rest.
struct Limit {
    second: Instant,
    lines: u32,
    suppressed: u64,
}

impl Limit {
    fn new(now: Instant) -> Self {
        Self { second: now, lines: 0, suppressed: 0 }
    }

    fn admits(&mut self, speaker: &Speaker, now: Instant) -> bool {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            self.report(speaker);
            *self = Self::new(now);
        }
        self.lines += 1;
        let admitted = self.lines <= LINES_A_SECOND;
        self.suppressed += u64::from(!admitted);
        admitted
    }

    fn report(&mut self, speaker: &Speaker) {
        if self.suppressed > 0 {
            say!(warn, speaker, "{} more lines of output suppressed", self.suppressed);
            self.suppressed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_stack_of_a_crash() {
        let mut tail = Tail::default();
        let printed: &[u8] = b"hello\nFatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n  File x\n";
        let (_ask, mut listeners) = mpsc::unbounded_channel();
        pump(printed, Stream::Stderr, &Speaker::Worker(0), &mut tail, &mut listeners).await;
        assert!(tail.stack().starts_with("Fatal Python error: Segmentation fault\n"), "{}", tail.stack());
        assert!(tail.stack().ends_with("  File x\n"));
        assert_eq!(tail.last(1), "  File x\n");
    }

    #[test]
    fn lines_of_pythons_logging_say_their_level() {
        assert_eq!(level_of(b"\x1eEbad"), (Some(Level::ERROR), &b"bad"[..]));
        assert_eq!(level_of(b"\x1eD"), (Some(Level::DEBUG), &b""[..]));
        assert_eq!(level_of(b"\x1e"), (None, &b"\x1e"[..]));
        assert_eq!(level_of(b"\x1ex"), (None, &b"\x1ex"[..]));
        assert_eq!(level_of(b"Error"), (None, &b"Error"[..]));
    }

    #[test]
    fn a_flood_is_counted() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        let admitted = (0..LINES_A_SECOND + 50).filter(|_| limit.admits(&Speaker::Worker(0), start)).count();
        assert_eq!(admitted, LINES_A_SECOND as usize);
        assert_eq!(limit.suppressed, 50);
        assert!(limit.admits(&Speaker::Worker(0), start + Duration::from_secs(1)));
        assert_eq!(limit.suppressed, 0);
    }
}
