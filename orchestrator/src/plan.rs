//! From the topology the SDK described to what the engine runs: steps fused into stages, stages connected by outlets, keys
//! placed in keyspaces.
//!
//! A stage begins at a source or a `key_by`/`collect` and holds everything below it up to the next one or a sink. It also ends
//! where the next step is of another pool, and a stage of that pool begins there.

mod builder;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use wallaroo_protocol::topology::{Framing, NodeKind, SinkConfig, SourceConfig, Topology};
use wallaroo_protocol::{InputKind, NodeId, StageId, StagePlan};

use self::builder::Builder;
use crate::ids::{KeyspaceId, PoolId, SinkId, SourceId};

/// Partitions of a keyspace whose keys are not listed.
pub const HASH_PARTITIONS: u32 = 256;

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
    /// Pools that steps name: those from the first after the main one on.
    pub named_pools: Vec<NamedPool>,
    /// Where the keys of each state table are placed.
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
    /// The node it begins at. Only a source's decoder is run here; of others it is given what they made.
    pub root: NodeId,
    /// Whose workers run it.
    pub pool: PoolId,
    /// What its batches carry.
    pub input: Input,
    /// Nodes it ends at, and where their output goes; where it goes to several stages, the node is there several times.
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
    /// Groups of any keys or of none, which another stage hands over; may run on every worker at once.
    Values,
}

impl Input {
    /// The keyspace that places the work, if it is keyed.
    pub fn keyspace(self) -> Option<KeyspaceId> {
        match self {
            Self::Generate(_, keyspace) | Self::Groups(keyspace) => Some(keyspace),
            Self::Frames(_) | Self::Cut(_) | Self::Values => None,
        }
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
    /// Out.
    Sink(SinkId),
}

impl Stage {
    /// Where the output of `outlet` goes.
    pub fn targets(&self, outlet: NodeId) -> impl Iterator<Item = Target> + '_ {
        self.outlets.iter().filter(move |(node, _)| *node == outlet).map(|(_, target)| *target)
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
        let Builder { sources, sinks, stages, named_pools, .. } = builder;
        Ok(Self { topology: Arc::new(topology), sources, sinks, stages, keyspaces, named_pools, tables })
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

    /// Whether there is a window at all.
    pub fn has_windows(&self) -> bool {
        self.stages.iter().any(|stage| stage.clocked)
    }

    /// A pool's name; the main one has none.
    pub fn pool_name(&self, pool: PoolId) -> Option<&str> {
        let named = pool.index().checked_sub(1)?;
        self.named_pools.get(named).map(|pool| pool.name.as_str())
    }

    /// All pools, the main one first.
    pub fn pools(&self) -> impl Iterator<Item = PoolId> + use<> {
        (0..=self.named_pools.len() as u32).map(PoolId)
    }

    /// What a stage begins with, for people.
    pub fn root_name(&self, stage: &Stage) -> String {
        let name = self.name(stage.root);
        let decodes = stage.input.source().is_some();
        let keys = matches!(self.topology.node(stage.root).kind, NodeKind::KeyBy { .. } | NodeKind::Collect);
        if decodes || keys { name.to_owned() } else { format!("after {name}") }
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

#[cfg(test)]
mod tests;
