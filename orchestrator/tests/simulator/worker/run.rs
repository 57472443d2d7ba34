//! How a simulated worker runs a batch.

use std::time::Duration;

use bytes::Bytes;
use wallaroo_orch::death::{DeathCause, Marker, Running};
use wallaroo_orch::ids::SourceId;
use wallaroo_orch::plan::{Input, Stage, Target};
use wallaroo_protocol::topology::NodeKind;
use wallaroo_protocol::{
    Batch, BatchResult, CutResult, EventTime, Failure, FromWorker, Group, NodeId, Output, OutputData, Skip, Timing,
    input, key,
};

use super::encoding::{decode_values, groups, messages, timed_values};
use super::{Outcome, Worker};
use crate::random::mix;
use crate::scenario::{Nature, Scenario};
use crate::windows::{Fired, OUTPUT, Shape};

/// A value on its way through a stage, with the key and count of its last state step.
pub(super) struct Moving {
    pub(super) value: u64,
    pub(super) key: Bytes,
    pub(super) count: u64,
    pub(super) time: i64,
    pub(super) watermark: i64,
    pub(super) fired: Option<Fired>,
}

impl Moving {
    /// A value that comes from a source.
    fn new(value: u64, time: i64, watermark: i64) -> Self {
        Self { value, key: key::nil(), count: 0, time, watermark, fired: None }
    }

    /// What a window gives, and its time.
    fn fired((fired, time): (Fired, i64), key: Bytes) -> Self {
        let value = OUTPUT | mix(fired.key ^ fired.start as u64 ^ fired.sum);
        Self { value, key, count: 0, time, watermark: time, fired: Some(fired) }
    }
}

/// A batch that is being run, and what has come of it so far.
struct Run<'a> {
    worker: &'a mut Worker,
    batch: &'a Batch,
    stage: &'a Stage,
    scenario: &'a Scenario,
    /// The time of each frame or group.
    times: Vec<i64>,
    messages: u32,
    moving: Vec<Moving>,
    failures: Vec<Failure>,
    timing: Timing,
    ended: Option<u64>,
}

/// Answers a batch that was withdrawn. Nothing in the answer counts.
pub(super) fn decline(worker: &mut Worker, batch: &Batch, scenario: &Scenario) {
    if matches!(scenario.plan.stages[batch.stage.index()].input, Input::Cut(_)) {
        let (batch, elapsed) = (batch.batch, Duration::ZERO);
        let result = CutResult { batch, elapsed, frames: Vec::new(), consumed: 0, need: 0, error: None };
        worker.outbox.push_back(FromWorker::CutResult(result));
        return;
    }
    let (batch, elapsed) = (batch.batch, Duration::ZERO);
    let (outputs, failures, timing) = (Vec::new(), Vec::new(), None);
    let result = BatchResult { batch, more: false, elapsed, outputs, failures, ended: None, timing, slow: None };
    worker.outbox.push_back(FromWorker::Result(result));
}

/// Runs a batch and puts the reply into the outbox, unless the worker comes to an end.
pub(super) fn run(worker: &mut Worker, batch: &Batch, scenario: &Scenario) -> Outcome {
    let stage = &scenario.plan.stages[batch.stage.index()];
    let times = batch.times.iter().flat_map(|(count, time)| std::iter::repeat_n(time.0, *count as usize)).collect();
    let mut run = Run {
        worker,
        batch,
        stage,
        scenario,
        times,
        messages: 0,
        moving: Vec::new(),
        failures: Vec::new(),
        timing: Timing::default(),
        ended: None,
    };
    let done = match stage.input {
        Input::Frames(source) => run.frames(source),
        Input::Generate(source, _) => run.generate(source),
        Input::Groups(_) => run.groups(),
        Input::Values => run.values(),
        Input::Cut(_) => {
            worker.marker = None;
            worker.outbox.push_back(FromWorker::CutResult(cut(batch)));
            return Outcome::Lives;
        }
    };
    match done {
        Ok(()) => run.answer(),
        Err(outcome) => outcome,
    }
}

