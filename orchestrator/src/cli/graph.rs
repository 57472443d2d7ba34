//! `wallaroo-orch graph`.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, ValueEnum};
use wallaroo_protocol::topology::{Framing, Node, NodeKind, SinkConfig, SourceConfig, UnknownKey, Window};
use wallaroo_protocol::{NodeId, Topology};

use super::LogArgs;
use super::error::CliError;
use super::run::ApplicationArgs;
use crate::cli::terminal;

/// Arguments of `wallaroo-orch graph`.
#[derive(Debug, Args)]
pub(super) struct GraphArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    format: GraphFormat,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    pub(super) application: ApplicationArgs,
}

/// The formats a topology can be drawn in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum GraphFormat {
    /// A tree for a terminal
    Text,
    /// A Mermaid flowchart
    Mermaid,
    /// A Graphviz digraph
    Dot,
    /// The topology as the SDK describes it
    Json,
}

/// Prints an application's topology.
pub(super) async fn run(args: GraphArgs) -> Result<(), CliError> {
    args.log.start();
    let topology = args.application.describe().await?;
    terminal::text(format_args!("{}", render(&topology, args.format)));
    Ok(())
}

/// The topology as text that ends with a newline.
pub(super) fn render(topology: &Topology, format: GraphFormat) -> String {
    match format {
        GraphFormat::Text => text(topology),
        GraphFormat::Mermaid => mermaid(topology),
        GraphFormat::Dot => dot(topology),
        GraphFormat::Json => {
            let json = serde_json::to_string_pretty(topology).expect("a topology has a JSON form");
            json + "\n"
        }
    }
}

fn ids(topology: &Topology) -> impl Iterator<Item = (NodeId, &Node)> {
    (0..).map(NodeId).zip(&topology.nodes)
}

/// Every input of every node, as (from, to).
fn edges(topology: &Topology) -> impl Iterator<Item = (NodeId, NodeId)> {
    ids(topology).flat_map(|(id, node)| node.inputs.iter().map(move |input| (*input, id)))
}

fn in_pool(pool: Option<&String>) -> String {
    pool.map_or_else(String::new, |pool| format!(", pool {pool}"))
}

/// A node in words, without its name.
fn description(node: &Node) -> String {
    match &node.kind {
        NodeKind::Source { source, decoder, framing, .. } => {
            let mut parts = vec![match source {
                SourceConfig::Tcp { host, port, .. } => format!("tcp {host}:{port}"),
                SourceConfig::File { path, follow: false } => format!("file {path}"),
                SourceConfig::File { path, follow: true } => format!("file {path}, followed"),
                SourceConfig::Stdin {} => "stdin".to_owned(),
                SourceConfig::Generator {} => "generator".to_owned(),
                SourceConfig::Connector { class, pool } => format!("connector {class}{}", in_pool(pool.as_ref())),
            }];
            parts.extend(decoder.as_ref().map(|decoder| format!("decoder {decoder}")));
            parts.extend(framing.as_ref().map(framing_description));
            parts.join(", ")
        }
        NodeKind::Computation { pool: None, .. } => "computation".to_owned(),
        NodeKind::Computation { pool: Some(pool), .. } => format!("computation, pool {pool}"),
        NodeKind::KeyBy { keys: None, .. } => "key_by".to_owned(),
        NodeKind::KeyBy { keys: Some(keys), unknown_key } => {
            let others = match unknown_key {
                UnknownKey::Reject => "others are dead letters",
                UnknownKey::Create => "others are placed by hash",
            };
            format!("key_by, {} keys listed, {others}", keys.len())
        }
        NodeKind::Collect => "collect, one key for all".to_owned(),
        NodeKind::State { table, table_type } => format!("state {table}: {table_type}"),
        NodeKind::Window { table_type, window, .. } => format!("{}: {table_type}", window_description(window)),
        NodeKind::Sink { sink, encoder } => match sink {
            SinkConfig::Tcp { host, port } => format!("tcp {host}:{port}, encoder {encoder}"),
            SinkConfig::File { path, append: false } => format!("file {path}, encoder {encoder}"),
            SinkConfig::File { path, append: true } => format!("file {path}, appended to, encoder {encoder}"),
            SinkConfig::Stdout {} => format!("stdout, encoder {encoder}"),
            SinkConfig::Connector { class, pool } => {
                format!("connector {class}{}, encoder {encoder}", in_pool(pool.as_ref()))
            }
        },
    }
}

