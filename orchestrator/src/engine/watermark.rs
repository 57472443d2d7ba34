//! Watermarks: how far event time has come at each stage, and which windows are complete because of that.
//!
//! A source's watermark is the greatest event time among the messages that have been released, or, where messages have none of
//! their own, the time of arrival before which nothing is under way any more. A keyed stage's is the least of those that feed
//! it, and what leaves a stage is held back by everything in it: groups that are not done with, timers, and the delay of its
//! windows. Watermarks never go back. At the end of the sources a stage's goes as far as the last of them has come, and once all
//! that is complete by then has been given, to the end of time. Nothing here runs in an application without windows.

use std::time::Duration;

use wallaroo_protocol::{EventTime, Group, StageId, Timing};

use super::Engine;
use super::batch::Work;
use super::routing::PartitionId;
use super::timers::Timers;
use super::times::{Outstanding, Times};
use crate::ids::SourceId;
use crate::plan::{Input, Plan, Target};

/// What one stage knows of time.
#[derive(Debug)]
pub(super) struct StageClock {
    /// Stages whose outputs come here.
    feeders: Vec<StageId>,
    /// Nothing from before it is still to come, but for what is late.
    pub(super) watermark: EventTime,
    /// The watermark, or the last one before the end.
    last: EventTime,
    /// All sources above that have not ended are silent.
    silent: bool,
    /// What the stage has been given and is not done with.
    outstanding: Outstanding,
    pub(super) timers: Timers,
    /// Values that came too late.
    pub(super) late: u64,
}

/// What a source knows of time.
#[derive(Debug)]
pub(super) struct SourceClock {
    /// The greatest event time released.
    reached: EventTime,
    /// When it last gave anything.
    pub(super) active: Duration,
}

/// How far time has come in what leaves a stage.
#[derive(Debug, Clone, Copy)]
struct Below {
    watermark: EventTime,
    /// The watermark, or the last one before the end.
    last: EventTime,
    /// It has given nothing for long, and is not to hold others back.
    silent: bool,
}

impl Default for SourceClock {
    fn default() -> Self {
        Self { reached: EventTime::BEGINNING, active: Duration::ZERO }
    }
}

impl StageClock {
    pub(super) fn new(plan: &Plan, stage: StageId) -> Self {
        let feeds = |target: &Target| *target == Target::Stage(stage);
        let feeders = plan.stages.iter().filter(|above| above.outlets.iter().any(|(_, target)| feeds(target)));
        Self {
            feeders: feeders.map(|above| above.id).collect(),
            watermark: EventTime::BEGINNING,
            last: EventTime::BEGINNING,
            silent: false,
            outstanding: Outstanding::default(),
            timers: Timers::default(),
            late: 0,
        }
    }

    /// What the outputs of a timer may be older than by no more than the delay. At the end of the sources windows are complete
    /// before their time, and count windows have none: their outputs are no older than the watermark before the end. Workers are
    /// told it as the timer's time.
    fn floor(&self, deadline: EventTime) -> EventTime {
        EventTime(deadline.0.saturating_sub(1)).min(self.last)
    }

    /// Before this time nothing is under way in the stage.
    fn done(&self) -> EventTime {
        let timers = self.timers.earliest().map(|deadline| self.floor(deadline));
        let waiting = self.outstanding.earliest().into_iter().chain(timers).min();
        waiting.map_or(self.watermark, |waiting| waiting.min(self.watermark))
    }

    /// Whether all that is complete at `time` has been given.
    fn is_through(&self, time: EventTime) -> bool {
        self.outstanding.is_empty() && self.timers.earliest().is_none_or(|deadline| deadline > time)
    }
}

impl Engine {
    /// The wall clock when the run began, as the time since the Unix epoch.
    pub fn set_epoch(&mut self, epoch: Duration) {
        self.epoch = epoch;
    }

    /// The wall clock.
    pub(super) fn wall_clock(&self, now: Duration) -> EventTime {
        EventTime(i64::try_from((self.epoch + now).as_nanos()).unwrap_or(i64::MAX - 1))
    }

    /// The time of a wall clock's time since the run began.
    pub(super) fn since_begin(&self, time: Option<EventTime>) -> Duration {
        let nanoseconds = time.map_or(0, |time| u64::try_from(time.0).unwrap_or(0));
        Duration::from_nanos(nanoseconds).saturating_sub(self.epoch)
    }

    /// Notes that messages of a source, which came at `arrivals`, are under way. Returns what their batch is to carry of that.
    pub(super) fn begin(&mut self, stage: StageId, arrivals: Times) -> Times {
        if !self.plan.stages[stage.index()].clocked {
            return Times::default();
        }
        self.stages[stage.index()].clock.outstanding.add(&arrivals);
        arrivals
    }

    /// Notes that a batch has been answered, and what it says of time, once its outputs have been sent on.
    pub(super) fn end(&mut self, work: &Work, timing: &Timing, now: Duration) {
        if !self.plan.stages[work.stage.index()].clocked {
            return;
        }
        let clock = &mut self.stages[work.stage.index()].clock;
        clock.outstanding.remove(&work.times);
        clock.late += u64::from(timing.late);
        for timer in &timing.timers {
            clock.timers.set(&timer.key, timer.deadline);
        }
        if let Input::Frames(source) | Input::Generate(source, _) = self.plan.stages[work.stage.index()].input {
            let source = &mut self.sources[source.index()].clock;
            source.reached = source.reached.max(timing.time.unwrap_or(EventTime::BEGINNING));
            source.active = now;
        }
        self.advance_time(now);
    }

