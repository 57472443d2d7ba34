//! Which sources and sinks are up: those that are reached by a connection or run in a process of their own. Files always are.

use std::time::{Duration, Instant};

use wallaroo_protocol::topology::{SinkConfig, SourceConfig};

use crate::control::report::{HealthReport, HealthState};
use crate::ids::{SinkId, SourceId};
use crate::plan::Plan;

/// What was up for so long was up. Less is an attempt.
const LASTING: Duration = Duration::from_secs(10);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Health {
    sources: Vec<Condition>,
    sinks: Vec<Condition>,
}

#[derive(Debug, Clone)]
enum Condition {
    Connecting {
        since: Instant,
    },
    /// It was down before from this time on, if it was.
    Up {
        since: Instant,
        down_since: Option<Instant>,
    },
    Down {
        since: Instant,
        reason: String,
    },
}

impl Condition {
    fn up(&mut self, now: Instant) {
        let down_since = if let Self::Down { since, .. } = self { Some(*since) } else { None };
        if !matches!(self, Self::Up { .. }) {
            *self = Self::Up { since: now, down_since };
        }
    }

    fn down(&mut self, reason: String, now: Instant) {
        let since = match self {
            Self::Down { since, .. } => *since,
            Self::Up { since, down_since: Some(down_since) } if now.duration_since(*since) < LASTING => *down_since,
            Self::Up { .. } | Self::Connecting { .. } => now,
        };
        *self = Self::Down { since, reason };
    }

    fn report(&self) -> HealthReport {
        let (state, since, reason) = match self {
            Self::Connecting { since } => (HealthState::Connecting, Some(since), None),
            Self::Up { .. } => (HealthState::Up, None, None),
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
        let begin = |connects: bool| {
            let since = Instant::now();
            if connects { Condition::Connecting { since } } else { Condition::Up { since, down_since: None } }
        };
        let reads = |config: &SourceConfig| matches!(config, SourceConfig::Connector { .. });
        let writes = |config: &SinkConfig| matches!(config, SinkConfig::Connector { .. } | SinkConfig::Tcp { .. });
        Self {
            sources: plan.sources.iter().map(|source| begin(reads(&source.config))).collect(),
            sinks: plan.sinks.iter().map(|sink| begin(writes(&sink.config))).collect(),
        }
    }

    pub(super) fn source_is_up(&mut self, source: SourceId) {
        self.sources[source.index()].up(Instant::now());
    }

    pub(super) fn source_is_down(&mut self, source: SourceId, reason: String) {
        self.sources[source.index()].down(reason, Instant::now());
    }

    pub(super) fn sink_is_up(&mut self, sink: SinkId) {
        self.sinks[sink.index()].up(Instant::now());
    }

    pub(super) fn sink_is_down(&mut self, sink: SinkId, reason: String) {
        self.sinks[sink.index()].down(reason, Instant::now());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_fails_soon_is_no_end_of_being_down() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let down_since = |condition: &Condition| match condition {
            Condition::Down { since, .. } => since.duration_since(start).as_secs(),
            other => panic!("not down: {other:?}"),
        };
        let mut condition = Condition::Connecting { since: start };
        condition.down("refused".to_owned(), after(3));
        condition.up(after(5));
        condition.down("reset".to_owned(), after(6));
        assert_eq!(down_since(&condition), 3);
        condition.up(after(7));
        condition.down("reset".to_owned(), after(17));
        assert_eq!(down_since(&condition), 17);
    }
}
