//! From the topology the SDK described to what the engine runs: steps fused into stages, stages connected by outlets, keys
//! placed in keyspaces.
//!
//! A stage begins at a source or a `key_by`/`collect` and holds everything below it up to the next one or a sink.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use wallaroo_protocol::topology::{Framing, Node, NodeKind, SinkConfig, SourceConfig, Topology};
use wallaroo_protocol::{InputKind, NodeId, StageId, StagePlan};

use crate::engine::{SinkId, SourceId};

/// Partitions of a keyspace whose keys are not listed.
pub const HASH_PARTITIONS: u32 = 256;

/// A set of keys that are placed together, because stages that use them share state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyspaceId(pub u32);

impl KeyspaceId {
    /// The id as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// How keys of a keyspace map to partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitioning {
    /// One partition.
    Single,
    /// This many, by hash.
    Hash(u32),
    /// One for each of these encoded keys.
    List(Vec<Bytes>),
}

/// What runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the user described.
    pub topology: Arc<Topology>,
    /// By [`SourceId`].
    pub sources: Vec<SourcePlan>,
    /// By [`SinkId`].
    pub sinks: Vec<SinkPlan>,
    /// By [`StageId`].
    pub stages: Vec<Stage>,
    /// By [`KeyspaceId`].
    pub keyspaces: Vec<Partitioning>,
    /// Where the keys of each state table are placed.
    tables: HashMap<String, KeyspaceId>,
}

/// A source and the stage it feeds.
#[derive(Debug, Clone)]
pub struct SourcePlan {
    /// Its node.
    pub node: NodeId,
    /// Where it reads.
    pub config: SourceConfig,
    /// How frames are cut; `None` for a generator.
    pub framing: Option<Framing>,
    /// The stage its frames go to.
    pub stage: StageId,
    /// The stage that cuts its frames, if only the decoder can.
    pub cut: Option<StageId>,
    /// Whether its messages say themselves when they happened.
    pub event_time: bool,
}

/// A sink.
#[derive(Debug, Clone)]
pub struct SinkPlan {
    /// Its node.
    pub node: NodeId,
    /// Where it writes.
    pub config: SinkConfig,
}

impl SinkPlan {
    /// Where it writes, for people.
    pub fn place(&self) -> String {
        match &self.config {
            SinkConfig::Tcp { host, port } => format!("tcp {host}:{port}"),
            SinkConfig::File { path } => format!("file {path}"),
            SinkConfig::Stdout {} => "stdout".to_owned(),
        }
    }
}

/// A fused run of steps, executed by one call to a worker.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Index in [`Plan::stages`].
    pub id: StageId,
    /// The node it begins at.
    pub root: NodeId,
    /// What its batches carry.
    pub input: Input,
    /// Nodes it ends at, and where their output goes.
    pub outlets: Vec<(NodeId, Target)>,
    /// Nodes it runs, in topological order, root and outlets excluded.
    pub steps: Vec<NodeId>,
    /// Whether its batches may change state.
    pub stateful: bool,
    /// Stages between it and a source, so that work nearer the sink can go first.
    pub depth: u32,
    /// Whether windows are in it or below it, so that it has to know of time.
    pub clocked: bool,
    /// Nanoseconds by which its windows may hold back what they were given.
    pub delay: u64,
}

/// What the batches of a stage carry, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Frames of a source; may run on every worker at once.
    Frames(SourceId),
    /// Bytes of a source to be cut into frames.
    Cut(SourceId),
    /// Nothing: a generator source makes values.
    Generate(SourceId, KeyspaceId),
    /// Groups of keys.
    Groups(KeyspaceId),
}

impl Input {
    /// The keyspace that places the work, if it is keyed.
    pub fn keyspace(self) -> Option<KeyspaceId> {
        match self {
            Self::Generate(_, keyspace) | Self::Groups(keyspace) => Some(keyspace),
            Self::Frames(_) | Self::Cut(_) => None,
        }
    }
}

/// Where the output of an outlet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To a keyed stage.
    Stage(StageId),
    /// Out.
    Sink(SinkId),
}

impl Stage {
    /// Where the output of `outlet` goes.
    pub fn target(&self, outlet: NodeId) -> Option<Target> {
        self.outlets.iter().find(|(node, _)| *node == outlet).map(|(_, target)| *target)
    }
}

