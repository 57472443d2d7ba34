//! A simulated worker: runs batches as the SDK does, and dies or hangs when a value says so.

mod encoding;
mod run;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use wallaroo_orch::death::{DeathCause, Marker};
use wallaroo_orch::ids::Generation;
use wallaroo_protocol::topology::{Node, NodeKind};
use wallaroo_protocol::{
    BatchId, BatchResult, ForgottenState, FromWorker, RequestId, SnapshotFailure, SnapshotPart, StageId, StateEntry,
    Timer, Timing, ToWorker,
};

use crate::random::Random;
use crate::scenario::Scenario;
use crate::windows::{Fired, Open, Shape};

pub(crate) use self::encoding::{Seen, decode_values, encode_values};

/// What came of one message to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The batch that another worker was given.
    pub(crate) withdrawn: Option<BatchId>,
    /// Keys whose states it is not to save.
    unsaved: Vec<Bytes>,
    /// The values in which it hangs because a step is out.
    pub(crate) at_work: Vec<u64>,
    /// The stage in which every value hangs.
    pub(crate) out: Option<StageId>,
    /// Keys whose states it is not to load.
    unloadable: Vec<Bytes>,
    pub(crate) marker: Option<Marker>,
    /// States that are still as they were restored.
    unread: HashSet<(String, Bytes)>,
    /// The state that the last message restored last, and its bytes so far: it may come in pieces.
    restored_last: Option<(String, Bytes)>,
    pieces: Vec<u8>,
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

impl Worker {
    pub(crate) fn new(generation: Generation) -> Self {
        Self {
            generation,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            hangs: false,
            withdrawn: None,
            unsaved: Vec::new(),
            at_work: Vec::new(),
            out: None,
            unloadable: Vec::new(),
            marker: None,
            unread: HashSet::new(),
            restored_last: None,
            pieces: Vec::new(),
            states: HashMap::new(),
            dirty: Vec::new(),
        }
    }

    /// Takes the next message from the inbox and does what it says.
    pub(crate) fn step(&mut self, scenario: &Scenario, random: &mut Random) -> Outcome {
        if !matches!(self.inbox.front(), Some(ToWorker::Restore(_))) {
            self.restored_last = None;
        }
        match self.inbox.pop_front() {
            Some(ToWorker::Batch(batch)) if self.withdrawn == Some(batch.batch) => {
                run::decline(self, &batch, scenario);
                Outcome::Lives
            }
            Some(ToWorker::Batch(batch)) => run::run(self, &batch, scenario),
            Some(ToWorker::Restore(entries)) => {
                for StateEntry { table, key, state } in entries {
                    let place = (table.to_string(), key.clone());
                    if self.restored_last.as_ref() == Some(&place) {
                        self.pieces.extend_from_slice(&state);
                        self.states.insert(place, decode_values(&self.pieces));
                        continue;
                    }
                    self.restored_last = Some(place);
                    self.pieces = state.to_vec();
                    self.unread.insert((table.to_string(), key.clone()));
                    let old = self.states.insert((table.to_string(), key), decode_values(&state));
                    assert_eq!(old, None, "a state is restored before its key is used, and once");
                }
                Outcome::Lives
            }
            Some(ToWorker::Snapshot { request, max_keys }) => {
                let most = (max_keys as usize).min(1 + random.below(5));
                let keys: Vec<Bytes> = self.savable().take(most).collect();
                self.snapshot(request, &keys, random.below(8), scenario)
            }
            Some(ToWorker::SnapshotKeys { request, keys }) => {
                let keys: Vec<Bytes> = self.savable().filter(|key| keys.contains(key)).collect();
                self.snapshot(request, &keys, usize::MAX, scenario)
            }
            Some(ToWorker::DoNotSave(keys)) => {
                self.unsaved = keys;
                Outcome::Lives
            }
            Some(ToWorker::DoNotLoad(keys)) => {
                self.unloadable = keys;
                Outcome::Lives
            }
            Some(ToWorker::Forget(states)) => {
                for ForgottenState { table, key } in states {
                    let changed = self.dirty.iter().find(|dirty| dirty.key == key);
                    let is_dirty = changed.is_some_and(|dirty| dirty.tables.iter().any(|known| **known == *table));
                    assert!(!is_dirty, "what is forgotten is in a snapshot");
                    self.unread.remove(&(table.to_string(), key.clone()));
                    self.states.remove(&(table.to_string(), key));
                }
                Outcome::Lives
            }
            Some(message) => panic!("the engine sends no {message:?}"),
            None => Outcome::Lives,
        }
    }

