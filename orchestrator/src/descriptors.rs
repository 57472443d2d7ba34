//! The limit on open files: raised for the orchestrator, left as it was for workers, and not used up by clients.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors that clients leave to files, the control socket and what else a run needs.
const RESERVED: u64 = 128;
/// Descriptors of a worker, and of the one that is to replace it.
const OF_A_WORKER: u64 = 16;

/// Soft and hard limit that this process was started with.
static INHERITED: OnceLock<(u64, u64)> = OnceLock::new();

/// Raises the soft limit to the hard one. Call it once, before threads start.
pub fn raise_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        let _ = INHERITED.set((soft, hard));
    }
}

/// The soft and hard limit before [`raise_limit`]: those of workers, since `select` cannot take descriptors above 1023.
pub(crate) fn inherited() -> Option<(u64, u64)> {
    INHERITED.get().copied()
}

/// The most descriptors that a process started here may have open.
pub(crate) fn most() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(_, hard)| hard)
}

/// How many clients may be connected at a time, to all sources of a run together. Clones share the number.
#[derive(Debug, Clone)]
pub struct ClientLimit(Arc<Clients>);

#[derive(Debug)]
struct Clients {
    free: Arc<Semaphore>,
    /// The log says that clients wait.
    said: AtomicBool,
}

impl ClientLimit {
    /// Leaves enough descriptors to the rest of a run with that many workers.
    pub fn beside(workers: u32) -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        let reserved = RESERVED + OF_A_WORKER * u64::from(workers);
        let clients = limit.saturating_sub(reserved).max(limit / 4).max(1);
        Self::of(usize::try_from(clients).unwrap_or(usize::MAX))
    }

    /// So many clients.
    pub fn of(clients: usize) -> Self {
        let free = Arc::new(Semaphore::new(clients.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Clients { free, said: AtomicBool::new(false) }))
    }

    /// Waits until one more client may be accepted, who is connected as long as the permit lives.
    ///
    /// # Cancel safety
    /// Nothing is taken when the future is dropped.
    pub async fn admit(&self) -> OwnedSemaphorePermit {
        let Clients { free, said } = &*self.0;
        if free.available_permits() == 0 && !said.swap(true, Ordering::Relaxed) {
            tracing::warn!("as many clients are connected as the limit on open files allows; more have to wait");
        }
        free.clone().acquire_owned().await.expect("the semaphore is never closed")
    }
}
