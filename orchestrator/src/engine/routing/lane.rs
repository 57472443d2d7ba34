//! Groups of one stage that wait in one place: for a slot, for any worker of a pool, or for partitions that move.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{EventTime, Group, input};

use crate::engine::times::Times;

/// See the [module](self).
#[derive(Debug, Default)]
pub(in crate::engine) struct Lane {
    groups: VecDeque<Group>,
    /// When the engine received the messages that the groups came of, as runs of groups.
    received: VecDeque<(Duration, usize)>,
    messages: usize,
    /// Event times of the groups; empty where no window needs them.
    times: Times,
}

/// Groups taken from a lane for one batch.
#[derive(Debug)]
pub(in crate::engine) struct TakenGroups {
    pub(in crate::engine) input: Bytes,
    pub(in crate::engine) messages: u32,
    pub(in crate::engine) times: Times,
    /// What they weighed in the queue.
    pub(in crate::engine) bytes: usize,
    /// When the engine received the oldest of the messages that they came of.
    pub(in crate::engine) received_at: Duration,
}

impl Lane {
    /// Appends a group that came of messages received at `received_at`. Its outputs are no older than `time`, which is given
    /// where windows need it.
    pub(in crate::engine) fn push(&mut self, group: Group, received_at: Duration, time: Option<EventTime>) {
        if let Some(time) = time {
            self.times.push(1, time);
        }
        self.messages += group.count as usize;
        self.groups.push_back(group);
        match self.received.back_mut() {
            Some((last, groups)) if *last == received_at => *groups += 1,
            _ => self.received.push_back((received_at, 1)),
        }
    }

    /// Takes out the groups that are `wanted`; both lanes keep their order.
    pub(in crate::engine) fn split_off(&mut self, wanted: impl Fn(&Group) -> bool) -> Self {
        let mut taken = Self::default();
        for (group, received_at, time) in std::mem::take(self) {
            let lane = if wanted(&group) { &mut taken } else { &mut *self };
            lane.push(group, received_at, time);
        }
        taken
    }

    /// The groups, with their times.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (Group, Option<EventTime>)> {
        let times = self.times.clone().into_each().map(Some).chain(std::iter::repeat(None));
        self.groups.iter().cloned().zip(times)
    }

    /// When the oldest message was received that a group came of.
    pub(in crate::engine) fn since(&self) -> Option<Duration> {
        self.received.front().map(|(received_at, _)| *received_at)
    }

    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How many messages wait.
    pub(in crate::engine) fn messages(&self) -> usize {
        self.messages
    }

    /// Takes groups from the front: at least one, at most `most_messages` messages and `most_bytes` bytes unless one group alone
    /// has more.
    pub(in crate::engine) fn take(&mut self, most_messages: u32, most_bytes: usize) -> Option<TakenGroups> {
        let mut taken = 0;
        let mut messages = 0_u32;
        let mut bytes = 0_usize;
        for group in &self.groups {
            if taken > 0 && (messages + group.count > most_messages || bytes + group.len() > most_bytes) {
                break;
            }
            taken += 1;
            messages += group.count;
            bytes += group.len();
        }
        if taken == 0 {
            return None;
        }
        self.messages -= messages as usize;
        let groups = &self.groups.make_contiguous()[..taken];
        let input = input::groups(groups);
        self.groups.drain(..taken);
        let times = self.times.take(taken as u32);
        let received_at = self.forget_received(taken);
        Some(TakenGroups { input, messages, times, bytes, received_at })
    }

    /// Forgets when the messages of the first `groups` groups were received. Returns the earliest of these times.
    fn forget_received(&mut self, mut groups: usize) -> Duration {
        let mut oldest = Duration::MAX;
        while let Some((received_at, run)) = self.received.front_mut() {
            if groups == 0 {
                break;
            }
            // The times of one source are in order, those of two need not be.
            oldest = oldest.min(*received_at);
            let dropped = groups.min(*run);
            *run -= dropped;
            groups -= dropped;
            if *run == 0 {
                self.received.pop_front();
            }
        }
        oldest
    }
}

impl IntoIterator for Lane {
    type Item = (Group, Duration, Option<EventTime>);
    type IntoIter = Box<dyn Iterator<Item = Self::Item>>;

    fn into_iter(self) -> Self::IntoIter {
        let received = self.received.into_iter().flat_map(|(at, groups)| std::iter::repeat_n(at, groups));
        let times = self.times.into_each().map(Some).chain(std::iter::repeat(None));
        let groups = self.groups.into_iter().zip(received).zip(times);
        Box::new(groups.map(|((group, received_at), time)| (group, received_at, time)))
    }
}
