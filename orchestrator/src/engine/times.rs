//! Times of messages, kept as runs of equal ones: messages that come together share their time.

use std::collections::{BTreeMap, VecDeque};

use wallaroo_protocol::EventTime;

/// The times of messages in a row: when frames arrived, or how far the watermark had come when groups were routed.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    runs: VecDeque<(u32, EventTime)>,
}

impl Times {
    /// The times of `count` messages that share theirs.
    pub(super) fn of(count: u32, time: EventTime) -> Self {
        let mut times = Self::default();
        times.push(count, time);
        times
    }

    /// Appends the time of `count` messages.
    pub(super) fn push(&mut self, count: u32, time: EventTime) {
        match self.runs.back_mut() {
            _ if count == 0 => {}
            Some((last, same)) if *same == time => *last += count,
            _ => self.runs.push_back((count, time)),
        }
    }

    /// Takes the times of the first `count` messages.
    pub(super) fn take(&mut self, mut count: u32) -> Self {
        let mut taken = Self::default();
        while let Some((first, time)) = self.runs.front_mut().filter(|_| count > 0) {
            let part = count.min(*first);
            taken.push(part, *time);
            count -= part;
            *first -= part;
            if *first == 0 {
                self.runs.pop_front();
            }
        }
        taken
    }

    /// The times of those messages, by index, that are to be kept.
    pub(super) fn only(&self, mut keep: impl FnMut(usize) -> bool) -> Self {
        let mut kept = Self::default();
        let each = self.runs.iter().flat_map(|(count, time)| std::iter::repeat_n(*time, *count as usize));
        for (_, time) in each.enumerate().filter(|(index, _)| keep(*index)) {
            kept.push(1, time);
        }
        kept
    }

    /// The earliest of them.
    pub(super) fn earliest(&self) -> Option<EventTime> {
        self.runs.iter().map(|(_, time)| *time).min()
    }

    /// The time of each message.
    pub(super) fn into_each(self) -> impl Iterator<Item = EventTime> {
        self.runs.into_iter().flat_map(|(count, time)| std::iter::repeat_n(time, count as usize))
    }

    /// The runs, as a batch carries them.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u32, EventTime)> + '_ {
        self.runs.iter().copied()
    }
}

/// The times of everything that a stage has been given and is not done with, in no order.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    counts: BTreeMap<EventTime, u64>,
}

impl Outstanding {
    pub(super) fn add(&mut self, times: &Times) {
        for (count, time) in times.runs() {
            *self.counts.entry(time).or_default() += u64::from(count);
        }
    }

    /// Removes times that were added. The error is how many of one time were to be removed, and how many there were.
    pub(super) fn remove(&mut self, times: &Times) -> Result<(), (u64, u64)> {
        for (count, time) in times.runs() {
            let count = u64::from(count);
            let given = self.counts.get(&time).copied().unwrap_or(0);
            match given.checked_sub(count).ok_or((count, given))? {
                0 => self.counts.remove(&time),
                left => self.counts.insert(time, left),
            };
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    pub(super) fn earliest(&self) -> Option<EventTime> {
        self.counts.keys().next().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(runs: &[(u32, i64)]) -> Times {
        let mut times = Times::default();
        for (count, time) in runs {
            times.push(*count, EventTime(*time));
        }
        times
    }

    fn runs(times: &Times) -> Vec<(u32, i64)> {
        times.runs().map(|(count, time)| (count, time.0)).collect()
    }

    #[test]
    fn runs_are_joined_cut_and_thinned_out() {
        let mut all = times(&[(2, 5), (0, 6), (1, 5), (4, 7)]);
        assert_eq!(runs(&all), [(3, 5), (4, 7)]);
        assert_eq!(runs(&all.only(|index| index % 2 == 0)), [(2, 5), (2, 7)]);
        assert_eq!(runs(&all.take(4)), [(3, 5), (1, 7)]);
        assert_eq!(runs(&all.take(9)), [(3, 7)]);
        assert_eq!(runs(&all), []);
    }

    #[test]
    fn the_earliest_is_known_whatever_the_order_of_leaving() {
        let mut outstanding = Outstanding::default();
        outstanding.add(&times(&[(2, 5), (1, 3)]));
        assert_eq!(outstanding.earliest(), Some(EventTime(3)));
        outstanding.remove(&times(&[(1, 5), (1, 3)])).expect("they were added");
        assert_eq!(outstanding.earliest(), Some(EventTime(5)));
        outstanding.remove(&times(&[(1, 5)])).expect("it was added");
        assert_eq!(outstanding.remove(&times(&[(2, 7)])), Err((2, 0)));
        assert!(outstanding.is_empty());
    }
}
