//! The thread that appends dead letters to their file. A full disk or a locked file stops this thread and nothing else: it says why
//! and tries again, nothing is dropped, and the engine begins no more messages once too many letters wait.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::append::AppendedFile;

/// Bytes written in one go, if so many have gathered.
const GATHER: usize = 1 << 20;
/// The first pause before writing is tried again; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A lock is held for a moment by whoever removes letters. Longer than this is worth a word.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is said again that letters cannot be written.
const REMINDER: Duration = Duration::from_secs(30);

/// What becomes of dead letters.
#[derive(Debug)]
pub enum LetterEvent {
    /// Letters have been written.
    Kept {
        /// The sum of their weights.
        bytes: usize,
    },
    /// Letters cannot be written for now.
    Waiting {
        /// Why, for people.
        reason: String,
    },
}

/// One letter.
struct Line {
    bytes: Vec<u8>,
    weight: usize,
}

/// The way to the thread. When it is dropped the thread writes what it has and ends.
#[derive(Debug)]
pub(super) struct LetterWriter {
    lines: Option<Sender<Line>>,
    ended: Option<oneshot::Receiver<()>>,
}

impl LetterWriter {
    /// Starts the thread. If `synced`, letters count as kept only once the disk has them.
    pub(super) fn start(
        file: AppendedFile,
        synced: bool,
        events: mpsc::UnboundedSender<LetterEvent>,
    ) -> io::Result<Self> {
        let (lines, received) = channel();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("dead-letters".to_owned()).spawn(move || {
            Thread { file, synced, lines: received, events }.run();
            let _ = end.send(());
        })?;
        Ok(Self { lines: Some(lines), ended: Some(ended) })
    }

    /// Queues a letter, its newline included.
    pub(super) fn write(&self, bytes: Vec<u8>, weight: usize) {
        if let Some(lines) = &self.lines {
            // The thread ends only when this end of the channel is dropped.
            let _ = lines.send(Line { bytes, weight });
        }
    }

    /// Waits until everything has been written. Nothing can be queued any more.
    ///
    /// # Cancel safety
    /// Safe: a new call goes on waiting.
    pub(super) async fn finish(&mut self) {
        self.lines = None;
        if let Some(ended) = &mut self.ended {
            let _ = ended.await;
            self.ended = None;
        }
    }
}

struct Thread {
    file: AppendedFile,
    synced: bool,
    lines: Receiver<Line>,
    events: mpsc::UnboundedSender<LetterEvent>,
}

impl Thread {
    fn run(mut self) {
        while let Ok(first) = self.lines.recv() {
            let (mut text, mut weight) = (first.bytes, first.weight);
            while text.len() < GATHER {
                let Ok(next) = self.lines.try_recv() else { break };
                text.extend_from_slice(&next.bytes);
                weight += next.weight;
            }
            self.append(&text);
            // The runtime hangs up only when it is going away.
            let _ = self.events.send(LetterEvent::Kept { bytes: weight });
        }
    }

    /// Appends once, and has the disk take it.
    fn keep(&mut self, text: &[u8], written: &mut bool) -> io::Result<()> {
        if !*written {
            self.file.append(text)?;
            *written = true;
        }
        if self.synced { self.file.sync() } else { Ok(()) }
    }

    /// Appends until it succeeds.
    fn append(&mut self, text: &[u8]) {
        let began = Instant::now();
        let mut written = false;
        let mut pause = FIRST_PAUSE;
        let mut reminded: Option<Instant> = None;
        while let Err(error) = self.keep(text, &mut written) {
            let short = error.kind() == io::ErrorKind::WouldBlock && began.elapsed() < PATIENCE;
            if !short && reminded.is_none_or(|last| last.elapsed() > REMINDER) {
                let path = self.file.path().display();
                tracing::error!(
                    "dead letters cannot be written to {path}: {error}; they wait, and it is tried again every second"
                );
                let _ = self.events.send(LetterEvent::Waiting { reason: format!("{path}: {error}") });
                reminded = Some(Instant::now());
            }
            std::thread::sleep(pause);
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        if reminded.is_some() {
            let (path, seconds) = (self.file.path().display(), began.elapsed().as_secs_f64());
            tracing::warn!(seconds, "dead letters are written to {path} again");
        }
    }
}
