//! Who sits in which slot, and what became of those who sat there before. Owns the seats and the counts of deaths.

use std::time::Duration;

use super::Action;
use super::slots::Slots;
use crate::death::{Death, DeathCause, KillReason};
use crate::ids::{Generation, PoolId, SlotId};

/// Deaths of a slot in a row, with nothing achieved in between, after which it is given up.
const MOST_DEATHS_IN_A_ROW: u32 = 10;
/// The same for deaths that may have come from outside.
const MOST_KILLS_IN_A_ROW: u32 = 100;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Workers {
    slots: Slots<Occupancy>,
    /// Workers that died other than on purpose.
    deaths: u64,
    /// Messages after which a worker is replaced.
    most_messages: Option<u64>,
}

#[derive(Debug)]
struct Occupancy {
    seat: Seat,
    /// Messages that the worker has processed. Replays do not count, or a long journal would wear every worker out.
    served: u64,
    /// Workers that took this slot after the first.
    restarts: u32,
    /// What ended the last worker.
    last_cause: Option<String>,
    /// When a worker of this slot last died.
    last_death: Option<Duration>,
    /// Deaths since this slot last got on that its workers caused.
    deaths_in_a_row: u32,
    /// Deaths since this slot last got on that may have come from outside.
    kills_in_a_row: u32,
    /// No worker is seated here any more, and the slot is removed when it is vacant.
    closing: bool,
}

/// Who sits in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seat {
    /// A worker has been asked for.
    Vacant,
    /// A worker is at work.
    Seated(Generation),
    /// A worker finishes what it has been sent, and is then replaced.
    Retiring(Generation),
    /// A worker is being killed. Its death has not been reported yet.
    Dying(Generation, KillReason),
}

/// A death as the engine sees it.
#[derive(Debug)]
pub(super) struct Loss {
    pub(super) death: Death,
    /// Deaths in a row in this slot, this one included.
    pub(super) in_a_row: u32,
    /// Whether so many deaths in a row are too many.
    pub(super) hopeless: bool,
}

impl Workers {
    pub(super) fn new(slots: &[u32], most_messages: Option<u64>) -> Self {
        Self { slots: Slots::new(slots, |_| Occupancy::vacant()), deaths: 0, most_messages }
    }

    pub(super) fn add_slot(&mut self, pool: PoolId) -> SlotId {
        let slot = SlotId { pool, number: self.slots.count(pool) };
        self.slots.push(pool, Occupancy::vacant());
        slot
    }

    /// The last slot of a pool, if nobody sits in it.
    pub(super) fn last_vacant(&self, pool: PoolId) -> Option<SlotId> {
        let (slot, last) = self.slots.of(pool).last()?;
        (last.seat == Seat::Vacant).then_some(slot)
    }

    pub(super) fn remove_slot(&mut self, slot: SlotId) {
        self.slots.pop(slot.pool);
    }

    pub(super) fn contains(&self, slot: SlotId) -> bool {
        self.slots.contains(slot)
    }

    /// How many slots a pool has.
    pub(super) fn count(&self, pool: PoolId) -> u32 {
        self.slots.count(pool)
    }

    /// How many pools there are.
    pub(super) fn pools(&self) -> usize {
        self.slots.pools()
    }

    /// The ids of all slots.
    pub(super) fn ids(&self) -> Vec<SlotId> {
        self.slots.ids()
    }

    /// The ids of a pool's slots.
    pub(super) fn of(&self, pool: PoolId) -> Vec<SlotId> {
        self.slots.of(pool).map(|(slot, _)| slot).collect()
    }

    pub(super) fn seat(&self, slot: SlotId) -> &Seat {
        &self.slots[slot].seat
    }

    /// Seats a worker. One that has no place here is sent away; returns whether it was seated.
    pub(super) fn sit(&mut self, slot: SlotId, generation: Generation, actions: &mut Vec<Action>) -> bool {
        let occupancy = &mut self.slots[slot];
        if occupancy.seat != Seat::Vacant || occupancy.closing {
            actions.push(Action::Kill { slot, generation, reason: KillReason::Retired });
            return false;
        }
        occupancy.seat = Seat::Seated(generation);
        occupancy.served = 0;
        true
    }

    /// The worker of a slot that may be sent batches.
    pub(super) fn available(&self, slot: SlotId) -> Option<Generation> {
        match self.slots[slot].seat {
            Seat::Seated(generation) => Some(generation),
            Seat::Vacant | Seat::Retiring(_) | Seat::Dying(..) => None,
        }
    }

