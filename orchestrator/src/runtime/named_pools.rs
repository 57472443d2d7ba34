//! Matches the pools that are defined with those that steps name.

use super::{RunError, RunOptions};
use crate::plan::{NamedPool, Plan};
use crate::worker::pool::PoolSettings;

/// The settings of the pools that steps name, in the order of the plan.
pub(super) fn named_pools(plan: &Plan, options: &RunOptions) -> Result<Vec<(String, PoolSettings)>, RunError> {
    let settings = |pool: &NamedPool| match options.named_pools.get(&pool.name) {
        Some(settings) => Ok((pool.name.clone(), settings.clone())),
        None => Err(RunError::UnknownPool { step: plan.name(pool.step).to_owned(), pool: pool.name.clone() }),
    };
    let named = plan.named_pools.iter().map(settings).collect::<Result<Vec<_>, _>>()?;
    for unused in options.named_pools.keys().filter(|name| !named.iter().any(|(used, _)| used == *name)) {
        tracing::warn!("no step names the pool {unused}, so it has no workers");
    }
    Ok(named)
}
