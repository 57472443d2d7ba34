//! What a seed makes of the world: the topology, the messages, the settings, and how often things go wrong.

use std::time::Duration;

use wallaroo_orch::death::DeathCause;
use wallaroo_orch::engine::EngineConfig;
use wallaroo_orch::plan::{Plan, Stage};
use wallaroo_protocol::topology::{
    Fill, Framing, Node, NodeKind, OnLate, SinkConfig, SourceConfig, UnknownKey, Window,
};
use wallaroo_protocol::{BatchId, NodeId, StageId, Topology, key};

use crate::pooled::{pooled, pooled_windows, sites};
use crate::random::{Random, mix};
use crate::worker::{Outcome, encode_values};

/// In the nanoseconds of event time.
const MILLISECOND: i64 = 1_000_000;

/// What is the matter with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Good,
    /// The user's code raises.
    Raises,
    /// The user's code kills the worker.
    Kills,
    /// The user's code never returns.
    Hangs,
}

/// A value: a word of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    /// The source and the connection it was sent on.
    pub(crate) lane: usize,
    pub(crate) nature: Nature,
    /// The step, among those a value passes, at which its nature shows.
    pub(crate) at_key: bool,
    /// When it happened, where sources say so.
    pub(crate) time: i64,
}

/// What is written only now and then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Late {
    /// Consumers are slow.
    pub(crate) sinks: bool,
    /// The disk of the dead letters is full.
    pub(crate) letters: bool,
}

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) plan: Plan,
    pub(crate) config: EngineConfig,
    /// By id.
    pub(crate) values: Vec<Value>,
    /// Frames to be sent, by source and connection: each a list of value ids.
    pub(crate) lanes: Vec<Lane>,
    pub(crate) keys: usize,
    /// Once in how many steps the orchestrator dies, and another one goes on; 0: never.
    pub(crate) ends: usize,
    /// Once in how many steps a worker dies by itself; 0: never.
    pub(crate) crashes: usize,
    pub(crate) retires: usize,
    /// Once in how many steps slots are added, taken away, or given to another worker; 0: never.
    pub(crate) changes: usize,
    pub(crate) late: Late,
    /// The user drains before all is sent.
    pub(crate) drains_early: bool,
    /// The orchestrator stands still now and then.
    pub(crate) stands_still: bool,
    /// The value that a generator cannot make: whoever asks it for that dies.
    pub(crate) fatal_value: Option<usize>,
    /// Once in how many steps workers take long, but move on; 0: never.
    pub(crate) slow: usize,
    /// A stage in which every value hangs for some steps of the world, from one on.
    pub(crate) outage: Option<(StageId, std::ops::Range<usize>)>,
    /// One in how many batches has a call that takes long; 0: none.
    pub(crate) slow_calls: u64,
    /// Keys whose states cannot be saved, and what becomes of a worker that tries.
    pub(crate) fatal_saving: Option<(Vec<bytes::Bytes>, Outcome)>,
    /// Keys whose states cannot be loaded, and what becomes of a worker that tries.
    pub(crate) fatal_loading: Option<(Vec<bytes::Bytes>, Outcome)>,
    /// Results are cut into parts of this many outputs.
    pub(crate) part: usize,
}

/// A connection, or a generator.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) source: u32,
    pub(crate) frames: Vec<Vec<u64>>,
    /// Whether the client's bytes reach the engine uncut.
    pub(crate) is_uncut: bool,
    /// Whether the client is told what is durable, and goes on there.
    pub(crate) is_acknowledged: bool,
    /// The frame, if there is one, before which the client sends what is no frame.
    pub(crate) nonsense_before: Option<usize>,
}

impl Lane {
    /// The frames as a client sends them: each after its length.
    pub(crate) fn stream(&self) -> Vec<u8> {
        let framed = |(index, frame): (usize, &Vec<u64>)| {
            let values = encode_values(frame);
            let nonsense = if self.nonsense_before == Some(index) { [0xff_u8; 4].as_slice() } else { &[] };
            [nonsense, &(values.len() as u32).to_be_bytes(), values.as_slice()].concat()
        };
        self.frames.iter().enumerate().flat_map(framed).collect()
    }
}

