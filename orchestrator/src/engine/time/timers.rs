//! Timers: from which watermark on the windows of a key want to be looked at.
//!
//! A worker reports, with the result of a batch, the deadline of each key whose windows have changed it. When the watermark of
//! the stage reaches the deadline, the key gets a timer: a group that carries the watermark and no values, and from there
//! travels like any other through lane, batch, journal and replay.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use wallaroo_protocol::EventTime;

/// The timers of one stage, at most one a key.
#[derive(Debug, Default)]
pub(super) struct Timers {
    deadlines: HashMap<Bytes, EventTime>,
    in_order: BTreeSet<(EventTime, Bytes)>,
}

impl Timers {
    /// Sets the timer of a key in place of any it has; `None` takes it away.
    pub(super) fn set(&mut self, key: &[u8], deadline: Option<EventTime>) {
        if let Some((key, old)) = self.deadlines.remove_entry(key) {
            self.in_order.remove(&(old, key));
        }
        if let Some(deadline) = deadline {
            // A copy: the key came in a result, which would stay in memory as long as the timer.
            let key = Bytes::copy_from_slice(key);
            self.deadlines.insert(key.clone(), deadline);
            self.in_order.insert((deadline, key));
        }
    }

    /// Takes the first timer whose deadline `watermark` has reached.
    pub(super) fn take_due(&mut self, watermark: EventTime) -> Option<(EventTime, Bytes)> {
        let (deadline, _) = self.in_order.first()?;
        if *deadline > watermark {
            return None;
        }
        let (deadline, key) = self.in_order.pop_first()?;
        self.deadlines.remove(&key);
        Some((deadline, key))
    }

    /// All deadlines, by key.
    pub(super) fn by_key(&self) -> Vec<(Bytes, EventTime)> {
        let mut timers: Vec<_> = self.deadlines.iter().map(|(key, deadline)| (key.clone(), *deadline)).collect();
        timers.sort_unstable();
        timers
    }

    /// The first deadline.
    pub(super) fn earliest(&self) -> Option<EventTime> {
        self.in_order.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_timer_and_those_that_are_due_come_in_order() {
        let mut timers = Timers::default();
        timers.set(b"a", Some(EventTime(9)));
        timers.set(b"b", Some(EventTime(4)));
        timers.set(b"c", Some(EventTime(5)));
        timers.set(b"a", Some(EventTime(3)));
        timers.set(b"c", None);
        assert_eq!(timers.take_due(EventTime(2)), None);
        assert_eq!(timers.earliest(), Some(EventTime(3)));
        assert_eq!(timers.take_due(EventTime(4)), Some((EventTime(3), Bytes::from_static(b"a"))));
        assert_eq!(timers.take_due(EventTime(4)), Some((EventTime(4), Bytes::from_static(b"b"))));
        assert!(timers.is_empty() && timers.take_due(EventTime::END).is_none());
    }
}
