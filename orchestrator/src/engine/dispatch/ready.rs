//! Which slots of a pool may be sent a batch, and which of these have to be looked at: sets of slots, so that nothing scans them.

use crate::ids::SlotId;

/// A set of slots of one pool, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct SlotSet {
    words: Vec<u64>,
}

impl SlotSet {
    pub(super) fn insert(&mut self, slot: SlotId) {
        let (word, bit) = position(slot);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
    }

    pub(super) fn remove(&mut self, slot: SlotId) {
        let (word, bit) = position(slot);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }

    pub(super) fn contains(&self, slot: SlotId) -> bool {
        let (word, bit) = position(slot);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Adds all of `other`, which is empty then.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, other) in self.words.iter_mut().zip(&mut other.words) {
            *word |= std::mem::take(other);
        }
    }

    /// The words of this set, for [`Visit::next`].
    pub(super) fn members(&self) -> impl Fn(usize) -> u64 + '_ {
        |word| self.words.get(word).copied().unwrap_or(0)
    }

    /// The words of all slots that are not in this set, for [`Visit::next`].
    pub(super) fn others(&self) -> impl Fn(usize) -> u64 + '_ {
        |word| !self.words.get(word).copied().unwrap_or(0)
    }

    /// The first number from `from` on that is in this set and `wanted`.
    fn first_from(&self, from: u32, wanted: impl Fn(usize) -> u64) -> Option<u32> {
        let start = from as usize / 64;
        for (index, word) in self.words.iter().enumerate().skip(start) {
            let mut both = word & wanted(index);
            if index == start {
                both &= u64::MAX << (from % 64);
            }
            if both != 0 {
                return Some(index as u32 * 64 + both.trailing_zeros());
            }
        }
        None
    }
}

fn position(slot: SlotId) -> (usize, u64) {
    (slot.number as usize / 64, 1 << (slot.number % 64))
}

/// Visits each slot of a set once, from some slot on and then from the beginning, while the set changes.
#[derive(Debug)]
pub(super) struct Visit {
    first: u32,
    /// Slots before this one have been visited.
    at: u32,
    wrapped: bool,
}

impl Visit {
    pub(super) fn from(first: u32) -> Self {
        Self { first, at: first, wrapped: false }
    }

    /// The next slot that is in `set` and `wanted`, by number.
    pub(super) fn next(&mut self, set: &SlotSet, wanted: impl Fn(usize) -> u64) -> Option<u32> {
        loop {
            let found = set.first_from(self.at, &wanted).filter(|found| !self.wrapped || *found < self.first);
            if let Some(found) = found {
                self.at = found + 1;
                return Some(found);
            }
            if std::mem::replace(&mut self.wrapped, true) {
                return None;
            }
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_visited_once_whatever_leaves_meanwhile() {
        let mut set = SlotSet::default();
        let numbers = [0, 3, 63, 64, 130];
        for number in numbers {
            set.insert(SlotId::main(number));
        }
        let mut visit = Visit::from(64);
        let mut seen = Vec::new();
        while let Some(number) = visit.next(&set, |_| u64::MAX) {
            seen.push(number);
            set.remove(SlotId::main(3));
            set.insert(SlotId::main(number));
        }
        assert_eq!(seen, [64, 130, 0, 63]);
    }

    #[test]
    fn slots_that_are_not_wanted_are_passed_over() {
        let (mut set, mut wanted) = (SlotSet::default(), SlotSet::default());
        for number in 0..200 {
            set.insert(SlotId::main(number));
        }
        wanted.insert(SlotId::main(199));
        let mut visit = Visit::from(5);
        assert_eq!(visit.next(&set, wanted.members()), Some(199));
        assert_eq!(visit.next(&set, wanted.members()), None);
    }
}
