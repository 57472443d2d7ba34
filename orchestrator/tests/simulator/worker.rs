//! A simulated worker: runs batches as the SDK does, and dies or hangs when a value says so.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use wallaroo_orch::death::{DeathCause, Marker};
use wallaroo_orch::ids::Generation;
use wallaroo_orch::plan::{Input, Stage, Target};
use wallaroo_protocol::topology::{Node, NodeKind};
use wallaroo_protocol::{
    Batch, BatchId, BatchResult, CutResult, EventTime, Failure, ForgottenState, FromWorker, Group, Messages, NodeId,
    Output, OutputData, Skip, SnapshotPart, StateEntry, Timer, Timing, ToWorker, input, key,
};

use crate::pooled::only_source;
use crate::random::{Random, mix};
use crate::scenario::{Nature, Scenario};
use crate::windows::{Fired, OUTPUT, Open, Shape};

/// Encodings of groups, as the specification numbers them.
const TIMES: u32 = 16;
const WATERMARKS: u32 = 32;
/// Values in a group that crosses into another pool, at most.
const PIECE: usize = 3;

/// What came of one message to a worker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Lives,
    Died(DeathCause),
    Hangs,
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) generation: Generation,
    pub(crate) inbox: VecDeque<ToWorker>,
    pub(crate) outbox: VecDeque<FromWorker>,
    pub(crate) hangs: bool,
    pub(crate) marker: Option<Marker>,
    states: HashMap<(String, Bytes), Vec<u64>>,
    /// Keys changed since their last snapshot, longest first.
    dirty: Vec<Dirty>,
}

#[derive(Debug)]
struct Dirty {
    key: Bytes,
    since: BatchId,
    tables: Vec<String>,
}

/// A message as the sink sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) count: u64,
    pub(crate) value: u64,
    pub(crate) key: u64,
}

impl Seen {
    pub(crate) const BYTES: usize = 24;

    fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.value.to_le_bytes());
        bytes[16..].copy_from_slice(&self.key.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Self { count: number(0), value: number(8), key: number(16) }
    }
}

pub(crate) fn encode_values(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The values of a frame or a group; bytes that do not fill a value are padding.
pub(crate) fn decode_values(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().expect("eight bytes"))).collect()
}

/// A value on its way through a stage, with the key and count of its last state step.
struct Moving {
    value: u64,
    key: Bytes,
    count: u64,
    time: i64,
    watermark: i64,
    fired: Option<Fired>,
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

impl Worker {
    pub(crate) fn new(generation: Generation) -> Self {
        Self {
            generation,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            hangs: false,
            marker: None,
            states: HashMap::new(),
            dirty: Vec::new(),
        }
    }

    /// Takes the next message from the inbox and does what it says.
    pub(crate) fn step(&mut self, scenario: &Scenario, random: &mut Random) -> Outcome {
        match self.inbox.pop_front() {
            Some(ToWorker::Batch(batch)) => self.run(&batch, scenario),
            Some(ToWorker::Restore(entries)) => {
                for StateEntry { table, key, state } in entries {
                    let old = self.states.insert((table.to_string(), key), decode_values(&state));
                    assert_eq!(old, None, "a state is restored before its key is used, and once");
                }
                Outcome::Lives
            }
            Some(ToWorker::Snapshot { request, max_keys }) => {
                let keys = (max_keys as usize).min(1 + random.below(5)).min(self.dirty.len());
                let taken: Vec<_> = self.dirty.drain(..keys).collect();
                let entries = self.save(&taken, scenario);
                let oldest_dirty = self.dirty.first().map(|dirty| dirty.since);
                let split = random.below(entries.len() + 1);
                let part = |more: bool, entries: &[StateEntry]| SnapshotPart {
                    request,
                    more,
                    entries: entries.to_vec(),
                    failures: Vec::new(),
                    oldest_dirty: if more { None } else { oldest_dirty },
                };
                self.outbox.push_back(FromWorker::SnapshotPart(part(true, &entries[..split])));
                self.outbox.push_back(FromWorker::SnapshotPart(part(false, &entries[split..])));
                Outcome::Lives
            }
            Some(ToWorker::SnapshotKeys { request, keys }) => {
                let wanted = |dirty: &mut Dirty| keys.contains(&dirty.key);
                let taken: Vec<_> = self.dirty.extract_if(.., wanted).collect();
                let entries = self.save(&taken, scenario);
                let oldest_dirty = self.dirty.first().map(|dirty| dirty.since);
                let part = SnapshotPart { request, more: false, entries, failures: Vec::new(), oldest_dirty };
                self.outbox.push_back(FromWorker::SnapshotPart(part));
                Outcome::Lives
            }
            Some(ToWorker::Forget(states)) => {
                for ForgottenState { table, key } in states {
                    let changed = self.dirty.iter().find(|dirty| dirty.key == key);
                    let is_dirty = changed.is_some_and(|dirty| dirty.tables.iter().any(|known| **known == *table));
                    assert!(!is_dirty, "what is forgotten is in a snapshot");
                    self.states.remove(&(table.to_string(), key));
                }
                Outcome::Lives
            }
            Some(message) => panic!("the engine sends no {message:?}"),
            None => Outcome::Lives,
        }
    }

