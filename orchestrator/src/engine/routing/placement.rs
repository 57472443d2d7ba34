//! Which partitions live in which slots, and which have to move when the number of slots changes: as few as can be.

use super::router::{PartitionId, Router};
use crate::ids::KeyspaceId;
use crate::ids::SlotId;

/// A partition and the slot it is to live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Move {
    pub(in crate::engine) partition: PartitionId,
    pub(in crate::engine) to: SlotId,
}

/// What has to move so that every keyspace is spread over `slots` slots of the main pool, none with more than one partition more than another.
pub(in crate::engine) fn moves(router: &Router, slots: u32) -> Vec<Move> {
    let mut load = vec![0; slots as usize];
    let mut moves = Vec::new();
    for keyspace in (0..router.keyspaces() as u32).map(KeyspaceId) {
        moves.extend(keyspace_moves(router, keyspace, &mut load));
    }
    moves
}

/// `load` is how many partitions of all keyspaces so far each slot has; ties go to the slot with least.
fn keyspace_moves(router: &Router, keyspace: KeyspaceId, load: &mut [u32]) -> Vec<Move> {
    let slots = load.len();
    let mut homes: Vec<Vec<PartitionId>> = vec![Vec::new(); slots];
    let mut homeless = Vec::new();
    let mut partitions = 0;
    for (partition, home) in router.homes(keyspace) {
        partitions += 1;
        match homes.get_mut(home.number as usize) {
            Some(home) => home.push(partition),
            None => homeless.push(partition),
        }
    }
    // Those that have most keep most, so that what is left over by the division need not move.
    let mut order: Vec<usize> = (0..slots).collect();
    order.sort_by_key(|slot| (std::cmp::Reverse(homes[*slot].len()), load[*slot], *slot));
    let (least, larger) = (partitions / slots, partitions % slots);
    let mut quotas = vec![least; slots];
    order.iter().take(larger).for_each(|slot| quotas[*slot] += 1);
    for (home, quota) in homes.iter_mut().zip(&quotas) {
        homeless.extend(home.drain((*quota).min(home.len())..));
    }
    let mut homeless = homeless.into_iter();
    let mut moves = Vec::new();
    for (slot, quota) in quotas.iter().enumerate() {
        let missing = quota - homes[slot].len();
        let to = SlotId::main(slot as u32);
        moves.extend(homeless.by_ref().take(missing).map(|partition| Move { partition, to }));
        load[slot] += *quota as u32;
    }
    moves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Partitioning;

    fn counts(router: &Router, keyspace: u32, slots: u32) -> Vec<usize> {
        let count = |slot| router.homes(KeyspaceId(keyspace)).filter(|(_, home)| *home == SlotId::main(slot)).count();
        (0..slots).map(count).collect()
    }

    proptest! {
        #[test]
        fn partitions_are_spread_and_few_move(
            partitions in proptest::collection::vec(1..300_u32, 1..4),
            sizes in proptest::collection::vec(1..9_u32, 2..6),
        ) {
            let keyspaces: Vec<_> = partitions.iter().map(|count| Partitioning::Hash(*count)).collect();
            let mut router = Router::new(&keyspaces, sizes[0]);
            for pair in sizes.windows(2) {
                let (before, after) = (pair[0], pair[1]);
                let moved = moves(&router, after);
                for (keyspace, total) in (0..).zip(&partitions) {
                    let old = counts(&router, keyspace, before.max(after));
                    let of_keyspace = moved.iter().filter(|moved| moved.partition.keyspace == KeyspaceId(keyspace)).count();
                    // What lives in slots that go, or above the fair share of those that stay, has to move; nothing else.
                    let mut staying: Vec<usize> = old[..after as usize].to_vec();
                    staying.sort_unstable_by(|one, other| other.cmp(one));
                    let (least, larger) = (*total as usize / after as usize, *total as usize % after as usize);
                    let kept: usize = staying.iter().enumerate()
                        .map(|(rank, count)| (*count).min(least + usize::from(rank < larger))).sum();
                    prop_assert_eq!(of_keyspace, *total as usize - kept);
                }
                for Move { partition, to } in moved {
                    prop_assert_ne!(router.slot(partition), to);
                    router.place(partition, to);
                }
                for (keyspace, total) in (0..).zip(&partitions) {
                    let now = counts(&router, keyspace, after);
                    prop_assert_eq!(now.iter().sum::<usize>(), *total as usize);
                    let (least, most) = (now.iter().min().copied(), now.iter().max().copied());
                    prop_assert!(most <= least.map(|least| least + 1), "{:?}", now);
                }
            }
        }
    }

    #[test]
    fn single_partitions_spread() {
        let keyspaces = vec![Partitioning::Single; 4];
        let mut router = Router::new(&keyspaces, 1);
        assert_eq!(moves(&router, 1), []);
        // None has to move when there are more slots, for each keyspace is spread as it is.
        assert_eq!(moves(&router, 4), []);
        for keyspace in 0..4 {
            router.place(PartitionId { keyspace: KeyspaceId(keyspace), number: 0 }, SlotId::main(5));
        }
        let back: Vec<_> = moves(&router, 4).into_iter().map(|moved| moved.to).collect();
        assert_eq!(back, [0, 1, 2, 3].map(SlotId::main));
    }
}