/// What a topology can be refused for beyond what the SDK checks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No source at all.
    #[error("application {application:?} has no source")]
    NoSource {
        /// Its name.
        application: String,
    },
    /// Nothing comes out.
    #[error("application {application:?} has no sink: nothing it computes could be seen")]
    NoSink {
        /// Its name.
        application: String,
    },
    /// A state step no key leads to.
    #[error("step {step:?} has state and no key: no key_by or collect comes before it")]
    Unkeyed {
        /// The step.
        step: String,
    },
    /// Two ways of placing the keys of one state table.
    #[error("state table {table:?} is used under different partitionings: its keys could not be found again")]
    Partitioning {
        /// The table.
        table: String,
    },
}

impl Plan {
    /// Plans a topology.
    ///
    /// # Errors
    /// [`PlanError`] when it cannot run.
    pub fn new(topology: Topology) -> Result<Self, PlanError> {
        check(&topology)?;
        let mut builder = Builder::new(&topology);
        builder.stages();
        let keyspaces = builder.keyspaces()?;
        let tables = builder.tables();
        let Builder { sources, sinks, stages, .. } = builder;
        Ok(Self { topology: Arc::new(topology), sources, sinks, stages, keyspaces, tables })
    }

    /// The plan as workers are told it.
    pub fn stage_plans(&self) -> Vec<StagePlan> {
        self.stages
            .iter()
            .map(|stage| StagePlan {
                stage: stage.id,
                input: match stage.input {
                    Input::Frames(_) => InputKind::Frames,
                    Input::Cut(_) => InputKind::Cut,
                    Input::Generate(..) => InputKind::Generate,
                    Input::Groups(_) => InputKind::Groups,
                },
                root: stage.root,
                outlets: stage.outlets.iter().map(|(node, _)| *node).collect(),
            })
            .collect()
    }

    /// The keyspace that places the keys of a state table.
    pub fn keyspace_of(&self, table: &str) -> Option<KeyspaceId> {
        self.tables.get(table).copied()
    }

    /// Whether there is a window at all.
    pub fn has_windows(&self) -> bool {
        self.stages.iter().any(|stage| stage.clocked)
    }

    /// A node's name.
    pub fn name(&self, node: NodeId) -> &str {
        self.topology.nodes.get(node.index()).map_or("?", |node| node.name.as_str())
    }
}

fn check(topology: &Topology) -> Result<(), PlanError> {
    let application = || topology.name.clone();
    if !topology.nodes.iter().any(|node| matches!(node.kind, NodeKind::Source { .. })) {
        return Err(PlanError::NoSource { application: application() });
    }
    if !topology.nodes.iter().any(|node| matches!(node.kind, NodeKind::Sink { .. })) {
        return Err(PlanError::NoSink { application: application() });
    }
    Ok(())
}

fn ids(topology: &Topology) -> impl Iterator<Item = (NodeId, &Node)> {
    topology.nodes.iter().enumerate().map(|(index, node)| (NodeId(index as u32), node))
}

struct Builder<'a> {
    topology: &'a Topology,
    children: Vec<Vec<NodeId>>,
    sources: Vec<SourcePlan>,
    sinks: Vec<SinkPlan>,
    stages: Vec<Stage>,
    stage_of_root: HashMap<NodeId, StageId>,
    sink_of_node: HashMap<NodeId, SinkId>,
}

impl<'a> Builder<'a> {
    fn new(topology: &'a Topology) -> Self {
        let mut children = vec![Vec::new(); topology.nodes.len()];
        for (id, node) in ids(topology) {
            for input in &node.inputs {
                children[input.index()].push(id);
            }
        }
        Self {
            topology,
            children,
            sources: Vec::new(),
            sinks: Vec::new(),
            stages: Vec::new(),
            stage_of_root: HashMap::new(),
            sink_of_node: HashMap::new(),
        }
    }