    fn run(&mut self, batch: &Batch, scenario: &Scenario) -> Outcome {
        let stage = &scenario.plan.stages[batch.stage.index()];
        let mut failures = Vec::new();
        let mut moving = Vec::new();
        let mut ended = false;
        let mut messages = 0;
        let mut timing = Timing::default();
        let mut reached = i64::MIN;
        let times: Vec<i64> =
            batch.times.iter().flat_map(|(count, time)| std::iter::repeat_n(time.0, *count as usize)).collect();
        match stage.input {
            Input::Frames(source) => {
                let event_time = scenario.plan.sources[source.index()].event_time;
                assert!(!stage.clocked || times.len() == input::parse_frames(&batch.input).expect("frames").len());
                for (origin, frame) in (0..).zip(input::parse_frames(&batch.input).expect("frames")) {
                    messages += 1;
                    if batch.skip.contains(&Skip { origin, value: 0 }) {
                        continue;
                    }
                    for value in decode_values(&frame) {
                        let shows = scenario.shows_at_source(value);
                        let message = Skip { origin, value: 0 };
                        match self.meet(value, shows, batch, stage.root, message, scenario) {
                            Ok(true) => {
                                let arrived = times.get(origin as usize).copied().unwrap_or_default();
                                let time = if event_time { scenario.values[value as usize].time } else { arrived };
                                reached = reached.max(time);
                                moving.push(Moving::new(value, time, reached));
                            }
                            Ok(false) => failures.push(failure(stage.root, message, None, value)),
                            Err(outcome) => return outcome,
                        }
                    }
                }
                timing.time = moving.iter().map(|moving| EventTime(moving.time)).max().filter(|_| event_time);
            }
            Input::Generate(source, _) => {
                let lane = scenario.lanes.iter().find(|lane| lane.source == source.0).expect("a generator has a lane");
                let wanted = input::parse_generate(&batch.input).expect("a number");
                for origin in 0..wanted {
                    let next = self.states.get(&("generator:g".to_owned(), key::nil())).map_or(0, |state| state[0]);
                    let Some(frame) = lane.frames.get(next as usize) else {
                        ended = true;
                        break;
                    };
                    messages += 1;
                    let value = frame[0];
                    self.change("generator:g", &key::nil(), batch.batch);
                    let message = Skip { origin, value: 0 };
                    if batch.skip.contains(&message) {
                        continue;
                    }
                    let shows = scenario.shows_at_source(value);
                    match self.meet(value, shows, batch, stage.root, message, scenario) {
                        Ok(true) => {
                            let time = times.first().copied().unwrap_or_default();
                            moving.push(Moving::new(value, time, time));
                        }
                        Ok(false) => failures.push(failure(stage.root, message, None, value)),
                        Err(outcome) => return outcome,
                    }
                }
            }
            Input::Groups(_) => {
                let tables: Vec<(NodeId, String)> =
                    stage.steps.iter().filter_map(|step| table(*step, scenario)).collect();
                let windows = windows(stage, scenario);
                let mut touched: Vec<(Bytes, bool)> = Vec::new();
                for (origin, group) in (0..).zip(input::parse_groups(&batch.input).expect("groups")) {
                    if group.is_timer() {
                        messages += 1;
                        let message = Skip { origin, value: 0 };
                        let (node, table, shape) = windows.clone().expect("only windows have timers");
                        self.marker =
                            Some(Marker { batch: batch.batch, node, message: batch.careful.then_some(message) });
                        let watermark = decode_values(&group.values())[0] as i64;
                        let time = times[origin as usize];
                        let fired = self.fire(&table, shape, group.key(), (watermark, time), batch.batch);
                        let skipped = |value: u32| batch.skip.contains(&Skip { origin, value });
                        if !skipped(Skip::WHOLE) {
                            let given = (0..).zip(fired).filter(|(window, _)| !skipped(*window));
                            moving.extend(given.map(|(_, fired)| Moving::fired(fired, group.key_bytes())));
                        }
                        touched.push((group.key_bytes(), true));
                        continue;
                    }
                    let timed = timed_values(&group, times.get(origin as usize).copied());
                    let values: Vec<u64> = timed.iter().map(|(value, ..)| *value).collect();
                    assert_eq!(values.len(), group.count as usize, "counts are true");
                    for (index, value) in (0..).zip(values) {
                        messages += 1;
                        let message = Skip { origin, value: index };
                        if batch.skip.contains(&message) || batch.skip.contains(&Skip { origin, value: Skip::WHOLE }) {
                            continue;
                        }
                        let node = tables[0].0;
                        let shows = value & OUTPUT == 0 && scenario.shows_at(value, stage);
                        match self.meet(value, shows, batch, node, message, scenario) {
                            Ok(true) => {}
                            Ok(false) => {
                                failures.push(failure(node, message, Some(group.key_bytes()), value));
                                continue;
                            }
                            Err(outcome) => return outcome,
                        }
                        let (_, time, watermark) = timed[index as usize];
                        if let Some((_, table, shape)) = &windows {
                            touched.push((group.key_bytes(), false));
                            if let Shape::Count(size) = *shape {
                                let came = time.max(watermark);
                                let full = self.count(table, size, group.key(), (value, came), batch.batch);
                                moving.extend(full.map(|full| Moving::fired(full, group.key_bytes())));
                                continue;
                            }
                            let in_time = self.add(table, *shape, group.key(), (value, time, watermark), batch.batch);
                            timing.late += u32::from(!in_time);
                            continue;
                        }
                        let mut count = 0;
                        for (_, table) in &tables {
                            count = self.change(table, group.key(), batch.batch);
                        }
                        let key = group.key_bytes();
                        moving.push(Moving { value, key, count, time, watermark, fired: None });
                    }
                }
                if let Some((_, table, shape)) = windows {
                    timing.timers = self.tell(&table, shape, touched);
                }
            }
            Input::Values => {
                let node = stage.steps.first().copied().unwrap_or(stage.root);
                for (origin, group) in (0..).zip(input::parse_groups(&batch.input).expect("groups")) {
                    let timed = timed_values(&group, times.get(origin as usize).copied());
                    assert_eq!(timed.len(), group.count as usize, "counts are true");
                    for (index, (value, time, watermark)) in (0..).zip(timed) {
                        messages += 1;
                        let message = Skip { origin, value: index };
                        if batch.skip.contains(&message) || batch.skip.contains(&Skip { origin, value: Skip::WHOLE }) {
                            continue;
                        }
                        let shows = scenario.shows_at(value, stage);
                        let key = group.key_bytes();
                        match self.meet(value, shows, batch, node, message, scenario) {
                            Ok(true) => moving.push(Moving { value, key, count: 0, time, watermark, fired: None }),
                            Ok(false) => failures.push(failure(node, message, Some(key), value)),
                            Err(outcome) => return outcome,
                        }
                    }
                }
            }
            Input::Cut(_) => {
                self.marker = None;
                self.outbox.push_back(FromWorker::CutResult(cut(batch)));
                return Outcome::Lives;
            }
        }
        self.marker = None;
        let mut outputs = Vec::new();
        if batch.discard {
            failures.clear();
            timing = Timing::default();
        } else {
            let mut told = None;
            for (outlet, target) in &stage.outlets {
                if told.replace(*outlet) == Some(*outlet) {
                    continue;
                }
                let data = match target {
                    Target::Stage(_) => OutputData::Groups(group(&moving, *outlet, stage, scenario)),
                    Target::Sink(_) => OutputData::Messages(encode(&moving)),
                };
                outputs.push(Output { outlet: *outlet, data });
            }
        }
        let timing = stage.clocked.then_some(timing);
        let elapsed = Duration::from_millis(1) * messages;
        let result = BatchResult { batch: batch.batch, more: false, elapsed, outputs, failures, ended, timing };
        self.reply(result, scenario.part);
        Outcome::Lives
    }

