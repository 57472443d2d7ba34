//! A map with one entry for each slot there is. Slots come and go at the end of their pool.

use std::ops::{Index, IndexMut};

use crate::ids::{PoolId, SlotId};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Slots<T> {
    /// By pool, then by the slot's number.
    pools: Vec<Vec<T>>,
}

impl<T> Slots<T> {
    /// A map for `counts[pool]` slots of each pool.
    pub(super) fn new(counts: &[u32], mut entry: impl FnMut(SlotId) -> T) -> Self {
        let mut pool = |(pool, count): (u32, &u32)| {
            (0..*count).map(|number| entry(SlotId { pool: PoolId(pool), number })).collect()
        };
        Self { pools: (0..).zip(counts).map(&mut pool).collect() }
    }

    /// Appends an entry for a new slot of a pool.
    pub(super) fn push(&mut self, pool: PoolId, entry: T) {
        self.pools[pool.index()].push(entry);
    }

    /// Takes out the entry of a pool's last slot.
    pub(super) fn pop(&mut self, pool: PoolId) -> Option<T> {
        self.pools[pool.index()].pop()
    }

    pub(super) fn contains(&self, slot: SlotId) -> bool {
        self.pools.get(slot.pool.index()).is_some_and(|slots| (slot.number as usize) < slots.len())
    }

    /// How many slots a pool has.
    pub(super) fn count(&self, pool: PoolId) -> u32 {
        self.pools.get(pool.index()).map_or(0, Vec::len) as u32
    }

    /// How many pools there are.
    pub(super) fn pools(&self) -> usize {
        self.pools.len()
    }

    /// The slots of a pool.
    pub(super) fn of(&self, pool: PoolId) -> impl Iterator<Item = (SlotId, &T)> {
        (0..).zip(&self.pools[pool.index()]).map(move |(number, entry)| (SlotId { pool, number }, entry))
    }

    /// All slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pools.iter().flatten()
    }

    /// The ids of all slots there are now, for loops that change slots.
    pub(super) fn ids(&self) -> Vec<SlotId> {
        let of = |(pool, slots): (u32, &Vec<T>)| {
            let pool = PoolId(pool);
            (0..slots.len() as u32).map(move |number| SlotId { pool, number })
        };
        (0..).zip(&self.pools).flat_map(of).collect()
    }
}

impl<T> Index<SlotId> for Slots<T> {
    type Output = T;

    fn index(&self, slot: SlotId) -> &T {
        &self.pools[slot.pool.index()][slot.number as usize]
    }
}

impl<T> IndexMut<SlotId> for Slots<T> {
    fn index_mut(&mut self, slot: SlotId) -> &mut T {
        &mut self.pools[slot.pool.index()][slot.number as usize]
    }
}