impl Scenario {
    pub(crate) fn new(random: &mut Random) -> Self {
        let plan = Plan::new(any_topology(random)).expect("scenarios can be planned");
        let keys = random.pick(&[1, 3, 30]);
        let mut values = Vec::new();
        let config = any_config(&plan, random);
        let lanes = lanes(&plan, &mut values, config.logged, random);
        let fatal_saving = fatal_saving(&config, random);
        let fatal_loading = fatal_loading(&plan, random);
        let outage = outage(&plan, random);
        let ends = if config.logged { random.pick(&[0, 400, 100, 30]) } else { 0 };
        Self {
            plan,
            config,
            values,
            lanes,
            keys,
            ends,
            crashes: random.pick(&[0, 300, 60, 25]),
            retires: random.pick(&[0, 0, 100]),
            changes: random.pick(&[0, 100, 30]),
            late: Late { sinks: random.one_in(2), letters: random.one_in(2) },
            drains_early: random.one_in(4),
            stands_still: random.one_in(4),
            fatal_value: random.one_in(4).then(|| random.below(40)),
            slow: random.pick(&[0, 0, 0, 50]),
            slow_calls: random.pick(&[0, 0, 10, 40]),
            outage,
            fatal_saving,
            fatal_loading,
            part: random.pick(&[1, 2, 1000]),
        }
    }

    /// Whether the nature of a value shows in a stage after its source's. Where there is none it shows at the source.
    pub(crate) fn shows_at(&self, value: u64, stage: &Stage) -> bool {
        let sites = sites(&self.plan);
        let mine = sites.get(mix(value) as usize % sites.len().max(1));
        self.values[value as usize].at_key && mine.is_some_and(|mine| mine.depth == stage.depth)
    }

    /// Whether the nature of a value shows at its source.
    pub(crate) fn shows_at_source(&self, value: u64) -> bool {
        !self.values[value as usize].at_key || sites(&self.plan).is_empty()
    }

    /// How long a batch with so many messages takes.
    pub(crate) fn elapsed(&self, batch: BatchId, messages: u32) -> Duration {
        let slow = self.slow_calls > 0 && mix(batch.0).is_multiple_of(self.slow_calls);
        Duration::from_millis(1) * messages + if slow { Duration::from_secs(5) } else { Duration::ZERO }
    }

    /// The stage in which every value hangs at a step of the world.
    pub(crate) fn out_at(&self, step: usize) -> Option<StageId> {
        self.outage.as_ref().filter(|(_, steps)| steps.contains(&step)).map(|(stage, _)| *stage)
    }

    /// Whether a value needs a state that cannot be loaded.
    pub(crate) fn needs_fatal_state(&self, value: u64) -> bool {
        let Some((fatal, _)) = &self.fatal_loading else { return false };
        let by_key = |node: &NodeId| matches!(self.plan.topology.node(*node).kind, NodeKind::KeyBy { .. });
        let nodes = (0..self.plan.topology.nodes.len() as u32).map(NodeId);
        nodes.filter(by_key).any(|node| fatal.contains(&self.key(value, node)))
    }

    /// The key a value has at a `key_by` node.
    pub(crate) fn key(&self, value: u64, node: NodeId) -> bytes::Bytes {
        key_number(mix(value ^ (u64::from(node.0 % 4) << 40)) as usize % self.keys)
    }
}

fn any_topology(random: &mut Random) -> Topology {
    match random.below(16) {
        0 => stateless(random),
        1 => counted(random),
        2 => rekeyed(),
        3 => shared(),
        4 => uncut(),
        5 => generated(),
        6 | 7 => windowed(random),
        8 => windows_of_two(random),
        9 => windows_of_windows(random),
        10 => windows_of_generated(random),
        11 | 12 => pooled(random),
        13 => pooled_windows(random),
        14 => two_tables(),
        _ => windows_below_state(random),
    }
}

