//! A seat in the pool: the worker in it, what it has been sent, and the keyed work that waits for it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{BatchId, EventTime, Group, RequestId, input};

use super::batch::{InFlight, Work};
use super::ledger::JournalSize;
use super::moving::Arrival;
use super::replacing::Replacement;
use super::times::Times;
use crate::death::KillReason;
use crate::ids::Generation;

/// A slot. `lanes` has one queue for each stage of the plan; those of parallel stages stay empty.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) seat: Seat,
    /// Sent and not answered, in the order sent. Workers answer in that order.
    pub(super) in_flight: VecDeque<InFlight>,
    /// Journal entries to be run again before anything else.
    pub(super) replay: VecDeque<Work>,
    /// Keyed batches that were in flight when a worker died, to be run again after the replay.
    pub(super) repeat: VecDeque<Work>,
    pub(super) lanes: Vec<Lane>,
    /// When the last worker died, until its successor has answered something new.
    pub(super) lost_at: Option<Duration>,
    /// When a worker of this slot last died.
    pub(super) last_death: Option<Duration>,
    /// Batches replayed since a worker was lost.
    pub(super) replayed: u32,
    /// Workers that took this slot after the first.
    pub(super) restarts: u32,
    /// What ended the last worker.
    pub(super) last_cause: Option<String>,
    /// Deaths since a worker of this slot last answered anything.
    pub(super) deaths_in_a_row: u32,
    /// Some snapshot of this slot's keys may be unknown to its worker, and is sent before the first batch that needs it.
    pub(super) restoring: bool,
    pub(super) snapshot: SnapshotState,
    /// Messages the worker has processed. Replays do not count, or a long journal would wear every worker out.
    pub(super) served: u64,
    /// The last stateful batch completed.
    pub(super) completed: BatchId,
    /// Why some state of this slot is in no snapshot.
    pub(super) unpicklable: Option<String>,
    /// How long the journal was after snapshots last failed to empty it.
    pub(super) incompressible: JournalSize,
    /// Why this slot's state cannot be rebuilt any more, once that is so.
    pub(super) unrecoverable: Option<String>,
    /// Keys that came from other slots and have not been answered yet.
    pub(super) arrivals: Vec<Arrival>,
    /// How far the worker has come that makes room for another.
    pub(super) replacement: Option<Replacement>,
    /// No partition lives here any more; the slot goes when its worker has gone.
    pub(super) leaving: bool,
}

/// Who sits in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seat {
    /// A worker has been asked for.
    Vacant,
    /// A worker is at work.
    Seated(Generation),
    /// A worker finishes what it has been sent, and is then replaced.
    Retiring(Generation),
    /// A worker is being killed; its death has not been reported yet.
    Dying(Generation, KillReason),
}

/// Whether a snapshot has been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SnapshotState {
    /// Nothing outstanding.
    Idle,
    /// Asked for.
    Requested(RequestId),
}

impl Slot {
    pub(super) fn new(stages: usize) -> Self {
        Self {
            seat: Seat::Vacant,
            in_flight: VecDeque::new(),
            replay: VecDeque::new(),
            repeat: VecDeque::new(),
            lanes: (0..stages).map(|_| Lane::default()).collect(),
            lost_at: None,
            last_death: None,
            replayed: 0,
            restarts: 0,
            last_cause: None,
            deaths_in_a_row: 0,
            restoring: false,
            snapshot: SnapshotState::Idle,
            served: 0,
            completed: BatchId(0),
            unpicklable: None,
            incompressible: JournalSize::default(),
            unrecoverable: None,
            arrivals: Vec::new(),
            replacement: None,
            leaving: false,
        }
    }

    /// The worker that may be sent batches.
    pub(super) fn worker(&self) -> Option<Generation> {
        match self.seat {
            Seat::Seated(generation) => Some(generation),
            Seat::Vacant | Seat::Retiring(_) | Seat::Dying(..) => None,
        }
    }

