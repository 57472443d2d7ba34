//! Other steps go on with what an application has left: its states, the positions of its sources, what its sinks have delivered.
//!
//! That needs a [settled](Checkpoint::is_settled) checkpoint. States belong to tables, which are known by name; positions to sources,
//! and bytes to sinks, which are known by name and kind. What nothing takes over is lost, and so has to be named to be dropped.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::{Checkpoint, SinkMark, SourceMark, StageMark};
use crate::engine::StoredState;
use crate::ids::SinkId;
use crate::plan::{Shape, ShapeStage, ShapeStep, difference};
use crate::position::Position;

/// Why other steps cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OtherSteps {
    /// Work is under way that only the steps which began it can finish.
    #[error("{left} are left to the steps that began them")]
    Unsettled {
        /// What is left.
        left: String,
    },
    /// Nothing takes over what some steps have left.
    #[error("no step goes on with {}", join(gone))]
    Gone {
        /// What would be lost, by the name with which it can be dropped.
        gone: BTreeMap<String, String>,
    },
    /// Steps that are told apart by number alone are not the same ones any more.
    #[error(
        "{} are told apart by number alone, and there were {before} before: it cannot be known which states are whose",
        list(now)
    )]
    Numbered {
        /// The tables now.
        now: BTreeSet<String>,
        /// How many there were.
        before: usize,
    },
    /// The keys of a step were listed in another way.
    #[error("step {name:?} lists other keys than before: states of keys that are not listed have no place")]
    Keys {
        /// The step.
        name: String,
    },
}

/// What other steps go on with.
#[derive(Debug, PartialEq, Eq)]
pub struct CarriedOver {
    /// What lives.
    pub checkpoint: Checkpoint,
    /// States that are to be removed.
    pub dropped: Vec<StoredState>,
    /// Sinks that were not there before.
    pub new_sinks: BTreeSet<SinkId>,
    /// What has changed, for people.
    pub changes: String,
}

/// Has the steps of `topology` go on behind `checkpoint`, with `states`, of which dropped ones are taken out. What is named in `drop`
/// may be lost: tables, and sources. An error comes with what has changed.
pub fn carry_over(
    checkpoint: Checkpoint,
    states: &mut Vec<StoredState>,
    topology: &str,
    drop: &[String],
) -> Result<CarriedOver, (OtherSteps, String)> {
    let changes = difference(&checkpoint.topology, topology);
    match carried_over(checkpoint, states, topology, drop) {
        Ok((checkpoint, dropped, new_sinks)) => Ok(CarriedOver { checkpoint, dropped, new_sinks, changes }),
        Err(reason) => Err((reason, changes)),
    }
}

fn carried_over(
    checkpoint: Checkpoint,
    states: &mut Vec<StoredState>,
    topology: &str,
    drop: &[String],
) -> Result<(Checkpoint, Vec<StoredState>, BTreeSet<SinkId>), OtherSteps> {
    check_settled(&checkpoint)?;
    let (before, now) = (Shape::parse(&checkpoint.topology), Shape::parse(topology));
    check_keys(&before, &now)?;
    let (had, has) = (Tables::of(&before), Tables::of(&now));
    had.check_numbers(&has)?;
    let is_kept = |table: &str| has.takes_over(&had, table);
    let mut gone = BTreeMap::new();
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    for state in states.iter().filter(|state| !is_kept(&state.table)) {
        *keys.entry(&state.table).or_default() += 1;
    }
    for (table, keys) in keys {
        gone.insert(table.to_owned(), format!("the states of {keys} keys in table {table:?}"));
    }
    let sources = sources(&before, &now, checkpoint.sources, &mut gone);
    gone.retain(|name, _| !drop.contains(name));
    if !gone.is_empty() {
        return Err(OtherSteps::Gone { gone });
    }
    let dropped =
        states.extract_if(.., |state| !is_kept(&state.table)).map(|state| StoredState { state: None, ..state });
    let dropped = dropped.collect();
    let (sinks, new_sinks) = sinks(&before, &now, checkpoint.sinks);
    let carried = Checkpoint {
        topology: topology.to_owned(),
        sources,
        stages: stages(&before, &now, &checkpoint.stages),
        sinks,
        ..checkpoint
    };
    Ok((carried, dropped, new_sinks))
}

fn check_settled(checkpoint: &Checkpoint) -> Result<(), OtherSteps> {
    if checkpoint.is_settled() {
        return Ok(());
    }
    let groups: usize = checkpoint.stages.iter().map(|stage| stage.queue.len()).sum();
    let messages: usize = checkpoint.sinks.iter().flat_map(|sink| &sink.chunks).map(|chunk| chunk.lengths.len()).sum();
    let counts = [
        (groups, "queued groups"),
        (checkpoint.journal.len(), "batches that no saved state has"),
        (messages, "messages that are not delivered"),
        (checkpoint.letters.len(), "dead letters that are not written"),
    ];
    let left: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    Err(OtherSteps::Unsettled { left: left.join(", ") })
}

