//! What a pool reports to the runtime.

use wallaroo_protocol::{BatchResult, CutResult, Measurement, SnapshotPart, Topology};

use super::PoolError;
use crate::death::Death;
use crate::ids::{Generation, SlotId};

/// Something that happened in a pool.
#[derive(Debug)]
pub enum PoolNews {
    /// The first worker described the application. Answer with [`super::Pool::plan`].
    Described(Topology),
    /// Something happened in a slot.
    Slot(SlotNews),
    /// A recruit answered whether it can load snapshots.
    Tried {
        /// The worker.
        generation: Generation,
        /// What it could not load.
        problem: Option<String>,
    },
    /// Metrics of the application have measured something in a slot.
    Measured(SlotId, Vec<Measurement>),
    /// A recruit cannot be started.
    NoRecruit(PoolError),
    /// The pool cannot go on.
    Failed(PoolError),
}

/// Something that happened in a slot.
#[derive(Debug)]
pub struct SlotNews {
    /// The slot.
    pub slot: SlotId,
    /// The worker in it.
    pub generation: Generation,
    /// What happened.
    pub change: SlotChange,
}

/// What a worker in a slot did, or that it ended.
#[derive(Debug)]
pub enum SlotChange {
    /// The worker is ready and took the slot.
    Seated,
    /// The worker is gone.
    Lost(Death),
    /// The worker answered a batch.
    Result(BatchResult),
    /// The worker answered a `cut` batch.
    CutResult(CutResult),
    /// The worker sent snapshots.
    Snapshot(SnapshotPart),
}

impl PoolNews {
    pub(super) fn slot(slot: SlotId, generation: Generation, change: SlotChange) -> Self {
        Self::Slot(SlotNews { slot, generation, change })
    }
}
