use wallaroo_protocol::topology::{Node, OnLate, UnknownKey, Window};

use super::*;

/// Each node as its kind and its inputs; `state` shares one table.
fn plan(nodes: &[(&str, &[u32])]) -> Result<Plan, PlanError> {
    let node = |(index, (kind, inputs)): (usize, &(&str, &[u32]))| Node {
        name: format!("{kind} {index}"),
        inputs: inputs.iter().copied().map(NodeId).collect(),
        kind: match *kind {
            "source" => NodeKind::Source {
                pipeline: format!("pipeline {index}"),
                source: SourceConfig::Tcp { host: "localhost".to_owned(), port: 0, acknowledged: false },
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
            _ => NodeKind::Computation { pool: kind.strip_prefix("step in ").map(str::to_owned), fill: None },
        },
    };
    let nodes = nodes.iter().enumerate().map(node).collect();
    Plan::new(Topology { name: "application".to_owned(), nodes, stop_at: Vec::new() })
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
fn each_way_from_a_source_to_a_sink_has_a_promise() {
    let nodes: &[(&str, &[u32])] = &[
        ("source", &[]),
        ("source", &[]),
        ("key_by", &[0]),
        ("state", &[2]),
        ("sink", &[3]),
        ("step in other", &[0, 1]),
        ("sink", &[5]),
    ];
    let plan = plan(nodes).expect("a plan");
    let guarantees = plan.guarantees();
    let ways: Vec<(&str, &str)> = guarantees.iter().map(|way| (&*way.source, &*way.sink)).collect();
    assert_eq!(ways, [("source 0", "sink 4"), ("source 0", "sink 6"), ("source 1", "sink 6")]);
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
    assert_eq!(plan.stages[1].targets(NodeId(4)).collect::<Vec<_>>(), [Target::Sink(SinkId(1))]);
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

/// Root, pool, what the input is, steps, and where each outlet leads: to a stage (its number), or out.
fn pooled(plan: &Plan) -> Vec<String> {
    let describe = |stage: &Stage| {
        let pool = plan.pool_name(stage.pool).unwrap_or("main");
        let input = match stage.input {
            Input::Groups(keyspace) => format!("keyspace {}", keyspace.0),
            input => format!("{input:?}").split('(').next().unwrap_or_default().to_lowercase(),
        };
        let steps: Vec<u32> = stage.steps.iter().map(|node| node.0).collect();
        let outlet = |(node, target): &(NodeId, Target)| match target {
            Target::Stage(stage) => format!("{}->{stage}", node.0),
            Target::Sink(_) => format!("{}->out", node.0),
        };
        let outlets: Vec<String> = stage.outlets.iter().map(outlet).collect();
        format!("{} {pool} {input} {steps:?} {}", stage.root.0, outlets.join(" "))
    };
    plan.stages.iter().map(describe).collect()
}

#[test]
fn a_step_of_another_pool_is_a_stage_of_its_own() {
    let nodes: &[(&str, &[u32])] = &[
        ("source", &[]),
        ("step", &[0]),
        ("step in x", &[1]),
        ("step in x", &[2]),
        ("step in y", &[3]),
        ("step", &[4]),
        ("sink", &[5]),
    ];
    let plan = plan(nodes).expect("a plan");
    let expected =
        ["0 main frames [1] 1->1", "1 x values [2, 3] 3->2", "3 y values [4] 4->3", "4 main values [5] 6->out"];
    assert_eq!(pooled(&plan), expected);
    let depths: Vec<u32> = plan.stages.iter().map(|stage| stage.depth).collect();
    assert_eq!(depths, [0, 1, 2, 3]);
    assert_eq!(plan.named_pools[1], NamedPool { name: "y".to_owned(), step: NodeId(4) });
    let told: Vec<_> = plan.stage_plans().into_iter().map(|stage| (stage.input, stage.pool)).collect();
    assert_eq!(told[1], (InputKind::Groups, Some("x".to_owned())));
}

#[test]
fn a_step_that_moves_to_a_pool_changes_the_shape() {
    let nodes = |step| plan(&[("source", &[]), (step, &[0]), ("sink", &[1])]).expect("a plan").shape();
    let (before, now) = (nodes("step"), nodes("step in x"));
    assert_ne!(before.replace("step in x", "step"), now.replace("step in x", "step"), "records name stages by number");
    assert!(difference(&before, &now).contains("values of another pool"), "{}", difference(&before, &now));
    assert_eq!(before, nodes("step"));
}

#[test]
fn state_below_a_pool_is_placed_by_the_key_above_it() {
    let nodes: &[(&str, &[u32])] = &[
        ("source", &[]),
        ("key_by", &[0]),
        ("step in x", &[1]),
        ("state", &[2]),
        ("step in x", &[3]),
        ("state", &[1]),
        ("sink", &[4, 5]),
    ];
    let plan = plan(nodes).expect("a plan");
    let expected = [
        "0 main frames [] 1->1 1->2",
        "1 main keyspace 0 [5] 6->out",
        "1 x values [2] 2->3",
        "2 main keyspace 0 [3] 3->4",
        "3 x values [4] 4->5",
        "4 main values [] 6->out",
    ];
    assert_eq!(pooled(&plan), expected);
    assert_eq!(plan.stages[0].targets(NodeId(1)).count(), 2);
    assert_eq!(plan.stage_plans()[0].outlets, [NodeId(1)], "a worker hears of an outlet once");
    assert_eq!(plan.keyspaces, [Partitioning::Hash(HASH_PARTITIONS)]);
}

#[test]
fn state_below_a_pool_that_no_key_leads_to_is_refused() {
    let nodes: &[(&str, &[u32])] = &[("source", &[]), ("step in x", &[0]), ("state", &[1]), ("sink", &[2])];
    assert_eq!(plan(nodes).expect_err("no key"), PlanError::Unkeyed { step: "state 2".to_owned() });
    let nodes: &[(&str, &[u32])] = &[
        ("source", &[]),
        ("key_by", &[0]),
        ("collect", &[0]),
        ("step in x", &[1, 2]),
        ("state", &[3]),
        ("sink", &[4]),
    ];
    assert_eq!(plan(nodes).expect_err("two ways"), PlanError::Partitioning { table: "totals".to_owned() });
}

#[test]
fn a_source_may_feed_pools_alone() {
    let nodes: &[(&str, &[u32])] = &[
        ("source", &[]),
        ("step in x", &[0]),
        ("step in y", &[0]),
        ("collect", &[1, 2]),
        ("state", &[3]),
        ("sink", &[4]),
    ];
    let expected = [
        "0 main frames [] 0->1 0->2",
        "0 x values [1] 1->3",
        "0 y values [2] 2->4",
        "1 main values [] 3->5",
        "2 main values [] 3->5",
        "3 main keyspace 0 [4] 5->out",
    ];
    assert_eq!(pooled(&plan(nodes).expect("a plan")), expected);
}
