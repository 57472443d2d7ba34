//! Ids that everybody may use. This module imports nothing of ours but the protocol's `id!`.

use wallaroo_protocol::id;

id!(
    /// A source of the plan.
    SourceId(u32)
);
id!(
    /// A sink of the plan.
    SinkId(u32)
);
id!(
    /// A set of keys that are placed together, because stages that use them share state.
    KeyspaceId(u32)
);
id!(
    /// A pool of workers of one interpreter, with its slots. The main pool runs every step that names no pool.
    #[derive(Default)]
    PoolId(u32)
);
id!(
    /// How many workers were started before this one.
    Generation(u32)
);
id!(
    /// One connection (or file) of a source; unique within the run, never reused.
    ConnectionId(u64)
);

impl PoolId {
    /// The main pool: the only one where state lives.
    pub const MAIN: Self = Self(0);
}

/// A seat in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId {
    /// The pool.
    pub pool: PoolId,
    /// The slot's number in it.
    pub number: u32,
}

impl SlotId {
    /// A slot of the main pool.
    pub const fn main(number: u32) -> Self {
        Self { pool: PoolId::MAIN, number }
    }
}
