//! What is promised to messages on their ways from sources to sinks, and why. `spec/delivery.md` says the same in more words.

use std::collections::BTreeSet;
use std::fmt;

use wallaroo_protocol::StageId;
use wallaroo_protocol::topology::{SinkConfig, SourceConfig};

use super::{Plan, Target};
use crate::ids::{SinkId, SourceId};

/// What is promised to the messages of a source at a sink.
#[derive(Debug, PartialEq, Eq)]
pub struct Guarantee {
    /// The source's name.
    pub source: String,
    /// The sink's name.
    pub sink: String,
    /// Without a state folder.
    pub without_state: Promise,
    /// With a state folder.
    pub with_state: Promise,
}

/// A promise, and the reasons why it is no more and no less.
#[derive(Debug, PartialEq, Eq)]
pub struct Promise {
    level: Level,
    scope: Scope,
    reasons: [&'static str; 2],
}

/// How often a message arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    ExactlyOnce,
    AtLeastOnce,
}

/// For what a promise holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    WhileItLives,
    Recorded,
    All,
}

impl fmt::Display for Promise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::ExactlyOnce => "exactly once",
            Level::AtLeastOnce => "at least once",
        };
        let scope = match self.scope {
            Scope::WhileItLives => " while the orchestrator lives, nothing after its death",
            Scope::Recorded => ", of what was recorded before the death of the orchestrator",
            Scope::All => "",
        };
        write!(formatter, "{level}{scope}: {}", self.reasons.join("; "))
    }
}

/// What a source does when the orchestrator has died.
struct SourceRow {
    with_state: &'static str,
    /// What no record has is not lost.
    is_read_again: bool,
    without_state: &'static str,
}

/// What a sink does while the orchestrator lives, and when it has died.
struct SinkRow {
    while_it_lives: Level,
    with_state: (Level, &'static str),
    without_state: &'static str,
}

fn source_row(source: &SourceConfig) -> SourceRow {
    match source {
        SourceConfig::File { follow: false, .. } => SourceRow {
            with_state: "the file is read on behind what was recorded",
            is_read_again: true,
            without_state: "the file is read from its start",
        },
        SourceConfig::File { follow: true, .. } => SourceRow {
            with_state: "the file is found, also if it was rotated, and read on behind what was recorded",
            is_read_again: true,
            without_state: "the file is read from its start, and rotated ones are not",
        },
        SourceConfig::Generator {} => SourceRow {
            with_state: "the generator goes on behind its last recorded value",
            is_read_again: true,
            without_state: "the generator begins anew",
        },
        SourceConfig::Tcp { acknowledged: true, .. } => SourceRow {
            with_state: "clients send again what they were not told is durable",
            is_read_again: true,
            without_state: "what was received is lost, and a client that goes on is told so",
        },
        SourceConfig::Tcp { acknowledged: false, .. } => SourceRow {
            with_state: "what was received and not recorded is lost, and the client is not told",
            is_read_again: false,
            without_state: "what was received and not delivered is lost, and the client is not told",
        },
        SourceConfig::Connector { .. } => SourceRow {
            with_state: "the connector goes on behind the position that was recorded last",
            is_read_again: true,
            without_state: "the connector begins where its code says",
        },
        SourceConfig::Stdin {} => SourceRow {
            with_state: "what was read and not recorded is lost",
            is_read_again: false,
            without_state: "what was read and not delivered is lost",
        },
    }
}

fn sink_row(sink: &SinkConfig) -> SinkRow {
    match sink {
        SinkConfig::File { append: false, .. } => SinkRow {
            while_it_lives: Level::ExactlyOnce,
            with_state: (Level::ExactlyOnce, "the file is cut back to what was delivered and written on"),
            without_state: "the file is emptied",
        },
        SinkConfig::File { append: true, .. } => SinkRow {
            while_it_lives: Level::ExactlyOnce,
            with_state: (Level::ExactlyOnce, "the file is cut back to what was delivered and written on"),
            without_state: "the file is written on behind all that it has",
        },
        SinkConfig::Tcp { .. } => SinkRow {
            while_it_lives: Level::AtLeastOnce,
            with_state: (Level::AtLeastOnce, "what the consumer has not acknowledged is sent again"),
            without_state: "what the consumer has not acknowledged is sent again only after a broken connection",
        },
        SinkConfig::Connector { .. } => SinkRow {
            while_it_lives: Level::AtLeastOnce,
            with_state: (
                Level::AtLeastOnce,
                "what the connector has not reported as written is given to it again, and exactly once if it commits positions \
                 with what it writes",
            ),
            without_state: "what the connector has not reported as written is given to it again after its own death",
        },
        SinkConfig::Stdout {} => SinkRow {
            while_it_lives: Level::ExactlyOnce,
            with_state: (Level::AtLeastOnce, "what no record counts as written is written again"),
            without_state: "what was written stays",
        },
    }
}

/// What is promised without and with a state folder.
fn promises_of(source: &SourceRow, sink: &SinkRow) -> (Promise, Promise) {
    let without_state = Promise {
        level: sink.while_it_lives,
        scope: Scope::WhileItLives,
        reasons: [source.without_state, sink.without_state],
    };
    let (level, at_sink) = sink.with_state;
    let scope = if source.is_read_again { Scope::All } else { Scope::Recorded };
    (without_state, Promise { level, scope, reasons: [source.with_state, at_sink] })
}

fn guarantee(plan: &Plan, source: SourceId, sink: SinkId) -> Guarantee {
    let (source, sink) = (&plan.sources[source.index()], &plan.sinks[sink.index()]);
    let (without_state, with_state) = promises_of(&source_row(&source.config), &sink_row(&sink.config));
    let name = |node| plan.name(node).to_owned();
    Guarantee { source: name(source.node), sink: name(sink.node), without_state, with_state }
}

impl Plan {
    /// What is promised on each way from a source to a sink, in their order.
    pub fn guarantees(&self) -> Vec<Guarantee> {
        let sources = (0..).map(SourceId).zip(&self.sources);
        let ways =
            sources.flat_map(|(id, source)| self.sinks_below(source.stage).into_iter().map(move |sink| (id, sink)));
        ways.map(|(source, sink)| guarantee(self, source, sink)).collect()
    }

    /// The sinks that outputs of a stage reach, through other stages too.
    fn sinks_below(&self, stage: StageId) -> BTreeSet<SinkId> {
        let (mut sinks, mut seen, mut next) = (BTreeSet::new(), BTreeSet::from([stage]), vec![stage]);
        while let Some(stage) = next.pop() {
            for (_, target) in &self.stages[stage.index()].outlets {
                match *target {
                    Target::Sink(sink) => drop(sinks.insert(sink)),
                    Target::Stage(stage) if seen.insert(stage) => next.push(stage),
                    Target::Stage(_) => {}
                }
            }
        }
        sinks
    }
}

#[cfg(test)]
mod tests;
