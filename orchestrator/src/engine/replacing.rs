//! Workers that give their seat to another one on purpose: of another interpreter, or with newer code.
//!
//! A worker's state is saved while it works, until its journal is short. Then it finishes what it was sent, and its successor
//! takes the seat as after a death: snapshots, what is left of the journal, and on. So whatever happens on the way is something
//! that [`recovery`](super::recovery) can deal with.

use std::time::Duration;

use super::slot::{Seat, SnapshotState};
use super::{Action, Engine};
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
    Leaving { old: Option<Generation>, since: Duration },
}

impl Engine {
    /// Begins to replace the worker in a slot. [`Action::Replaced`] is the end.
    pub(super) fn replace(&mut self, slot: SlotId) {
        if let Some(state) = self.slots.get_mut(slot) {
            // Anew, if it is under way: whoever sits there now is not wanted any more.
            state.replacement = Some(Replacement::Saving(0));
        }
    }

    /// Does what can be done now for every slot.
    pub(super) fn go_on_replacing(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.slots.iter().all(|slot| slot.replacement.is_none()) {
            return;
        }
        for slot in self.slots.ids() {
            match self.slots[slot].replacement {
                None => {}
                Some(Replacement::Saving(requests)) => self.save_or_leave(slot, requests, now, actions),
                Some(Replacement::Leaving { old, since }) => self.settle(slot, old, since, now, actions),
            }
        }
    }

    fn save_or_leave(&mut self, slot: SlotId, requests: u32, now: Duration, actions: &mut Vec<Action>) {
        let journal = self.ledger.size(slot);
        let state = &mut self.slots[slot];
        if let Some(reason) = &state.unrecoverable {
            let problem = Some(format!("its worker cannot be replaced: {reason}"));
            state.replacement = None;
            return actions.push(Action::Replaced { slot, pause: Duration::ZERO, problem });
        }
        match state.seat {
            Seat::Seated(generation) if state.replay.is_empty() && state.snapshot == SnapshotState::Idle => {
                // State that cannot be pickled is rebuilt by a replay; asking for it again changes nothing.
                let hopeless = state.unpicklable.is_some();
                if journal.replay <= SHORT_JOURNAL || requests == MOST_REQUESTS || hopeless && requests > 0 {
                    state.replacement = Some(Replacement::Leaving { old: Some(generation), since: now });
                    self.retire(slot, generation, now, actions);
                } else {
                    state.replacement = Some(Replacement::Saving(requests + 1));
                    self.request_snapshot(slot, actions);
                }
            }
            Seat::Seated(_) => {}
            Seat::Retiring(old) | Seat::Dying(old, _) => {
                state.replacement = Some(Replacement::Leaving { old: Some(old), since: now });
            }
            // It died before its turn came; whoever is seated next is the successor.
            Seat::Vacant => {
                let since = state.lost_at.unwrap_or(now);
                state.replacement = Some(Replacement::Leaving { old: None, since });
            }
        }
    }

    /// Notes the end once the successor has answered something new, or has nothing to do.
    fn settle(
        &mut self,
        slot: SlotId,
        old: Option<Generation>,
        since: Duration,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let state = &mut self.slots[slot];
        let successor = matches!(state.seat, Seat::Seated(seated) if Some(seated) != old);
        if successor && state.replay.is_empty() && (state.lost_at.is_none() || state.is_idle()) {
            state.replacement = None;
            actions.push(Action::Replaced { slot, pause: now.saturating_sub(since), problem: None });
        }
    }
}
