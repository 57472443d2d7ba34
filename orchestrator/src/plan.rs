//! Turns the topology that the SDK describes into the plan that the engine runs: steps are fused into stages, outlets connect
//! stages, and keyspaces place keys.
//!
//! A stage begins at a source or at a `key_by` or `collect`. It holds all steps below, up to the next `key_by` or `collect` or a
//! sink. It also ends where the next step names another pool; a stage of that pool begins there.

mod builder;
mod guarantee;
mod shape;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use wallaroo_protocol::topology::{Fill, Framing, NodeKind, SinkConfig, SourceConfig, Topology};
use wallaroo_protocol::{InputKind, NodeId, StageId, StagePlan};

use self::builder::Builder;
pub use self::guarantee::{Guarantee, Promise};
pub use self::shape::{Shape, ShapeStage, ShapeStep, difference};
use crate::ids::{KeyspaceId, PoolId, SinkId, SourceId};

/// The number of partitions of a keyspace whose keys are not listed.
pub const HASH_PARTITIONS: u32 = 256;

/// How keys of a keyspace map to partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitioning {
    /// One partition.
    Single,
    /// This many partitions, by the hash of the key.
    Hash(u32),
    /// One partition for each of these encoded keys.
    List(Vec<Bytes>),
}

/// What the engine runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The topology of the application.
    pub topology: Arc<Topology>,
    /// By [`SourceId`].
    pub sources: Vec<SourcePlan>,
    /// By [`SinkId`].
    pub sinks: Vec<SinkPlan>,
    /// By [`StageId`].
    pub stages: Vec<Stage>,
    /// By [`KeyspaceId`].
    pub keyspaces: Vec<Partitioning>,
    /// The pools that steps name. The first one has the id after the main pool.
    pub named_pools: Vec<NamedPool>,
    /// The keyspace of each state table.
    tables: HashMap<String, KeyspaceId>,
}

/// A pool that a step names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPool {
    /// Its name.
    pub name: String,
    /// The first step that names it.
    pub step: NodeId,
}

/// A source and the stage it feeds.
#[derive(Debug, Clone)]
pub struct SourcePlan {
    /// Its node.
    pub node: NodeId,
    /// Where it reads.
    pub config: SourceConfig,
    /// How its stream is cut into frames; `None` for a generator.
    pub framing: Option<Framing>,
    /// The stage its frames go to.
    pub stage: StageId,
    /// The stage that cuts its stream, if only the decoder can do that.
    pub cut: Option<StageId>,
    /// Whether its messages carry event times.
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
    /// Where it writes, as people read it.
    pub fn address(&self) -> String {
        match &self.config {
            SinkConfig::Tcp { host, port } => format!("tcp {host}:{port}"),
            SinkConfig::File { path, append: false } => format!("file {path}"),
            SinkConfig::File { path, append: true } => format!("file {path}, appended to"),
            SinkConfig::Stdout {} => "stdout".to_owned(),
            SinkConfig::Connector { class, .. } => format!("connector {class}"),
        }
    }
}

/// Steps that are fused: a worker runs all of them in one call.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Index in [`Plan::stages`].
    pub id: StageId,
    /// The node it begins at. If that is a source, the stage runs its decoder; other roots are run by the stages before.
    pub root: NodeId,
    /// The pool whose workers run it.
    pub pool: PoolId,
    /// The input of its batches.
    pub input: Input,
    /// The nodes it ends at, each with a target of its output. A node with several targets is listed several times.
    pub outlets: Vec<(NodeId, Target)>,
    /// The nodes it runs, in topological order, without root and outlets.
    pub steps: Vec<NodeId>,
    /// Whether its batches may change state.
    pub stateful: bool,
    /// The number of stages between it and a source. Stages with a greater depth run first.
    pub depth: u32,
    /// Whether it or a stage below it has windows, so that it needs watermarks.
    pub clocked: bool,
    /// For how full batches it waits, if a step does.
    pub fill: Option<Fill>,
    /// The longest time in nanoseconds that its windows delay their results.
    pub delay: u64,
}

/// What the batches of a stage carry, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Frames of a source. All workers run them in parallel.
    Frames(SourceId),
    /// Bytes of a source that are to be cut into frames.
    Cut(SourceId),
    /// Nothing: the generator of a source makes the values.
    Generate(SourceId, KeyspaceId),
    /// Groups of values, by key. Keys are placed by this keyspace.
    Groups(KeyspaceId),
    /// Groups of values that another stage hands over, with or without keys. All workers of the pool run them in parallel.
    Values,
}

impl Input {
    /// The keyspace that places the batches, if they are keyed.
    pub fn keyspace(self) -> Option<KeyspaceId> {
        match self {
            Self::Generate(_, keyspace) | Self::Groups(keyspace) => Some(keyspace),
            Self::Frames(_) | Self::Cut(_) | Self::Values => None,
        }
    }

    /// Whether any worker of the pool may run the batches.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Frames(_) | Self::Values | Self::Cut(_))
    }

    /// The source that feeds it directly.
    pub fn source(self) -> Option<SourceId> {
        match self {
            Self::Frames(source) | Self::Cut(source) | Self::Generate(source, _) => Some(source),
            Self::Groups(_) | Self::Values => None,
        }
    }
}

