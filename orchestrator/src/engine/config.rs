//! The engine's settings.

use std::time::Duration;

use wallaroo_protocol::ENVELOPE_BYTES;

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Slots of the main pool.
    pub slots: u32,
    /// Slots of the named pools, in the plan's order. A pool without an entry has one slot.
    pub pool_slots: Vec<u32>,
    /// Batches a worker may have been sent and not answered.
    pub window: usize,
    /// Bytes at which a queue is full: of a source, of a stage, of a sink.
    pub queue_bytes: usize,
    /// Time after which a queue of work for workers is full: what waits in it is done within about that.
    pub queue_time: Duration,
    /// Time a batch should take in a worker.
    pub service_target: Duration,
    /// Messages in a batch, at most.
    pub batch_messages: u32,
    /// Bytes in a batch, at most, unless one message is larger.
    pub batch_bytes: usize,
    /// Bytes in a frame, at most.
    pub max_frame: usize,
    /// A batch that is not answered after this long has hung.
    pub step_timeout: Duration,
    /// Time that the replay of a slot's journal may take before a snapshot is asked for.
    pub replay_budget: Duration,
    /// Bytes of snapshots that a new worker is given at once. It gets the others with the first batch that needs them.
    pub eager_restore_bytes: usize,
    /// Bytes in one message about states, at most, unless one state alone is larger.
    pub message_bytes: usize,
    /// Whether records of what is done are made, so that another engine can go on.
    pub logged: bool,
    /// Bytes of records after which a checkpoint is made.
    pub checkpoint_bytes: usize,
    /// What is not done this long after a run was told to let another one go on is left to that.
    pub stop_timeout: Duration,
    /// Whether journals and snapshots are kept. Without them the death of a worker that may hold state ends the run.
    pub keep_ledger: bool,
    /// A slot that has had no worker for this long leaves its partitions to others.
    pub vacant_after: Duration,
    /// A source with event time that has given nothing for this long no longer holds windows back.
    pub idle_after: Duration,
    /// Messages after which a worker is replaced, give or take a tenth so that workers are not replaced all at once.
    pub max_messages_per_worker: Option<u64>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            slots: 1,
            pool_slots: Vec::new(),
            window: 2,
            queue_bytes: 16 << 20,
            queue_time: Duration::from_secs(1),
            service_target: Duration::from_millis(5),
            batch_messages: 8192,
            batch_bytes: 1 << 20,
            max_frame: 16 << 20,
            step_timeout: Duration::from_secs(30),
            replay_budget: Duration::from_millis(250),
            eager_restore_bytes: 1 << 20,
            message_bytes: ENVELOPE_BYTES / 2,
            logged: false,
            checkpoint_bytes: 64 << 20,
            stop_timeout: Duration::from_secs(10),
            keep_ledger: true,
            vacant_after: Duration::from_secs(10),
            idle_after: Duration::from_secs(5),
            max_messages_per_worker: None,
        }
    }
}
