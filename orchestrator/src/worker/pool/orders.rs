//! What is asked of a pool's workers: by the engine, at the end, and by people.

use tokio::sync::oneshot;
use wallaroo_protocol::ToWorker;

use super::{Pool, PoolNews};
use crate::death::KillReason;
use crate::engine::Action;
use crate::ids::Generation;

impl Pool {
    /// Carries out an engine's action that concerns workers; others are returned.
    pub fn carry_out(&mut self, action: Action, out: &mut Vec<PoolNews>) -> Option<Action> {
        match action {
            Action::Send { generation, message, .. } => {
                if let Some(member) = self.members.get(&generation) {
                    member.handle.send(message.encode());
                }
            }
            Action::Kill { generation, reason, slot } => {
                if let Some(member) = self.members.get_mut(&generation) {
                    member.retired = reason == KillReason::Retired;
                    match reason {
                        KillReason::Timeout(after) => {
                            tracing::warn!(
                                worker = generation.0,
                                slot = slot.number,
                                pool = self.name.as_deref(),
                                "no answer after {after:?}: killing the worker"
                            );
                            member.handle.kill_after_stack();
                        }
                        KillReason::Protocol(error) => {
                            tracing::error!(
                                worker = generation.0,
                                slot = slot.number,
                                pool = self.name.as_deref(),
                                "worker broke the protocol: {error}; killing it"
                            );
                            member.handle.kill();
                        }
                        KillReason::Memory { .. } | KillReason::Retired => member.handle.kill(),
                    }
                }
            }
            Action::Seat { slot } => {
                self.seats.entry(slot).or_insert(self.edition);
                self.vacant.push_back(slot);
                self.seat(out);
            }
            Action::Vacate { slot } => {
                self.seats.remove(&slot);
                self.vacant.retain(|vacant| *vacant != slot);
            }
            other => return Some(other),
        }
        None
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

    /// Has a worker print its Python stacks into `reply`; one that has not greeted yet does not know how to.
    pub fn stack(&self, generation: Generation, reply: oneshot::Sender<String>) {
        if let Some(member) = self.members.get(&generation).filter(|member| member.hello.is_some()) {
            member.handle.stack(reply);
        }
    }
}
