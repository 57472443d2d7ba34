//! Watermarks: how far event time has come at each stage, and which windows are complete because of that. Owns the clocks of
//! stages and sources, and the timers.
//!
//! A source's watermark is the greatest event time among the messages that were emitted. Where messages have no time of their own,
//! it is the arrival time before which nothing is under way. A keyed stage's watermark is the least frontier of the stages that
//! feed it. The frontier of a stage is held back by everything in it: groups that are not done with, timers, and the delay of its
//! windows. Watermarks never go back. When the sources have ended, a stage's watermark goes as far as the furthest of them has
//! come, and once all that is complete by then has been given, to the end of time. Applications without windows run none of this.

mod timers;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{EventTime, Group, StageId, Timing};

use self::timers::Timers;
use super::Engine;
use super::batch::Batch;
use super::intake::Intake;
use super::invariant::{Checked, Invariant};
use super::times::{Outstanding, Times};
use crate::ids::SourceId;
use crate::plan::{Input, Plan, Target};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Time {
    plan: Arc<Plan>,
    /// The wall clock when the run began, since the Unix epoch.
    epoch: Duration,
    idle_after: Duration,
    stages: Vec<StageClock>,
    sources: Vec<SourceClock>,
    /// A source that ends is not at its end: another run goes on with it.
    is_suspended: bool,
    /// Stages whose watermark follows from others, from the sources down: a watermark depends on those above it.
    followers: Vec<StageId>,
}

/// What one stage knows of time.
#[derive(Debug)]
struct StageClock {
    /// Stages whose outputs come here.
    feeders: Vec<StageId>,
    /// Nothing older is still to come, unless it is late.
    watermark: EventTime,
    /// The watermark, or the last one before the end.
    last: EventTime,
    /// All sources above that have not ended are silent.
    silent: bool,
    /// The times of what the stage has been given and is not done with.
    outstanding: Outstanding,
    timers: Timers,
    /// Values that came too late.
    late: u64,
}

/// What a source knows of time.
#[derive(Debug)]
struct SourceClock {
    /// The greatest event time emitted.
    reached: EventTime,
    /// When the source last gave anything.
    active: Duration,
}

/// How far time has come in what leaves a stage.
#[derive(Debug, Clone, Copy)]
struct Frontier {
    watermark: EventTime,
    /// The watermark, or the last one before the end.
    last: EventTime,
    /// The stage has given nothing for long and must not hold others back.
    silent: bool,
}

/// A timer that is due.
#[derive(Debug)]
struct DueTimer {
    key: bytes::Bytes,
    /// The watermark that made it due.
    watermark: EventTime,
    /// Its outputs are no older.
    floor: EventTime,
}

impl Default for SourceClock {
    fn default() -> Self {
        Self { reached: EventTime::BEGINNING, active: Duration::ZERO }
    }
}