    /// Sends a result, cut into parts of so many outputs. Timers go with the first.
    fn reply(&mut self, mut result: BatchResult, part: usize) {
        while result.outputs.len() > part {
            let rest = result.outputs.split_off(part);
            let timers = result.timing.as_mut().map(|timing| std::mem::take(&mut timing.timers));
            let timing = timers.map(|timers| Timing { timers, ..Timing::default() });
            let outputs = std::mem::replace(&mut result.outputs, rest);
            let (batch, failures, elapsed) = (result.batch, Vec::new(), Duration::ZERO);
            let before = BatchResult { batch, more: true, elapsed, outputs, failures, ended: false, timing };
            self.outbox.push_back(FromWorker::Result(before));
        }
        self.outbox.push_back(FromWorker::Result(result));
    }

    /// A value meets the step where its nature shows: whether it gets through, or what it does to the worker.
    fn meet(
        &mut self,
        value: u64,
        shows: bool,
        batch: &Batch,
        node: NodeId,
        message: Skip,
        scenario: &Scenario,
    ) -> Result<bool, Outcome> {
        self.marker = Some(Marker { batch: batch.batch, node, message: batch.careful.then_some(message) });
        if value & OUTPUT != 0 {
            return Ok(true);
        }
        match scenario.values[value as usize].nature {
            Nature::Raises if shows => Ok(false),
            Nature::Kills if shows => Err(Outcome::Died(DeathCause::Signalled(11))),
            Nature::Hangs if shows => Err(Outcome::Hangs),
            _ => Ok(true),
        }
    }

