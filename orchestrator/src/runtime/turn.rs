//! A turn of the engine: events are given to it one by one, its actions are carried out, and what follows from all of them together
//! is decided once.

use std::collections::VecDeque;
use std::time::Duration;

use super::workers::event_of;
use super::{FailurePolicy, RunError, Runtime};
use crate::dead_message::DeadMessage;
use crate::engine::{Action, Event};
use crate::limit::Limit;
use crate::record::LetterId;
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

    /// Takes in what a pool reports.
    pub(super) fn heard(&mut self, pools: &mut Pools, news: PoolNews) -> Result<(), RunError> {
        match news {
            PoolNews::Slot(news) => return self.feed(pools, event_of(news)),
            PoolNews::Failed(error) => return Err(error.into()),
            PoolNews::Measured(slot, measurements) => self.measured.add(slot, measurements),
            news => self.recruited(news),
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

    pub(super) fn carry_out(
        &mut self,
        pools: &mut Pools,
        action: Action,
        news: &mut Vec<PoolNews>,
    ) -> Result<(), RunError> {
        match action {
            Action::Send { slot, generation, message } => pools[slot.pool].send(generation, &message),
            Action::Kill { slot, generation, reason } => pools[slot.pool].kill(slot, generation, reason),
            Action::Withdraw { slot, generation, batch } => pools[slot.pool].withdraw(generation, batch),
            Action::Seat { slot } => pools[slot.pool].seat(slot, news),
            Action::RemoveSlot { slot } => pools[slot.pool].vacate(slot),
            // A sink that has ended has reported why.
            Action::Write { sink, chunk } => drop(self.sinks[sink.index()].send(chunk)),
            Action::Credit { source, bytes } => {
                if let Some(opened) = &self.sources[source.index()] {
                    opened.budget.give_back(bytes);
                }
            }
            Action::Allow { source, bytes } => {
                if let Some(opened) = &self.sources[source.index()] {
                    opened.budget.set_limit(bytes);
                }
            }
            Action::CloseConnection { source, connection, error } => {
                let peer = self.peers.get(connection).unwrap_or("a client");
                let limit = error.limit().map(Limit::name);
                tracing::error!(limit, "connection from {peer}: {error}; it is closed, others go on");
                self.leave(source, error.to_string());
                if let Some(opened) = &self.sources[source.index()] {
                    opened.handle.close(connection, error.to_string());
                }
            }
            Action::Acknowledge { source, stream, messages } => {
                if let Some(streams) = self.sources[source.index()].as_ref().and_then(|opened| opened.streams.as_ref())
                {
                    streams.acknowledge(&stream, messages);
                }
            }
            Action::StopSources => self.stop.cancel(),
            Action::DeadLetter { id, message } => return self.dead_letter(id, &message),
            Action::Commit(record) => return self.append(*record),
            Action::Checkpoint { checkpoint, states } => self.store(*checkpoint, states),
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

    fn dead_letter(&mut self, id: LetterId, message: &DeadMessage) -> Result<(), RunError> {
        let peer = message.connection.and_then(|connection| self.peers.get(connection));
        self.dead_letters.write(self.log.is_some().then_some(id), message, peer);
        if let Some(source) = self.plan.generator(message.node) {
            // It has no next value, so it has ended.
            self.leave(source, format!("{}: {}", message.exception, message.message));
        }
        // With a log it has been checked before the letter was in it, and one of an earlier run ends none.
        let latest = std::slice::from_ref(message);
        if self.log.is_some() { Ok(()) } else { self.check_letters(self.dead_letters.count(), latest) }
    }

    /// Fails if the run ends because of a dead letter. There are `count`, with the `latest`.
    pub(super) fn check_letters(&self, count: u64, latest: &[DeadMessage]) -> Result<(), RunError> {
        if let Some(most) = self.most_dead_letters.filter(|most| count > *most) {
            return Err(RunError::TooManyDeadLetters { count, most });
        }
        let stops = |letter: &&DeadMessage| {
            self.failure_policy == FailurePolicy::Stop || self.plan.topology.stop_at.contains(&letter.node)
        };
        let Some(letter) = latest.iter().find(stops) else { return Ok(()) };
        Err(RunError::MessageFailed {
            step: self.plan.name(letter.node).to_owned(),
            exception: letter.exception.clone(),
            message: letter.message.clone(),
            traceback: letter.traceback.clone(),
            by_step: self.failure_policy != FailurePolicy::Stop,
        })
    }
}