/// The connections of every source with their frames, whose values are appended to `values`.
fn lanes(plan: &Plan, values: &mut Vec<Value>, positions: bool, random: &mut Random) -> Vec<Lane> {
    let mut lanes = Vec::new();
    let troubles = random.pick(&[0, 0, 40, 8]);
    let disorder = random.pick(&[1, 4, 30]);
    for (source, planned) in (0..).zip(&plan.sources) {
        let generator = planned.framing.is_none();
        let is_uncut = planned.cut.is_some();
        let is_acknowledged = !generator && !is_uncut && (!positions || random.one_in(2));
        // A file is one connection.
        let connections = if generator || positions && !is_acknowledged { 1 } else { 1 + random.below(3) };
        for _ in 0..connections {
            let lane = lanes.len();
            let mut clock = 0;
            let mut word = |random: &mut Random| {
                let nature = any_nature(troubles, random);
                let at_key = random.one_in(2);
                clock += random.below(4) as i64 * MILLISECOND;
                let time = clock - random.below(disorder) as i64 * MILLISECOND;
                values.push(Value { lane, nature, at_key, time });
                values.len() as u64 - 1
            };
            let count = random.below(40);
            let frame = |_| {
                let words = if generator { 1 } else { random.below(6) };
                (0..words).map(|_| word(random)).collect()
            };
            let frames: Vec<Vec<u64>> = (0..count).map(frame).collect();
            let nonsense_before = (is_uncut && random.one_in(3)).then(|| random.below(count.max(1)));
            lanes.push(Lane { source, frames, is_uncut, is_acknowledged, nonsense_before });
        }
    }
    lanes
}

/// What a value does to its worker; one in `often` is trouble, none if that is 0.
fn any_nature(often: usize, random: &mut Random) -> Nature {
    match often {
        0 => Nature::Good,
        often if random.one_in(often) => random.pick(&[Nature::Raises, Nature::Raises, Nature::Kills, Nature::Hangs]),
        _ => Nature::Good,
    }
}

fn any_config(plan: &Plan, random: &mut Random) -> EngineConfig {
    EngineConfig {
        slots: 1 + random.below(4) as u32,
        pool_slots: plan.named_pools.iter().map(|_| 1 + random.below(3) as u32).collect(),
        window: 1 + random.below(3),
        queue_bytes: random.pick(&[200, 2000, 1 << 20]),
        queue_time: random.pick(&[Duration::from_nanos(1), Duration::from_millis(50), Duration::from_secs(3600)]),
        service_target: Duration::from_millis(5),
        batch_messages: random.pick(&[1, 7, 8192]),
        batch_bytes: random.pick(&[64, 1 << 20]),
        max_frame: 1 << 20,
        step_timeout: Duration::from_secs(30),
        eager_restore_bytes: random.pick(&[0, 1 << 20]),
        message_bytes: random.pick(&[40, 200, 1 << 19]),
        logged: random.one_in(2),
        checkpoint_bytes: random.pick(&[0, 2000, 1 << 20]),
        stop_timeout: Duration::from_millis(random.pick(&[0, 30, 3_600_000])),
        keep_ledger: true,
        max_messages_per_worker: random.pick(&[None, None, Some(100)]),
        vacant_after: Duration::from_millis(random.pick(&[0, 20, 3_600_000])),
        idle_after: random.pick(&[Duration::ZERO, Duration::from_millis(40), Duration::from_secs(3600)]),
        replay_budget: random.pick(&[Duration::ZERO, Duration::from_millis(20), Duration::from_secs(250)]),
    }
}

/// Only where journals may grow: the state can be rebuilt from nothing else.
fn fatal_saving(config: &EngineConfig, random: &mut Random) -> Option<(Vec<bytes::Bytes>, Outcome)> {
    let fatal = fatal_keys(random);
    (config.queue_bytes >= 1 << 20 && random.one_in(4)).then_some(fatal)
}

