//! How many bytes a source may have under way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, Notify, Semaphore, SemaphorePermit};

/// Byte credits shared by all connections of one source. A connection pays before it delivers and stops reading when it
/// cannot. The runtime gives credits back when frames have left the engine's queue, and says how many there are: fewer than the total
/// where messages take long. Clones share the credits.
#[derive(Debug, Clone)]
pub struct SourceBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    credits: Mutex<Credits>,
    /// Credits have come back, or there are more.
    more: Notify,
    /// Whose turn it is to pay: first come, first served.
    turn: Turn<()>,
    /// Bytes that incomplete large frames may have together.
    incomplete: Semaphore,
    /// Connections that wait for these.
    waiting: AtomicUsize,
    total: u32,
}

#[derive(Debug)]
struct Credits {
    /// Bytes that have been paid for and not given back. More than the limit if it was lowered, or if a block is larger.
    taken: usize,
    limit: usize,
}

impl SourceBudget {
    /// A budget of `total` bytes (at least 1; 4 GiB at most), all of which may be used.
    pub fn new(total: usize) -> Self {
        let total = u32::try_from(total).unwrap_or(u32::MAX).max(1);
        Self {
            shared: Arc::new(Shared {
                credits: Mutex::new(Credits { taken: 0, limit: total as usize }),
                more: Notify::new(),
                turn: Turn::new(()),
                incomplete: Semaphore::new(total as usize),
                waiting: AtomicUsize::new(0),
                total,
            }),
        }
    }

    /// All credits there are, in bytes.
    pub fn total(&self) -> usize {
        self.shared.total as usize
    }

    /// Credits that may be used now, in bytes.
    pub fn limit(&self) -> usize {
        self.credits().limit
    }

    /// Sets how many credits may be used, in bytes; never more than the total.
    pub fn set_limit(&self, bytes: usize) {
        self.credits().limit = bytes.min(self.total());
        self.shared.more.notify_one();
    }

    /// Free credits, in bytes.
    pub fn available(&self) -> usize {
        let credits = self.credits();
        credits.limit.saturating_sub(credits.taken)
    }

    /// Waits for `weight` credits, first come first served. A block heavier than the limit passes once all credits are free, so that
    /// there is progress whatever the limit.
    ///
    /// # Cancel safety
    /// Dropping the future takes no credits.
    pub async fn acquire(&self, weight: usize) {
        let _turn = self.shared.turn.lock().await;
        while !self.take(weight) {
            self.shared.more.notified().await;
        }
    }

    fn take(&self, weight: usize) -> bool {
        let mut credits = self.credits();
        let fits = credits.taken == 0 || credits.taken + weight <= credits.limit;
        if fits {
            credits.taken += weight;
        }
        fits
    }

    /// Waits until a frame may be read that comes to have `length` bytes, however slowly. First come first served; the whole length is
    /// taken at once, so that frames never wait for each other's rest.
    ///
    /// # Cancel safety
    /// Nothing is taken when the future is dropped.
    pub async fn assemble(&self, length: usize) -> SemaphorePermit<'_> {
        let length = u32::try_from(length).unwrap_or(u32::MAX).min(self.shared.total);
        let _waiting = Waiting::begin(&self.shared.waiting);
        self.shared.incomplete.acquire_many(length).await.expect("the semaphore is never closed")
    }

    /// Whether a connection waits in [`SourceBudget::assemble`].
    pub fn is_awaited(&self) -> bool {
        self.shared.waiting.load(Ordering::Relaxed) > 0
    }

    /// Gives `weight` credits back. The caller gives back every credit it took, in any number of pieces.
    pub fn give_back(&self, weight: usize) {
        let mut credits = self.credits();
        credits.taken = credits.taken.saturating_sub(weight);
        self.shared.more.notify_one();
    }

    fn credits(&self) -> std::sync::MutexGuard<'_, Credits> {
        self.shared.credits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one that waits, until it is dropped.
pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    pub(super) fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    /// Polls once, which is all a free semaphore needs.
    fn ready(future: impl Future<Output = ()>) -> bool {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        future.as_mut().poll(&mut context) == Poll::Ready(())
    }

    #[test]
    fn waits_when_exhausted_and_goes_on_after_a_release() {
        let budget = SourceBudget::new(10);
        assert!(ready(budget.acquire(7)));
        assert!(!ready(budget.acquire(4)));
        budget.give_back(1);
        assert!(ready(budget.acquire(4)));
        assert_eq!(budget.available(), 0);
    }

    #[test]
    fn a_large_frame_waits_for_another_and_is_seen_to_wait() {
        let budget = SourceBudget::new(10);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut first = Box::pin(budget.assemble(7));
        let Poll::Ready(permit) = first.as_mut().poll(&mut context) else { panic!("nobody has anything") };
        assert!(!budget.is_awaited(), "it has what it needs");
        let mut second = Box::pin(budget.assemble(7));
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(budget.is_awaited());
        drop(permit);
        assert!(second.as_mut().poll(&mut context).is_ready());
        assert!(!budget.is_awaited());
    }

    #[test]
    fn something_heavier_than_the_budget_passes_alone_and_credits_stay_exact() {
        let budget = SourceBudget::new(10);
        assert!(ready(budget.acquire(1)));
        assert!(!ready(budget.acquire(25)));
        budget.give_back(1);
        assert!(ready(budget.acquire(25)));
        assert!(!ready(budget.acquire(1)));
        for _ in 0..5 {
            budget.give_back(5);
        }
        assert_eq!(budget.available(), 10);
    }

    #[test]
    fn a_lower_limit_holds_back_all_but_one_block() {
        let budget = SourceBudget::new(10);
        budget.set_limit(3);
        assert!(ready(budget.acquire(5)), "nothing else is under way");
        assert!(!ready(budget.acquire(1)));
        budget.set_limit(20);
        assert_eq!(budget.limit(), 10);
        assert!(ready(budget.acquire(5)));
        assert!(!ready(budget.acquire(1)));
    }
}
