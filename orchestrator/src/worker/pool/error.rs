//! Why a pool fails.

use std::path::PathBuf;

use wallaroo_protocol::{ProtocolError, Refused, topology};

use crate::death::DeathCause;
use crate::ids::Generation;
use crate::worker::process::SpawnError;

/// Why the pool cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The interpreter does not run.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The guard cannot be started.
    #[error("cannot start the guard process")]
    Guard(#[source] std::io::Error),
    /// The application cannot be loaded.
    #[error("{}", .0.message)]
    Refused(Refused),
    /// Workers end before they are ready.
    #[error("a worker ended before it was ready: {cause}")]
    Start {
        /// What ended it.
        cause: DeathCause,
        /// Its last lines on standard error.
        last_lines: String,
        /// Whether it sent any message.
        greeted: bool,
    },
    /// Two workers describe different applications.
    #[error("worker {generation} describes another application than the first worker: {difference}")]
    Differs {
        /// The worker.
        generation: Generation,
        /// What differs.
        difference: String,
    },
    /// The error of a named pool.
    #[error("pool {pool}: {error}")]
    InPool {
        /// The pool's name.
        pool: String,
        /// The Python its workers run.
        python: PathBuf,
        /// The error.
        error: Box<PoolError>,
    },
    /// The topology that a worker described cannot be read.
    #[error("the SDK described a topology that cannot be read")]
    Topology(#[from] ProtocolError),
}

impl PoolError {
    /// The error without the name of its pool.
    pub fn bare(&self) -> &Self {
        match self {
            Self::InPool { error, .. } => error.bare(),
            error => error,
        }
    }

    /// Whether the interpreter ended before it sent a message.
    pub fn is_silent(&self) -> bool {
        matches!(self.bare(), Self::Spawn(_) | Self::Start { greeted: false, .. })
    }
}

/// Where two topologies differ, in words.
pub(super) fn difference(first: &[u8], other: &[u8]) -> String {
    let (first, other) = match (topology::decode(first), topology::decode(other)) {
        (Ok(first), Ok(other)) => (first, other),
        (_, Err(error)) | (Err(error), _) => return error.to_string(),
    };
    if first.name != other.name {
        return format!("the application is named {:?}, not {:?}", other.name, first.name);
    }
    let differs = first.nodes.iter().zip(&other.nodes).find(|(first, other)| first != other);
    match differs {
        Some((first, other)) => format!("step {:?} was {:?}, is {:?}", first.name, first.kind, other.kind),
        None => format!("it has {} steps, not {}", other.nodes.len(), first.nodes.len()),
    }
}
