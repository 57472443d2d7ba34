//! The shape of an application: what must not change under a state folder. It is written and read here.

use std::fmt::Write;

use wallaroo_protocol::topology::{Node, NodeKind, SinkConfig, SourceConfig};

use super::{Input, Plan};

/// One line a step, then one a stage with the tables of its states. Equal texts mean that one version of an application can go on with what another has left: the
/// same steps in the same order, with the same states and files, and the same boundaries of pools. Addresses and limits of batches
/// may change.
pub(super) fn shape_of(plan: &Plan) -> String {
    let mut text = String::new();
    for node in &plan.topology.nodes {
        let inputs: Vec<String> = node.inputs.iter().map(ToString::to_string).collect();
        // A String takes everything.
        let _ = writeln!(text, "{} {:?} <- [{}]", kind(node), node.name, inputs.join(" "));
    }
    // Records name stages by their numbers, states name their tables.
    for stage in &plan.stages {
        let input = match stage.input {
            Input::Frames(_) => "frames",
            Input::Cut(_) => "bytes to be cut",
            Input::Groups(_) => "groups",
            Input::Values => "values of another pool",
            Input::Generate(..) => "a generator",
        };
        let _ = write!(text, "stage {:?} of {input}", plan.root_name(stage));
        for table in plan.tables_of(stage) {
            let _ = write!(text, " {table:?}");
        }
        text.push('\n');
    }
    text
}

fn kind(node: &Node) -> String {
    match &node.kind {
        NodeKind::Source { source, event_time, .. } => {
            let time = if *event_time { " with event times" } else { "" };
            let from = match source {
                SourceConfig::Tcp { .. } => "tcp".to_owned(),
                SourceConfig::File { path, .. } => format!("file {path:?}"),
                SourceConfig::Stdin {} => "standard input".to_owned(),
                SourceConfig::Generator {} => "generator".to_owned(),
                SourceConfig::Connector { class, .. } => format!("connector {class:?}"),
            };
            format!("source {from}{time}")
        }
        NodeKind::Computation { .. } => "computation".to_owned(),
        NodeKind::KeyBy { keys: None, .. } => "key_by".to_owned(),
        NodeKind::KeyBy { keys: Some(keys), .. } => format!("key_by {keys:?}"),
        NodeKind::Collect => "collect".to_owned(),
        NodeKind::State { table, .. } => format!("state {table:?}"),
        NodeKind::Window { table, window, .. } => format!("window {table:?} {window:?}"),
        NodeKind::Sink { sink, .. } => match sink {
            SinkConfig::Tcp { .. } => "sink tcp".to_owned(),
            SinkConfig::File { path, .. } => format!("sink file {path:?}"),
            SinkConfig::Stdout {} => "sink standard output".to_owned(),
            SinkConfig::Connector { class, .. } => format!("sink connector {class:?}"),
        },
    }
}

/// What one shape has and another has not, for people.
pub fn difference(before: &str, now: &str) -> String {
    // What a step takes input from changes with every step before it.
    let named = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" <- [").next().unwrap_or_default().to_owned()).collect()
    };
    let (before, now) = (named(before), named(now));
    let gone = before.iter().filter(|line| !now.contains(line)).map(|line| format!("no longer: {line}"));
    let new = now.iter().filter(|line| !before.contains(line)).map(|line| format!("new: {line}"));
    let changes: Vec<String> = gone.chain(new).collect();
    if changes.is_empty() { "the steps are connected in another way".to_owned() } else { changes.join("; ") }
}

/// The shape of an application, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Its steps, in their order.
    pub steps: Vec<ShapeStep>,
    /// Its stages, in the order of their numbers.
    pub stages: Vec<ShapeStage>,
}

impl Shape {
    /// Reads a shape. Lines that are neither a step nor a stage are left out.
    pub fn parse(text: &str) -> Self {
        let (stages, steps): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("stage "));
        Self {
            steps: steps.into_iter().filter_map(ShapeStep::parse).collect(),
            stages: stages.into_iter().filter_map(ShapeStage::parse).collect(),
        }
    }

    /// The sources, in the order of their numbers.
    pub fn sources(&self) -> impl Iterator<Item = &ShapeStep> {
        self.steps.iter().filter(|step| step.is_source())
    }

    /// The sinks, in the order of their numbers.
    pub fn sinks(&self) -> impl Iterator<Item = &ShapeStep> {
        self.steps.iter().filter(|step| step.is_sink())
    }
}

