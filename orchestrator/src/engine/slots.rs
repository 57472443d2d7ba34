//! The slots of all pools, found by their ids.

use std::ops::{Index, IndexMut};

use super::slot::Slot;
use crate::ids::PoolId;
use crate::ids::SlotId;

/// See the [module](self). Slots come and go at the end of their pool.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// By pool.
    pools: Vec<Vec<Slot>>,
}

impl Slots {
    /// Appends a slot to a pool.
    pub(super) fn push(&mut self, pool: PoolId, slot: Slot) -> SlotId {
        if self.pools.len() <= pool.index() {
            self.pools.resize_with(pool.index() + 1, Vec::new);
        }
        let slots = &mut self.pools[pool.index()];
        slots.push(slot);
        SlotId { pool, number: slots.len() as u32 - 1 }
    }

    /// Takes the last slot of a pool away, if it `may_go`.
    pub(super) fn pop_if(&mut self, pool: PoolId, may_go: impl FnOnce(&mut Slot) -> bool) -> Option<(SlotId, Slot)> {
        let slots = self.pools.get_mut(pool.index())?;
        let slot = slots.pop_if(may_go)?;
        Some((SlotId { pool, number: slots.len() as u32 }, slot))
    }

    pub(super) fn get_mut(&mut self, slot: SlotId) -> Option<&mut Slot> {
        self.pools.get_mut(slot.pool.index())?.get_mut(slot.number as usize)
    }

    pub(super) fn contains(&self, slot: SlotId) -> bool {
        (slot.number as usize) < self.of(slot.pool).len()
    }

    /// The slots of a pool, by their numbers.
    pub(super) fn of(&self, pool: PoolId) -> &[Slot] {
        self.pools.get(pool.index()).map_or(&[], Vec::as_slice)
    }

    /// How many pools there are.
    pub(super) fn pools(&self) -> usize {
        self.pools.len()
    }

    /// All slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.pools.iter().flatten()
    }

    /// The ids of all slots there are now. They may be looked up while slots change; none goes meanwhile.
    pub(super) fn ids(&self) -> impl Iterator<Item = SlotId> + use<> {
        let counts: Vec<(u32, u32)> = (0..).zip(self.pools.iter().map(|slots| slots.len() as u32)).collect();
        let of = |(pool, count): (u32, u32)| (0..count).map(move |number| SlotId { pool: PoolId(pool), number });
        counts.into_iter().flat_map(of)
    }
}

impl Index<SlotId> for Slots {
    type Output = Slot;

    fn index(&self, slot: SlotId) -> &Slot {
        &self.pools[slot.pool.index()][slot.number as usize]
    }
}

impl IndexMut<SlotId> for Slots {
    fn index_mut(&mut self, slot: SlotId) -> &mut Slot {
        &mut self.pools[slot.pool.index()][slot.number as usize]
    }
}
