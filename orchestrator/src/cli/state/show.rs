//! `wallaroo-orch state show`, and what other commands about state ask of a folder.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytesize::ByteSize;
use jiff::Timestamp;
use serde::Serialize;
use wallaroo_protocol::{EventTime, input};

use super::counted;
use crate::checkpoint::{Checkpoint, SinkMark};
use crate::cli::table::Table;
use crate::cli::terminal;
use crate::plan::ShapeStep;
use crate::position::StreamName;
use crate::state_folder::Alone;

/// A state folder, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    application: &'a str,
    version: u32,
    steps: Vec<&'a str>,
    last_record: u64,
    /// The wall clock of the last record.
    last_commit: Option<String>,
    /// The last record of the stored checkpoint.
    checkpoint: Option<u64>,
    /// What is after the stored checkpoint.
    records_after: usize,
    record_bytes: u64,
    segments: usize,
    log_bytes: u64,
    store_bytes: u64,
    /// Bytes at the end of the log that the next run cuts.
    unsynced_bytes: u64,
    tables: Vec<TableReport>,
    journal: Journal,
    sources: Vec<Source<'a>>,
    sinks: Vec<Sink<'a>>,
    stages: Vec<Stage<'a>>,
    undelivered_dead_letters: usize,
}

/// The stored states of a table.
#[derive(Debug, Serialize)]
pub(super) struct TableReport {
    pub(super) name: String,
    keys: usize,
    bytes: usize,
}

/// Batches that stored states lack.
#[derive(Debug, Serialize)]
struct Journal {
    batches: usize,
    messages: u64,
}

#[derive(Debug, Serialize)]
struct Source<'a> {
    name: &'a str,
    kind: &'a str,
    position: Option<u64>,
    /// Messages of each acknowledged stream.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    streams: BTreeMap<StreamName, u64>,
    ended: bool,
}

#[derive(Debug, Serialize)]
struct Sink<'a> {
    name: &'a str,
    kind: &'a str,
    delivered_bytes: u64,
    undelivered_bytes: usize,
}

#[derive(Debug, Serialize)]
struct Stage<'a> {
    name: &'a str,
    queued_groups: usize,
    timers: usize,
}

/// Prints what is in a folder.
pub(super) fn show(alone: &Alone, json: bool) {
    let report = Report::new(alone);
    if json {
        // Every field has a form in JSON.
        terminal::line(format_args!("{}", serde_json::to_string(&report).unwrap_or_default()));
    } else {
        terminal::text(format_args!("{}", terminal::printable(&report.text())));
    }
}

/// The tables of the application's steps, and those of stored states.
pub(super) fn tables(alone: &Alone) -> Vec<TableReport> {
    let mut tables: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for table in alone.shape.steps.iter().filter_map(ShapeStep::table) {
        tables.entry(table).or_default();
    }
    for state in &alone.content.states {
        let (keys, bytes) = tables.entry(state.table.to_string()).or_default();
        *keys += 1;
        *bytes += state.state.as_ref().map_or(0, Bytes::len);
    }
    tables.into_iter().map(|(name, (keys, bytes))| TableReport { name, keys, bytes }).collect()
}

/// How many batches of the journal have values of a key.
pub(super) fn batches_with(key: &[u8], checkpoint: &Checkpoint) -> usize {
    let has_key = |input| {
        // The input of a generator's batch has no keys.
        input::parse_groups(input).is_ok_and(|groups| groups.iter().any(|group| group.key_bytes() == key))
    };
    checkpoint.journal.iter().filter(|entry| has_key(&entry.input)).count()
}

impl<'a> Report<'a> {
    fn new(alone: &'a Alone) -> Self {
        let Checkpoint { topology, lsn, at, sources, stages, journal, sinks, letters, .. } = &alone.content.checkpoint;
        let undelivered = |sink: &SinkMark| sink.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        Self {
            application: &alone.application,
            version: alone.version,
            steps: topology.lines().filter(|line| !line.starts_with("stage ")).collect(),
            last_record: lsn.0,
            last_commit: if lsn.0 > 0 { wall_clock(*at) } else { None },
            checkpoint: alone.content.stored.map(|lsn| lsn.0),
            records_after: alone.content.records,
            record_bytes: alone.sizes.records,
            segments: alone.sizes.segments,
            log_bytes: alone.sizes.log,
            store_bytes: alone.sizes.store,
            unsynced_bytes: alone.unsynced,
            tables: tables(alone),
            journal: Journal {
                batches: journal.len(),
                messages: journal.iter().map(|entry| u64::from(entry.batch.messages)).sum(),
            },
            sources: (alone.shape.sources().zip(sources))
                .map(|(step, mark)| Source {
                    name: &step.name,
                    kind: &step.kind,
                    position: mark.position.bytes(),
                    streams: mark.position.clone().into_messages().collect(),
                    ended: mark.ended,
                })
                .collect(),
            sinks: (alone.shape.sinks().zip(sinks))
                .map(|(step, mark)| Sink {
                    name: &step.name,
                    kind: &step.kind,
                    delivered_bytes: mark.delivered,
                    undelivered_bytes: undelivered(mark),
                })
                .collect(),
            stages: (alone.shape.stages.iter().zip(stages))
                .map(|(stage, mark)| Stage {
                    name: &stage.name,
                    queued_groups: mark.queue.len(),
                    timers: mark.timers.len(),
                })
                .collect(),
            undelivered_dead_letters: letters.len(),
        }
    }

