//! Builds a plan: first the stages, then the keyspaces of the keyed ones.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use wallaroo_protocol::topology::{Fill, Framing, Node, NodeKind, SourceConfig, Topology};
use wallaroo_protocol::{NodeId, StageId};

use super::{
    HASH_PARTITIONS, Input, KeyspaceId, NamedPool, Partitioning, PlanError, PoolId, SinkPlan, SourcePlan, Stage, Target,
};
use crate::ids::{SinkId, SourceId};

fn ids(topology: &Topology) -> impl Iterator<Item = (NodeId, &Node)> {
    topology.nodes.iter().enumerate().map(|(index, node)| (NodeId(index as u32), node))
}

pub(super) struct Builder<'a> {
    topology: &'a Topology,
    children: Vec<Vec<NodeId>>,
    /// By node.
    pools: Vec<PoolId>,
    pub(super) named_pools: Vec<NamedPool>,
    pub(super) sources: Vec<SourcePlan>,
    pub(super) sinks: Vec<SinkPlan>,
    pub(super) stages: Vec<Stage>,
    /// The stages that the output of a node feeds, by pool. The stage that runs the decoder of a source is not one of them.
    stages_below: BTreeMap<NodeId, BTreeMap<PoolId, StageId>>,
    sink_of_node: HashMap<NodeId, SinkId>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(topology: &'a Topology) -> Self {
        let mut children = vec![Vec::new(); topology.nodes.len()];
        for (id, node) in ids(topology) {
            for input in &node.inputs {
                children[input.index()].push(id);
            }
        }
        let mut named_pools: Vec<NamedPool> = Vec::new();
        let pools = ids(topology).map(|(step, node)| match &node.kind {
            NodeKind::Computation { pool: Some(name), .. } => {
                let known = named_pools.iter().position(|pool| pool.name == *name).unwrap_or_else(|| {
                    named_pools.push(NamedPool { name: name.clone(), step });
                    named_pools.len() - 1
                });
                PoolId(known as u32 + 1)
            }
            _ => PoolId::MAIN,
        });
        Self {
            topology,
            children,
            pools: pools.collect(),
            named_pools,
            sources: Vec::new(),
            sinks: Vec::new(),
            stages: Vec::new(),
            stages_below: BTreeMap::new(),
            sink_of_node: HashMap::new(),
        }
    }

    /// Creates sources, sinks and stages. Each keyed stage has a provisional keyspace of its own.
    pub(super) fn stages(&mut self) {
        for (id, node) in ids(self.topology) {
            match &node.kind {
                NodeKind::Source { source, framing, event_time, .. } => {
                    let source_id = SourceId(self.sources.len() as u32);
                    let generates = matches!(source, SourceConfig::Generator {});
                    // The protocol of acknowledged streams says where messages end.
                    let is_framed =
                        matches!(source, SourceConfig::Tcp { acknowledged: true, .. } | SourceConfig::Connector { .. });
                    let cut = !is_framed && matches!(framing, Some(Framing::Decoder { .. }));
                    let cut = cut.then(|| self.add_stage(id, PoolId::MAIN, Input::Cut(source_id)));
                    let input = if generates {
                        Input::Generate(source_id, KeyspaceId(self.stages.len() as u32))
                    } else {
                        Input::Frames(source_id)
                    };
                    let stage = self.add_stage(id, PoolId::MAIN, input);
                    self.add_stages_below(id, PoolId::MAIN);
                    let (config, framing) = (source.clone(), framing.clone());
                    self.sources.push(SourcePlan { node: id, config, framing, stage, cut, event_time: *event_time });
                }
                NodeKind::KeyBy { .. } | NodeKind::Collect => {
                    if self.children[id.index()].is_empty() || self.has_children(id, PoolId::MAIN) {
                        let keyspace = KeyspaceId(self.stages.len() as u32);
                        let stage = self.add_stage(id, PoolId::MAIN, Input::Groups(keyspace));
                        self.stages_below.entry(id).or_default().insert(PoolId::MAIN, stage);
                    }
                    self.add_stages_below(id, PoolId::MAIN);
                }
                NodeKind::Sink { sink, .. } => {
                    self.sink_of_node.insert(id, SinkId(self.sinks.len() as u32));
                    self.sinks.push(SinkPlan { node: id, config: sink.clone() });
                }
                NodeKind::Computation { .. } | NodeKind::State { .. } | NodeKind::Window { .. } => {
                    self.add_stages_below(id, self.pools[id.index()]);
                }
            }
        }
        for index in 0..self.stages.len() {
            self.fill(index);
        }
        // Every node comes after its inputs, so one pass in order of creation gives every stage its final depth.
        for index in 0..self.stages.len() {
            let below = self.stages[index].depth + 1;
            for (_, target) in self.stages[index].outlets.clone() {
                if let Target::Stage(stage) = target {
                    let depth = &mut self.stages[stage.index()].depth;
                    *depth = below.max(*depth);
                }
            }
        }
        for index in (0..self.stages.len()).rev() {
            let clocked =
                |target: &Target| matches!(target, Target::Stage(below) if self.stages[below.index()].clocked);
            let leads_to_one = self.stages[index].outlets.iter().any(|(_, target)| clocked(target));
            self.stages[index].clocked |= leads_to_one;
        }
    }

    /// Adds a stage for each pool other than `pool` that has steps directly below a node.
    fn add_stages_below(&mut self, root: NodeId, pool: PoolId) {
        let others: BTreeSet<PoolId> =
            self.children[root.index()].iter().map(|child| self.pools[child.index()]).collect();
        for other in others.into_iter().filter(|other| *other != pool) {
            let stage = self.add_stage(root, other, Input::Values);
            self.stages_below.entry(root).or_default().insert(other, stage);
        }
    }

    fn has_children(&self, node: NodeId, pool: PoolId) -> bool {
        self.children_in(pool, node).next().is_some()
    }

    fn children_in(&self, pool: PoolId, node: NodeId) -> impl Iterator<Item = NodeId> {
        self.children[node.index()].iter().copied().filter(move |child| self.pools[child.index()] == pool)
    }

    /// The outlets from a node to the stages it feeds, without the stage of `pool`.
    fn outlets_of(&self, node: NodeId, pool: Option<PoolId>) -> impl Iterator<Item = (NodeId, Target)> {
        let below = self.stages_below.get(&node).into_iter().flatten();
        below.filter(move |(of, _)| Some(**of) != pool).map(move |(_, stage)| (node, Target::Stage(*stage)))
    }

    fn add_stage(&mut self, root: NodeId, pool: PoolId, input: Input) -> StageId {
        let id = StageId(self.stages.len() as u32);
        self.stages.push(Stage {
            id,
            root,
            pool,
            input,
            outlets: Vec::new(),
            steps: Vec::new(),
            stateful: false,
            depth: 0,
            clocked: false,
            fill: None,
            delay: 0,
        });
        id
    }

    /// Collects the steps and outlets of a stage, from its root down. A node that several branches lead to is visited once.
    fn fill(&mut self, index: usize) {
        if matches!(self.stages[index].input, Input::Cut(_)) {
            return;
        }
        let Stage { root, pool, input, .. } = self.stages[index];
        let mut below: Vec<NodeId> = self.children_in(pool, root).collect();
        let mut outlets = Vec::new();
        let mut steps = Vec::new();
        let mut seen = HashSet::new();
        if input.source().is_some() {
            outlets.extend(self.outlets_of(root, Some(pool)));
        }
        while let Some(node) = below.pop() {
            if !seen.insert(node) {
                continue;
            }
            if let Some(sink) = self.sink_of_node.get(&node) {
                outlets.push((node, Target::Sink(*sink)));
            } else if matches!(self.topology.node(node).kind, NodeKind::KeyBy { .. } | NodeKind::Collect) {
                outlets.extend(self.outlets_of(node, None));
            } else {
                steps.push(node);
                below.extend(self.children_in(pool, node));
                outlets.extend(self.outlets_of(node, Some(pool)));
            }
        }
        outlets.sort_by_key(|(node, _)| *node);
        steps.sort();
        let holds_state = steps.iter().any(|step| self.table(*step).is_some());
        let windows = steps.iter().filter_map(|step| match &self.topology.nodes[step.index()].kind {
            NodeKind::Window { window, .. } => Some(window.delay()),
            _ => None,
        });
        let delays: Vec<u64> = windows.collect();
        let fills = steps.iter().filter_map(|step| match &self.topology.nodes[step.index()].kind {
            NodeKind::Computation { fill, .. } => *fill,
            _ => None,
        });
        // Several are waited for together.
        let fill = fills
            .reduce(|one, other| Fill { messages: one.messages.max(other.messages), wait: one.wait.max(other.wait) });
        let stage = &mut self.stages[index];
        stage.fill = fill;
        stage.clocked = !delays.is_empty();
        stage.delay = delays.into_iter().fold(0, u64::saturating_add);
        if holds_state && stage.input == Input::Values {
            stage.input = Input::Groups(KeyspaceId(index as u32));
        }
        stage.stateful = holds_state || matches!(stage.input, Input::Generate(..));
        stage.outlets = outlets;
        stage.steps = steps;
    }

    fn table(&self, node: NodeId) -> Option<&'a str> {
        match &self.topology.nodes[node.index()].kind {
            NodeKind::State { table, .. } | NodeKind::Window { table, .. } => Some(table),
            _ => None,
        }
    }

    /// Merges the keyspaces of stages that share a state table, and numbers the remaining ones.
    pub(super) fn keyspaces(&mut self) -> Result<Vec<Partitioning>, PlanError> {
        let mut owner: HashMap<&str, usize> = HashMap::new();
        let mut joined: Vec<usize> = (0..self.stages.len()).collect();
        for index in 0..self.stages.len() {
            for step in self.stages[index].steps.clone() {
                let Some(table) = self.table(step) else { continue };
                let keyed = matches!(self.stages[index].input, Input::Groups(_))
                    && self.key_nodes(self.stages[index].root).iter().all(|above| self.keys(*above).is_some());
                if !keyed {
                    return Err(PlanError::Unkeyed { step: self.topology.nodes[step.index()].name.clone() });
                }
                let other = *owner.entry(table).or_insert(index);
                let partitioning = self.partitioning(index);
                if partitioning.is_none() || partitioning != self.partitioning(other) {
                    return Err(PlanError::Partitioning { table: table.to_owned() });
                }
                let (from, to) = (joined[index], joined[other]);
                joined.iter_mut().filter(|root| **root == from).for_each(|root| *root = to);
            }
        }
        let mut numbers: HashMap<usize, KeyspaceId> = HashMap::new();
        let mut keyspaces = Vec::new();
        for (index, root) in joined.into_iter().enumerate() {
            let Some(partitioning) = self.partitioning(index) else { continue };
            let id = *numbers.entry(root).or_insert_with(|| {
                keyspaces.push(partitioning);
                KeyspaceId(keyspaces.len() as u32 - 1)
            });
            match &mut self.stages[index].input {
                Input::Groups(keyspace) | Input::Generate(_, keyspace) => *keyspace = id,
                Input::Frames(_) | Input::Cut(_) | Input::Values => {}
            }
        }
        Ok(keyspaces)
    }

    /// How the keys of a keyed stage are placed. `None` if the stage is not keyed, or if its inputs place keys differently.
    fn partitioning(&self, stage: usize) -> Option<Partitioning> {
        let stage = &self.stages[stage];
        match stage.input {
            Input::Frames(_) | Input::Cut(_) | Input::Values => None,
            Input::Generate(..) => Some(Partitioning::Single),
            Input::Groups(_) => {
                let mut ways = self.key_nodes(stage.root).into_iter().map(|node| self.keys(node));
                let first = ways.next()??;
                ways.all(|other| other.as_ref() == Some(&first)).then_some(first)
            }
        }
    }

    /// How a `key_by` or `collect` places keys; `None` for other nodes.
    fn keys(&self, node: NodeId) -> Option<Partitioning> {
        match &self.topology.node(node).kind {
            NodeKind::KeyBy { keys: Some(keys), .. } if !keys.is_empty() => {
                Some(Partitioning::List(keys.iter().map(|key| key.as_bytes().clone()).collect()))
            }
            NodeKind::KeyBy { .. } => Some(Partitioning::Hash(HASH_PARTITIONS)),
            NodeKind::Collect => Some(Partitioning::Single),
            _ => None,
        }
    }

    /// The nodes that gave the output of a node its keys: on each path to the node the nearest `key_by` or `collect`, or the source
    /// if there is none.
    fn key_nodes(&self, node: NodeId) -> BTreeSet<NodeId> {
        let mut above = vec![node];
        let mut seen = HashSet::new();
        let mut found = BTreeSet::new();
        while let Some(node) = above.pop() {
            let inputs = &self.topology.node(node).inputs;
            if self.keys(node).is_some() || inputs.is_empty() {
                found.insert(node);
            } else {
                above.extend(inputs.iter().filter(|input| seen.insert(**input)));
            }
        }
        found
    }
}
