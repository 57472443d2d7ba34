//! Workers that are replaced on purpose: by one of another interpreter, or with newer code.
//!
//! A worker's state is saved while it works, until its journal is short. Then it finishes what it was sent, and its successor
//! takes the seat as after a death: it is given the snapshots, then the rest of the journal. So
//! [`recovery`](crate::engine::recovery) can deal with whatever happens on the way.

use std::time::Duration;

use crate::engine::invariant::Checked;
use crate::engine::workers::Seat;
use crate::engine::{Action, Engine};
use crate::ids::{Generation, SlotId};

/// A journal that is replayed in this time is not worth another snapshot.
const SHORT_JOURNAL: Duration = Duration::from_millis(10);
/// Snapshots after which a worker goes, however long its journal still is.
const MOST_REQUESTS: u32 = 100;

/// How far a worker's replacement has come.
#[derive(Debug, Clone, Copy)]
pub(super) enum Replacement {
    /// Its state is being saved; so many snapshots have been asked for.
    Saving(u32),
    /// It takes no more batches, since then.
    Waiting { old: Option<Generation>, since: Duration },
}

impl Engine {
    /// Begins to replace the worker in a slot. [`Action::Replaced`] is the end.
    pub(in crate::engine) fn replace(&mut self, slot: SlotId) {
        // If it is under way it begins anew: whoever sits there now is not wanted any more.
        self.change.replacements.insert(slot, Replacement::Saving(0));
    }

    /// Takes every replacement as far as it can go now.
    pub(in crate::engine) fn go_on_replacing(&mut self, now: Duration, actions: &mut Vec<Action>) -> Checked<()> {
        if self.change.replacements.is_empty() {
            return Ok(());
        }
        let replacements: Vec<_> = self.change.replacements.iter().map(|(slot, step)| (*slot, *step)).collect();
        for (slot, replacement) in replacements {
            match replacement {
                Replacement::Saving(requests) => self.save_or_retire(slot, requests, now, actions)?,
                Replacement::Waiting { old, since } => self.end_if_succeeded(slot, old, since, now, actions),
            }
        }
        Ok(())
    }

    fn save_or_retire(&mut self, slot: SlotId, requests: u32, now: Duration, actions: &mut Vec<Action>) -> Checked<()> {
        if let Some(reason) = self.recovery.unrecoverable(slot) {
            let problem = Some(format!("its worker cannot be replaced: {reason}"));
            self.end_replacement(slot, Duration::ZERO, problem, actions);
            return Ok(());
        }
        match *self.workers.seat(slot) {
            Seat::Seated(generation) if self.recovery.has_replayed(slot) && !self.recovery.awaits_snapshot(slot) => {
                // State that cannot be pickled is rebuilt by a replay; asking for it again changes nothing.
                let hopeless = self.recovery.is_unpicklable(slot) && requests > 0;
                let journal = self.recovery.journal_size(slot);
                if journal.replay <= SHORT_JOURNAL || requests == MOST_REQUESTS || hopeless {
                    self.await_successor(slot, Some(generation), now);
                    return self.retire(slot, generation, now, actions);
                }
                self.change.replacements.insert(slot, Replacement::Saving(requests + 1));
                self.request_snapshot(slot, now, actions);
            }
            Seat::Seated(_) => {}
            Seat::Retiring(old) | Seat::Dying(old, _) => self.await_successor(slot, Some(old), now),
            // It died before its turn came; whoever is seated next is the successor.
            Seat::Vacant => self.await_successor(slot, None, self.recovery.lost_at(slot).unwrap_or(now)),
        }
        Ok(())
    }

    fn await_successor(&mut self, slot: SlotId, old: Option<Generation>, since: Duration) {
        self.change.replacements.insert(slot, Replacement::Waiting { old, since });
    }

    /// Notes the end once the successor has answered something new, or has nothing to do.
    fn end_if_succeeded(
        &mut self,
        slot: SlotId,
        old: Option<Generation>,
        since: Duration,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let has_successor = self.workers.available(slot).is_some_and(|seated| Some(seated) != old);
        let is_back = self.recovery.lost_at(slot).is_none() || self.is_slot_idle(slot);
        if has_successor && self.recovery.has_replayed(slot) && is_back {
            self.end_replacement(slot, now.saturating_sub(since), None, actions);
        }
    }

    fn end_replacement(&mut self, slot: SlotId, pause: Duration, problem: Option<String>, actions: &mut Vec<Action>) {
        self.change.replacements.remove(&slot);
        actions.push(Action::Replaced { slot, pause, problem });
    }
}
