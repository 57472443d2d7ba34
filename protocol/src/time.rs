//! Event time: when the event of a message happened.

use serde::{Deserialize, Serialize};

/// A moment in event time, in nanoseconds since the Unix epoch. As a watermark: no earlier event is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before all events: nothing is known yet.
    pub const BEGINNING: Self = Self(i64::MIN);
    /// After all events: the sources have ended.
    pub const END: Self = Self(i64::MAX);

    /// The moment `nanoseconds` before this one. [`Self::BEGINNING`] and [`Self::END`] do not change.
    #[must_use]
    pub fn minus(self, nanoseconds: u64) -> Self {
        match self {
            Self::BEGINNING | Self::END => self,
            Self(time) => Self(time.saturating_sub_unsigned(nanoseconds)),
        }
    }
}

/// When a key's windows in one stage must be checked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// The encoded key.
    pub key: bytes::Bytes,
    /// The watermark at which the next window is complete; `None` if no window is open.
    pub deadline: Option<EventTime>,
}

/// The times in the result of a clocked stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timing {
    /// The greatest event time of the messages, if the source has `event_time`.
    pub time: Option<EventTime>,
    /// The number of values that came too late for all of their windows.
    pub late: u32,
    /// Keys whose timer has changed; each replaces the timer its key had.
    pub timers: Vec<Timer>,
}
