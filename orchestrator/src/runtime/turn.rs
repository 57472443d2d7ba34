//! A turn of the engine: events are given to it one by one, its actions are carried out, and what follows from all of them together
//! is decided once.

use std::collections::VecDeque;
use std::time::Duration;

use super::workers::event_of;
use super::{FailurePolicy, RunError, Runtime};
use crate::dead_message::DeadMessage;
use crate::engine::{Action, Event};
use crate::limit::Limit;
use crate::worker::pool::PoolNews;
use crate::worker::pools::Pools;

/// Ticks come four times a second. After a longer silence this process did not run: it was stopped, swapped out, or its machine
/// was suspended.
const STANDSTILL: Duration = Duration::from_secs(1);

impl Runtime {
    /// Gives one event to the engine and carries out what follows at once.
    pub(super) fn feed(&mut self, pools: &mut Pools, event: Event) -> Result<(), RunError> {
        let mut next = Some(event);
        // Rarely used. An empty queue allocates nothing.
        let mut later = VecDeque::new();
        while let Some(event) = next.take().or_else(|| later.pop_front()) {
            if let Event::WorkerLost { slot, death, .. } = &event {
                self.seated_worker_died(pools, *slot, death);
            }
            let mut actions = std::mem::take(&mut self.actions);
            let now = self.begun.elapsed();
            let gap = now.saturating_sub(std::mem::replace(&mut self.last_told, now));
            if gap > STANDSTILL {
                tracing::warn!(
                    seconds = gap.as_secs_f64(),
                    "the orchestrator stood still; deadlines are put off by that"
                );
                self.engine.handle(Event::StoodStill { gap }, now, &mut actions);
            }
            self.engine.handle(event, now, &mut actions);
            self.carry_out_all(pools, actions, &mut later)?;
        }
        Ok(())
    }

    /// Ends a turn: the engine decides once what follows from all events since the last one.
    pub(super) fn end_turn(&mut self, pools: &mut Pools) -> Result<(), RunError> {
        loop {
            let mut actions = std::mem::take(&mut self.actions);
            self.engine.end_turn(self.begun.elapsed(), &mut actions);
            let mut events = VecDeque::new();
            self.carry_out_all(pools, actions, &mut events)?;
            if events.is_empty() {
                return Ok(());
            }
            for event in events {
                self.feed(pools, event)?;
            }
        }
    }

    /// Carries out actions; what happens to slots because of that is appended to `events`.
    fn carry_out_all(
        &mut self,
        pools: &mut Pools,
        mut actions: Vec<Action>,
        events: &mut VecDeque<Event>,
    ) -> Result<(), RunError> {
        let mut news = Vec::new();
        for action in actions.drain(..) {
            self.carry_out(pools, action, &mut news)?;
            for news in news.drain(..) {
                match news {
                    PoolNews::Slot(news) => events.push_back(event_of(news)),
                    PoolNews::Failed(error) => return Err(error.into()),
                    news => self.recruited(news),
                }
            }
        }
        self.actions = actions;
        Ok(())
    }

    fn carry_out(&mut self, pools: &mut Pools, action: Action, news: &mut Vec<PoolNews>) -> Result<(), RunError> {
        match action {
            Action::Send { slot, generation, message } => pools[slot.pool].send(generation, &message),
            Action::Kill { slot, generation, reason } => pools[slot.pool].kill(slot, generation, reason),
            Action::Withdraw { slot, generation, batch } => pools[slot.pool].withdraw(generation, batch),
            Action::Seat { slot } => pools[slot.pool].seat(slot, news),
            Action::RemoveSlot { slot } => pools[slot.pool].vacate(slot),
            // A sink that has ended has reported why.
            Action::Write { sink, chunk } => drop(self.sinks[sink.index()].send(chunk)),
            Action::Credit { source, bytes } => {
                if let Some((budget, _)) = &self.sources[source.index()] {
                    budget.give_back(bytes);
                }
            }
            Action::CloseConnection { source, connection, error } => {
                let peer = self.peers.get(connection).unwrap_or("a client");
                let limit = error.limit().map(Limit::name);
                tracing::error!(limit, "connection from {peer}: {error}; it is closed, others go on");
                self.leave(source, error.to_string());
                if let Some((_, handle)) = &self.sources[source.index()] {
                    handle.close(connection, error.to_string());
                }
            }
            Action::StopSources => self.stop.cancel(),
            Action::DeadLetter(message) => return self.dead_letter(message),
            Action::Recovered { slot, after, replayed } => {
                let (milliseconds, pool) = (after.as_secs_f64() * 1e3, self.plan.pool_name(slot.pool));
                tracing::info!(slot = slot.number, pool, milliseconds, replayed, "slot is back");
            }
            Action::Scaled { moved, longest_pause, problem, .. } => self.scaled(moved, longest_pause, problem),
            Action::Replaced { slot, pause, problem } => self.replaced(slot, pause, problem),
            Action::Warn(warning) => tracing::warn!("{warning}"),
            Action::Finished => self.finished = true,
            Action::Fail(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn dead_letter(&mut self, message: DeadMessage) -> Result<(), RunError> {
        let peer = message.connection.and_then(|connection| self.peers.get(connection));
        self.dead_letters.write(&message, peer);
        let count = self.dead_letters.count();
        if let Some(most) = self.most_dead_letters.filter(|most| count > *most) {
            return Err(RunError::TooManyDeadLetters { count, most });
        }
        match self.failure_policy {
            FailurePolicy::DeadLetter => Ok(()),
            FailurePolicy::Stop => Err(RunError::MessageFailed {
                step: self.plan.name(message.node).to_owned(),
                exception: message.exception,
                message: message.message,
                traceback: message.traceback,
            }),
        }
    }
}