    /// Whether a reply of `generation` is to be believed.
    pub(super) fn hears(&self, slot: SlotId, generation: Generation) -> bool {
        matches!(self.slots[slot].seat, Seat::Seated(seated) | Seat::Retiring(seated) if seated == generation)
    }

    /// Lets a worker finish what it has been sent, and go.
    pub(super) fn retire(&mut self, slot: SlotId) {
        if let Seat::Seated(generation) = self.slots[slot].seat {
            self.slots[slot].seat = Seat::Retiring(generation);
        }
    }

    pub(super) fn kill(&mut self, slot: SlotId, reason: KillReason, actions: &mut Vec<Action>) {
        let occupancy = &mut self.slots[slot];
        if let Seat::Seated(generation) | Seat::Retiring(generation) = occupancy.seat {
            occupancy.seat = Seat::Dying(generation, reason.clone());
            actions.push(Action::Kill { slot, generation, reason });
        }
    }

    /// Takes in that a worker has died. `None` if it had lost its seat before.
    pub(super) fn bury(
        &mut self,
        slot: SlotId,
        generation: Generation,
        mut death: Death,
        now: Duration,
    ) -> Option<Loss> {
        let occupancy = &mut self.slots[slot];
        match &occupancy.seat {
            Seat::Seated(seated) | Seat::Retiring(seated) if *seated == generation => {}
            Seat::Dying(seated, reason) if *seated == generation => death.cause = DeathCause::Killed(reason.clone()),
            _ => return None,
        }
        occupancy.seat = Seat::Vacant;
        occupancy.restarts += 1;
        occupancy.last_cause = Some(death.cause.to_string());
        occupancy.last_death = Some(now);
        let on_purpose = death.cause == DeathCause::Killed(KillReason::Retired);
        let from_outside = death.cause.may_be_from_outside();
        occupancy.deaths_in_a_row += u32::from(!on_purpose && !from_outside);
        occupancy.kills_in_a_row += u32::from(!on_purpose && from_outside);
        self.deaths += u64::from(!on_purpose);
        let Occupancy { deaths_in_a_row: deaths, kills_in_a_row: kills, .. } = *occupancy;
        let hopeless = deaths > MOST_DEATHS_IN_A_ROW || kills > MOST_KILLS_IN_A_ROW;
        Some(Loss { death, in_a_row: deaths + kills, hopeless })
    }

    /// Notes that a slot got on: a batch was answered, or a message was convicted.
    pub(super) fn note_progress(&mut self, slot: SlotId) {
        self.slots[slot].deaths_in_a_row = 0;
        self.slots[slot].kills_in_a_row = 0;
    }

    /// Notes that a worker has processed messages.
    pub(super) fn serve(&mut self, slot: SlotId, messages: u32) {
        self.slots[slot].served += u64::from(messages);
    }

    /// Whether a worker has processed as many messages as it may. The limit varies by a tenth from worker to worker.
    pub(super) fn is_worn_out(&self, slot: SlotId) -> bool {
        let (Some(most), Some(generation)) = (self.most_messages, self.available(slot)) else { return false };
        let spread = u64::from(generation.0).wrapping_mul(0x9e37_79b9) % (most / 5 + 1);
        self.slots[slot].served >= most - most / 10 + spread
    }

    /// When a worker of a slot last died.
    pub(super) fn last_death(&self, slot: SlotId) -> Option<Duration> {
        self.slots[slot].last_death
    }

    /// Lets nobody sit in a slot any more. Returns whether that is new.
    pub(super) fn close(&mut self, slot: SlotId) -> bool {
        !std::mem::replace(&mut self.slots[slot].closing, true)
    }

    pub(super) fn is_closing(&self, slot: SlotId) -> bool {
        self.slots[slot].closing
    }

    /// Workers that died other than on purpose.
    pub(super) fn deaths(&self) -> u64 {
        self.deaths
    }

    /// Workers that took a slot after the first.
    pub(super) fn restarts(&self, slot: SlotId) -> u32 {
        self.slots[slot].restarts
    }

    /// What ended the last worker of a slot.
    pub(super) fn last_cause(&self, slot: SlotId) -> Option<&str> {
        self.slots[slot].last_cause.as_deref()
    }
}

impl Occupancy {
    fn vacant() -> Self {
        Self {
            seat: Seat::Vacant,
            served: 0,
            restarts: 0,
            last_cause: None,
            last_death: None,
            deaths_in_a_row: 0,
            kills_in_a_row: 0,
            closing: false,
        }
    }
}
