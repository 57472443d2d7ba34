//! Orders to a pool's workers: from the engine, at the end of a run, and from people.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use wallaroo_protocol::{BatchId, ToWorker};

use super::{Phase, Pool, PoolNews, Start};
use crate::death::KillReason;
use crate::ids::{Generation, SlotId};
use crate::limit::Limit;

/// After this long, the log says that a worker is still starting.
const LONG_START: Duration = Duration::from_secs(10);

impl Pool {
    /// Sends a message to a worker, unless it is gone.
    pub fn send(&self, generation: Generation, message: &ToWorker) {
        if let Some(member) = self.members.get(&generation) {
            member.handle.send(message.encode());
        }
    }

    /// Kills the worker in a slot, unless it is gone. Its end is still reported.
    pub fn kill(&mut self, slot: SlotId, generation: Generation, reason: KillReason) {
        let Some(member) = self.members.get_mut(&generation) else { return };
        member.killed = Some(reason.clone());
        let (worker, slot, pool) = (generation.0, slot.number, self.name.as_deref());
        match reason {
            KillReason::Timeout(after) => {
                tracing::warn!(worker, slot, pool, "no progress for {after:?}: killing the worker");
                member.handle.kill_after_stack();
            }
            KillReason::Protocol(error) => {
                tracing::error!(worker, slot, pool, "worker broke the protocol: {error}; killing it");
                member.handle.kill();
            }
            KillReason::Memory { .. } | KillReason::Retired | KillReason::NotReady(_) => member.handle.kill(),
        }
    }

    /// Tells a worker not to run a batch that it has not begun.
    pub fn withdraw(&self, generation: Generation, batch: BatchId) {
        if let Some(member) = self.members.get(&generation) {
            member.handle.withdraw(batch);
        }
    }

    /// Says in the log which workers take long to be ready, and kills those that take too long.
    pub fn check_starts(&mut self, now: Instant) {
        for (generation, member) in &mut self.members {
            let starts = matches!(member.phase, Phase::Greeting | Phase::Loading | Phase::Preparing);
            let elapsed = now.saturating_duration_since(member.started);
            let (worker, pid, pool) = (generation.0, member.handle.pid, self.name.as_deref());
            if !starts || member.start == Start::TooLate {
                continue;
            }
            if elapsed >= self.settings.start_timeout {
                let limit = Limit::StartTimeout.name();
                tracing::error!(
                    worker,
                    pid,
                    pool,
                    limit,
                    "worker is not ready after {:?}: killing it",
                    self.settings.start_timeout
                );
                member.start = Start::TooLate;
                // Before its greeting a signal that asks for the stack would kill it.
                if member.phase == Phase::Greeting { member.handle.kill() } else { member.handle.kill_after_stack() }
            } else if elapsed >= LONG_START && member.start == Start::InTime {
                tracing::warn!(
                    worker,
                    pid,
                    pool,
                    "worker is not ready after {LONG_START:?}: it still loads the application"
                );
                member.start = Start::Slow;
            }
        }
    }

    /// Seats a worker in an empty slot, now or once there is one.
    pub fn seat(&mut self, slot: SlotId, out: &mut Vec<PoolNews>) {
        self.seats.entry(slot).or_insert(self.edition);
        self.vacant.push_back(slot);
        self.seat_standbys(out);
    }

    /// Seats no worker in a slot any more: it is being removed.
    pub fn vacate(&mut self, slot: SlotId) {
        self.seats.remove(&slot);
        self.vacant.retain(|vacant| *vacant != slot);
    }

    /// Asks all workers to finish and exit.
    pub fn close(&mut self) {
        self.closing = true;
        for member in self.members.values() {
            member.handle.send(ToWorker::Stop.encode());
        }
    }

    /// Kills every worker that is left. Their ends are still reported.
    pub fn kill_all(&mut self) {
        self.closing = true;
        for member in self.members.values() {
            member.handle.kill();
        }
    }

    /// Has a worker print its Python stacks into `reply`; one that has not greeted yet cannot.
    pub fn stack(&self, generation: Generation, reply: oneshot::Sender<String>) {
        if let Some(member) = self.members.get(&generation).filter(|member| member.hello.is_some()) {
            member.handle.stack(reply);
        }
    }
}
