//! What connections have read and not delivered: whole frames that wait for credits, and pieces of frames whose rest has not come.
//! It is charged as it is read, so that many clients that each stop in the middle of a frame take no more than a source may have.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::SourceBudget;
use super::budget::Waiting;
use super::framing::Cutter;

/// Bytes that a connection may hold in any case: about what it costs anyway. So clients with small frames go on, whoever has used up
/// the rest.
const FREE: usize = 1 << 10;
/// Bytes that a connection waits for when all are taken.
const STEP: usize = 4 << 10;
/// Frames above this are large: they wait for all the bytes they may need, see [`SourceBudget::assemble`].
pub(super) const LARGE_FRAME: usize = 256 << 10;

/// The bytes that all connections of a source may hold together, large frames and what each may hold anyway excluded.
#[derive(Debug)]
pub(super) struct HeldBytes {
    free: Semaphore,
    step: u32,
    /// The right of one connection to read its frame to the end when all bytes are taken. Without it connections might wait for each
    /// other's bytes for ever.
    beyond: Semaphore,
    waiting: AtomicUsize,
}

impl HeldBytes {
    /// A part of a source's bytes, which come on top of those.
    pub(super) fn of(budget: &SourceBudget) -> Self {
        let total = (budget.total() / 4).max(1);
        Self {
            free: Semaphore::new(total),
            step: STEP.min(total) as u32,
            beyond: Semaphore::new(1),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Whether a connection waits for bytes.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// How a connection reads next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// At most so many bytes.
    Bytes(usize),
    /// As much of a large frame as there is.
    LargeFrame,
}

/// What one connection holds. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Held<'a> {
    budget: &'a SourceBudget,
    bytes: &'a HeldBytes,
    /// Bytes taken from the shared ones.
    charged: usize,
    beyond: Option<SemaphorePermit<'a>>,
    large: Option<SemaphorePermit<'a>>,
}

impl<'a> Held<'a> {
    pub(super) fn none(budget: &'a SourceBudget, bytes: &'a HeldBytes) -> Self {
        Self { budget, bytes, charged: 0, beyond: None, large: None }
    }

    /// Whether others may have to wait because of what is held.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.charged > 0 || self.beyond.is_some() || self.large.is_some()
    }

    /// Waits until more may be read than what `cutter` holds. At most `most` bytes, unless a large frame is being read.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn room(&mut self, cutter: &Cutter, most: usize) -> Room {
        if let Some(length) = cutter.large_frame(LARGE_FRAME) {
            if self.large.is_none() {
                self.large = Some(self.budget.assemble(length).await);
            }
            self.charge(0);
            return Room::LargeFrame;
        }
        self.large = None;
        self.charge(cutter.held());
        loop {
            let uncharged = FREE.saturating_sub(cutter.held());
            let paid = self.charged - cutter.held().saturating_sub(FREE).min(self.charged);
            let room = match self.beyond {
                Some(_) => most,
                None => (uncharged + paid + self.bytes.free.available_permits()).min(most),
            };
            if room > 0 {
                return Room::Bytes(room);
            }
            self.wait().await;
        }
    }

    async fn wait(&mut self) {
        let _waiting = Waiting::begin(&self.bytes.waiting);
        // The semaphores are never closed.
        tokio::select! {
            Ok(taken) = self.bytes.free.acquire_many(self.bytes.step) => {
                self.charged += taken.num_permits();
                taken.forget();
            }
            Ok(right) = self.bytes.beyond.acquire() => self.beyond = Some(right),
        }
    }

    /// Notes that `held` bytes are held now: more after a read, less when they have been paid for.
    pub(super) fn note(&mut self, held: usize) {
        if self.large.is_none() {
            self.charge(held);
        }
    }

    fn charge(&mut self, held: usize) {
        let due = held.saturating_sub(FREE);
        if due > self.charged {
            self.charged += self.bytes.free.forget_permits(due - self.charged);
        } else {
            self.bytes.free.add_permits(self.charged - due);
            self.charged = due;
        }
        if self.charged == due {
            self.beyond = None;
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.bytes.free.add_permits(self.charged);
    }
}
