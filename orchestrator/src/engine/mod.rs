//! The engine: a pure state machine that decides what runs where and when.
//!
//! [`Engine::handle`] takes one [`Event`] and the time since the run began, and appends what is to be done to a list of
//! [`Action`]s. After one or several events, [`Engine::end_turn`] does once for all of them what depends on the whole: changes of
//! the workers, time, and dispatch. The engine does no I/O, reads no clock and knows no task; the runtime feeds it and carries out
//! its actions, and so does the simulator.
//!
//! The engine is made of parts, each of which owns its fields; others ask a part by its verbs. In the order of a message:
//! [`intake`] queues frames, [`dispatch`] forms batches and sends them to [`workers`], [`order`] puts [`results`] in order,
//! [`routing`] queues groups for the slots of their keys, [`commit`] holds back what leaves until its record is durable, [`sinks`]
//! counts what leaves. [`time`] knows watermarks and timers,
//! [`recovery`] rebuilds what a dead worker held, [`change`] adds, removes and replaces workers while the stream goes on.

mod batch;
mod change;
mod commit;
mod config;
mod dispatch;
mod event;
mod intake;
mod invariant;
mod latency;
mod order;
mod recovery;
mod restart;
mod results;
mod routing;
mod sinks;
mod slots;
mod status;
mod time;
mod times;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use self::change::Change;
use self::commit::Commit;
use self::dispatch::Dispatch;
use self::intake::Intake;
use self::invariant::Checked;
use self::latency::Latencies;
use self::order::Order;
use self::recovery::{Recovery, Weight};
use self::routing::Routing;
use self::sinks::Sinks;
use self::time::Time;
use self::workers::Workers;
use crate::ids::{PoolId, SlotId, SourceId};
use crate::plan::{Input, Plan};

pub use self::config::EngineConfig;
pub use self::event::{Action, EngineError, Event};
pub use self::intake::CuttingError;
pub use self::invariant::{Invariant, Queue};
pub use self::latency::LatencyStatus;
pub use self::restart::StoredState;
pub use self::status::{Counts, SlotStatus, StageStatus, Status};

/// See the [module](self).
#[derive(Debug)]
pub struct Engine {
    plan: Arc<Plan>,
    config: EngineConfig,
    intake: Intake,
    dispatch: Dispatch,
    workers: Workers,
    order: Order,
    routing: Routing,
    commit: Commit,
    sinks: Sinks,
    time: Time,
    recovery: Recovery,
    change: Change,
    latencies: Latencies,
    draining: bool,
    /// When it was told to let another engine go on.
    suspended_at: Option<Duration>,
    finished: bool,
}

impl Engine {
    /// An engine with empty queues and vacant slots.
    pub fn new(plan: Arc<Plan>, config: EngineConfig) -> Self {
        let named = |pool: PoolId| pool.index().checked_sub(1);
        let count =
            |pool: PoolId| named(pool).map_or(config.slots, |named| config.pool_slots.get(named).copied().unwrap_or(1));
        let slots: Vec<u32> = plan.pools().map(count).collect();
        let stages = plan.stages.len();
        Self {
            intake: Intake::new(plan.sources.len(), config.max_frame, config.queue_time),
            dispatch: Dispatch::new(&plan, &slots, &config),
            workers: Workers::new(&slots, config.max_messages_per_worker),
            order: Order::new(stages),
            routing: Routing::new(&plan, &slots),
            commit: Commit::new(config.logged),
            sinks: Sinks::new(plan.sinks.len()),
            time: Time::new(&plan, config.idle_after),
            recovery: Recovery::new(&plan, &slots, &config),
            change: Change::default(),
            latencies: Latencies::new(stages),
            draining: false,
            suspended_at: None,
            finished: false,
            plan,
            config,
        }
    }

    /// Takes in `event`, which happened `now` after the run began, and appends what follows from it at once to `actions`. The
    /// caller ends the turn with [`Engine::end_turn`], after this event or after some more.
    pub fn handle(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        // A run that did not wait for all that was under way leaves the rest to the next: nothing may follow its last checkpoint.
        if self.finished {
            return;
        }
        // A reply from a worker whose slot no longer exists.
        if event.slot().is_some_and(|slot| !self.workers.contains(slot)) {
            return;
        }
        let handled = self.take_in(event, now, actions);
        self.fail_if_broken(handled, actions);
    }

