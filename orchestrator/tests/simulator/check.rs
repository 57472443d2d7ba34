//! The promise, as a model to compare with: every value comes out once or is a dead letter, in order, counted right.

use std::collections::{BTreeMap, BTreeSet};

use wallaroo_orch::dead_message::DeadMessage;
use wallaroo_orch::plan::{Input, Target};
use wallaroo_protocol::NodeId;
use wallaroo_protocol::topology::NodeKind;

use crate::scenario::{Nature, Scenario};
use crate::windows;
use crate::worker::decode_values;
use crate::world::{MOST_SLOTS, World};

pub(crate) fn everything(world: &World) {
    let scenario = &world.scenario;
    let made = world.generated();
    let generated = made.is_some();
    let expected: BTreeSet<u64> =
        made.map_or_else(|| world.sent_values().into_iter().collect(), |made| (0..made).collect());
    let dead = dead_values(world);
    let unlucky = struck_by_outage(world);
    for (value, nodes) in dead.iter().filter(|(value, _)| **value < windows::OUTPUT) {
        assert_eq!(nodes.len(), 1, "value {value} is a dead letter at nodes {nodes:?}");
        let excused = may_fail(world, *value) || unlucky.contains(value);
        assert!(excused, "value {value} is a dead letter, but nothing is the matter with it");
    }
    for value in &expected {
        let nature = scenario.values[*value as usize].nature;
        let anonymous = generated && kills_its_generator(world, *value);
        let passed =
            dead.contains_key(value) || anonymous || shares_a_frame(world, *value) || generated && world.is_cut_short();
        assert!(nature == Nature::Good || passed, "value {value} ({nature:?}) is no dead letter");
    }
    for (sink, seen) in world.seen.iter().enumerate() {
        if windows::feed(world, sink) {
            windows::check(world, sink, &dead);
            continue;
        }
        let feeding = feeding_sources(world, sink);
        let above = above(world, sink);
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        for seen in seen {
            *times.entry(seen.value).or_default() += 1;
        }
        for value in &expected {
            if !feeding.contains(&scenario.lanes[scenario.values[*value as usize].lane].source) {
                continue;
            }
            let out = times.remove(value).unwrap_or(0);
            if generated && world.is_cut_short() {
                assert!(out <= 1, "value {value} came out {out} times");
                continue;
            }
            if generated && kills_its_generator(world, *value) {
                assert_eq!(out, 0, "value {value} came out although it kills");
                continue;
            }
            let lost = u32::from(dead.get(value).is_some_and(|nodes| above.contains(&nodes[0])));
            assert_eq!(
                out + lost,
                1,
                "value {value} came out {out} times at sink {sink} and is a dead letter {lost} times"
            );
        }
        assert!(times.is_empty(), "sink {sink} saw values nobody sent: {times:?}");
        let mut last: BTreeMap<_, u64> = BTreeMap::new();
        for seen in seen {
            let lane = scenario.values[seen.value as usize].lane;
            // Order is promised for a connection and the keys a value had on its way. Values are numbered in the order sent.
            let keys: Vec<_> = key_nodes(world, sink).into_iter().map(|node| scenario.key(seen.value, node)).collect();
            let before = last.insert((lane, keys), seen.value);
            assert!(
                before < Some(seen.value),
                "value {} of lane {lane} came after {before:?} at sink {sink}",
                seen.value
            );
        }
    }
    letters_of_generators(world, &expected);
    counts(world);
}

/// Values of the few messages that may be given up while a step is out: those that have hung ten times, one that hangs again and again
/// and is alone, one that hangs just after its step was seen to work.
fn struck_by_outage(world: &World) -> BTreeSet<u64> {
    if world.scenario.outage.is_none() {
        return BTreeSet::new();
    }
    let hung: Vec<&DeadMessage> = world.dead().filter(|message| message.limit.is_some()).collect();
    let is_early = |message: &&&DeadMessage| !message.message.contains("killed its worker 10 times");
    let is_innocent = |message: &&&DeadMessage| {
        let values = letter_values(message);
        !values.is_empty() && values.iter().all(|value| !may_fail(world, *value))
    };
    let early = hung.iter().filter(is_early).filter(is_innocent).count();
    let most = most_unlucky(&world.scenario);
    assert!(early <= most, "{early} innocent messages are dead letters, more than {most}");
    hung.into_iter().flat_map(letter_values).collect()
}

/// Innocent messages that an outage of a step may make dead letters before they have hung ten times: one for each worker that was in
/// the middle of a batch when the step went away, and one that was alone in its batch.
fn most_unlucky(scenario: &Scenario) -> usize {
    let config = &scenario.config;
    let first = config.pool_slots.iter().copied().fold(config.slots, u32::max) as usize;
    let changes = scenario.changes > 0 || scenario.ends > 0;
    1 + if changes { first.max(MOST_SLOTS as usize) } else { first }
}

/// Whether a value may become a dead letter.
fn may_fail(world: &World, value: u64) -> bool {
    world.scenario.values[value as usize].nature != Nature::Good
        || world.blamed.contains(&value)
        || shares_a_frame(world, value)
        || world.scenario.needs_fatal_state(value)
}