impl Run<'_> {
    fn frames(&mut self, source: SourceId) -> Result<(), Outcome> {
        let event_time = self.scenario.plan.sources[source.index()].event_time;
        let frames = input::parse_frames(&self.batch.input).expect("frames");
        assert!(!self.stage.clocked || self.times.len() == frames.len());
        let mut reached = i64::MIN;
        for (origin, frame) in (0..).zip(frames) {
            self.messages += 1;
            let message = Skip { origin, value: 0 };
            if self.is_skipped(message) {
                continue;
            }
            let values = decode_values(&frame);
            if values.is_empty() {
                self.call(self.stage.root, message)?;
            }
            for value in values {
                let shows = self.scenario.shows_at_source(value);
                if !self.meet(value, shows, self.stage.root, message, None)? {
                    continue;
                }
                let arrived = self.times.get(origin as usize).copied().unwrap_or_default();
                let time = if event_time { self.scenario.values[value as usize].time } else { arrived };
                reached = reached.max(time);
                self.moving.push(Moving::new(value, time, reached));
            }
        }
        self.timing.time = self.moving.iter().map(|moving| EventTime(moving.time)).max().filter(|_| event_time);
        Ok(())
    }

    fn generate(&mut self, source: SourceId) -> Result<(), Outcome> {
        let scenario = self.scenario;
        let lane = scenario.lanes.iter().find(|lane| lane.source == source.0).expect("a generator has a lane");
        let wanted = input::parse_generate(&self.batch.input).expect("a number");
        for origin in 0..wanted {
            let next = self.worker.states.get(&("generator:g".to_owned(), key::nil())).map_or(0, |state| state[0]);
            let Some(frame) = lane.frames.get(next as usize) else {
                self.ended = Some(origin.into());
                break;
            };
            if scenario.fatal_value == Some(next as usize) {
                let message = self.batch.careful.then_some(Skip { origin, value: 0 });
                self.worker.marker =
                    Some(Marker::Running(Running { batch: self.batch.batch, node: self.stage.root, message }));
                return Err(Outcome::Died(DeathCause::Signalled(11)));
            }
            self.messages += 1;
            let value = frame[0];
            self.worker.change("generator:g", &key::nil(), self.batch.batch);
            let message = Skip { origin, value: 0 };
            if self.is_skipped(message) {
                continue;
            }
            let shows = scenario.shows_at_source(value);
            if self.meet(value, shows, self.stage.root, message, None)? {
                let time = self.times.first().copied().unwrap_or_default();
                self.moving.push(Moving::new(value, time, time));
            }
        }
        Ok(())
    }

    fn groups(&mut self) -> Result<(), Outcome> {
        let tables: Vec<(NodeId, String)> =
            self.stage.steps.iter().filter_map(|step| table(*step, self.scenario)).collect();
        let windows = windows(self.stage, self.scenario);
        let mut touched: Vec<(Bytes, bool)> = Vec::new();
        for (origin, group) in (0..).zip(input::parse_groups(&self.batch.input).expect("groups")) {
            if group.is_timer() {
                self.timer(origin, &group, windows.as_ref().expect("only windows have timers"));
                touched.push((group.key_bytes(), true));
                continue;
            }
            let timed = timed_values(&group, self.times.get(origin as usize).copied());
            assert_eq!(timed.len(), group.count as usize, "counts are true");
            for (index, (value, time, watermark)) in (0..).zip(timed) {
                self.messages += 1;
                let message = Skip { origin, value: index };
                if self.is_skipped(message) {
                    continue;
                }
                let shows = value & OUTPUT == 0 && self.scenario.shows_at(value, self.stage);
                if !self.meet(value, shows, tables[0].0, message, Some(group.key_bytes()))? {
                    continue;
                }
                if let Some((_, table, shape)) = &windows {
                    touched.push((group.key_bytes(), false));
                    self.add_to_window(table, *shape, &group, (value, time, watermark));
                    continue;
                }
                let key = group.key_bytes();
                let mut loaded = true;
                for (_, table) in &tables {
                    loaded = loaded && self.worker.load(table, &key, self.scenario)?;
                }
                if !loaded {
                    self.failures.push(failure(tables[0].0, message, Some(key), value));
                    continue;
                }
                let counts = tables.iter().map(|(_, table)| self.worker.change(table, group.key(), self.batch.batch));
                let counts: Vec<u64> = counts.collect();
                assert!(counts.iter().all(|count| *count == counts[0]), "states of one key have one age: {counts:?}");
                let count = counts[0];
                self.moving.push(Moving { value, key: group.key_bytes(), count, time, watermark, fired: None });
            }
        }
        if let Some((_, table, shape)) = windows {
            self.timing.timers = self.worker.tell(&table, shape, touched);
        }
        Ok(())
    }

    fn timer(&mut self, origin: u32, group: &Group, (node, table, shape): &(NodeId, String, Shape)) {
        self.messages += 1;
        let message = Skip { origin, value: 0 };
        let noted = self.batch.careful.then_some(message);
        self.worker.marker = Some(Marker::Running(Running { batch: self.batch.batch, node: *node, message: noted }));
        let watermark = decode_values(&group.values())[0] as i64;
        let time = self.times[origin as usize];
        let fired = self.worker.fire(table, *shape, group.key(), (watermark, time), self.batch.batch);
        let skipped = |value: u32| self.batch.skip.contains(&Skip { origin, value });
        if !skipped(Skip::WHOLE) {
            let given = (0..).zip(fired).filter(|(window, _)| !skipped(*window));
            self.moving.extend(given.map(|(_, fired)| Moving::fired(fired, group.key_bytes())));
        }
    }

    fn add_to_window(&mut self, table: &str, shape: Shape, group: &Group, (value, time, watermark): (u64, i64, i64)) {
        let (worker, batch) = (&mut *self.worker, self.batch.batch);
        if let Shape::Count(size) = shape {
            let full = worker.count(table, size, group.key(), (value, time.max(watermark)), batch);
            self.moving.extend(full.map(|full| Moving::fired(full, group.key_bytes())));
        } else {
            let in_time = worker.add(table, shape, group.key(), (value, time, watermark), batch);
            self.timing.late += u32::from(!in_time);
        }
    }

    fn values(&mut self) -> Result<(), Outcome> {
        let node = self.stage.steps.first().copied().unwrap_or(self.stage.root);
        for (origin, group) in (0..).zip(input::parse_groups(&self.batch.input).expect("groups")) {
            let timed = timed_values(&group, self.times.get(origin as usize).copied());
            assert_eq!(timed.len(), group.count as usize, "counts are true");
            for (index, (value, time, watermark)) in (0..).zip(timed) {
                self.messages += 1;
                let message = Skip { origin, value: index };
                if self.is_skipped(message) {
                    continue;
                }
                let shows = self.scenario.shows_at(value, self.stage);
                let key = group.key_bytes();
                if self.meet(value, shows, node, message, Some(key.clone()))? {
                    self.moving.push(Moving { value, key, count: 0, time, watermark, fired: None });
                }
            }
        }
        Ok(())
    }

    /// A message makes a step call what it depends on, which may be away.
    fn call(&mut self, node: NodeId, message: Skip) -> Result<(), Outcome> {
        let noted = self.batch.careful.then_some(message);
        self.worker.marker = Some(Marker::Running(Running { batch: self.batch.batch, node, message: noted }));
        let is_out = self.worker.out == Some(self.batch.stage) && !matches!(self.stage.input, Input::Generate(..));
        if is_out { Err(Outcome::Hangs) } else { Ok(()) }
    }

    fn is_skipped(&self, message: Skip) -> bool {
        let skip = &self.batch.skip;
        skip.contains(&message) || skip.contains(&Skip { origin: message.origin, value: Skip::WHOLE })
    }

    /// A value meets the step where its nature shows: whether it gets through, or what it does to the worker.
    fn meet(
        &mut self,
        value: u64,
        shows: bool,
        node: NodeId,
        message: Skip,
        key: Option<Bytes>,
    ) -> Result<bool, Outcome> {
        if value & OUTPUT != 0 {
            let noted = self.batch.careful.then_some(message);
            self.worker.marker = Some(Marker::Running(Running { batch: self.batch.batch, node, message: noted }));
            return Ok(true);
        }
        self.call(node, message).inspect_err(|_| self.worker.at_work.push(value))?;
        match self.scenario.values[value as usize].nature {
            Nature::Raises if shows => {
                self.failures.push(failure(node, message, key, value));
                Ok(false)
            }
            Nature::Kills if shows => Err(Outcome::Died(DeathCause::Signalled(11))),
            Nature::Hangs if shows => Err(Outcome::Hangs),
            _ => Ok(true),
        }
    }

    fn answer(mut self) -> Outcome {
        self.worker.marker = None;
        let mut outputs = Vec::new();
        if self.batch.discard {
            self.failures.clear();
            self.timing = Timing::default();
        } else {
            let mut told = None;
            for (outlet, target) in &self.stage.outlets {
                if told.replace(*outlet) == Some(*outlet) {
                    continue;
                }
                let data = match target {
                    Target::Stage(_) => OutputData::Groups(groups(&self.moving, *outlet, self.stage, self.scenario)),
                    Target::Sink(_) => OutputData::Messages(messages(&self.moving)),
                };
                outputs.push(Output { outlet: *outlet, data });
            }
        }
        let result = BatchResult {
            batch: self.batch.batch,
            more: false,
            elapsed: self.scenario.elapsed(self.batch.batch, self.messages),
            outputs,
            failures: self.failures,
            ended: self.ended,
            timing: self.stage.clocked.then_some(self.timing),
            // Whichever group it names: keys may move at any time.
            slow: Some(self.batch.batch.0 as u32 % 4),
        };
        self.worker.reply(result, self.scenario.part);
        Outcome::Lives
    }
}

