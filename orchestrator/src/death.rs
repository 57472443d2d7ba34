//! How a worker ended, and what it was doing then. Workers' tasks report it, the engine judges it.

use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use wallaroo_protocol::{BatchId, NodeId, Skip};

use crate::limit::Limit;

/// Exit code of a worker whose connection user code has closed; see `spec/protocol.md`.
const CLOSED_ITS_CONNECTION: i32 = 71;

/// Why a worker was killed on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KillReason {
    /// A batch took longer than the step timeout.
    Timeout(Duration),
    /// It broke the protocol.
    Protocol(String),
    /// Its resident memory was far above its limit.
    Memory {
        /// Bytes resident.
        resident: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// It was not ready in time after it was started.
    NotReady(Duration),
    /// It was asked to retire.
    Retired,
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// What ended it.
    pub cause: DeathCause,
    /// What it was doing.
    pub marker: Option<Marker>,
    /// The Python stack it left behind, if it did.
    pub trace: String,
}

/// What ended a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeathCause {
    /// It exited by itself.
    Exited(i32),
    /// A signal killed it.
    Signalled(i32),
    /// The engine had it killed.
    Killed(KillReason),
    /// Its connection broke while the process lived.
    Disconnected(String),
}

impl DeathCause {
    /// Whether the end says nothing about what the worker was doing: it was asked to retire, or somebody else may have killed it (a
    /// person, an administrator's script, the kernel when memory runs out).
    pub fn may_be_from_outside(&self) -> bool {
        let signals = [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
        match self {
            Self::Signalled(number) => signals.iter().any(|signal| *signal as i32 == *number),
            Self::Killed(reason) => *reason == KillReason::Retired,
            Self::Exited(_) | Self::Disconnected(_) => false,
        }
    }
}

impl DeathCause {
    /// Whether what the worker was doing at its end need not be what brought the end about: somebody else may have killed it, or it
    /// was killed for its memory, which is only looked at now and then.
    pub fn may_strike_others(&self) -> bool {
        self.may_be_from_outside() || matches!(self, Self::Killed(KillReason::Memory { .. }))
    }

    /// The limit that the worker was killed for, if it was.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Killed(KillReason::Timeout(_)) => Some(Limit::StepTimeout),
            Self::Killed(KillReason::NotReady(_)) => Some(Limit::StartTimeout),
            Self::Killed(KillReason::Memory { .. }) => Some(Limit::WorkerMemory),
            _ => None,
        }
    }
}

impl std::fmt::Display for DeathCause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(CLOSED_ITS_CONNECTION) => {
                write!(formatter, "exit code {CLOSED_ITS_CONNECTION}: it closed the worker's own descriptors")
            }
            Self::Exited(code) => write!(formatter, "exit code {code}"),
            Self::Signalled(signal) => match Signal::try_from(*signal) {
                Ok(Signal::SIGKILL) => formatter.write_str("killed by SIGKILL (out of memory, or by hand)"),
                Ok(signal) => write!(formatter, "killed by {signal}"),
                Err(_) => write!(formatter, "killed by signal {signal}"),
            },
            Self::Killed(KillReason::Timeout(after)) => write!(formatter, "step timeout: no progress for {after:?}"),
            Self::Killed(KillReason::NotReady(after)) => write!(formatter, "not ready after {after:?}"),
            Self::Killed(KillReason::Protocol(error)) => write!(formatter, "broke the protocol: {error}"),
            Self::Killed(KillReason::Memory { resident, limit }) => {
                write!(formatter, "out of memory: {resident} bytes resident, the limit is {limit}")
            }
            Self::Killed(KillReason::Retired) => formatter.write_str("retired"),
            Self::Disconnected(error) => write!(formatter, "connection lost: {error}"),
        }
    }
}

/// What a worker noted it was doing before it died; see the marker in `spec/protocol.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marker {
    /// It ran a step.
    Running(Running),
    /// It was done with this batch: it sent the answer, or waited for the next batch.
    Done(BatchId),
    /// It pickled a state for a snapshot: an encoded `[table, key]`, empty if that was too long for the marker.
    Saving(Bytes),
    /// It unpickled a state for a batch, named in the same way.
    Loading(Bytes),
}

/// A step that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The batch.
    pub batch: BatchId,
    /// The step.
    pub node: NodeId,
    /// The message, when the batch was run carefully.
    pub message: Option<Skip>,
}

impl Marker {
    /// The step that ran, if one did.
    pub fn running(&self) -> Option<Running> {
        match self {
            Self::Running(running) => Some(*running),
            Self::Done(_) | Self::Saving(_) | Self::Loading(_) => None,
        }
    }
}