    fn take_in(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) -> Checked<()> {
        match event {
            Event::Frames { .. } | Event::Chunk { .. } | Event::ConnectionClosed { .. } | Event::SourceEnded { .. } => {
                self.take_in_source(event, now, actions);
                Ok(())
            }
            Event::WorkerSeated { slot, generation } => self.seat(slot, generation, actions),
            Event::WorkerLost { slot, generation, death } => self.lose(slot, generation, death, now, actions),
            Event::Retire { slot, generation } => self.retire(slot, generation, now, actions),
            Event::Overweight { slot, generation, resident, limit } => {
                self.overweight(slot, generation, Weight { resident, limit }, now, actions)
            }
            Event::Result { slot, generation, result } => self.result(slot, generation, result, now, actions),
            Event::CutResult { slot, generation, result } => self.cut_result(slot, generation, &result, now, actions),
            Event::Moved { slot, generation } => {
                self.moved(slot, generation, now);
                Ok(())
            }
            Event::Snapshot { slot, generation, part } => self.snapshot(slot, generation, part, now, actions),
            Event::Durable { upto } => self.durable(upto, actions),
            Event::Stored { upto } => {
                self.commit.stored(upto);
                Ok(())
            }
            Event::SinkWritten { sink, bytes } => self.sinks.written(sink, bytes),
            Event::DeadLettersKept { bytes } => self.sinks.letters_kept(bytes),
            Event::Scale { pool, slots } => self.scale(pool, slots, actions),
            Event::Replace { slot } => {
                self.replace(slot);
                Ok(())
            }
            Event::Save => {
                self.save(now, actions);
                Ok(())
            }
            Event::Drain => {
                self.drain(actions);
                Ok(())
            }
            Event::Suspend => {
                self.time.suspend();
                self.suspended_at.get_or_insert(now);
                self.drain(actions);
                Ok(())
            }
            Event::StoodStill { gap } => {
                self.dispatch.put_off(gap, now);
                self.recovery.put_off(gap, now);
                self.time.put_off(gap, now);
                Ok(())
            }
            Event::Tick => {
                self.check_deadlines(now, actions);
                self.end_waits(now);
                self.relieve_vacant(now);
                self.end_relief(now);
                Ok(())
            }
        }
    }

    /// Does what follows from the events of a turn taken together: takes changes of the workers as far as they can go, moves
    /// watermarks, sends batches, and notes the end.
    pub fn end_turn(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let ended = self.settle(now, actions);
        self.fail_if_broken(ended, actions);
        if self.finished || !(self.is_done() || self.is_out_of_patience(now) && self.commit.is_idle()) {
            return;
        }
        // The next run has nothing to replay but what cannot be saved, and may have other steps.
        let is_saving = !self.is_out_of_patience(now) && self.save_at_end(now, actions);
        if !is_saving && !self.checkpoint_at_end(now, actions) {
            self.finished = true;
            actions.push(Action::Finished);
        }
    }

    fn settle(&mut self, now: Duration, actions: &mut Vec<Action>) -> Checked<()> {
        self.go_on_adopting(now, actions)?;
        self.go_on_replacing(now, actions)?;
        self.go_on_scaling(now, actions)?;
        self.advance_time(now);
        if !self.is_out_of_patience(now) {
            self.dispatch(now, actions)?;
        }
        self.allow_intake(now, actions);
        self.checkpoint_in_time(now, actions);
        Ok(())
    }

    fn fail_if_broken(&mut self, outcome: Checked<()>, actions: &mut Vec<Action>) {
        if let Err(broken) = outcome {
            self.finished = true;
            actions.push(Action::Fail(EngineError::Broken(broken)));
        }
    }

    /// Reads no more and asks generators no further; what was accepted is finished.
    fn drain(&mut self, actions: &mut Vec<Action>) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        for (source, plan) in (0..).map(SourceId).zip(&self.plan.sources) {
            if matches!(self.plan.stages[plan.stage.index()].input, Input::Generate(..)) {
                self.intake.end(source);
            }
        }
        actions.push(Action::StopSources);
    }

    /// Whether everything that was accepted has left. Cheap while a source has not ended.
    fn is_done(&self) -> bool {
        self.intake.is_done()
            && self.routing.is_idle()
            && self.order.is_idle()
            && self.time.is_idle()
            && self.sinks.is_idle()
            && self.commit.is_idle()
            && self.dispatch.is_idle()
            && self.recovery.is_idle()
    }

    /// Whether what is not done is left to another engine: all of it is in the log, or comes again.
    fn is_out_of_patience(&self, now: Duration) -> bool {
        self.suspended_at.is_some_and(|at| now.saturating_sub(at) >= self.config.stop_timeout)
    }

    /// Whether nothing waits for a slot, is in flight there, or is to be run again there.
    fn is_slot_idle(&self, slot: SlotId) -> bool {
        self.dispatch.front(slot).is_none() && self.recovery.is_slot_idle(slot) && self.routing.is_slot_idle(slot)
    }

    /// Has every slot looked at again.
    fn wake_all(&mut self) {
        self.workers.ids().into_iter().for_each(|slot| self.dispatch.wake(slot));
    }

    fn add_slot(&mut self, pool: PoolId) -> SlotId {
        self.dispatch.add_slot(pool);
        self.routing.add_slot(pool);
        self.recovery.add_slot(pool);
        self.workers.add_slot(pool)
    }

    /// Removes the last slot of a pool.
    fn remove_slot(&mut self, slot: SlotId) -> Checked<()> {
        self.workers.remove_slot(slot);
        self.change.remove_slot(slot);
        self.dispatch.remove_slot(slot)?;
        self.routing.remove_slot(slot)?;
        self.recovery.remove_slot(slot)
    }
}