    /// Whether a reply of `generation` is to be believed.
    pub(super) fn hears(&self, generation: Generation) -> bool {
        matches!(self.seat, Seat::Seated(seated) | Seat::Retiring(seated) if seated == generation)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
            && self.replay.is_empty()
            && self.repeat.is_empty()
            && self.lanes.iter().all(Lane::is_empty)
    }

    /// When the batch at the front is to be answered at the latest.
    pub(super) fn deadline(&self, step_timeout: Duration) -> Option<Duration> {
        self.in_flight.front().map(|front| front.begun + step_timeout)
    }
}

/// Groups of one keyed stage that wait for one slot.
#[derive(Debug, Default)]
pub(super) struct Lane {
    groups: VecDeque<Group>,
    /// When the engine was given what the groups came of, as runs of groups.
    arrivals: VecDeque<(Duration, usize)>,
    messages: usize,
    /// Empty where no window needs them.
    times: Times,
}

/// Groups taken from a lane for one batch.
#[derive(Debug)]
pub(super) struct TakenGroups {
    pub(super) input: Bytes,
    pub(super) messages: u32,
    pub(super) times: Times,
    /// What they weighed in the queue.
    pub(super) bytes: usize,
    /// When the engine was given what the oldest of them came of.
    pub(super) arrived: Duration,
}

impl Lane {
    /// Appends a group that came of what the engine was given at `arrived`, and whose outputs are no older than `time` where a
    /// window needs that.
    pub(super) fn push(&mut self, group: Group, arrived: Duration, time: Option<EventTime>) {
        if let Some(time) = time {
            self.times.push(1, time);
        }
        self.messages += group.count as usize;
        self.groups.push_back(group);
        match self.arrivals.back_mut() {
            Some((last, groups)) if *last == arrived => *groups += 1,
            _ => self.arrivals.push_back((arrived, 1)),
        }
    }

    /// Takes out the groups that are `wanted`; both lanes keep their order.
    pub(super) fn split_off(&mut self, wanted: impl Fn(&Group) -> bool) -> Self {
        let mut taken = Self::default();
        for (group, arrived, time) in std::mem::take(self) {
            let lane = if wanted(&group) { &mut taken } else { &mut *self };
            lane.push(group, arrived, time);
        }
        taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Messages that wait.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Takes groups from the front: at least one, at most `most_messages` messages and `most_bytes` bytes unless one group alone
    /// has more.
    pub(super) fn take(&mut self, most_messages: u32, most_bytes: usize) -> Option<TakenGroups> {
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
        let arrived = self.drop_arrivals(taken);
        Some(TakenGroups { input, messages, times, bytes, arrived })
    }

    /// Forgets when the first so many groups arrived; the oldest of them.
    fn drop_arrivals(&mut self, mut groups: usize) -> Duration {
        let mut oldest = Duration::MAX;
        while let Some((arrived, run)) = self.arrivals.front_mut() {
            if groups == 0 {
                break;
            }
            // Those of one source are in order, those of two need not be.
            oldest = oldest.min(*arrived);
            let dropped = groups.min(*run);
            *run -= dropped;
            groups -= dropped;
            if *run == 0 {
                self.arrivals.pop_front();
            }
        }
        oldest
    }
}

impl IntoIterator for Lane {
    type Item = (Group, Duration, Option<EventTime>);
    type IntoIter = Box<dyn Iterator<Item = Self::Item>>;

    fn into_iter(self) -> Self::IntoIter {
        let arrivals = self.arrivals.into_iter().flat_map(|(arrived, groups)| std::iter::repeat_n(arrived, groups));
        let times = self.times.into_each().map(Some).chain(std::iter::repeat(None));
        let groups = self.groups.into_iter().zip(arrivals).zip(times);
        Box::new(groups.map(|((group, arrived), time)| (group, arrived, time)))
    }
}
