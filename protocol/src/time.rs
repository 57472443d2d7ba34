//! Event time: when what a message tells of happened.

use serde::{Deserialize, Serialize};

/// A moment in event time, in nanoseconds since the Unix epoch. As a watermark: nothing from before it is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before all events: nothing is known yet.
    pub const BEGINNING: Self = Self(i64::MIN);
    /// After all events: the sources have ended.
    pub const END: Self = Self(i64::MAX);

    /// The moment `nanoseconds` before this one. [`Self::BEGINNING`] and [`Self::END`] stay what they are.
    #[must_use]
    pub fn minus(self, nanoseconds: u64) -> Self {
        match self {
            Self::BEGINNING | Self::END => self,
            Self(time) => Self(time.saturating_sub_unsigned(nanoseconds)),
        }
    }
}

/// When a key's windows in one stage are to be looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// The encoded key.
    pub key: bytes::Bytes,
    /// The watermark from which on a window is complete; `None` when no window is open.
    pub deadline: Option<EventTime>,
}

/// What a batch of a stage that knows of time has to say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timing {
    /// The greatest event time among the messages, where the source has `event_time`.
    pub time: Option<EventTime>,
    /// Values that came too late for all of their windows.
    pub late: u32,
    /// Keys whose timer has changed; each replaces the timer its key had.
    pub timers: Vec<Timer>,
}
