//! The threads of a log: one appends, one stores checkpoints. All reports come from the first.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::identity::FolderLock;
use super::store::Store;
use super::writer::{Checkpoint, Writer};
use super::{Encode, LogError, Lsn, Report};

/// How long a full disk is left alone before the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// What the first thread is told.
pub(super) enum Command {
    Append(Lsn, Encode),
    Checkpoint(Checkpoint),
    /// From the second thread: the store has the checkpoint.
    Stored(Lsn),
    /// From the second thread: there is no room for a checkpoint. It tries again.
    StoreFull(String),
    /// From the second thread: it has ended.
    StoreFailed(LogError),
    /// Write what was given, then end.
    Close,
}

/// Starts both threads.
pub(super) fn start(
    writer: Writer,
    store: Box<dyn Store>,
    lock: Option<FolderLock>,
    on: Box<dyn Fn(Report) + Send>,
) -> std::io::Result<(Sender<Command>, JoinHandle<()>)> {
    let (sender, commands) = channel();
    let (checkpoints, due) = channel();
    let outcome = sender.clone();
    let storing = Builder::new().name("log-store".into()).spawn(move || StoreThread::new(store, due, outcome).run())?;
    let thread = Thread {
        writer,
        commands,
        checkpoints,
        on,
        log_full: false,
        store_full: false,
        retry_at: None,
        closing: false,
    };
    let handle = Builder::new().name("log".into()).spawn(move || {
        thread.run(storing);
        drop(lock);
    })?;
    Ok((sender, handle))
}

/// The thread that appends.
struct Thread {
    writer: Writer,
    commands: Receiver<Command>,
    checkpoints: Sender<Checkpoint>,
    on: Box<dyn Fn(Report) + Send>,
    log_full: bool,
    store_full: bool,
    /// When a full disk is tried again.
    retry_at: Option<Instant>,
    closing: bool,
}

impl Thread {
    fn run(mut self, storing: JoinHandle<()>) {
        let outcome = self.work();
        let Self { checkpoints, .. } = &mut self;
        // The other thread ends when no more checkpoints can come.
        *checkpoints = channel().0;
        // Its panic has been printed, and nothing here depends on it.
        let _ = storing.join();
        let outcome = outcome.and_then(|()| self.take_all());
        if let Err(error) = outcome {
            (self.on)(Report::Failed(error));
        }
    }

    fn work(&mut self) -> Result<(), LogError> {
        while !(self.closing && self.writer.is_idle()) {
            self.gather()?;
            match self.writer.commit() {
                Ok(None) => {}
                Ok(Some(progress)) => {
                    self.set_full(false, self.store_full, String::new);
                    (self.on)(Report::Durable { upto: progress.upto, bytes: progress.bytes });
                }
                Err(error @ LogError::Full { .. }) if !self.closing => {
                    self.retry_at = Some(Instant::now() + RETRY);
                    self.set_full(true, self.store_full, || error.to_string());
                }
                Err(error) => return Err(error),
            }
            self.give_out_checkpoints();
        }
        Ok(())
    }

    /// Waits for work, then takes all commands that are there. While the disk is full, it takes commands until the next attempt.
    fn gather(&mut self) -> Result<(), LogError> {
        if let Some(retry_at) = self.retry_at.take() {
            while !self.closing {
                match self.commands.recv_timeout(retry_at.saturating_duration_since(Instant::now())) {
                    Ok(command) => self.take(command)?,
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
                self.give_out_checkpoints();
            }
        } else if self.writer.is_idle() && !self.closing {
            let command = self.commands.recv().unwrap_or(Command::Close);
            self.take(command)?;
        }
        self.take_all()
    }

    fn take_all(&mut self) -> Result<(), LogError> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.take(command)?,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    fn take(&mut self, command: Command) -> Result<(), LogError> {
        match command {
            Command::Append(lsn, encode) => self.writer.append(lsn, encode)?,
            Command::Checkpoint(checkpoint) => self.writer.checkpoint(checkpoint)?,
            Command::Stored(lsn) => {
                self.writer.stored(lsn)?;
                self.set_full(self.log_full, false, String::new);
                (self.on)(Report::Checkpointed { upto: lsn });
            }
            Command::StoreFull(reason) => self.set_full(self.log_full, true, || reason),
            Command::StoreFailed(error) => return Err(error),
            Command::Close => self.closing = true,
        }
        Ok(())
    }

    fn give_out_checkpoints(&mut self) {
        while let Some(checkpoint) = self.writer.due() {
            // If the other thread has ended, its last command says why.
            let _ = self.checkpoints.send(checkpoint);
        }
    }

    fn set_full(&mut self, log: bool, store: bool, reason: impl FnOnce() -> String) {
        let before = self.log_full || self.store_full;
        (self.log_full, self.store_full) = (log, store);
        match (before, log || store) {
            (false, true) => (self.on)(Report::Full { reason: reason() }),
            (true, false) => (self.on)(Report::Room),
            _ => {}
        }
    }
}

/// The thread that stores checkpoints.
struct StoreThread {
    store: Box<dyn Store>,
    due: Receiver<Checkpoint>,
    outcome: Sender<Command>,
    waiting: VecDeque<Checkpoint>,
}

impl StoreThread {
    fn new(store: Box<dyn Store>, due: Receiver<Checkpoint>, outcome: Sender<Command>) -> Self {
        Self { store, due, outcome, waiting: VecDeque::new() }
    }

    fn run(mut self) {
        while let Some(checkpoint) = self.waiting.pop_front().or_else(|| self.due.recv().ok()) {
            let mut bytes = Vec::new();
            (checkpoint.encode)(&mut bytes);
            match self.commit(checkpoint.lsn, &bytes, &checkpoint.changes) {
                Ok(true) => self.tell(Command::Stored(checkpoint.lsn)),
                Ok(false) => return,
                Err(error) => return self.tell(Command::StoreFailed(error)),
            }
        }
    }

    /// Commits, and tries again while the disk is full. False: the log was closed before there was room.
    fn commit(&mut self, lsn: Lsn, bytes: &[u8], changes: &[super::Change]) -> Result<bool, LogError> {
        loop {
            match self.store.commit(lsn, bytes, changes) {
                Ok(()) => return Ok(true),
                Err(error @ LogError::Full { .. }) => self.tell(Command::StoreFull(error.to_string())),
                Err(error) => return Err(error),
            }
            let retry_at = Instant::now() + RETRY;
            loop {
                match self.due.recv_timeout(retry_at.saturating_duration_since(Instant::now())) {
                    Ok(checkpoint) => self.waiting.push_back(checkpoint),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return Ok(false),
                }
            }
        }
    }

    fn tell(&self, command: Command) {
        // The other thread may have failed. Then nobody waits for this.
        let _ = self.outcome.send(command);
    }
}
