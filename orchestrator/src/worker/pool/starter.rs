//! Starts the workers of all pools, numbers them, and tells the guard about them.

use tokio::sync::mpsc;

use super::PoolError;
use crate::ids::Generation;
use crate::worker::connection::{WorkerEvent, WorkerHandle, start};
use crate::worker::guard::Guard;
use crate::worker::process::Interpreter;

/// See the [module](self).
#[derive(Debug)]
pub struct Starter {
    events: mpsc::UnboundedSender<WorkerEvent>,
    guard: Option<Guard>,
    next_generation: u32,
    /// A worker has been started since [`Starter::begin`].
    has_started: bool,
    /// Another one was wanted.
    is_short: bool,
}

impl Starter {
    /// A starter, and the channel on which the events of workers arrive.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<WorkerEvent>) {
        let (events, receiver) = mpsc::unbounded_channel();
        (Self { events, guard: None, next_generation: 0, has_started: false, is_short: false }, receiver)
    }

    /// Allows one more start. Starting a process takes milliseconds, and there may be hundreds: the events and signals between two
    /// starts are not to wait for all of them.
    pub fn begin(&mut self) {
        (self.has_started, self.is_short) = (false, false);
    }

    /// Whether a worker may be started now.
    pub fn may_start(&mut self) -> bool {
        self.is_short |= self.has_started;
        !self.has_started
    }

    /// Whether more workers are wanted than may be started at once.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// Starts a worker.
    pub fn start(
        &mut self,
        interpreter: &Interpreter,
        max_frame: usize,
    ) -> Result<(Generation, WorkerHandle), PoolError> {
        let generation = Generation(self.next_generation);
        self.next_generation += 1;
        self.has_started = true;
        let guard = match &mut self.guard {
            Some(guard) => guard,
            None => self.guard.insert(Guard::start().map_err(PoolError::Guard)?),
        };
        let handle = start(interpreter, generation, max_frame, self.events.clone())?;
        guard.watch(handle.pid);
        if let Some(code) = &interpreter.code {
            guard.watch_folder(code.path());
        }
        Ok((generation, handle))
    }

    /// Starts another guard if the guard was killed.
    pub fn look_after_guard(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.restart_if_dead();
        }
    }

    /// A worker has ended and was reaped.
    pub fn forget(&mut self, pid: i32) {
        if let Some(guard) = &mut self.guard {
            guard.forget(pid);
        }
    }
}
