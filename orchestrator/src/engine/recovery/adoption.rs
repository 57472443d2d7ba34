//! What a slot without a worker leaves to others: its partitions' snapshots, its journal, and what is to be run again.
//!
//! The batches get new numbers, so that the journal of who takes them over stays in order: what the oldest entry says of how far back
//! it reaches must be true.

use std::collections::BTreeMap;

use super::part::part_of;
use crate::engine::batch::Batch;
use crate::engine::invariant::Checked;
use crate::engine::routing::router::PartitionId;
use crate::engine::{Action, Engine};
use crate::ids::SlotId;

impl Engine {
    /// Lets other slots, which have nothing in flight and nothing to run again, take over all that a slot without a worker needs to
    /// be rebuilt. `homes` says who gets which of its partitions. The router knows the new places already.
    pub(in crate::engine) fn adopt(
        &mut self,
        from: SlotId,
        homes: &BTreeMap<PartitionId, SlotId>,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        let mut targets: BTreeMap<SlotId, Vec<PartitionId>> = BTreeMap::new();
        for (partition, to) in homes {
            targets.entry(*to).or_default().push(*partition);
        }
        let partitions: Vec<PartitionId> = homes.keys().copied().collect();
        self.recovery.forget(from, None, &partitions, actions)?;
        for (to, partitions) in &targets {
            self.recovery.inherit_verdicts(from, *to);
            if let Some(generation) = self.workers.available(*to) {
                self.recovery.forbid(*to, generation, actions);
                self.recovery.install(*to, generation, partitions, self.config.eager_restore_bytes, actions)?;
            }
        }
        for entry in self.recovery.ledger.take_journal(from) {
            let (id, messages) = (entry.batch.id, entry.batch.messages.max(1));
            for to in targets.keys() {
                let is_theirs = |partition: PartitionId, key: &[u8]| {
                    homes.get(&partition) == Some(to) && !self.recovery.covers(partition, key, id)
                };
                let Some(part) = part_of(entry.batch.clone(), &self.routing, is_theirs) else { continue };
                let part = Batch { id: self.dispatch.number_batch(), ..part };
                self.recovery.ledger.append(*to, &part, entry.elapsed / messages * part.messages);
                self.recovery.slots[*to].replay.push_back(part);
            }
        }
        for batch in std::mem::take(&mut self.recovery.slots[from].repeat) {
            for to in targets.keys() {
                let is_theirs = |partition: PartitionId, _: &[u8]| homes.get(&partition) == Some(to);
                let Some(part) = part_of(batch.clone(), &self.routing, is_theirs) else { continue };
                let part = Batch { id: self.dispatch.number_batch(), ..part };
                self.recovery.slots[*to].repeat.push_back(part);
            }
        }
        self.recovery.ledger.truncate(from, None)
    }
}