    fn change(&mut self, table: &str, key: &[u8], batch: BatchId) -> u64 {
        self.mark_dirty(table, key, batch);
        let state = self.states.entry((table.to_owned(), Bytes::copy_from_slice(key))).or_insert_with(|| vec![0]);
        state[0] += 1;
        state[0]
    }

    fn add(
        &mut self,
        table: &str,
        shape: Shape,
        key: &[u8],
        (value, time, watermark): (u64, i64, i64),
        batch: BatchId,
    ) -> bool {
        self.with_open(table, key, batch, |open| open.add(shape, value, time, watermark))
    }

    fn count(
        &mut self,
        table: &str,
        size: u64,
        key: &[u8],
        (value, time): (u64, i64),
        batch: BatchId,
    ) -> Option<(Fired, i64)> {
        self.with_open(table, key, batch, |open| open.count(size, key, value, time))
    }

    fn fire(
        &mut self,
        table: &str,
        shape: Shape,
        key: &[u8],
        (watermark, time): (i64, i64),
        batch: BatchId,
    ) -> Vec<(Fired, i64)> {
        self.with_open(table, key, batch, |open| open.fire(shape, &Bytes::copy_from_slice(key), watermark, time))
    }

    /// The timers to report: of keys that had a timer in any case, of others when they need one sooner.
    fn tell(&mut self, table: &str, shape: Shape, touched: Vec<(Bytes, bool)>) -> Vec<Timer> {
        let mut timers = Vec::new();
        for (key, always) in touched {
            let state = self.states.entry((table.to_owned(), key.clone())).or_default();
            let mut open = Open::decode(state);
            timers.extend(open.tell(shape, key, always));
            *state = open.encode();
        }
        timers
    }

    fn with_open<T>(&mut self, table: &str, key: &[u8], batch: BatchId, change: impl FnOnce(&mut Open) -> T) -> T {
        self.mark_dirty(table, key, batch);
        let state = self.states.entry((table.to_owned(), Bytes::copy_from_slice(key))).or_default();
        let mut open = Open::decode(state);
        let changed = change(&mut open);
        *state = open.encode();
        changed
    }

    /// What goes into a snapshot. Nothing is kept of a key without open windows.
    fn save(&mut self, taken: &[Dirty], scenario: &Scenario) -> Vec<StateEntry> {
        let mut entries = Vec::new();
        for (key, table) in taken.iter().flat_map(|dirty| dirty.tables.iter().map(|table| (&dirty.key, table))) {
            let place = (table.clone(), key.clone());
            let has_windows = |node: &Node| matches!(&node.kind, NodeKind::Window { table: of, .. } if of == table);
            let is_empty =
                scenario.plan.topology.nodes.iter().any(has_windows) && Open::decode(&self.states[&place]).is_empty();
            let state = if is_empty { None } else { self.states.get(&place) };
            let state = state.map_or_else(Vec::new, |state| encode_values(state)).into();
            entries.push(StateEntry { table: table.as_str().into(), key: key.clone(), state });
            if is_empty {
                self.states.remove(&place);
            }
        }
        entries
    }

