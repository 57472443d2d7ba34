//! A second edition of workers beside the one that is at work: another interpreter, or newer code.

use wallaroo_protocol::{RequestId, StateEntry, ToWorker};

use super::{Edition, Phase, Pool, PoolError};
use crate::ids::{Generation, SlotId};
use crate::worker::process::Interpreter;

impl Pool {
    /// The edition of the workers.
    pub fn edition(&self) -> Edition {
        self.edition
    }

    /// The interpreter of the workers.
    pub fn interpreter(&self) -> &Interpreter {
        &self.settings.interpreter
    }

    /// Begins an edition with `interpreter`, whose workers load the application as it is now. Call [`Pool::fill`] afterwards.
    pub fn begin_edition(&mut self, interpreter: Interpreter) -> Edition {
        debug_assert!(self.next.is_none(), "one edition at a time takes over");
        let latest = self.members.values().map(|member| member.edition).max();
        let edition = Edition(latest.max(Some(self.edition)).map_or(0, |latest| latest.0) + 1);
        self.next = Some((edition, interpreter));
        edition
    }

    /// Makes the next edition the only one. Every seat has it already.
    pub fn commit_edition(&mut self) {
        if let Some((next, interpreter)) = self.next.take() {
            self.edition = next;
            self.settings.interpreter = interpreter;
            self.dismiss_others();
            for generation in self.standbys(next).into_iter().skip(self.settings.standbys as usize) {
                self.dismiss(generation);
            }
        }
    }

    /// Gives the next edition up. No seat has it any more.
    pub fn abandon_edition(&mut self) {
        self.next = None;
        self.unrecruited.clear();
        self.dismiss_others();
    }

    fn dismiss_others(&mut self) {
        let useless: Vec<Generation> = self
            .members
            .iter()
            .filter(|(_, member)| member.edition != self.edition && !matches!(member.phase, Phase::Seated(_)))
            .map(|(generation, _)| *generation)
            .collect();
        for generation in useless {
            self.dismiss(generation);
        }
    }

    /// Sets the edition of the next worker in a slot.
    pub fn assign(&mut self, slot: SlotId, edition: Edition) {
        self.seats.insert(slot, edition);
    }

    /// The edition of the worker that a slot is to have.
    pub fn seat_edition(&self, slot: SlotId) -> Option<Edition> {
        self.seats.get(&slot).copied()
    }

    /// Sets how many standbys are wanted beyond the usual ones. Call [`Pool::fill`] afterwards.
    pub fn recruit(&mut self, recruits: u32) {
        self.recruits = recruits;
    }

    /// Standbys of an edition.
    pub fn standbys(&self, edition: Edition) -> Vec<Generation> {
        let ready =
            self.members.iter().filter(|(_, member)| member.edition == edition && member.phase == Phase::Standby);
        ready.map(|(generation, _)| *generation).collect()
    }

    /// Why workers of the next edition could not be started, if they could not.
    pub fn take_unrecruited(&mut self) -> Option<PoolError> {
        self.unrecruited.pop()
    }

    /// Has the workers of an edition that are not ready print their stacks before they are given up.
    pub fn show_stuck(&self, edition: Edition) {
        let stuck = self.members.values().filter(|member| member.edition == edition && member.hello.is_some());
        for member in stuck.filter(|member| !matches!(member.phase, Phase::Standby | Phase::Seated(_))) {
            member.handle.kill_after_stack();
        }
    }

    /// Asks a standby whether it can load snapshots. It answers once for each request.
    pub fn try_restore(&self, generation: Generation, entries: Vec<StateEntry>) {
        let Some(member) = self.members.get(&generation) else { return };
        for (request, entry) in (0..).map(RequestId).zip(entries) {
            member.handle.send(ToWorker::TryRestore { request, entries: vec![entry] }.encode());
        }
    }
}