/// A stage of an application, as its shape has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeStage {
    /// The beginning of the stage, as people read it.
    pub name: String,
    /// What its batches hold.
    pub input: String,
    /// The tables of its states.
    pub tables: Vec<String>,
}

impl ShapeStage {
    fn parse(line: &str) -> Option<Self> {
        let mut texts = quoted(line).into_iter();
        let (start, name) = texts.next()?;
        let rest = line[start..].get(format!("{name:?}").len()..)?.strip_prefix(" of ")?;
        let input = rest.split(" \"").next().unwrap_or(rest).to_owned();
        Some(Self { name, input, tables: texts.map(|(_, table)| table).collect() })
    }
}

/// A step of an application, as its shape has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeStep {
    /// What it is, for example `source file "a.txt"`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl ShapeStep {
    fn parse(line: &str) -> Option<Self> {
        let (step, _) = line.rsplit_once(" <- [")?;
        let (start, name) = quoted(step).pop()?;
        Some(Self { kind: step[..start].trim_end().to_owned(), name })
    }

    /// Whether it is a source.
    pub fn is_source(&self) -> bool {
        self.kind.starts_with("source ")
    }

    /// Whether it is a sink.
    pub fn is_sink(&self) -> bool {
        self.kind.starts_with("sink ")
    }

    /// Whether it is a source with event times.
    pub fn has_event_times(&self) -> bool {
        self.is_source() && self.kind.ends_with(" with event times")
    }

    /// The file that a source reads, or that a sink writes.
    pub fn file(&self) -> Option<String> {
        self.quoted_after(&["source file ", "sink file "])
    }

    /// The table of its states.
    pub fn table(&self) -> Option<String> {
        self.quoted_after(&["state ", "window "])
    }

    fn quoted_after(&self, kinds: &[&str]) -> Option<String> {
        kinds
            .iter()
            .any(|kind| self.kind.starts_with(kind))
            .then(|| quoted(&self.kind).into_iter().next())?
            .map(|(_, text)| text)
    }
}

/// The quoted texts in a line, as `Debug` writes them, each with the place of its first quotation mark.
fn quoted(line: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut characters = line.char_indices();
    while let Some((start, character)) = characters.next() {
        if character != '"' {
            continue;
        }
        let mut text = String::new();
        while let Some((_, character)) = characters.next() {
            match character {
                '"' => break,
                '\\' => text.extend(unescaped(&mut characters)),
                plain => text.push(plain),
            }
        }
        found.push((start, text));
    }
    found
}

/// The character of an escape, whose backslash is read.
fn unescaped(characters: &mut std::str::CharIndices<'_>) -> Option<char> {
    match characters.next()?.1 {
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        '0' => Some('\0'),
        'u' => {
            let digits: String = characters.map(|(_, digit)| digit).skip(1).take_while(|digit| *digit != '}').collect();
            char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
        }
        same => Some(same),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_are_read_back() {
        let name = "a \"b\" <- [\u{1b}\\\n'é' \u{200b}";
        let shape = format!(
            "source file {:?} with event times {name:?} <- []\nstate {:?} {:?} <- [0]\nsink tcp {:?} <- [1 2]\nstage {name:?} of frames\nstage \"k\" of values of another pool \"totals\" {name:?}\n",
            "in \\.txt", "totals", "count", "out"
        );
        let Shape { steps, stages } = Shape::parse(&shape);
        let names: Vec<&str> = steps.iter().map(|step| &step.name[..]).collect();
        assert_eq!(names, [name, "count", "out"]);
        let stage = |name: &str, input: &str, tables: &[&str]| ShapeStage {
            name: name.to_owned(),
            input: input.to_owned(),
            tables: tables.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(stages, [stage(name, "frames", &[]), stage("k", "values of another pool", &["totals", name])]);
        assert_eq!((steps[0].file(), steps[0].has_event_times()), (Some("in \\.txt".to_owned()), true));
        assert_eq!((steps[1].table(), steps[1].kind.as_str()), (Some("totals".to_owned()), "state \"totals\""));
        assert_eq!((steps[2].file(), steps[2].is_sink(), steps[2].table()), (None, true, None));
    }
}