/// What one of the stages calls is away for a while.
fn outage(plan: &Plan, random: &mut Random) -> Option<(StageId, std::ops::Range<usize>)> {
    let (stage, begin) =
        (random.pick(&plan.stages.iter().map(|stage| stage.id).collect::<Vec<_>>()), random.below(300));
    random.one_in(4).then(|| (stage, begin..begin + 1 + random.below(60)))
}

/// Windows are left out: what is lost with their states is not told value by value.
fn fatal_loading(plan: &Plan, random: &mut Random) -> Option<(Vec<bytes::Bytes>, Outcome)> {
    let has_windows = plan.topology.nodes.iter().any(|node| matches!(node.kind, NodeKind::Window { .. }));
    let fatal = fatal_keys(random);
    (!has_windows && random.one_in(4)).then_some(fatal)
}

/// One key or many, and what becomes of a worker that touches their states.
fn fatal_keys(random: &mut Random) -> (Vec<bytes::Bytes>, Outcome) {
    let outcome = if random.one_in(2) { Outcome::Hangs } else { Outcome::Died(DeathCause::Signalled(11)) };
    let count = if random.one_in(2) { 1 } else { 30 };
    ((0..count).map(key_number).collect(), outcome)
}

fn key_number(number: usize) -> bytes::Bytes {
    key::from_str(&format!("k{number}"))
}

pub(crate) fn node(name: &str, inputs: &[u32], kind: NodeKind) -> Node {
    Node { name: name.to_owned(), inputs: inputs.iter().map(|input| NodeId(*input)).collect(), kind }
}

pub(crate) fn source(pipeline: &str) -> Node {
    source_with(pipeline, false)
}

/// Windows of a few milliseconds: each event takes one.
pub(crate) fn window(input: u32, table: &str, random: &mut Random) -> Node {
    let range = random.pick(&[4, 30, 300]);
    let slide = random.pick(&[range, range, range / 2, range / 4]);
    windows(input, table, range, slide, random.pick(&[0, 0, 5, 40]))
}

fn windows(input: u32, table: &str, range: i64, slide: i64, delay: i64) -> Node {
    let nanoseconds = |milliseconds: i64| (milliseconds * MILLISECOND) as u64;
    let window = Window::Range {
        range: nanoseconds(range),
        slide: nanoseconds(slide),
        delay: nanoseconds(delay),
        on_late: OnLate::Drop,
    };
    node("window", &[input], NodeKind::Window { table: table.to_owned(), table_type: "Sum".to_owned(), window })
}

fn counts(input: u32, table: &str, random: &mut Random) -> Node {
    let window = Window::Count { count: random.pick(&[1, 2, 7, 100]) };
    node("window", &[input], NodeKind::Window { table: table.to_owned(), table_type: "Sum".to_owned(), window })
}

fn windowed(random: &mut Random) -> Topology {
    if random.one_in(4) {
        // Who knows in how many windows what came when: in one each.
        let range = random.pick(&[4, 30, 300]);
        return topology(vec![source("a"), key_by(0), windows(1, "w", range, range, 0), sink(2)]);
    }
    topology(vec![source_with("a", true), key_by(0), window(1, "w", random), sink(2)])
}

fn windows_of_two(random: &mut Random) -> Topology {
    let key = node("key", &[0, 1], NodeKind::KeyBy { keys: None, unknown_key: UnknownKey::Create });
    let range = random.pick(&[4, 30, 300]);
    let window = windows(2, "w", range, range, random.pick(&[0, 0, 5, 40]));
    topology(vec![source_with("a", true), source_with("b", random.one_in(2)), key, window, sink(3)])
}

fn windows_of_windows(random: &mut Random) -> Topology {
    let range = random.pick(&[4, 30, 300]);
    let first = if random.one_in(3) { counts(1, "w", random) } else { window(1, "w", random) };
    let second = windows(4, "v", range, range, random.pick(&[0, 0, 7]));
    topology(vec![source_with("a", true), key_by(0), first, sink(2), key_by(2), second, sink(5)])
}