/// Cuts frames that come after their length.
fn cut(batch: &Batch) -> CutResult {
    const HEADER: usize = 4;
    let stream = input::parse_cut(&batch.input).expect("bytes");
    let mut frames = Vec::new();
    let mut at = 0;
    let mut need = HEADER;
    while let Some(header) = stream.get(at..at + HEADER) {
        let length = u32::from_be_bytes(header.try_into().expect("four bytes")) as usize;
        need = HEADER + length;
        if stream.len() < at + need {
            break;
        }
        frames.push(((at + HEADER) as u32, (at + need) as u32));
        at += need;
        need = HEADER;
    }
    let elapsed = Duration::from_millis(1);
    CutResult {
        batch: batch.batch,
        elapsed,
        frames,
        consumed: at as u32,
        need: need.try_into().unwrap_or(u32::MAX),
        error: None,
    }
}

fn table(step: NodeId, scenario: &Scenario) -> Option<(NodeId, String)> {
    match &scenario.plan.topology.nodes[step.index()].kind {
        NodeKind::State { table, .. } | NodeKind::Window { table, .. } => Some((step, table.clone())),
        _ => None,
    }
}

fn failure(node: NodeId, message: Skip, key: Option<Bytes>, value: u64) -> Failure {
    Failure {
        node,
        origin: message.origin,
        key,
        exception: "ValueError".to_owned(),
        message: String::new(),
        traceback: String::new(),
        value: value.to_string(),
        payload: Bytes::new(),
        codec: 0,
    }
}

/// The step of a stage that has windows.
fn windows(stage: &Stage, scenario: &Scenario) -> Option<(NodeId, String, Shape)> {
    stage.steps.iter().find_map(|step| {
        let (node, table) = table(*step, scenario)?;
        Some((node, table, Shape::of(node, scenario)?))
    })
}