    fn text(&self) -> String {
        let steps = self.steps.join("\n  ");
        let parts = [self.summary(), self.tables(), self.sources(), self.sinks(), self.stages()];
        let parts: Vec<String> = parts.iter().map(Table::to_string).filter(|part| !part.is_empty()).collect();
        format!("{}\nsteps\n  {steps}\n\n{}", parts[0], parts[1..].join("\n"))
    }

    fn summary(&self) -> Table {
        let mut table = Table::default();
        let mut row = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
        row("application", self.application.to_owned());
        row("format", self.version.to_string());
        row("last record", self.last_record.to_string());
        row("last commit", self.last_commit.clone().unwrap_or("-".to_owned()));
        row("checkpoint", self.checkpoint.map_or("none".to_owned(), |lsn| format!("at record {lsn}")));
        row(
            "after it",
            format!("{}, {}", counted(self.records_after, "record", "records"), ByteSize(self.record_bytes)),
        );
        row("log", format!("{} in {}", ByteSize(self.log_bytes), counted(self.segments, "segment", "segments")));
        row("store", ByteSize(self.store_bytes).to_string());
        if self.unsynced_bytes > 0 {
            row("never synced", format!("{}, which the next run cuts", ByteSize(self.unsynced_bytes)));
        }
        let messages = usize::try_from(self.journal.messages).unwrap_or(usize::MAX);
        let messages = counted(messages, "message", "messages");
        let batches = counted(self.journal.batches, "batch", "batches");
        row("journal", format!("{batches} that stored states lack, {messages}"));
        row("dead letters", format!("{} undelivered", self.undelivered_dead_letters));
        table
    }

    fn tables(&self) -> Table {
        let rows = self.tables.iter().map(|TableReport { name, keys, bytes }| {
            vec![name.clone(), keys.to_string(), ByteSize(*bytes as u64).to_string()]
        });
        headed(&["TABLE", "STORED KEYS", "STORED STATE"], rows)
    }

    fn sources(&self) -> Table {
        let rows = self.sources.iter().map(|source| {
            let position = match (source.position, source.streams.len()) {
                (Some(position), _) => position.to_string(),
                (None, 0) => "-".to_owned(),
                (None, streams) => {
                    let messages: u64 = source.streams.values().sum();
                    format!("{messages} in {}", counted(streams, "stream", "streams"))
                }
            };
            // Only a generator is known to have ended: a file may grow.
            let ended = match (source.kind.starts_with("source generator"), source.ended) {
                (true, true) => "yes",
                (true, false) => "no",
                (false, _) => "-",
            };
            vec![source.name.to_owned(), position, ended.to_owned()]
        });
        headed(&["SOURCE", "POSITION", "ENDED"], rows)
    }

    fn sinks(&self) -> Table {
        let rows = self.sinks.iter().map(|sink| {
            vec![sink.name.to_owned(), sink.delivered_bytes.to_string(), sink.undelivered_bytes.to_string()]
        });
        headed(&["SINK", "DELIVERED BYTES", "UNDELIVERED BYTES"], rows)
    }

    fn stages(&self) -> Table {
        let rows = self.stages.iter().map(|Stage { name, queued_groups, timers }| {
            vec![(*name).to_owned(), queued_groups.to_string(), timers.to_string()]
        });
        headed(&["STAGE", "QUEUED GROUPS", "TIMERS"], rows)
    }
}

fn wall_clock(at: EventTime) -> Option<String> {
    Timestamp::from_nanosecond(at.0.into()).ok().map(|at| format!("{at:.3}"))
}

/// A table with headings, or nothing if it has no rows.
fn headed(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Table {
    let mut table = Table::default();
    for (number, row) in rows.enumerate() {
        if number == 0 {
            table.row(headings.iter().map(|heading| (*heading).to_owned()).collect());
        }
        table.row(row);
    }
    table
}