fn windows_of_generated(random: &mut Random) -> Topology {
    let range = random.pick(&[4, 30, 300]);
    topology(vec![generator(), key_by(0), windows(1, "w", range, range, 0), sink(2)])
}

fn windows_below_state(random: &mut Random) -> Topology {
    let range = random.pick(&[4, 30, 300]);
    let window = windows(3, "w", range, range, random.pick(&[0, 0, 5, 40]));
    topology(vec![source_with("a", random.one_in(2)), key_by(0), state(1, "t"), key_by(2), window, sink(4)])
}

pub(crate) fn source_with(pipeline: &str, event_time: bool) -> Node {
    let kind = NodeKind::Source {
        pipeline: pipeline.to_owned(),
        source: SourceConfig::Stdin {},
        decoder: Some("Decoder".to_owned()),
        framing: Some(Framing::Delimiter { delimiter: bytes::Bytes::from_static(b"\n") }),
        event_time,
    };
    node(pipeline, &[], kind)
}

pub(crate) fn key_by(input: u32) -> Node {
    node("key", &[input], NodeKind::KeyBy { keys: None, unknown_key: UnknownKey::Create })
}

pub(crate) fn state(input: u32, table: &str) -> Node {
    node("state", &[input], NodeKind::State { table: table.to_owned(), table_type: "State".to_owned() })
}

/// A step without state, which waits for fuller batches now and then.
pub(crate) fn step(input: u32, pool: Option<&str>, random: &mut Random) -> Node {
    let fill = Fill { messages: random.pick(&[1, 5, 100]), wait: random.pick(&[0, 20, 10_000]) * MILLISECOND as u64 };
    let fill = random.one_in(3).then_some(fill);
    node("step", &[input], NodeKind::Computation { pool: pool.map(str::to_owned), fill })
}

pub(crate) fn sink(input: u32) -> Node {
    node("sink", &[input], NodeKind::Sink { sink: SinkConfig::Stdout {}, encoder: "Encoder".to_owned() })
}

pub(crate) fn topology(nodes: Vec<Node>) -> Topology {
    Topology { name: "simulated".to_owned(), nodes, stop_at: Vec::new() }
}

fn stateless(random: &mut Random) -> Topology {
    topology(vec![source("a"), step(0, None, random), sink(1)])
}

fn counted(random: &mut Random) -> Topology {
    let keys = (0..30).map(|number| key::Key::new(key_number(number)).expect("a key")).collect();
    let keys = random.one_in(2).then_some(keys);
    let by = node("key", &[0], NodeKind::KeyBy { keys, unknown_key: UnknownKey::Create });
    topology(vec![source("a"), by, state(1, "t"), sink(2)])
}

/// A key with two states, which come in two parts of a snapshot now and then.
fn two_tables() -> Topology {
    topology(vec![source("a"), key_by(0), state(1, "t"), state(2, "u"), sink(3)])
}

fn rekeyed() -> Topology {
    topology(vec![source("a"), key_by(0), state(1, "t"), key_by(2), state(3, "u"), sink(4), sink(2)])
}

fn shared() -> Topology {
    // Both key_by nodes have the same number modulo four, and so the same keys.
    topology(vec![source("a"), key_by(0), state(1, "t"), sink(2), source("b"), key_by(4), state(5, "t"), sink(6)])
}

fn uncut() -> Topology {
    let mut source = source("a");
    if let NodeKind::Source { framing, .. } = &mut source.kind {
        *framing = Some(Framing::Decoder { header: 4 });
    }
    topology(vec![source, key_by(0), state(1, "t"), sink(2)])
}

fn generated() -> Topology {
    topology(vec![generator(), key_by(0), state(1, "t"), sink(2)])
}

pub(crate) fn generator() -> Node {
    let kind = NodeKind::Source {
        pipeline: "g".to_owned(),
        source: SourceConfig::Generator {},
        decoder: None,
        framing: None,
        event_time: false,
    };
    node("g", &[], kind)
}
