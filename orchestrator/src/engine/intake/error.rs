//! Why a connection whose stream a worker cuts is given up.

use crate::death::DeathCause;
use crate::limit::Limit;

/// Why a connection whose stream a worker cuts is given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CuttingError {
    /// The decoder raised an exception.
    #[error("{exception}: {message}")]
    Decoder {
        /// The type of the exception.
        exception: String,
        /// Its message.
        message: String,
    },
    /// The decoder returned frames that do not lie in the bytes it was given.
    #[error("the decoder returned frames outside the bytes it was given")]
    OutOfBounds,
    /// The next frame is larger than allowed.
    #[error("a frame of {length} bytes is above the cap of {cap} bytes")]
    TooLong {
        /// Bytes the frame needs.
        length: usize,
        /// Greatest allowed payload in bytes.
        cap: usize,
    },
    /// The bytes killed every worker that cut them.
    #[error("cutting its frames killed {deaths} workers: {cause}")]
    KillsWorkers {
        /// How many workers died.
        deaths: u32,
        /// How the last one ended.
        cause: DeathCause,
    },
}

impl CuttingError {
    /// The limit that the stream exceeded, if it did.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Decoder { .. } | Self::OutOfBounds => None,
            Self::TooLong { .. } => Some(Limit::MaxFrame),
            Self::KillsWorkers { cause, .. } => cause.limit(),
        }
    }
}