fn framing_description(framing: &Framing) -> String {
    match framing {
        Framing::Length { header, width, .. } if header == width => format!("{header}-byte length prefix"),
        Framing::Length { header, .. } => format!("length in a {header}-byte header"),
        Framing::Delimiter { delimiter } => format!("frames end with {:?}", String::from_utf8_lossy(delimiter)),
        Framing::Decoder { header } => format!("{header}-byte header read by the decoder"),
    }
}

fn window_description(window: &Window) -> String {
    let time = |nanoseconds: u64| format!("{:?}", Duration::from_nanos(nanoseconds));
    let text = match window {
        Window::Count { count } => return format!("windows of {count} values"),
        Window::Range { range, slide, .. } if range == slide => format!("windows of {}", time(*range)),
        Window::Range { range, slide, .. } => format!("windows of {} every {}", time(*range), time(*slide)),
        Window::Session { gap, .. } => format!("sessions with gaps of {}", time(*gap)),
    };
    match window.delay() {
        0 => text,
        delay => format!("{text}, delayed by {}", time(delay)),
    }
}

fn text(topology: &Topology) -> String {
    let mut children = vec![Vec::new(); topology.nodes.len()];
    for (from, to) in edges(topology) {
        children[from.index()].push(to);
    }
    let mut tree = Tree { topology, children, shown: vec![false; topology.nodes.len()], text: String::new() };
    let _ = writeln!(tree.text, "{}", topology.name);
    let sources: Vec<NodeId> = ids(topology).filter(|(_, node)| node.inputs.is_empty()).map(|(id, _)| id).collect();
    tree.branches(&sources, "");
    tree.text
}

/// Writes a topology as a tree. A node that several paths lead to is shown once; later mentions refer to it.
struct Tree<'a> {
    topology: &'a Topology,
    /// By node.
    children: Vec<Vec<NodeId>>,
    /// By node: whether it has been shown, with the nodes below it.
    shown: Vec<bool>,
    text: String,
}

impl Tree<'_> {
    fn branches(&mut self, nodes: &[NodeId], indent: &str) {
        for (index, &id) in nodes.iter().enumerate() {
            let last = index + 1 == nodes.len();
            let node = self.topology.node(id);
            let fork = if last { "└─" } else { "├─" };
            let _ = write!(self.text, "{indent}{fork} {} ({})", node.name, description(node));
            if std::mem::replace(&mut self.shown[id.index()], true) {
                self.text.push_str(", see above\n");
                continue;
            }
            self.text.push('\n');
            let below = std::mem::take(&mut self.children[id.index()]);
            self.branches(&below, &format!("{indent}{}", if last { "   " } else { "│  " }));
        }
    }
}

fn mermaid(topology: &Topology) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for (id, node) in ids(topology) {
        let (open, close) = match node.kind {
            NodeKind::Source { .. } | NodeKind::Sink { .. } => ("([", "])"),
            NodeKind::KeyBy { .. } | NodeKind::Collect => ("{{", "}}"),
            NodeKind::State { .. } | NodeKind::Window { .. } => ("[(", ")]"),
            NodeKind::Computation { .. } => ("[", "]"),
        };
        let label = format!("{}<br/>{}", mermaid_text(&node.name), mermaid_text(&description(node)));
        let _ = writeln!(text, "    n{id}{open}\"{label}\"{close}");
    }
    for (from, to) in edges(topology) {
        let _ = writeln!(text, "    n{from} --> n{to}");
    }
    text
}

fn mermaid_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '<' | '>' | '#' | '&' | '`' | '\\' => {
                let _ = write!(escaped, "#{};", u32::from(character));
            }
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}

fn dot(topology: &Topology) -> String {
    let mut text = format!("digraph {} {{\n    rankdir=LR;\n", dot_text(&topology.name));
    for (id, node) in ids(topology) {
        let shape = match node.kind {
            NodeKind::Source { .. } | NodeKind::Sink { .. } => "oval",
            NodeKind::KeyBy { .. } | NodeKind::Collect => "hexagon",
            NodeKind::State { .. } | NodeKind::Window { .. } => "cylinder",
            NodeKind::Computation { .. } => "box",
        };
        let label = dot_text(&format!("{}\n{}", node.name, description(node)));
        let _ = writeln!(text, "    n{id} [shape={shape}, label={label}];");
    }
    for (from, to) in edges(topology) {
        let _ = writeln!(text, "    n{from} -> n{to};");
    }
    text + "}\n"
}

fn dot_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests;
