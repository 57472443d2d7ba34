//! Matches the pools that are defined with those that steps name.

use wallaroo_protocol::NodeId;
use wallaroo_protocol::topology::{SinkConfig, SourceConfig};

use super::{RunError, RunOptions};
use crate::plan::{NamedPool, Plan};
use crate::worker::pool::PoolSettings;

/// The settings of the pool whose interpreter runs a connector.
pub(super) fn pool_of_connector<'a>(
    plan: &Plan,
    node: NodeId,
    pool: Option<&String>,
    options: &'a RunOptions,
) -> Result<&'a PoolSettings, RunError> {
    let Some(pool) = pool else { return Ok(&options.pool) };
    let unknown = || RunError::UnknownPool { step: plan.name(node).to_owned(), pool: pool.clone() };
    options.named_pools.get(pool).ok_or_else(unknown)
}

/// The sources and sinks that are connectors, with their pools.
fn connectors(plan: &Plan) -> impl Iterator<Item = (NodeId, Option<&String>)> {
    let sources = plan.sources.iter().filter_map(|source| match &source.config {
        SourceConfig::Connector { pool, .. } => Some((source.node, pool.as_ref())),
        _ => None,
    });
    let sinks = plan.sinks.iter().filter_map(|sink| match &sink.config {
        SinkConfig::Connector { pool, .. } => Some((sink.node, pool.as_ref())),
        _ => None,
    });
    sources.chain(sinks)
}

/// The settings of the pools that steps name, in the order of the plan.
pub(super) fn named_pools(plan: &Plan, options: &RunOptions) -> Result<Vec<(String, PoolSettings)>, RunError> {
    let settings = |pool: &NamedPool| match options.named_pools.get(&pool.name) {
        Some(settings) => Ok((pool.name.clone(), settings.clone())),
        None => Err(RunError::UnknownPool { step: plan.name(pool.step).to_owned(), pool: pool.name.clone() }),
    };
    let named = plan.named_pools.iter().map(settings).collect::<Result<Vec<_>, _>>()?;
    let of_connector = |name: &String| connectors(plan).any(|(_, pool)| pool == Some(name));
    let is_named = |name: &String| named.iter().any(|(used, _)| used == name) || of_connector(name);
    for unused in options.named_pools.keys().filter(|name| !is_named(name)) {
        tracing::warn!("no step names the pool {unused}, so it has no workers");
    }
    Ok(named)
}
