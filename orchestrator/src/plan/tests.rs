use wallaroo_protocol::topology::{OnLate, UnknownKey, Window};

use super::*;

/// Each node as its kind and its inputs; `state` shares one table.
fn plan(nodes: &[(&str, &[u32])]) -> Result<Plan, PlanError> {
    let node = |(index, (kind, inputs)): (usize, &(&str, &[u32]))| Node {
        name: format!("{kind} {index}"),
        inputs: inputs.iter().copied().map(NodeId).collect(),
        kind: match *kind {
            "source" => NodeKind::Source {
                pipeline: format!("pipeline {index}"),
                source: SourceConfig::Tcp { host: "localhost".to_owned(), port: 0 },
                decoder: Some("Decode".to_owned()),
                framing: Some(Framing::Delimiter { delimiter: Bytes::from_static(b"\n") }),
                event_time: false,
            },
            "key_by" => NodeKind::KeyBy { keys: None, unknown_key: UnknownKey::Create },
            "collect" => NodeKind::Collect,
            "state" => NodeKind::State { table: "totals".to_owned(), table_type: "Totals".to_owned() },
            "window" => NodeKind::Window {
                table: format!("window:{index}"),
                table_type: "Sum".to_owned(),
                window: Window::Session { gap: 5, delay: 7, on_late: OnLate::Drop },
            },
            "sink" => NodeKind::Sink { sink: SinkConfig::Stdout {}, encoder: "Encode".to_owned() },
            _ => NodeKind::Computation,
        },
    };
    Plan::new(Topology { name: "application".to_owned(), nodes: nodes.iter().enumerate().map(node).collect() })
}

/// Root, steps and outlets of each stage.
fn stages(plan: &Plan) -> Vec<(u32, Vec<u32>, Vec<u32>)> {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    plan.stages
        .iter()
        .map(|stage| {
            let outlets: Vec<NodeId> = stage.outlets.iter().map(|(node, _)| *node).collect();
            (stage.root.0, ids(&stage.steps), ids(&outlets))
        })
        .collect()
}

#[test]
fn what_comes_after_a_merge_is_in_the_stage_of_each_source() {
    let plan = plan(&[("source", &[]), ("source", &[]), ("step", &[0]), ("step", &[1, 2]), ("sink", &[3])]);
    assert_eq!(stages(&plan.expect("a plan")), [(0, vec![2, 3], vec![4]), (1, vec![3], vec![4])]);
}

#[test]
fn branches_that_meet_again_end_at_one_outlet() {
    let nodes: &[(&str, &[u32])] =
        &[("source", &[]), ("step", &[0]), ("step", &[0]), ("step", &[1, 2]), ("sink", &[3])];
    assert_eq!(stages(&plan(nodes).expect("a plan")), [(0, vec![1, 2, 3], vec![4])]);
}

#[test]
fn many_branches_that_meet_again_take_no_longer_than_their_number() {
    // Seen once for each way that leads to it, the last step would be looked at 2^40 times.
    let mut nodes: Vec<(&str, Vec<u32>)> = vec![("source", vec![])];
    for _ in 0..40 {
        let from = nodes.len() as u32 - 1;
        nodes.push(("step", vec![from]));
        nodes.push(("step", vec![from, from + 1]));
    }
    nodes.push(("sink", vec![80]));
    let nodes: Vec<(&str, &[u32])> = nodes.iter().map(|(kind, inputs)| (*kind, inputs.as_slice())).collect();
    assert_eq!(plan(&nodes).expect("a plan").stages[0].steps.len(), 80);
}

#[test]
fn state_after_a_merge_of_keys_is_in_one_keyspace() {
    let nodes: &[(&str, &[u32])] =
        &[("source", &[]), ("key_by", &[0]), ("key_by", &[0]), ("state", &[1, 2]), ("sink", &[3])];
    let plan = plan(nodes).expect("a plan");
    assert_eq!(stages(&plan), [(0, vec![], vec![1, 2]), (1, vec![3], vec![4]), (2, vec![3], vec![4])]);
    assert_eq!(plan.keyspaces, [Partitioning::Hash(HASH_PARTITIONS)]);
    assert!(plan.stages[1..].iter().all(|stage| stage.input == Input::Groups(KeyspaceId(0)) && stage.stateful));
}

#[test]
fn state_after_a_merge_with_what_has_no_key_is_refused() {
    let nodes: &[(&str, &[u32])] = &[("source", &[]), ("key_by", &[0]), ("state", &[0, 1]), ("sink", &[2])];
    let refused = plan(nodes).expect_err("no key on one side");
    assert_eq!(refused, PlanError::Unkeyed { step: "state 2".to_owned() });
    let nodes: &[(&str, &[u32])] =
        &[("source", &[]), ("key_by", &[0]), ("collect", &[0]), ("state", &[1, 2]), ("sink", &[3])];
    let refused = plan(nodes).expect_err("two partitionings");
    assert_eq!(refused, PlanError::Partitioning { table: "totals".to_owned() });
}

#[test]
fn every_sink_is_an_outlet_of_its_own() {
    let nodes: &[(&str, &[u32])] =
        &[("source", &[]), ("collect", &[0]), ("state", &[1]), ("sink", &[2]), ("sink", &[2])];
    let plan = plan(nodes).expect("a plan");
    assert_eq!(stages(&plan), [(0, vec![], vec![1]), (1, vec![2], vec![3, 4])]);
    assert_eq!(plan.stages[1].target(NodeId(4)), Some(Target::Sink(SinkId(1))));
}

#[test]
fn stages_know_of_time_when_windows_are_in_them_or_below_them() {
    let nodes: &[(&str, &[u32])] = &[
        ("source", &[]),
        ("key_by", &[0]),
        ("state", &[1]),
        ("collect", &[2]),
        ("window", &[3]),
        ("window", &[4]),
        ("sink", &[5]),
        ("key_by", &[0]),
        ("sink", &[7]),
        ("source", &[]),
        ("sink", &[9]),
    ];
    let plan = plan(nodes).expect("a plan");
    let known: Vec<(u32, bool, u64, bool)> =
        plan.stages.iter().map(|stage| (stage.root.0, stage.clocked, stage.delay, stage.stateful)).collect();
    let expected =
        [(0, true, 0, false), (1, true, 0, true), (3, true, 14, true), (7, false, 0, false), (9, false, 0, false)];
    assert_eq!(known, expected);
    assert!(plan.has_windows());
    assert_eq!(plan.keyspace_of("window:4"), plan.keyspace_of("window:5"), "placed by the same key");
}