/// Each generated value that kills its generator has a letter. A value that cannot be made has one too, and its generator another.
fn letters_of_generators(world: &World, expected: &BTreeSet<u64>) {
    let Some(made) = world.generated().filter(|_| !world.is_cut_short()) else { return };
    let killers = expected.iter().filter(|value| kills_its_generator(world, **value)).count();
    let fatal = if made < world.scenario.values.len() as u64 { 2 } else { 0 };
    assert_eq!(anonymous_letters(world), killers + fatal, "dead letters of generated values that kill");
}

/// Whether a value kills the worker that generates it. Its dead letter cannot say which value it was.
pub(crate) fn kills_its_generator(world: &World, value: u64) -> bool {
    let nature = world.scenario.values[value as usize].nature;
    world.scenario.shows_at_source(value) && matches!(nature, Nature::Kills | Nature::Hangs)
}

fn anonymous_letters(world: &World) -> usize {
    let generates = |node: NodeId| matches!(world.scenario.plan.topology.node(node).kind, NodeKind::Source { .. });
    // A stage of a pool that begins at the generator knows the value.
    let is_anonymous = |message: &&DeadMessage| message.payload.is_empty() && generates(message.node);
    world.dead().filter(|message| message.exception == "WorkerDeath").filter(is_anonymous).count()
}

/// The counts a state table gave a key are 1, 2, …, n over all sinks it feeds, and rise at each.
fn counts(world: &World) {
    let mut tables: BTreeMap<(String, u64), Vec<u64>> = BTreeMap::new();
    for (sink, seen) in world.seen.iter().enumerate() {
        let Some(table) = last_table(world, sink) else { continue };
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for seen in seen {
            let before = last.insert(seen.key, seen.count);
            assert!(
                before < Some(seen.count),
                "the count of a key falls from {before:?} to {} at sink {sink}",
                seen.count
            );
            tables.entry((table.clone(), seen.key)).or_default().push(seen.count);
        }
    }
    for ((table, key), mut counts) in tables {
        counts.sort_unstable();
        let right: Vec<u64> = (1..=counts.len() as u64).collect();
        assert_eq!(counts, right, "counts of key {key:x} in table {table}");
    }
}

fn last_table(world: &World, sink: usize) -> Option<String> {
    let nodes = &world.scenario.plan.topology.nodes;
    let input = nodes[world.scenario.plan.sinks[sink].node.index()].inputs[0];
    match &nodes[input.index()].kind {
        NodeKind::State { table, .. } => Some(table.clone()),
        _ => None,
    }
}

/// The nodes a value passes on its way to a sink.
fn above(world: &World, sink: usize) -> BTreeSet<NodeId> {
    let mut wanted = vec![world.scenario.plan.sinks[sink].node];
    let mut above = BTreeSet::new();
    while let Some(node) = wanted.pop() {
        above.insert(node);
        wanted.extend(&world.scenario.plan.topology.node(node).inputs);
    }
    above
}

/// The `key_by` nodes above a sink.
fn key_nodes(world: &World, sink: usize) -> Vec<NodeId> {
    let is_key = |node: &NodeId| matches!(world.scenario.plan.topology.node(*node).kind, NodeKind::KeyBy { .. });
    above(world, sink).into_iter().filter(is_key).collect()
}

fn feeding_sources(world: &World, sink: usize) -> BTreeSet<u32> {
    let plan = &world.scenario.plan;
    let mut reached = BTreeSet::new();
    let mut sources = BTreeSet::new();
    let mut wanted: Vec<Target> = vec![Target::Sink(wallaroo_orch::ids::SinkId(sink as u32))];
    while let Some(target) = wanted.pop() {
        for stage in plan.stages.iter().filter(|stage| stage.outlets.iter().any(|(_, to)| *to == target)) {
            match stage.input {
                Input::Frames(source) | Input::Generate(source, _) | Input::Cut(source) => {
                    sources.insert(source.0);
                }
                Input::Groups(_) | Input::Values => {
                    if reached.insert(stage.id) {
                        wanted.push(Target::Stage(stage.id));
                    }
                }
            }
        }
    }
    sources
}

/// The nodes at which each value became a dead letter. Those of a frame that killed its worker die together.
fn dead_values(world: &World) -> BTreeMap<u64, Vec<NodeId>> {
    let mut dead: BTreeMap<u64, Vec<NodeId>> = BTreeMap::new();
    for message in world.dead() {
        // A worker that gives a value up notes its number there.
        if let (Ok(value), "ValueError") = (message.value.parse::<u64>(), message.exception.as_str()) {
            dead.entry(value).or_default().push(message.node);
            continue;
        }
        for value in letter_values(message) {
            dead.entry(value).or_default().push(message.node);
        }
    }
    dead
}

/// The values that went with a dead letter.
fn letter_values(message: &DeadMessage) -> Vec<u64> {
    let values = decode_values(&message.payload);
    message.payload_index.map_or(values.clone(), |index| vec![values[index as usize]])
}

/// Whether a value was sent in one frame with one that kills or hangs where frames are decoded.
fn shares_a_frame(world: &World, value: u64) -> bool {
    let scenario = &world.scenario;
    let lane = &scenario.lanes[scenario.values[value as usize].lane];
    let frame = lane.frames.iter().find(|frame| frame.contains(&value));
    frame.is_some_and(|frame| {
        frame.iter().any(|other| {
            let nature = scenario.values[*other as usize].nature;
            let kills = matches!(nature, Nature::Kills | Nature::Hangs);
            world.blamed.contains(other) || scenario.shows_at_source(*other) && kills
        })
    })
}
