//! Topologies with steps of other pools, and what the model has to know of them.

use wallaroo_orch::plan::{Input, Plan, Stage};
use wallaroo_protocol::topology::{Framing, NodeKind};
use wallaroo_protocol::{NodeId, Topology};

use crate::random::Random;
use crate::scenario::{generator, key_by, node, sink, source, source_with, state, topology, window};

fn step(input: u32, pool: &str) -> wallaroo_protocol::topology::Node {
    node("step", &[input], NodeKind::Computation { pool: Some(pool.to_owned()), fill: None })
}

/// Stateless throughout, and state: the pool before the key, after it, around the state, and two pools in a row.
pub(crate) fn pooled(random: &mut Random) -> Topology {
    topology(match random.below(7) {
        0 => vec![source("a"), step(0, "x"), sink(1)],
        1 => vec![source("a"), step(0, "x"), step(1, "y"), step(2, "x"), sink(3)],
        2 => vec![source("a"), step(0, "x"), key_by(1), state(2, "t"), sink(3)],
        3 => vec![source("a"), key_by(0), step(1, "x"), state(2, "t"), sink(3)],
        4 => vec![source("a"), step(0, "x"), key_by(1), step(2, "y"), state(3, "t"), step(4, "x"), sink(5)],
        5 => vec![generator(), step(0, "x"), key_by(1), step(2, "x"), state(3, "t"), sink(4)],
        _ => {
            let mut source = source("a");
            if let NodeKind::Source { framing, .. } = &mut source.kind {
                *framing = Some(Framing::Decoder { header: 4 });
            }
            vec![source, step(0, "x"), key_by(1), state(2, "t"), key_by(3), step(4, "x"), state(5, "u"), sink(6)]
        }
    })
}

/// Windows below a pool, before and after the key.
pub(crate) fn pooled_windows(random: &mut Random) -> Topology {
    topology(match random.below(3) {
        0 => vec![source_with("a", true), step(0, "x"), key_by(1), window(2, "w", random), sink(3)],
        1 => vec![source_with("a", true), key_by(0), step(1, "x"), window(2, "w", random), sink(3)],
        _ => {
            let window = window(4, "w", random);
            vec![source_with("a", true), step(0, "x"), key_by(1), step(2, "y"), step(3, "x"), window, sink(5)]
        }
    })
}

/// The stages after the source's own at which the nature of a value may show: each value passes all of them.
pub(crate) fn sites(plan: &Plan) -> Vec<&Stage> {
    let first_keyed =
        plan.stages.iter().filter(|stage| matches!(stage.input, Input::Groups(_))).map(|stage| stage.depth);
    let first_keyed = first_keyed.min();
    let is_site = |stage: &&Stage| match stage.input {
        Input::Groups(_) => Some(stage.depth) == first_keyed,
        Input::Values => !stage.steps.is_empty(),
        Input::Frames(_) | Input::Cut(_) | Input::Generate(..) => false,
    };
    plan.stages.iter().filter(is_site).collect()
}

/// The `key_by` that gave the values their keys which come out of a node.
pub(crate) fn key_node(plan: &Plan, from: NodeId) -> NodeId {
    let node = plan.topology.node(from);
    if matches!(node.kind, NodeKind::KeyBy { .. }) || node.inputs.is_empty() {
        return from;
    }
    key_node(plan, node.inputs[0])
}

/// The only source that leads to a `key_by`.
pub(crate) fn only_source(plan: &Plan, key: NodeId) -> Option<NodeId> {
    let mut above = plan.topology.node(key).inputs.clone();
    let mut sources = Vec::new();
    while let Some(id) = above.pop() {
        let node = plan.topology.node(id);
        match node.kind {
            NodeKind::Source { .. } if !sources.contains(&id) => sources.push(id),
            _ => above.extend(&node.inputs),
        }
    }
    sources.first().copied().filter(|_| sources.len() == 1)
}
