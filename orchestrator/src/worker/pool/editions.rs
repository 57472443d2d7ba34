//! Workers of another interpreter, or with newer code, beside those that are at work.

use wallaroo_protocol::{RequestId, StateEntry, ToWorker};

use super::{Edition, Phase, Pool, PoolError};
use crate::ids::{Generation, SlotId};
use crate::worker::process::Interpreter;

impl Pool {
    /// The edition workers are of.
    pub fn edition(&self) -> Edition {
        self.edition
    }

    /// The interpreter workers run.
    pub fn interpreter(&self) -> &Interpreter {
        &self.settings.interpreter
    }

    /// Begins to have workers with `interpreter`, who load the application as it is now. [`Pool::fill`] is due.
    pub fn begin_edition(&mut self, interpreter: Interpreter) -> Edition {
        debug_assert!(self.next.is_none(), "one edition at a time takes over");
        let latest = self.members.values().map(|member| member.edition).max();
        let edition = Edition(latest.max(Some(self.edition)).map_or(0, |latest| latest.0) + 1);
        self.next = Some((edition, interpreter));
        edition
    }

    /// Lets the next edition be the only one. Every seat is its already.
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

    /// Gives the next edition up. No seat is its any more.
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

    /// Of which edition the worker is to be that sits in a slot next.
    pub fn assign(&mut self, slot: SlotId, edition: Edition) {
        self.seats.insert(slot, edition);
    }

    /// Of which edition the worker in a slot is to be.
    pub fn seat_edition(&self, slot: SlotId) -> Option<Edition> {
        self.seats.get(&slot).copied()
    }

    /// Wants so many standbys beyond the usual ones. [`Pool::fill`] is due.
    pub fn recruit(&mut self, recruits: u32) {
        self.recruits = recruits;
    }

    /// Standbys of an edition.
    pub fn standbys(&self, edition: Edition) -> Vec<Generation> {
        let ready =
            self.members.iter().filter(|(_, member)| member.edition == edition && member.phase == Phase::Standby);
        ready.map(|(generation, _)| *generation).collect()
    }

    /// Why workers of the next edition could not be started, if that is so.
    pub fn take_unrecruited(&mut self) -> Option<PoolError> {
        self.unrecruited.pop()
    }

    /// Has those of an edition that are not ready yet print their stacks, for they will be given up.
    pub fn show_stuck(&self, edition: Edition) {
        let stuck = self.members.values().filter(|member| member.edition == edition && member.hello.is_some());
        for member in stuck.filter(|member| !matches!(member.phase, Phase::Standby | Phase::Seated(_))) {
            member.handle.kill_after_stack();
        }
    }

    /// Asks a standby whether it can load snapshots. It answers once for each.
    pub fn try_restore(&self, generation: Generation, entries: Vec<StateEntry>) {
        let Some(member) = self.members.get(&generation) else { return };
        for (request, entry) in (0..).map(RequestId).zip(entries) {
            member.handle.send(ToWorker::TryRestore { request, entries: vec![entry] }.encode());
        }
    }
}
