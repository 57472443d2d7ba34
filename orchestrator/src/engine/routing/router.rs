//! Key → partition → slot.

use std::collections::HashMap;

use bytes::Bytes;
use wallaroo_protocol::partition_hash;

use crate::ids::KeyspaceId;
use crate::ids::SlotId;
use crate::plan::Partitioning;

/// A partition of one keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engine) struct PartitionId {
    /// The keyspace.
    pub(in crate::engine) keyspace: KeyspaceId,
    /// The partition's number in it.
    pub(in crate::engine) number: u32,
}

/// Where every partition of every keyspace lives.
#[derive(Debug)]
pub(in crate::engine) struct Router {
    keyspaces: Vec<Routes>,
}

#[derive(Debug)]
struct Routes {
    partitioning: Partitioning,
    listed: HashMap<Bytes, u32>,
    slots: Vec<SlotId>,
}

impl Router {
    /// Deals partitions out to `slots` of the main pool in turn; each keyspace starts one further, so that single ones spread.
    pub(in crate::engine) fn new(keyspaces: &[Partitioning], slots: u32) -> Self {
        let routes = |(offset, partitioning): (usize, &Partitioning)| {
            let (count, listed) = match partitioning {
                Partitioning::Single => (1, HashMap::new()),
                Partitioning::Hash(count) => (*count, HashMap::new()),
                Partitioning::List(keys) => (keys.len().max(1) as u32, keys.iter().cloned().zip(0..).collect()),
            };
            let slots = (0..count).map(|number| SlotId::main((number + offset as u32) % slots)).collect();
            Routes { partitioning: partitioning.clone(), listed, slots }
        };
        Self { keyspaces: keyspaces.iter().enumerate().map(routes).collect() }
    }

    /// The partition of an encoded key. A key outside a fixed list is placed by its hash.
    pub(in crate::engine) fn partition(&self, keyspace: KeyspaceId, key: &[u8]) -> PartitionId {
        let routes = &self.keyspaces[keyspace.index()];
        let by_hash = || (partition_hash(key) % routes.slots.len() as u64) as u32;
        let number = match routes.partitioning {
            Partitioning::Single => 0,
            Partitioning::Hash(_) => by_hash(),
            Partitioning::List(_) => routes.listed.get(key).copied().unwrap_or_else(by_hash),
        };
        PartitionId { keyspace, number }
    }

    /// The slot a partition lives in.
    pub(in crate::engine) fn slot(&self, partition: PartitionId) -> SlotId {
        self.keyspaces[partition.keyspace.index()].slots[partition.number as usize]
    }

    /// Lets a partition live in another slot.
    pub(in crate::engine) fn place(&mut self, partition: PartitionId, slot: SlotId) {
        self.keyspaces[partition.keyspace.index()].slots[partition.number as usize] = slot;
    }

    /// How many keyspaces there are.
    pub(in crate::engine) fn keyspaces(&self) -> usize {
        self.keyspaces.len()
    }

    /// The partitions of a keyspace, each with the slot it lives in.
    pub(in crate::engine) fn homes(&self, keyspace: KeyspaceId) -> impl Iterator<Item = (PartitionId, SlotId)> + '_ {
        let numbered = (0..).zip(&self.keyspaces[keyspace.index()].slots);
        numbered.map(move |(number, slot)| (PartitionId { keyspace, number }, *slot))
    }

    /// The partitions that live in a slot.
    pub(in crate::engine) fn partitions_of(&self, slot: SlotId) -> impl Iterator<Item = PartitionId> + '_ {
        (0..).zip(&self.keyspaces).flat_map(move |(keyspace, routes)| {
            let numbers = (0..).zip(&routes.slots).filter(move |(_, home)| **home == slot);
            numbers.map(move |(number, _)| PartitionId { keyspace: KeyspaceId(keyspace), number })
        })
    }

    /// The slot an encoded key lives in.
    pub(in crate::engine) fn slot_of(&self, keyspace: KeyspaceId, key: &[u8]) -> SlotId {
        self.slot(self.partition(keyspace, key))
    }
}
