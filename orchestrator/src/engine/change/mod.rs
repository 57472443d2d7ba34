//! Changes of the workers while the stream goes on: slots that are added and removed, workers that make room for others. Owns how
//! far each change has come.

mod relieving;
mod replacing;
mod scaling;

use std::collections::BTreeMap;
use std::time::Duration;

use wallaroo_protocol::{BatchId, RequestId};

use self::relieving::Adoption;
use self::replacing::Replacement;
use self::scaling::Scaling;
use crate::ids::{PoolId, SlotId};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Partitions that move.
    scaling: Option<Box<Scaling>>,
    /// The pool whose number of slots changes once no partitions move, and that number.
    next_scaling: Option<(PoolId, u32)>,
    adoption: Option<Adoption>,
    /// Slots that were relieved of partitions, and when they last had to be.
    relieved: BTreeMap<SlotId, Duration>,
    /// When slots that could be relieved are next looked for.
    next_look: Duration,
    replacements: BTreeMap<SlotId, Replacement>,
    /// By slot: keys that were held and have not been answered since.
    pauses: BTreeMap<SlotId, Vec<Pause>>,
}

/// Keys that were held and released to a slot which has not answered a batch with them yet.
#[derive(Debug)]
struct Pause {
    since: Duration,
    /// No batch before this one has them.
    first: BatchId,
}

impl Change {
    /// Whether slots are being added or removed.
    pub(super) fn is_scaling(&self) -> bool {
        self.next_scaling.is_some() || self.scaling.as_deref().is_some_and(Scaling::is_scale)
    }

    /// Whether partitions are held on their way to another slot.
    fn has_wave(&self) -> bool {
        self.scaling.as_ref().is_some_and(|scaling| scaling.has_wave())
    }

    /// The slot that partitions are leaving.
    fn wave_from(&self) -> Option<SlotId> {
        self.scaling.as_ref()?.wave_from()
    }

    /// Forgets what was planned for a slot that is removed.
    pub(super) fn remove_slot(&mut self, slot: SlotId) {
        self.replacements.remove(&slot);
        self.relieved.remove(&slot);
        self.pauses.remove(&slot);
    }

    /// Takes in that the answer to a snapshot request has a state that cannot be pickled: it cannot leave its worker.
    pub(super) fn note_stuck(&mut self, request: RequestId, reason: String) {
        if let Some(scaling) = &mut self.scaling {
            scaling.note_stuck(request, reason);
        }
    }

    /// Ends the pauses of keys that a slot has now answered a batch for.
    pub(super) fn end_pauses(&mut self, slot: SlotId, batch: BatchId, now: Duration) {
        let Some(pauses) = self.pauses.get_mut(&slot) else { return };
        let answered = pauses.extract_if(.., |pause| pause.first <= batch);
        let longest = answered.map(|pause| now.saturating_sub(pause.since)).max();
        if pauses.is_empty() {
            self.pauses.remove(&slot);
        }
        if let (Some(scaling), Some(pause)) = (&mut self.scaling, longest) {
            scaling.note_pause(pause);
        }
    }

    /// Whether keys that were released to a slot wait for their first answer.
    fn is_paused(&self, slot: SlotId) -> bool {
        self.pauses.contains_key(&slot)
    }
}