    fn mark_dirty(&mut self, table: &str, key: &[u8], batch: BatchId) {
        let key = Bytes::copy_from_slice(key);
        match self.dirty.iter_mut().find(|dirty| dirty.key == key) {
            Some(dirty) if dirty.tables.iter().any(|known| known == table) => {}
            Some(dirty) => dirty.tables.push(table.to_owned()),
            None => self.dirty.push(Dirty { key: key.clone(), since: batch, tables: vec![table.to_owned()] }),
        }
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
    CutResult { batch: batch.batch, elapsed, frames, consumed: at as u32, need: need as u32, error: None }
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

/// The values of a group, with the time of each and the watermark before it.
fn timed_values(group: &Group, routed_at: Option<i64>) -> Vec<(u64, i64, i64)> {
    let (codec, all) = (group.codec(), group.values());
    let values = decode_values(&group.untimed().1);
    let column = |index: usize| decode_values(&all[index * 8 * values.len()..(index + 1) * 8 * values.len()]);
    let times = if codec & TIMES == 0 { vec![0; values.len()] } else { column(0) };
    let watermarks = if codec & WATERMARKS == 0 { vec![i64::MIN as u64; values.len()] } else { column(1) };
    let routed_at = routed_at.unwrap_or(i64::MIN);
    let row = |index: usize| (values[index], times[index] as i64, routed_at.max(watermarks[index] as i64));
    (0..values.len()).map(row).collect()
}

/// The groups of an outlet: by the key it gives, or, where values cross into another pool, by the key they have, in pieces.
fn group(moving: &[Moving], node: NodeId, stage: &Stage, scenario: &Scenario) -> Vec<Group> {
    let gives_key = matches!(scenario.plan.topology.node(node).kind, NodeKind::KeyBy { .. });
    let mut groups: Vec<(Bytes, Vec<&Moving>)> = Vec::new();
    for moving in moving {
        let key = if gives_key { scenario.key(moving.value, node) } else { moving.key.clone() };
        let piece = |values: &Vec<&Moving>| gives_key || values.len() < PIECE;
        let mut known = if gives_key { groups.iter_mut().collect() } else { Vec::from_iter(groups.last_mut()) };
        match known.iter_mut().find(|(known, values)| *known == key && piece(values)) {
            Some((_, values)) => values.push(moving),
            None => groups.push((key, vec![moving])),
        }
    }
    let with_watermarks = !gives_key || only_source(&scenario.plan, node).is_some();
    let group = |(key, moving): (Bytes, Vec<&Moving>)| {
        let column = |of: fn(&&Moving) -> u64| encode_values(&moving.iter().map(of).collect::<Vec<_>>());
        let mut codec = 1;
        let mut bytes = Vec::new();
        if stage.clocked {
            codec |= TIMES;
            bytes.extend(column(|moving| moving.time as u64));
            if with_watermarks {
                codec |= WATERMARKS;
                bytes.extend(column(|moving| moving.watermark as u64));
            }
        }
        bytes.extend(column(|moving| moving.value));
        Group::new(&key, moving.len() as u32, codec, &bytes)
    };
    groups.into_iter().map(group).collect()
}

fn encode(moving: &[Moving]) -> Messages {
    if moving.iter().any(|moving| moving.fired.is_some()) {
        let bytes: Vec<u8> = moving.iter().filter_map(|moving| moving.fired).flat_map(Fired::encode).collect();
        let lengths = vec![Fired::BYTES as u32; bytes.len() / Fired::BYTES];
        return Messages { bytes: bytes.into(), lengths };
    }
    let key = |moving: &Moving| wallaroo_protocol::partition_hash(&moving.key);
    let seen = |moving: &Moving| Seen { count: moving.count, value: moving.value, key: key(moving) };
    let bytes: Vec<u8> = moving.iter().flat_map(|moving| seen(moving).encode()).collect();
    Messages { bytes: bytes.into(), lengths: vec![Seen::BYTES as u32; moving.len()] }
}
