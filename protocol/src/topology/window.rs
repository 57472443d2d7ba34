//! Windows: which values of a key belong together.

use serde::{Deserialize, Serialize};

/// Which values of a key belong together. Durations are in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Window {
    /// A number of values in a row.
    Count {
        /// How many.
        count: u64,
    },
    /// The values in a range of time; ranges begin at multiples of `slide`.
    Range {
        /// Length of a range.
        range: u64,
        /// The time from the start of one range to the start of the next.
        slide: u64,
        /// How far the watermark must pass a range's end.
        delay: u64,
        /// What happens to a value whose ranges are complete.
        on_late: OnLate,
    },
    /// Values with less than `gap` between them.
    Session {
        /// The time without a value that ends a session.
        gap: u64,
        /// How far the watermark must pass a session's end.
        delay: u64,
        /// What happens to a value whose session is complete.
        on_late: OnLate,
    },
}

/// What happens to a value that comes too late for every window it belongs to. It is always counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnLate {
    /// Nothing more.
    Drop,
    /// It becomes a dead letter.
    DeadLetter,
}

impl Window {
    /// Whether its windows depend on time.
    pub fn is_timed(&self) -> bool {
        !matches!(self, Self::Count { .. })
    }

    /// How long it waits for values that are out of order, in nanoseconds.
    pub fn delay(&self) -> u64 {
        match self {
            Self::Count { .. } => 0,
            Self::Range { delay, .. } | Self::Session { delay, .. } => *delay,
        }
    }
}