/// Where the output of an outlet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To a stage whose input is groups.
    Stage(StageId),
    /// To a sink.
    Sink(SinkId),
}

impl Stage {
    /// The targets of the output of `outlet`.
    pub fn targets(&self, outlet: NodeId) -> impl Iterator<Item = Target> + Clone + '_ {
        self.outlets.iter().filter(move |(node, _)| *node == outlet).map(|(_, target)| *target)
    }
}

/// Why a topology cannot run. The SDK checks everything else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is no source.
    #[error("application {application:?} has no source")]
    NoSource {
        /// Its name.
        application: String,
    },
    /// There is no sink.
    #[error("application {application:?} has no sink: its results would go nowhere")]
    NoSink {
        /// Its name.
        application: String,
    },
    /// A step with state has no key.
    #[error("step {step:?} has state but no key: put key_by or collect before it")]
    Unkeyed {
        /// The step.
        step: String,
    },
    /// The keys of a state table would be placed in two ways.
    #[error("state table {table:?} is used with different partitionings, so its keys would be in two places")]
    Partitioning {
        /// The table.
        table: String,
    },
}

impl Plan {
    /// What must not change under a state folder, as text for people.
    pub fn shape(&self) -> String {
        shape::shape_of(self)
    }

    /// Plans a topology.
    ///
    /// # Errors
    /// [`PlanError`] when it cannot run.
    pub fn new(topology: Topology) -> Result<Self, PlanError> {
        check(&topology)?;
        let mut builder = Builder::new(&topology);
        builder.stages();
        let keyspaces = builder.keyspaces()?;
        let Builder { sources, sinks, stages, named_pools, .. } = builder;
        let topology = Arc::new(topology);
        let mut plan = Self { topology, sources, sinks, stages, keyspaces, named_pools, tables: HashMap::new() };
        let placed = plan.stages.iter().filter_map(|stage| Some((stage, stage.input.keyspace()?)));
        let tables: HashMap<String, KeyspaceId> = placed
            .flat_map(|(stage, keyspace)| plan.tables_of(stage).into_iter().map(move |table| (table, keyspace)))
            .collect();
        plan.tables = tables;
        Ok(plan)
    }

    /// The stages, as workers are told them.
    pub fn stage_plans(&self) -> Vec<StagePlan> {
        self.stages
            .iter()
            .map(|stage| StagePlan {
                stage: stage.id,
                input: match stage.input {
                    Input::Frames(_) => InputKind::Frames,
                    Input::Cut(_) => InputKind::Cut,
                    Input::Generate(..) => InputKind::Generate,
                    Input::Groups(_) | Input::Values => InputKind::Groups,
                },
                root: stage.root,
                outlets: {
                    let mut outlets: Vec<NodeId> = stage.outlets.iter().map(|(node, _)| *node).collect();
                    outlets.dedup();
                    outlets
                },
                pool: self.pool_name(stage.pool).map(str::to_owned),
            })
            .collect()
    }

    /// The keyspace that places the keys of a state table.
    pub fn keyspace_of(&self, table: &str) -> Option<KeyspaceId> {
        self.tables.get(table).copied()
    }

    /// The tables of a stage's states, sorted. The object of a generator is stored in a table, too.
    pub fn tables_of(&self, stage: &Stage) -> Vec<String> {
        let made = match (stage.input, &self.topology.node(stage.root).kind) {
            (Input::Generate(..), NodeKind::Source { pipeline, .. }) => Some(format!("generator:{pipeline}")),
            _ => None,
        };
        let of_step = |step: &NodeId| match &self.topology.node(*step).kind {
            NodeKind::State { table, .. } | NodeKind::Window { table, .. } => Some(table.clone()),
            _ => None,
        };
        let mut tables: Vec<String> = made.into_iter().chain(stage.steps.iter().filter_map(of_step)).collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// Whether any stage has windows.
    pub fn has_windows(&self) -> bool {
        self.stages.iter().any(|stage| stage.clocked)
    }

    /// The name of a pool; `None` for the main pool.
    pub fn pool_name(&self, pool: PoolId) -> Option<&str> {
        let named = pool.index().checked_sub(1)?;
        self.named_pools.get(named).map(|pool| pool.name.as_str())
    }

    /// All pools, the main pool first.
    pub fn pools(&self) -> impl Iterator<Item = PoolId> + use<> {
        (0..=self.named_pools.len() as u32).map(PoolId)
    }

    /// The beginning of a stage, as people read it.
    pub fn root_name(&self, stage: &Stage) -> String {
        let name = self.name(stage.root);
        let decodes = stage.input.source().is_some();
        let keys = matches!(self.topology.node(stage.root).kind, NodeKind::KeyBy { .. } | NodeKind::Collect);
        if decodes || keys { name.to_owned() } else { format!("after {name}") }
    }

    /// The source of a generator, if the node is one.
    pub fn generator(&self, node: NodeId) -> Option<SourceId> {
        let is_it = |source: &SourcePlan| source.node == node && matches!(source.config, SourceConfig::Generator {});
        self.sources.iter().position(is_it).map(|index| SourceId(index as u32))
    }

    /// The name of a node.
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

#[cfg(test)]
mod tests;