    fn savable(&self) -> impl Iterator<Item = Bytes> {
        self.dirty.iter().map(|dirty| dirty.key.clone()).filter(|key| !self.unsaved.contains(key))
    }

    /// Sends the states of `keys` in one part, or in two if they are more than `split`. Says which states it is not to save.
    fn snapshot(&mut self, request: RequestId, keys: &[Bytes], split: usize, scenario: &Scenario) -> Outcome {
        if let Some((fatal, outcome)) = &scenario.fatal_saving
            && let Some(key) = keys.iter().find(|key| fatal.contains(key))
        {
            self.marker = Some(Marker::Saving(key.clone()));
            return outcome.clone();
        }
        let taken: Vec<_> = self.dirty.extract_if(.., |dirty| keys.contains(&dirty.key)).collect();
        let entries = pieces(self.save(&taken, scenario), scenario.part);
        let unsaved = self.dirty.iter().filter(|dirty| self.unsaved.contains(&dirty.key));
        let states = unsaved.flat_map(|dirty| dirty.tables.iter().map(|table| (table.as_str(), dirty.key.clone())));
        let failure =
            |(table, key): (&str, Bytes)| SnapshotFailure { table: table.into(), key, message: String::new() };
        let failures: Vec<_> = states.map(failure).collect();
        let oldest_dirty = self.dirty.iter().map(|dirty| dirty.since).min();
        let (first, last) = entries.split_at(split.min(entries.len()));
        if split != usize::MAX {
            let (entries, failures, oldest_dirty) = (first.to_vec(), Vec::new(), None);
            let part = SnapshotPart { request, more: true, entries, failures, oldest_dirty };
            self.outbox.push_back(FromWorker::SnapshotPart(part));
        }
        let entries = if split == usize::MAX { first } else { last }.to_vec();
        let part = SnapshotPart { request, more: false, entries, failures, oldest_dirty };
        self.outbox.push_back(FromWorker::SnapshotPart(part));
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
            let before = BatchResult { batch, more: true, elapsed, outputs, failures, ended: None, timing, slow: None };
            self.outbox.push_back(FromWorker::Result(before));
        }
        self.outbox.push_back(FromWorker::Result(result));
    }

    /// Loads the state of a key. Whether that succeeded, or what became of the worker.
    fn load(&mut self, table: &str, key: &Bytes, scenario: &Scenario) -> Result<bool, Outcome> {
        let place = (table.to_owned(), key.clone());
        if self.unloadable.contains(key) && (self.unread.contains(&place) || !self.states.contains_key(&place)) {
            return Ok(false);
        }
        let fatal =
            scenario.fatal_loading.as_ref().filter(|(keys, _)| keys.contains(key) && self.unread.contains(&place));
        if let Some((_, outcome)) = fatal {
            self.marker = Some(Marker::Loading(key.clone()));
            return Err(outcome.clone());
        }
        self.unread.remove(&place);
        Ok(true)
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

/// Cuts states that are longer than so many values into two pieces.
fn pieces(entries: Vec<StateEntry>, most: usize) -> Vec<StateEntry> {
    let cut = |mut entry: StateEntry| {
        let rest = entry.state.split_off(entry.state.len().min(most * 8));
        let piece = (!rest.is_empty()).then(|| StateEntry { state: rest, ..entry.clone() });
        [Some(entry), piece].into_iter().flatten()
    };
    entries.into_iter().flat_map(cut).collect()
}
