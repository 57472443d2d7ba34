//! The loop of a run: it waits for events and gives the engine its turns.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::endpoints::Inputs;
use super::signals::Signals;
use super::{EVENTS_A_TURN, RunError, Runtime, TICK};
use crate::control::Control;
use crate::worker::connection::WorkerEvent;
use crate::worker::pools::Pools;

/// How often the engine has a turn while a batch waits for a worker though another could run it.
const LOOK: Duration = Duration::from_millis(10);

impl Runtime {
    /// Takes turns until the run has finished or failed. `heard` counts the signals.
    pub(super) async fn take_turns(
        &mut self,
        pools: &mut Pools,
        workers: &mut mpsc::UnboundedReceiver<WorkerEvent>,
        inputs: &mut Inputs,
        control: &mut Control,
        signals: &mut Signals,
        heard: &mut u32,
    ) -> Result<(), RunError> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut from_workers = Vec::new();
        let mut from_sources = Vec::new();
        let mut from_sinks = Vec::new();
        let mut from_letters = Vec::new();
        let mut from_log = Vec::new();
        // A channel that is closed is always ready: it must not be asked again, or this loop would spin.
        let mut sources_are_open = true;
        let mut log_is_open = self.log.is_some();
        loop {
            let step = tokio::select! {
                _ = workers.recv_many(&mut from_workers, EVENTS_A_TURN) => self.workers(pools, from_workers.drain(..)),
                received = inputs.events.recv_many(&mut from_sources, EVENTS_A_TURN), if sources_are_open => {
                    sources_are_open = received > 0;
                    self.sources(pools, from_sources.drain(..))
                }
                _ = self.sink_events.recv_many(&mut from_sinks, EVENTS_A_TURN) => self.sinks(pools, from_sinks.drain(..)),
                _ = self.letter_events.recv_many(&mut from_letters, EVENTS_A_TURN) => {
                    self.letters(pools, from_letters.drain(..))
                }
                received = self.reports.recv_many(&mut from_log, EVENTS_A_TURN), if log_is_open => {
                    log_is_open = received > 0;
                    self.reported(pools, from_log.drain(..))
                }
                request = control.next() => self.request(pools, request),
                () = signals.next() => self.signalled(pools, heard),
                () = retry(pools.next_fill()) => pools.fill(Instant::now()).map_err(RunError::from),
                _ = ticks.tick() => self.tick(pools),
                // The turn that follows does it.
                _ = looks.tick(), if self.engine.may_withdraw() => Ok(()),
            };
            let step = step.and_then(|()| self.end_turn(pools));
            match step {
                Err(error) => return Err(error),
                Ok(()) if self.finished => return Ok(()),
                Ok(()) => {}
            }
        }
    }
}

/// Sleeps until workers are to be started; for ever if none are. Others have their turn first, also if it is time already.
pub(super) async fn retry(at: Option<Instant>) {
    match at {
        Some(at) => {
            yield_now().await;
            sleep_until(at.into()).await;
        }
        None => std::future::pending().await,
    }
}
