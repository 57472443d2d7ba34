//! The limits of a run that a message or a worker can exceed. Errors, deaths and dead letters say which one it was; only the
//! command line knows which option sets it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A limit that is set when a run is started, or when its workers are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Bytes of the largest message.
    MaxFrame,
    /// Bytes a worker may have resident.
    WorkerMemory,
    /// How long a worker may take for a batch.
    StepTimeout,
    /// How long a worker that is to replace another may take to be ready.
    StartTimeout,
}

impl Limit {
    /// All limits.
    pub const ALL: [Self; 4] = [Self::MaxFrame, Self::WorkerMemory, Self::StepTimeout, Self::StartTimeout];

    /// The name in logs, dead letters and answers of the control socket.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxFrame => "max-frame",
            Self::WorkerMemory => "worker-memory",
            Self::StepTimeout => "step-timeout",
            Self::StartTimeout => "start-timeout",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_serialised_form() {
        for limit in Limit::ALL {
            assert_eq!(serde_json::to_value(limit).expect("a string"), limit.name());
        }
    }
}
