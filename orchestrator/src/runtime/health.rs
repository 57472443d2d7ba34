//! Which sources and sinks are up: those that are reached by a connection or run in a process of their own. Files always are.

use std::time::Instant;

use wallaroo_protocol::topology::{SinkConfig, SourceConfig};

use crate::control::report::{HealthReport, HealthState};
use crate::ids::{SinkId, SourceId};
use crate::plan::Plan;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Health {
    sources: Vec<Condition>,
    sinks: Vec<Condition>,
}

#[derive(Debug, Clone)]
enum Condition {
    Connecting { since: Instant },
    Up,
    Down { since: Instant, reason: String },
}

impl Condition {
    fn down(&mut self, reason: String) {
        // How long it has been down, whatever it was tried in between.
        let since = if let Self::Down { since, .. } = self { *since } else { Instant::now() };
        *self = Self::Down { since, reason };
    }

    fn report(&self) -> HealthReport {
        let (state, since, reason) = match self {
            Self::Connecting { since } => (HealthState::Connecting, Some(since), None),
            Self::Up => (HealthState::Up, None, None),
            Self::Down { since, reason } => (HealthState::Down, Some(since), Some(reason.clone())),
        };
        HealthReport { state, for_seconds: since.map(|since| since.elapsed().as_secs_f64()), reason }
    }

    fn problem(&self, kind: &str, name: &str) -> Option<String> {
        let Self::Down { since, reason } = self else { return None };
        Some(format!("{kind} {name:?} has been down for {} s: {reason}", since.elapsed().as_secs()))
    }
}

impl Health {
    pub(super) fn new(plan: &Plan) -> Self {
        let begin = |connects: bool| match connects {
            true => Condition::Connecting { since: Instant::now() },
            false => Condition::Up,
        };
        let reads = |config: &SourceConfig| matches!(config, SourceConfig::Connector { .. });
        let writes = |config: &SinkConfig| matches!(config, SinkConfig::Connector { .. } | SinkConfig::Tcp { .. });
        Self {
            sources: plan.sources.iter().map(|source| begin(reads(&source.config))).collect(),
            sinks: plan.sinks.iter().map(|sink| begin(writes(&sink.config))).collect(),
        }
    }

    pub(super) fn source_is_up(&mut self, source: SourceId) {
        self.sources[source.index()] = Condition::Up;
    }

    pub(super) fn source_is_down(&mut self, source: SourceId, reason: String) {
        self.sources[source.index()].down(reason);
    }

    pub(super) fn sink_is_up(&mut self, sink: SinkId) {
        self.sinks[sink.index()] = Condition::Up;
    }

    pub(super) fn sink_is_down(&mut self, sink: SinkId, reason: String) {
        self.sinks[sink.index()].down(reason);
    }

    pub(super) fn of_source(&self, source: SourceId) -> HealthReport {
        self.sources[source.index()].report()
    }

    pub(super) fn of_sink(&self, sink: SinkId) -> HealthReport {
        self.sinks[sink.index()].report()
    }

    /// Sources and sinks that are down, for people.
    pub(super) fn problems(&self, plan: &Plan) -> Vec<String> {
        let sources = self.sources.iter().zip(&plan.sources);
        let sources = sources.filter_map(|(condition, source)| condition.problem("source", plan.name(source.node)));
        let sinks = self.sinks.iter().zip(&plan.sinks);
        let sinks = sinks.filter_map(|(condition, sink)| condition.problem("sink", plan.name(sink.node)));
        sources.chain(sinks).collect()
    }
}
