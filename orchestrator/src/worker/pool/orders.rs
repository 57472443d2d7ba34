//! Orders to a pool's workers: from the engine, at the end of a run, and from people.

use tokio::sync::oneshot;
use wallaroo_protocol::ToWorker;

use super::{Pool, PoolNews};
use crate::death::KillReason;
use crate::ids::{Generation, SlotId};

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
        member.retired = reason == KillReason::Retired;
        let (worker, slot, pool) = (generation.0, slot.number, self.name.as_deref());
        match reason {
            KillReason::Timeout(after) => {
                tracing::warn!(worker, slot, pool, "no answer after {after:?}: killing the worker");
                member.handle.kill_after_stack();
            }
            KillReason::Protocol(error) => {
                tracing::error!(worker, slot, pool, "worker broke the protocol: {error}; killing it");
                member.handle.kill();
            }
            KillReason::Memory { .. } | KillReason::Retired => member.handle.kill(),
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