fn check_keys(before: &Shape, now: &Shape) -> Result<(), OtherSteps> {
    let is_key_by = |step: &&ShapeStep| step.kind.starts_with("key_by");
    for step in before.steps.iter().filter(is_key_by) {
        if now.steps.iter().filter(is_key_by).any(|other| other.name == step.name && other.kind != step.kind) {
            return Err(OtherSteps::Keys { name: step.name.clone() });
        }
    }
    Ok(())
}

/// The tables of an application, each with what its states are.
struct Tables(BTreeMap<String, BTreeSet<String>>);

impl Tables {
    fn of(shape: &Shape) -> Self {
        let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for table in shape.stages.iter().flat_map(|stage| &stage.tables) {
            tables.entry(table.clone()).or_default();
        }
        for step in &shape.steps {
            if let Some(table) = step.table() {
                tables.entry(table).or_default().insert(step.kind.clone());
            }
        }
        Self(tables)
    }

    /// Whether the states of a table of `before` go on here, as the same thing.
    fn takes_over(&self, before: &Self, table: &str) -> bool {
        self.0.get(table).is_some_and(|now| before.0.get(table).is_none_or(|before| before == now))
    }

    /// Fails if tables whose names are one name with numbers are others than before. One that was dropped leaves no doubt.
    fn check_numbers(&self, now: &Self) -> Result<(), OtherSteps> {
        let (before, now) = (self.families(), now.families());
        for (name, now) in now {
            if let Some(before) = before.get(name)
                && now.len() > 1
                && now != *before
            {
                let now = now.into_iter().map(str::to_owned).collect();
                return Err(OtherSteps::Numbered { now, before: before.len() });
            }
        }
        Ok(())
    }

    /// Tables by their names without numbers.
    fn families(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut families: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for table in self.0.keys() {
            let numbered = table.rsplit_once('-').filter(|(name, number)| {
                number.parse::<u32>().is_ok_and(|number| number > 1) && self.0.contains_key(*name)
            });
            families.entry(numbered.map_or(table, |(name, _)| name)).or_default().insert(table);
        }
        families
    }
}

/// Where sources go on. Notes in `gone` the positions that no source takes over.
fn sources(
    before: &Shape,
    now: &Shape,
    marks: Vec<SourceMark>,
    gone: &mut BTreeMap<String, String>,
) -> Vec<SourceMark> {
    let mut left: Vec<(&ShapeStep, SourceMark)> = before.sources().zip(marks).collect();
    let taken = now.sources().map(|source| {
        let mark = take(&mut left, source);
        mark.unwrap_or_else(SourceMark::beginning)
    });
    let taken = taken.collect();
    let has_position = |mark: &SourceMark| mark.ended || mark.position != Position::Unknown;
    for (step, _) in left.into_iter().filter(|(_, mark)| has_position(mark)) {
        gone.insert(step.name.clone(), format!("the position of source {:?} ({})", step.name, step.kind));
    }
    taken
}

/// What sinks have delivered, and those that are new.
fn sinks(before: &Shape, now: &Shape, marks: Vec<SinkMark>) -> (Vec<SinkMark>, BTreeSet<SinkId>) {
    let mut left: Vec<(&ShapeStep, SinkMark)> = before.sinks().zip(marks).collect();
    let mut new = BTreeSet::new();
    let marks = (0..).map(SinkId).zip(now.sinks()).map(|(id, sink)| {
        take(&mut left, sink).unwrap_or_else(|| {
            new.insert(id);
            SinkMark::default()
        })
    });
    (marks.collect(), new)
}

/// Takes what belongs to a step: the one of its name and kind. Whether a source has event times is no matter.
fn take<T>(left: &mut Vec<(&ShapeStep, T)>, step: &ShapeStep) -> Option<T> {
    let kind = |step: &ShapeStep| step.kind.trim_end_matches(" with event times").to_owned();
    let found = left.iter().position(|(other, _)| other.name == step.name && kind(other) == kind(step))?;
    Some(left.swap_remove(found).1)
}

/// What stages know of time: what those knew that had one of their tables. Nothing waits for them.
fn stages(before: &Shape, now: &Shape, marks: &[StageMark]) -> Vec<StageMark> {
    let stage = |stage: &ShapeStage| {
        let shares = |other: &&ShapeStage| other.tables.iter().any(|table| stage.tables.contains(table));
        let is_it = |other: &&ShapeStage| (&other.name, &other.input) == (&stage.name, &stage.input);
        let all = || before.stages.iter().zip(marks);
        let sharing: Vec<&StageMark> = all().filter(|(other, _)| shares(other)).map(|(_, mark)| mark).collect();
        let same = all().find(|(other, _)| sharing.is_empty() && is_it(other)).map(|(_, mark)| mark);
        let mut merged: Option<StageMark> = None;
        for mark in sharing.into_iter().chain(same) {
            merged = Some(merged.map_or_else(|| mark.clone(), |merged| merged.beside(mark)));
        }
        merged.unwrap_or_else(StageMark::beginning)
    };
    now.stages.iter().map(stage).collect()
}

fn join(gone: &BTreeMap<String, String>) -> String {
    gone.values().cloned().collect::<Vec<_>>().join(", ")
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
