//! Workers before and after the run: the first one describes the application, and at the end all are reaped.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use wallaroo_protocol::Topology;

use super::event_loop::retry;
use super::{EVENTS_A_TURN, RunError, Runtime, TICK};
use crate::engine::Event;
use crate::worker::connection::WorkerEvent;
use crate::worker::pool::{PoolNews, PoolSettings, SlotChange, SlotNews};
use crate::worker::pools::Pools;

/// How long a run waits for its standbys before it begins, once all slots have a worker.
const STANDBYS_AFTER: Duration = Duration::from_secs(1);

/// Loads the application in one worker and returns its topology.
pub async fn describe(mut settings: PoolSettings) -> Result<Topology, RunError> {
    settings.slots = 1;
    settings.standbys = 0;
    let (mut pools, mut events) = Pools::new(settings);
    let topology = load(&mut pools, &mut events).await;
    pools.kill_all();
    while !pools.is_empty() {
        let Some(event) = events.recv().await else { break };
        pools.handle(event, Instant::now());
    }
    topology
}

/// Starts workers until the first one has described the application.
pub(super) async fn load(
    pools: &mut Pools,
    events: &mut mpsc::UnboundedReceiver<WorkerEvent>,
) -> Result<Topology, RunError> {
    pools.fill(Instant::now())?;
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = retry(pools.next_fill()) => {
                pools.fill(Instant::now())?;
                continue;
            }
            () = sleep(TICK) => {
                pools.check_processes(Instant::now());
                continue;
            }
        };
        let Some(event) = event else { return Err(RunError::InterruptedEarly) };
        for news in pools.handle(event, Instant::now()) {
            match news {
                PoolNews::Described(topology) => return Ok(topology),
                PoolNews::Failed(error) => return Err(error.into()),
                PoolNews::Slot(_) | PoolNews::Measured(..) | PoolNews::Tried { .. } | PoolNews::NoRecruit(_) => {
                    debug_assert!(false, "{news:?} before the plan");
                }
            }
        }
        pools.fill(Instant::now())?;
    }
}

impl Runtime {
    /// Waits until all slots have a worker and the standbys are ready, so that a worker that dies at once is replaced even if no
    /// other could start any more.
    pub(super) async fn wait_for_workers(
        &mut self,
        pools: &mut Pools,
        workers: &mut mpsc::UnboundedReceiver<WorkerEvent>,
    ) -> Result<(), RunError> {
        let mut batch = Vec::new();
        let mut seated_at = None;
        while !pools.is_full() {
            if pools.is_seated() && seated_at.get_or_insert_with(Instant::now).elapsed() >= STANDBYS_AFTER {
                break;
            }
            tokio::select! {
                _ = workers.recv_many(&mut batch, EVENTS_A_TURN) => self.workers(pools, batch.drain(..))?,
                // A worker that failed to load is tried again.
                () = retry(pools.next_fill()) => pools.fill(Instant::now())?,
                () = sleep(TICK) => pools.check_processes(Instant::now()),
            }
        }
        Ok(())
    }
}

/// Ends all workers and waits until each has been reaped.
pub(super) async fn end_workers(pools: &mut Pools, events: &mut mpsc::UnboundedReceiver<WorkerEvent>, grace: Duration) {
    let reap = async |pools: &mut Pools, events: &mut mpsc::UnboundedReceiver<WorkerEvent>| {
        while !pools.is_empty() {
            let Some(event) = events.recv().await else { return };
            pools.handle(event, Instant::now());
        }
    };
    pools.close();
    if timeout(grace, reap(pools, events)).await.is_err() {
        pools.kill_all();
        reap(pools, events).await;
    }
}

/// The event that tells the engine what happened in a slot.
pub(super) fn event_of(news: SlotNews) -> Event {
    let SlotNews { slot, generation, change } = news;
    match change {
        SlotChange::Seated => Event::WorkerSeated { slot, generation },
        SlotChange::Lost(death) => Event::WorkerLost { slot, generation, death },
        SlotChange::Result(result) => Event::Result { slot, generation, result },
        SlotChange::CutResult(result) => Event::CutResult { slot, generation, result },
        SlotChange::Snapshot(part) => Event::Snapshot { slot, generation, part },
    }
}
