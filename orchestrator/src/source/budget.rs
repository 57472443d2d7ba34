//! How many bytes a source may have under way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Byte credits shared by all connections of one source. A connection pays before it delivers and stops reading when it
/// cannot. The runtime gives credits back when frames have left the engine's queue. Clones share the credits.
#[derive(Debug, Clone)]
pub struct SourceBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    credits: Semaphore,
    /// Bytes that incomplete large frames may have together.
    incomplete: Semaphore,
    /// Connections that wait for these.
    waiting: AtomicUsize,
    total: u32,
    /// Bytes delivered without credits: a frame heavier than the whole budget pays only the budget. Credits that come back go here
    /// first, so that they never exceed the total.
    unpaid: Mutex<usize>,
}

impl SourceBudget {
    /// A budget of `total` bytes (at least 1; 4 GiB at most).
    pub fn new(total: usize) -> Self {
        let total = u32::try_from(total).unwrap_or(u32::MAX).max(1);
        let credits = Semaphore::new(total as usize);
        let incomplete = Semaphore::new(total as usize);
        Self {
            shared: Arc::new(Shared {
                credits,
                incomplete,
                waiting: AtomicUsize::new(0),
                total,
                unpaid: Mutex::new(0),
            }),
        }
    }

    /// All credits there are, in bytes.
    pub fn total(&self) -> usize {
        self.shared.total as usize
    }

    /// Free credits, in bytes.
    pub fn available(&self) -> usize {
        self.shared.credits.available_permits()
    }

    /// Waits for `weight` credits, first come first served. A block heavier than the whole budget passes once all credits are free.
    ///
    /// # Cancel safety
    /// Dropping the future takes no credits.
    pub async fn acquire(&self, weight: usize) {
        let paid = u32::try_from(weight).unwrap_or(u32::MAX).min(self.shared.total);
        // The semaphore is never closed, so an error cannot happen.
        if let Ok(permits) = self.shared.credits.acquire_many(paid).await {
            permits.forget();
        }
        if weight > paid as usize {
            *self.unpaid() += weight - paid as usize;
        }
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
        let mut unpaid = self.unpaid();
        let forgiven = weight.min(*unpaid);
        *unpaid -= forgiven;
        self.shared.credits.add_permits(weight - forgiven);
    }

    fn unpaid(&self) -> std::sync::MutexGuard<'_, usize> {
        self.shared.unpaid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
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
}
