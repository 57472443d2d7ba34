//! A simulated worker: runs batches as the SDK does, and dies or hangs when a value says so.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use wallaroo_orch::engine::{DeathCause, Generation, Marker};
use wallaroo_orch::plan::{Input, Target};
use wallaroo_protocol::topology::NodeKind;
use wallaroo_protocol::{
    Batch, BatchId, BatchResult, CutResult, Failure, ForgottenState, FromWorker, Group, Messages, NodeId, Output,
    OutputData, Skip, SnapshotPart, StateEntry, ToWorker, input, key,
};

use crate::random::Random;
use crate::scenario::{Nature, Scenario};

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
    counts: HashMap<(String, Bytes), u64>,
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
}

impl Worker {
    pub(crate) fn new(generation: Generation) -> Self {
        Self {
            generation,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            hangs: false,
            marker: None,
            counts: HashMap::new(),
            dirty: Vec::new(),
        }
    }

    /// Takes the next message from the inbox and does what it says.
    pub(crate) fn step(&mut self, scenario: &Scenario, random: &mut Random) -> Outcome {
        match self.inbox.pop_front() {
            Some(ToWorker::Batch(batch)) => self.run(&batch, scenario),
            Some(ToWorker::Restore(entries)) => {
                for StateEntry { table, key, state } in entries {
                    let count = decode_values(&state)[0];
                    let old = self.counts.insert((table.to_string(), key), count);
                    assert_eq!(old, None, "a state is restored before its key is used, and once");
                }
                Outcome::Lives
            }
            Some(ToWorker::Snapshot { request, max_keys }) => {
                let keys = (max_keys as usize).min(1 + random.below(5)).min(self.dirty.len());
                let entries: Vec<_> =
                    self.dirty.drain(..keys).flat_map(|dirty| entries(&dirty, &self.counts)).collect();
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
                let entries = taken.iter().flat_map(|dirty| entries(dirty, &self.counts)).collect();
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
                    self.counts.remove(&(table.to_string(), key));
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
        match stage.input {
            Input::Frames(_) => {
                let has_keyed = scenario.plan.stages.iter().any(|stage| matches!(stage.input, Input::Groups(_)));
                for (origin, frame) in (0..).zip(input::parse_frames(&batch.input).expect("frames")) {
                    messages += 1;
                    if batch.skip.contains(&Skip { origin, value: 0 }) {
                        continue;
                    }
                    for value in decode_values(&frame) {
                        let shows = !has_keyed || !scenario.values[value as usize].at_key;
                        let message = Skip { origin, value: 0 };
                        match self.meet(value, shows, batch, stage.root, message, scenario) {
                            Ok(true) => moving.push(Moving { value, key: key::nil(), count: 0 }),
                            Ok(false) => failures.push(failure(stage.root, message, None, value)),
                            Err(outcome) => return outcome,
                        }
                    }
                }
            }
            Input::Generate(source, _) => {
                let lane = scenario.lanes.iter().find(|lane| lane.source == source.0).expect("a generator has a lane");
                let wanted = input::parse_generate(&batch.input).expect("a number");
                for origin in 0..wanted {
                    let next = self.counts.get(&("generator:g".to_owned(), key::nil())).copied().unwrap_or(0);
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
                    let shows = !scenario.values[value as usize].at_key;
                    match self.meet(value, shows, batch, stage.root, message, scenario) {
                        Ok(true) => moving.push(Moving { value, key: key::nil(), count: 0 }),
                        Ok(false) => failures.push(failure(stage.root, message, None, value)),
                        Err(outcome) => return outcome,
                    }
                }
            }
            Input::Groups(_) => {
                let tables: Vec<(NodeId, String)> =
                    stage.steps.iter().filter_map(|step| table(*step, scenario)).collect();
                let first = scenario.plan.stages.iter().find(|other| matches!(other.input, Input::Groups(_)));
                let is_first = first.is_some_and(|first| stage.depth == first.depth);
                for (origin, group) in (0..).zip(input::parse_groups(&batch.input).expect("groups")) {
                    let values = decode_values(&group.values());
                    assert_eq!(values.len(), group.count as usize, "counts are true");
                    for (index, value) in (0..).zip(values) {
                        messages += 1;
                        let message = Skip { origin, value: index };
                        if batch.skip.contains(&message) || batch.skip.contains(&Skip { origin, value: Skip::WHOLE }) {
                            continue;
                        }
                        let node = tables[0].0;
                        let shows = is_first && scenario.values[value as usize].at_key;
                        match self.meet(value, shows, batch, node, message, scenario) {
                            Ok(true) => {}
                            Ok(false) => {
                                failures.push(failure(node, message, Some(group.key_bytes()), value));
                                continue;
                            }
                            Err(outcome) => return outcome,
                        }
                        let mut count = 0;
                        for (_, table) in &tables {
                            count = self.change(table, group.key(), batch.batch);
                        }
                        moving.push(Moving { value, key: group.key_bytes(), count });
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
        } else {
            for (outlet, target) in &stage.outlets {
                let data = match target {
                    Target::Stage(_) => OutputData::Groups(group(&moving, *outlet, scenario)),
                    Target::Sink(_) => OutputData::Messages(encode(&moving)),
                };
                outputs.push(Output { outlet: *outlet, data });
            }
        }
        self.reply(batch.batch, &outputs, failures, ended, messages, scenario);
        Outcome::Lives
    }

    /// Sends a result, cut into parts.
    fn reply(
        &mut self,
        batch: BatchId,
        outputs: &[Output],
        failures: Vec<Failure>,
        ended: bool,
        messages: u32,
        scenario: &Scenario,
    ) {
        let elapsed = Duration::from_millis(1) * messages;
        let mut parts: Vec<Vec<Output>> = outputs.chunks(scenario.part).map(<[Output]>::to_vec).collect();
        let last = parts.pop().unwrap_or_default();
        for outputs in parts {
            let (failures, elapsed) = (Vec::new(), Duration::ZERO);
            let result = BatchResult { batch, more: true, elapsed, outputs, failures, ended: false };
            self.outbox.push_back(FromWorker::Result(result));
        }
        let result = BatchResult { batch, more: false, elapsed, outputs: last, failures, ended };
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
        match scenario.values[value as usize].nature {
            Nature::Raises if shows => Ok(false),
            Nature::Kills if shows => Err(Outcome::Died(DeathCause::Signalled(11))),
            Nature::Hangs if shows => Err(Outcome::Hangs),
            _ => Ok(true),
        }
    }

    fn change(&mut self, table: &str, key: &[u8], batch: BatchId) -> u64 {
        let key = Bytes::copy_from_slice(key);
        match self.dirty.iter_mut().find(|dirty| dirty.key == key) {
            Some(dirty) if dirty.tables.iter().any(|known| known == table) => {}
            Some(dirty) => dirty.tables.push(table.to_owned()),
            None => self.dirty.push(Dirty { key: key.clone(), since: batch, tables: vec![table.to_owned()] }),
        }
        let count = self.counts.entry((table.to_owned(), key)).or_insert(0);
        *count += 1;
        *count
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

fn entries(dirty: &Dirty, counts: &HashMap<(String, Bytes), u64>) -> Vec<StateEntry> {
    let entry = |table: String| {
        let count = counts[&(table.clone(), dirty.key.clone())];
        StateEntry { table: table.as_str().into(), key: dirty.key.clone(), state: encode_values(&[count]).into() }
    };
    dirty.tables.iter().cloned().map(entry).collect()
}

fn table(step: NodeId, scenario: &Scenario) -> Option<(NodeId, String)> {
    match &scenario.plan.topology.nodes[step.index()].kind {
        NodeKind::State { table, .. } => Some((step, table.clone())),
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

fn group(moving: &[Moving], node: NodeId, scenario: &Scenario) -> Vec<Group> {
    let mut groups: Vec<(Bytes, Vec<u64>)> = Vec::new();
    for moving in moving {
        let key = scenario.key(moving.value, node);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(moving.value),
            None => groups.push((key, vec![moving.value])),
        }
    }
    let group = |(key, values): (Bytes, Vec<u64>)| Group::new(&key, values.len() as u32, 1, &encode_values(&values));
    groups.into_iter().map(group).collect()
}

fn encode(moving: &[Moving]) -> Messages {
    let key = |moving: &Moving| wallaroo_protocol::partition_hash(&moving.key);
    let seen = |moving: &Moving| Seen { count: moving.count, value: moving.value, key: key(moving) };
    let bytes: Vec<u8> = moving.iter().flat_map(|moving| seen(moving).encode()).collect();
    Messages { bytes: bytes.into(), lengths: vec![Seen::BYTES as u32; moving.len()] }
}