    /// Notes that nobody will answer a batch.
    pub(super) fn give_up(&mut self, work: &Work) {
        self.stages[work.stage.index()].clock.outstanding.remove(&work.times);
    }

    /// Moves watermarks as far as they may go, and wakes the keys whose windows are complete then.
    pub(super) fn advance_time(&mut self, now: Duration) {
        if !self.plan.has_windows() {
            return;
        }
        // From the sources down: a stage's watermark depends on those above it.
        for index in (0..self.by_depth.len()).rev() {
            let stage = self.by_depth[index];
            if self.plan.stages[stage.index()].clocked && !self.stages[stage.index()].clock.feeders.is_empty() {
                self.advance_stage(stage, now);
                self.wake(stage, now);
            }
        }
    }

    fn advance_stage(&mut self, stage: StageId, now: Duration) {
        let above = |feeder: &StageId| self.below(*feeder, now);
        let above: Vec<Below> = self.stages[stage.index()].clock.feeders.iter().map(above).collect();
        let silent = above.iter().any(|below| below.silent);
        let running = above.iter().filter(|below| !below.silent && below.watermark != EventTime::END);
        let least = running.map(|below| below.watermark).min();
        let furthest = || above.iter().map(|below| below.last).fold(EventTime::BEGINNING, EventTime::max);
        let clock = &mut self.stages[stage.index()].clock;
        clock.silent = silent && least.is_none();
        // Where none is running none holds another back. A silent source has not ended.
        let last = least.unwrap_or_else(furthest);
        // Timers of the end all have the same time, wherever the stream was cut into batches.
        let has_ended = least.is_none() && !silent && clock.is_through(last);
        clock.last = clock.last.max(last);
        clock.watermark = clock.watermark.max(if has_ended { EventTime::END } else { last });
    }

    /// How far time has come in what leaves a stage.
    fn below(&self, stage: StageId, now: Duration) -> Below {
        let plan = &self.plan.stages[stage.index()];
        let clock = &self.stages[stage.index()].clock;
        match plan.input {
            Input::Frames(source) | Input::Generate(source, _) => self.below_source(source, &clock.outstanding, now),
            Input::Groups(_) | Input::Values | Input::Cut(_) => {
                let watermark = clock.done().minus(plan.delay);
                let last = clock.done().min(clock.last).minus(plan.delay);
                Below { watermark, last, silent: clock.silent && clock.outstanding.is_empty() }
            }
        }
    }

    fn below_source(&self, source: SourceId, under_way: &Outstanding, now: Duration) -> Below {
        let state = &self.sources[source.index()];
        let busy = !state.queue.is_empty() || !state.cutting.is_idle() || !under_way.is_empty();
        let by_event_time = self.plan.sources[source.index()].event_time;
        let last = if by_event_time {
            state.clock.reached
        } else {
            let waiting = under_way.earliest().into_iter().chain(state.queue.first_arrival());
            waiting.fold(self.wall_clock(now), EventTime::min)
        };
        if state.ended && !busy {
            return Below { watermark: EventTime::END, last, silent: false };
        }
        let silent = by_event_time && !busy && now.saturating_sub(state.clock.active) > self.config.idle_after;
        Below { watermark: last, last, silent }
    }

    /// Puts the timers that are due into the lanes of their keys, as far as there is room.
    fn wake(&mut self, stage: StageId, now: Duration) {
        let Some(keyspace) = self.plan.stages[stage.index()].input.keyspace() else { return };
        while self.stages[stage.index()].queued_bytes < self.config.queue_bytes {
            let clock = &mut self.stages[stage.index()].clock;
            let watermark = clock.watermark;
            let Some((deadline, key)) = clock.timers.take_due(watermark) else { return };
            let floor = clock.floor(deadline);
            let partition = self.router.partition(keyspace, &key);
            self.enqueue(stage, partition, Group::timer(&key, watermark), floor, now);
        }
    }

    /// Appends a group to the lane of its partition. `time` is what its outputs are no older than, `arrived` when the engine was
    /// given what it came of.
    pub(super) fn enqueue(
        &mut self,
        stage: StageId,
        partition: PartitionId,
        group: Group,
        time: EventTime,
        arrived: Duration,
    ) {
        let time = self.charge(stage, &group, time);
        self.lane(stage, partition).push(group, arrived, time);
    }

    /// Appends groups to what waits for any worker of their stage's pool.
    pub(super) fn hand_over_values(&mut self, stage: StageId, groups: Vec<Group>, arrived: Duration) {
        for group in groups {
            let watermark = self.stages[stage.index()].clock.watermark;
            let time = self.charge(stage, &group, watermark);
            self.stages[stage.index()].values.push(group, arrived, time);
        }
    }

    /// Notes that a group waits for its stage. Returns the time it is to be queued with, where windows need one.
    fn charge(&mut self, stage: StageId, group: &Group, time: EventTime) -> Option<EventTime> {
        let clocked = self.plan.stages[stage.index()].clocked;
        let state = &mut self.stages[stage.index()];
        state.queued_bytes += group.len();
        clocked.then(|| {
            state.clock.outstanding.add(&Times::of(1, time));
            time
        })
    }
}
