//! Windows of time: what a simulated worker does with them, and what must come of them whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wallaroo_protocol::topology::{NodeKind, Window};
use wallaroo_protocol::{EventTime, NodeId, Timer};

use crate::pooled::{key_node, only_source};
use crate::random::mix;
use crate::scenario::Scenario;
use crate::world::World;

/// An output of a window has a number of its own, above those of all values.
pub(crate) const OUTPUT: u64 = 1 << 63;

/// What a window gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fired {
    pub(crate) key: u64,
    pub(crate) start: i64,
    pub(crate) count: u64,
    /// Of the values' numbers, mixed.
    pub(crate) sum: u64,
}

impl Fired {
    pub(crate) const BYTES: usize = 32;

    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let fields = [self.key, self.start as u64, self.count, self.sum];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Self { key: number(0), start: number(8) as i64, count: number(16), sum: number(24) }
    }
}

/// The shape of the windows of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Range {
        range: i64,
        slide: i64,
        delay: i64,
    },
    /// So many values. Its window starts when the last of them came, and is given then or at the end.
    Count(u64),
}

impl Shape {
    pub(crate) fn of(node: NodeId, scenario: &Scenario) -> Option<Self> {
        match &scenario.plan.topology.node(node).kind {
            NodeKind::Window { window: Window::Range { range, slide, delay, .. }, .. } => {
                Some(Self::Range { range: *range as i64, slide: *slide as i64, delay: *delay as i64 })
            }
            NodeKind::Window { window: Window::Count { count }, .. } => Some(Self::Count(*count)),
            _ => None,
        }
    }

    /// The windows that `time` belongs to and that are not complete at `watermark`.
    fn open_at(self, time: i64, watermark: i64) -> Vec<i64> {
        let Self::Range { range, slide, .. } = self else { return vec![time] };
        let last = time.div_euclid(slide) * slide;
        let starts = std::iter::successors(Some(last), |start| Some(start - slide));
        starts.take_while(|start| start + range > time).filter(|start| self.deadline(*start) > watermark).collect()
    }

    fn deadline(self, start: i64) -> i64 {
        match self {
            Self::Range { range, delay, .. } => start + range + delay,
            Self::Count(_) => EventTime::END.0,
        }
    }

    /// The time of what a window gives on a timer: the last moment in it, or when it is given.
    fn given(self, start: i64, time: i64) -> i64 {
        match self {
            Self::Range { range, .. } => start + range - 1,
            Self::Count(_) => start.max(time),
        }
    }
}

/// The open windows of a key, and the deadline the engine was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Open {
    told: Option<i64>,
    windows: BTreeMap<i64, (u64, u64)>,
}

impl Open {
    pub(crate) fn decode(state: &[u64]) -> Self {
        let Some((told, windows)) = state.split_first() else { return Self::default() };
        let windows = windows.chunks_exact(3).map(|window| (window[0] as i64, (window[1], window[2])));
        Self { told: Some(*told as i64).filter(|told| *told != i64::MIN), windows: windows.collect() }
    }