    /// Creates sources, sinks and stages. Keyspaces are provisional: one for each keyed stage.
    fn stages(&mut self) {
        for (id, node) in ids(self.topology) {
            match &node.kind {
                NodeKind::Source { source, framing, event_time, .. } => {
                    let source_id = SourceId(self.sources.len() as u32);
                    let generates = matches!(source, SourceConfig::Generator {});
                    let cut = matches!(framing, Some(Framing::Decoder { .. }));
                    let cut = cut.then(|| self.add_stage(id, Input::Cut(source_id)));
                    let input = if generates {
                        Input::Generate(source_id, KeyspaceId(self.stages.len() as u32))
                    } else {
                        Input::Frames(source_id)
                    };
                    let stage = self.add_stage(id, input);
                    self.stage_of_root.insert(id, stage);
                    let (config, framing) = (source.clone(), framing.clone());
                    self.sources.push(SourcePlan { node: id, config, framing, stage, cut, event_time: *event_time });
                }
                NodeKind::KeyBy { .. } | NodeKind::Collect => {
                    let stage = self.add_stage(id, Input::Groups(KeyspaceId(self.stages.len() as u32)));
                    self.stage_of_root.insert(id, stage);
                }
                NodeKind::Sink { sink, .. } => {
                    self.sink_of_node.insert(id, SinkId(self.sinks.len() as u32));
                    self.sinks.push(SinkPlan { node: id, config: sink.clone() });
                }
                NodeKind::Computation | NodeKind::State { .. } | NodeKind::Window { .. } => {}
            }
        }
        for index in 0..self.stages.len() {
            self.fill(index);
        }
        // Inputs come before the nodes that use them, so one pass in order of creation settles every depth.
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

    fn add_stage(&mut self, root: NodeId, input: Input) -> StageId {
        let id = StageId(self.stages.len() as u32);
        self.stages.push(Stage {
            id,
            root,
            input,
            outlets: Vec::new(),
            steps: Vec::new(),
            stateful: false,
            depth: 0,
            clocked: false,
            delay: 0,
        });
        id
    }

    /// Walks down from a stage's root to its outlets, looking below each node once however many branches lead to it.
    fn fill(&mut self, index: usize) {
        if matches!(self.stages[index].input, Input::Cut(_)) {
            return;
        }
        let mut below = self.children[self.stages[index].root.index()].clone();
        let mut outlets = Vec::new();
        let mut steps = Vec::new();
        let mut seen = HashSet::new();
        while let Some(node) = below.pop() {
            if !seen.insert(node) {
                continue;
            }
            if let Some(stage) = self.stage_of_root.get(&node) {
                outlets.push((node, Target::Stage(*stage)));
            } else if let Some(sink) = self.sink_of_node.get(&node) {
                outlets.push((node, Target::Sink(*sink)));
            } else {
                steps.push(node);
                below.extend(&self.children[node.index()]);
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
        let stage = &mut self.stages[index];
        stage.clocked = !delays.is_empty();
        stage.delay = delays.into_iter().fold(0, u64::saturating_add);
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

    /// Joins the keyspaces of stages that share a state table, and numbers those that remain.
    fn keyspaces(&mut self) -> Result<Vec<Partitioning>, PlanError> {
        let mut owner: HashMap<&str, usize> = HashMap::new();
        let mut joined: Vec<usize> = (0..self.stages.len()).collect();
        for index in 0..self.stages.len() {
            for step in self.stages[index].steps.clone() {
                let Some(table) = self.table(step) else { continue };
                if !matches!(self.stages[index].input, Input::Groups(_)) {
                    return Err(PlanError::Unkeyed { step: self.topology.nodes[step.index()].name.clone() });
                }
                let other = *owner.entry(table).or_insert(index);
                if self.partitioning(index) != self.partitioning(other) {
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
                Input::Frames(_) | Input::Cut(_) => {}
            }
        }
        Ok(keyspaces)
    }

    /// The keyspace of every state table; a generator's object is one, too.
    fn tables(&self) -> HashMap<String, KeyspaceId> {
        let mut tables = HashMap::new();
        for stage in &self.stages {
            let Some(keyspace) = stage.input.keyspace() else { continue };
            if let (Input::Generate(..), NodeKind::Source { pipeline, .. }) =
                (stage.input, &self.topology.nodes[stage.root.index()].kind)
            {
                tables.insert(format!("generator:{pipeline}"), keyspace);
            }
            tables.extend(stage.steps.iter().filter_map(|step| Some((self.table(*step)?.to_owned(), keyspace))));
        }
        tables
    }

    fn partitioning(&self, stage: usize) -> Option<Partitioning> {
        let stage = &self.stages[stage];
        match &self.topology.nodes[stage.root.index()].kind {
            NodeKind::KeyBy { keys: Some(keys), .. } if !keys.is_empty() => {
                Some(Partitioning::List(keys.iter().map(|key| key.as_bytes().clone()).collect()))
            }
            NodeKind::KeyBy { .. } => Some(Partitioning::Hash(HASH_PARTITIONS)),
            NodeKind::Source { source: SourceConfig::Generator {}, .. } | NodeKind::Collect => {
                Some(Partitioning::Single)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