impl StageClock {
    fn new(plan: &Plan, stage: StageId) -> Self {
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

    /// The outputs of a timer are older than this by no more than the delay. At the end of the sources windows are complete
    /// before their time, and count windows have no time: their outputs are no older than the watermark before the end. A worker
    /// is sent it as the timer's time.
    fn floor(&self, deadline: EventTime) -> EventTime {
        EventTime(deadline.0.saturating_sub(1)).min(self.last)
    }

    /// Nothing older is under way in the stage.
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

impl Time {
    pub(super) fn new(plan: &Arc<Plan>, idle_after: Duration) -> Self {
        let stages: Vec<_> = plan.stages.iter().map(|stage| StageClock::new(plan, stage.id)).collect();
        let follows = |stage: &StageId| plan.stages[stage.index()].clocked && !stages[stage.index()].feeders.is_empty();
        let mut followers: Vec<StageId> = plan.stages.iter().map(|stage| stage.id).filter(follows).collect();
        followers.sort_by_key(|stage| plan.stages[stage.index()].depth);
        Self {
            epoch: Duration::ZERO,
            is_suspended: false,
            idle_after,
            sources: plan.sources.iter().map(|_| SourceClock::default()).collect(),
            stages,
            followers,
            plan: plan.clone(),
        }
    }

    /// The wall clock.
    pub(super) fn wall_clock(&self, now: Duration) -> EventTime {
        EventTime(i64::try_from((self.epoch + now).as_nanos()).unwrap_or(i64::MAX - 1))
    }

    /// The time since the run began at which the wall clock showed `time`.
    pub(super) fn since_begin(&self, time: Option<EventTime>) -> Duration {
        let nanoseconds = time.map_or(0, |time| u64::try_from(time.0).unwrap_or(0));
        Duration::from_nanos(nanoseconds).saturating_sub(self.epoch)
    }

    /// The watermark of a stage.
    pub(super) fn watermark(&self, stage: StageId) -> EventTime {
        self.stages[stage.index()].watermark
    }

    /// Values of a stage that came too late.
    pub(super) fn late(&self, stage: StageId) -> u64 {
        self.stages[stage.index()].late
    }

    /// Has the end of sources not be the end of time.
    pub(super) fn suspend(&mut self) {
        self.is_suspended = true;
    }

    /// Whether no key waits for a timer that will come.
    pub(super) fn is_idle(&self) -> bool {
        self.is_suspended || self.stages.iter().all(|clock| clock.timers.is_empty())
    }

    /// Notes that messages of a source, which came at `arrivals`, are under way. Returns the times that their batch carries.
    pub(super) fn begin(&mut self, stage: StageId, arrivals: Times) -> Times {
        if !self.plan.stages[stage.index()].clocked {
            return Times::default();
        }
        self.stages[stage.index()].outstanding.add(&arrivals);
        arrivals
    }

    /// Notes that a group waits for its stage. Returns the time it is queued with, where windows need one.
    pub(super) fn enqueue(&mut self, stage: StageId, time: EventTime) -> Option<EventTime> {
        self.plan.stages[stage.index()].clocked.then(|| {
            self.stages[stage.index()].outstanding.add(&Times::of(1, time));
            time
        })
    }

    /// The time with which a group is queued for a stage now, where windows need one.
    pub(super) fn queued_at(&self, stage: StageId) -> Option<EventTime> {
        self.plan.stages[stage.index()].clocked.then(|| self.watermark(stage))
    }

    /// The greatest event time of a source.
    pub(super) fn reached(&self, source: SourceId) -> EventTime {
        self.sources[source.index()].reached
    }

    /// What a stage knows of time: the watermark, or the last one before the end, how many values were late, and the timers.
    pub(super) fn mark(&self, stage: StageId) -> (EventTime, u64, Vec<(Bytes, EventTime)>) {
        let clock = &self.stages[stage.index()];
        (clock.last, clock.late, clock.timers.by_key())
    }

    /// Goes on where an earlier run has brought a source.
    pub(super) fn go_on_at_source(&mut self, source: SourceId, reached: EventTime) {
        self.sources[source.index()].reached = reached;
    }

    /// Goes on where an earlier run has brought a stage.
    pub(super) fn go_on_at_stage(
        &mut self,
        stage: StageId,
        watermark: EventTime,
        late: u64,
        timers: Vec<(Bytes, EventTime)>,
    ) {
        let clock = &mut self.stages[stage.index()];
        (clock.watermark, clock.last, clock.late) = (watermark, watermark, late);
        for (key, deadline) in timers {
            clock.timers.set(&key, Some(deadline));
        }
    }

    /// Notes that a batch has been answered, and what the answer says of time, once its outputs have been sent on.
    fn end(&mut self, batch: &Batch, timing: &Timing, now: Duration) -> Checked<()> {
        self.abandon(batch)?;
        let clock = &mut self.stages[batch.stage.index()];
        clock.late += u64::from(timing.late);
        for timer in &timing.timers {
            clock.timers.set(&timer.key, timer.deadline);
        }
        if let Input::Frames(source) | Input::Generate(source, _) = self.plan.stages[batch.stage.index()].input {
            let source = &mut self.sources[source.index()];
            source.reached = source.reached.max(timing.time.unwrap_or(EventTime::BEGINNING));
            source.active = now;
        }
        Ok(())
    }

    /// Notes that nothing of a batch is under way any more.
    pub(super) fn abandon(&mut self, batch: &Batch) -> Checked<()> {
        let stage = batch.stage;
        let removed = self.stages[stage.index()].outstanding.remove(&batch.times);
        removed.map_err(|(done, given)| Invariant::Outstanding { stage, done, given })
    }

    /// Counts the last `gap` as no silence of any source.
    pub(super) fn put_off(&mut self, gap: Duration, now: Duration) {
        for source in &mut self.sources {
            source.active = (source.active + gap).min(now);
        }
    }

    fn advance(&mut self, stage: StageId, intake: &Intake, now: Duration) {
        let frontier = |feeder: &StageId| self.frontier(*feeder, intake, now);
        let above: Vec<Frontier> = self.stages[stage.index()].feeders.iter().map(frontier).collect();
        let silent = above.iter().any(|frontier| frontier.silent);
        let running = above.iter().filter(|frontier| !frontier.silent && frontier.watermark != EventTime::END);
        let least = running.map(|frontier| frontier.watermark).min();
        let furthest = || above.iter().map(|frontier| frontier.last).fold(EventTime::BEGINNING, EventTime::max);
        let clock = &mut self.stages[stage.index()];
        clock.silent = silent && least.is_none();
        // Where no feeder is running, none holds another back. A silent source has not ended.
        let last = least.unwrap_or_else(furthest);
        // Timers of the end all have the same time, wherever the stream was cut into batches.
        let has_ended = least.is_none() && !silent && clock.is_through(last);
        clock.last = clock.last.max(last);
        clock.watermark = clock.watermark.max(if has_ended { EventTime::END } else { last });
    }

    /// How far time has come in what leaves a stage.
    fn frontier(&self, stage: StageId, intake: &Intake, now: Duration) -> Frontier {
        let plan = &self.plan.stages[stage.index()];
        let clock = &self.stages[stage.index()];
        match plan.input {
            Input::Frames(source) | Input::Generate(source, _) => {
                self.source_frontier(source, &clock.outstanding, intake, now)
            }
            Input::Groups(_) | Input::Values | Input::Cut(_) => {
                let watermark = clock.done().minus(plan.delay);
                let last = clock.done().min(clock.last).minus(plan.delay);
                Frontier { watermark, last, silent: clock.silent && clock.outstanding.is_empty() }
            }
        }
    }

    fn source_frontier(&self, source: SourceId, under_way: &Outstanding, intake: &Intake, now: Duration) -> Frontier {
        let busy = !intake.is_idle(source) || !under_way.is_empty();
        let by_event_time = self.plan.sources[source.index()].event_time;
        let clock = &self.sources[source.index()];
        let last = if by_event_time {
            clock.reached
        } else {
            let waiting = under_way.earliest().into_iter().chain(intake.first_arrival(source));
            waiting.fold(self.wall_clock(now), EventTime::min)
        };
        if intake.has_ended(source) && !busy && !self.is_suspended {
            return Frontier { watermark: EventTime::END, last, silent: false };
        }
        let silent = by_event_time && !busy && now.saturating_sub(clock.active) > self.idle_after;
        Frontier { watermark: last, last, silent }
    }

    fn take_due(&mut self, stage: StageId) -> Option<DueTimer> {
        let clock = &mut self.stages[stage.index()];
        let watermark = clock.watermark;
        let (deadline, key) = clock.timers.take_due(watermark)?;
        Some(DueTimer { key, watermark, floor: clock.floor(deadline) })
    }
}

impl Engine {
    /// Tells the engine the wall clock when the run began, as the time since the Unix epoch.
    pub fn set_epoch(&mut self, epoch: Duration) {
        self.time.epoch = epoch;
    }

    /// Takes in what the answer to a batch says of time, once its outputs have been sent on.
    pub(super) fn end_in_time(&mut self, batch: &Batch, timing: &Timing, now: Duration) -> Checked<()> {
        if !self.plan.stages[batch.stage.index()].clocked {
            return Ok(());
        }
        self.time.end(batch, timing, now)?;
        self.advance_time(now);
        Ok(())
    }

    /// Moves watermarks as far as they may go, and wakes the keys whose windows are complete then.
    pub(super) fn advance_time(&mut self, now: Duration) {
        for index in 0..self.time.followers.len() {
            let stage = self.time.followers[index];
            self.time.advance(stage, &self.intake, now);
            self.fire_timers(stage, now);
        }
    }

    /// Puts the timers that are due into the lanes of their keys, as far as there is room.
    fn fire_timers(&mut self, stage: StageId, now: Duration) {
        let Some(keyspace) = self.routing.keyspace(stage) else { return };
        while self.routing.bytes(stage) < self.config.queue_bytes {
            let Some(DueTimer { key, watermark, floor }) = self.time.take_due(stage) else { return };
            let time = self.time.enqueue(stage, floor);
            if let Some(slot) = self.routing.push(stage, keyspace, Group::timer(&key, watermark), time, now) {
                self.dispatch.wake(slot);
            }
        }
    }
}