    pub(crate) fn encode(&self) -> Vec<u64> {
        let windows = self.windows.iter().flat_map(|(start, (count, sum))| [*start as u64, *count, *sum]);
        std::iter::once(self.told.unwrap_or(i64::MIN) as u64).chain(windows).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Takes a value, which came at `time`, into the one window of so many; returns it when it is full.
    pub(crate) fn count(&mut self, size: u64, key: &[u8], value: u64, time: i64) -> Option<(Fired, i64)> {
        let (_, (count, sum)) = self.windows.pop_first().unwrap_or_default();
        let (count, sum) = (count + 1, sum.wrapping_add(mix(value)));
        if count < size {
            self.windows.insert(time, (count, sum));
            return None;
        }
        let key = wallaroo_protocol::partition_hash(key);
        Some((Fired { key, start: time, count, sum }, time))
    }

    /// Takes a value in; whether it was in time for any window.
    pub(crate) fn add(&mut self, shape: Shape, value: u64, time: i64, watermark: i64) -> bool {
        let starts = shape.open_at(time, watermark);
        for start in &starts {
            let (count, sum) = self.windows.entry(*start).or_default();
            *count += 1;
            *sum = sum.wrapping_add(mix(value));
        }
        !starts.is_empty()
    }

    /// Takes out the windows that are complete, each with the time of its output. `time` is that of the timer.
    pub(crate) fn fire(&mut self, shape: Shape, key: &Bytes, watermark: i64, time: i64) -> Vec<(Fired, i64)> {
        let key = wallaroo_protocol::partition_hash(key);
        let mut fired = Vec::new();
        while let Some(window) = self.windows.first_entry() {
            let start = *window.key();
            if shape.deadline(start) > watermark {
                break;
            }
            let (count, sum) = window.remove();
            fired.push((Fired { key, start, count, sum }, shape.given(start, time)));
        }
        fired
    }

    /// The deadline to be reported after a batch, if it is to be.
    pub(crate) fn tell(&mut self, shape: Shape, key: Bytes, always: bool) -> Option<Timer> {
        let next = self.windows.keys().next().map(|start| shape.deadline(*start));
        let sooner = next.is_some_and(|next| self.told.is_none_or(|told| next < told));
        (always || sooner).then(|| {
            self.told = next;
            Timer { key, deadline: next.map(EventTime) }
        })
    }
}

/// Whether what reaches a sink are outputs of windows.
pub(crate) fn feed(world: &World, sink: usize) -> bool {
    Shape::of(above(world, sink), &world.scenario).is_some()
}

fn above(world: &World, sink: usize) -> NodeId {
    let plan = &world.scenario.plan;
    plan.topology.node(plan.sinks[sink].node).inputs[0]
}

/// Every window gave one output, in order, of all values that were in time for it, and of no others.
pub(crate) fn check(world: &World, sink: usize, dead: &BTreeMap<u64, Vec<NodeId>>) {
    let plan = &world.scenario.plan;
    let node = above(world, sink);
    let shape = Shape::of(node, &world.scenario).expect("windows are above it");
    let fired = &world.fired[sink];
    // Of a key whose timer killed its workers, nobody knows which windows were given up.
    let lost: BTreeSet<u64> =
        world.lost_windows(node).iter().map(|key| wallaroo_protocol::partition_hash(key)).collect();
    if let Shape::Count(size) = shape {
        check_counts(world, fired, size, dead, &lost);
        return;
    }
    let mut last: BTreeMap<u64, i64> = BTreeMap::new();
    for window in fired {
        assert!(window.count > 0, "an empty window gave {window:?}");
        let before = last.insert(window.key, window.start);
        assert!(before < Some(window.start), "{window:?} came after the one that starts at {before:?}");
    }
    let late = world.late_at(node);
    let taken: u64 = fired.iter().map(|window| window.count).sum();
    let stage = plan.stages.iter().find(|stage| stage.steps.contains(&node)).expect("a stage has it");
    let feeders: Vec<_> = plan.stages.iter().filter(|other| other.targets(stage.root).next().is_some()).collect();
    let passed = world.passed().filter(|value| !dead.contains_key(value)).count() as u64;
    let from_windows =
        feeders.iter().flat_map(|feeder| &feeder.steps).any(|step| Shape::of(*step, &world.scenario).is_some());
    if from_windows {
        // What comes of a window is never late for the next one.
        let given = world.fired[0].len() as u64 - dead.keys().filter(|value| **value >= OUTPUT).count() as u64;
        assert_eq!(late, 0, "outputs of windows were late");
        assert!(taken == given || !lost.is_empty() && taken < given, "{taken} of {given} outputs are in windows");
        return;
    }
    let key_node = key_node(plan, stage.root);
    let exact = only_source(plan, key_node).filter(|node| {
        plan.sources.iter().any(|source| source.node == *node && source.event_time && source.framing.is_some())
    });
    let Some(source) = exact else {
        let all = taken + late;
        let some =
            !lost.is_empty() || world.is_cut_short() && plan.sources.iter().any(|source| source.framing.is_none());
        assert!(all == passed || some && all < passed, "{taken} values in windows, {late} late, {passed} sent");
        let by_arrival = plan.sources.iter().all(|source| !source.event_time);
        assert!(late == 0 || !by_arrival, "{late} values were late, though they were taken as they came");
        return;
    };
    let (expected, too_late) = expected_windows(world, shape, source, key_node, dead);
    let whole = |window: &&Fired| !lost.contains(&window.key);
    let fired: BTreeSet<Fired> = fired.iter().filter(whole).copied().collect();
    let expected: BTreeSet<Fired> = expected.values().filter(whole).copied().collect();
    assert_eq!(fired, expected, "windows of {shape:?}");
    assert_eq!(late, too_late, "late values");
}

/// The windows of values of one source that say when they happened, by key and start, and how many values were late.
fn expected_windows(
    world: &World,
    shape: Shape,
    source: NodeId,
    key_node: NodeId,
    dead: &BTreeMap<u64, Vec<NodeId>>,
) -> (BTreeMap<(u64, i64), Fired>, u64) {
    let mut expected: BTreeMap<(u64, i64), Fired> = BTreeMap::new();
    let (mut watermark, mut too_late) = (i64::MIN, 0);
    for value in &world.order {
        let died_at = dead.get(value).map(|nodes| nodes[0]);
        if died_at == Some(source) {
            continue;
        }
        let time = world.scenario.values[*value as usize].time;
        watermark = watermark.max(time);
        if died_at.is_some() {
            continue;
        }
        let key = wallaroo_protocol::partition_hash(&world.scenario.key(*value, key_node));
        let starts = shape.open_at(time, watermark);
        too_late += u64::from(starts.is_empty());
        for start in starts {
            let fired = expected.entry((key, start)).or_insert(Fired { key, start, count: 0, sum: 0 });
            fired.count += 1;
            fired.sum = fired.sum.wrapping_add(mix(*value));
        }
    }
    (expected, too_late)
}

/// Every value is in a window, and only a key's last one is not full.
fn check_counts(world: &World, fired: &[Fired], size: u64, dead: &BTreeMap<u64, Vec<NodeId>>, lost: &BTreeSet<u64>) {
    let mut open: BTreeSet<u64> = BTreeSet::new();
    for window in fired {
        assert!((1..=size).contains(&window.count), "{window:?} is not one of {size}");
        assert!(!open.contains(&window.key), "{window:?} came after one that was not full");
        if window.count < size {
            open.insert(window.key);
        }
    }
    let taken: u64 = fired.iter().map(|window| window.count).sum();
    let passed = world.passed().filter(|value| !dead.contains_key(value)).count() as u64;
    assert!(taken == passed || !lost.is_empty() && taken < passed, "{taken} of {passed} values are in windows");
}
