//! Messages that could not be processed: written to a JSON Lines file for later, and to the log for now.

mod append;
pub(crate) mod file;
mod limit;
mod lock;
mod writer;

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::sync::mpsc;
use wallaroo_protocol::topology::{ByteOrder, Framing, NodeKind, SourceConfig};
use wallaroo_protocol::{NodeId, Topology, key};

use self::append::AppendedFile;
use self::limit::LogLimit;
use self::writer::LetterWriter;
use crate::dead_message::DeadMessage;
use crate::limit::Limit;
use crate::plan::Plan;
use crate::record::LetterId;

pub use self::writer::LetterEvent;

/// One line of a dead letter file. Fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Where there is a state folder: the same letter has the same id, whatever run has written it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When it was given up: RFC 3339, UTC, milliseconds.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub time: Timestamp,
    /// The application's name.
    pub application: String,
    /// The step that failed.
    pub step: String,
    /// The message's key as Python would print it.
    pub key: Option<String>,
    /// Type of the exception, or the cause of a worker's death.
    pub exception: String,
    /// The exception's message.
    pub message: String,
    /// The limit that the worker was killed for exceeding, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The Python traceback; empty when there is none.
    pub traceback: String,
    /// `repr` of the value the step was given, cut.
    pub value: String,
    /// The value, to be sent again; base64.
    #[serde(serialize_with = "write_base64", deserialize_with = "read_base64")]
    pub payload: Vec<u8>,
    /// Which value of `payload` it is; null: all of them, or a frame.
    pub payload_index: Option<u32>,
    /// How `payload` is encoded.
    pub payload_codec: PayloadCodec,
    /// Name of the source the message came from, where it is known.
    pub source: Option<String>,
    /// Address of the client, or name of the file, the message came from, where it is known.
    pub connection: Option<String>,
    /// Where that source listens, unless it is not known before the run.
    pub source_address: Option<String>,
    /// How that source's messages are marked off.
    pub source_framing: Option<SourceFraming>,
}

/// How the messages of a source are marked off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceFraming {
    /// Four bytes, big-endian, with the payload's length before it.
    U32,
    /// A newline after it.
    Newline,
    /// As messages of an acknowledged stream.
    Stream,
    /// Another way.
    Other,
}

impl From<&Framing> for SourceFraming {
    fn from(framing: &Framing) -> Self {
        match framing {
            Framing::Length { header: 4, width: 4, order: ByteOrder::Big, adjust: 0, .. } => Self::U32,
            Framing::Delimiter { delimiter } if delimiter.as_ref() == b"\n" => Self::Newline,
            _ => Self::Other,
        }
    }
}

/// How a dead letter's payload is encoded. All but `Frame` hold a list of values, as `spec/protocol.md` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadCodec {
    /// The frame as it was read, without header or delimiter.
    Frame,
    /// A `MessagePack` array.
    Msgpack,
    /// A pickle.
    Pickle,
    /// A `MessagePack` array of what the application's `serialize` returned.
    App,
    /// A `MessagePack` array of class names and attributes.
    Objects,
}

/// Why dead letters cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The file cannot be opened for appending.
    #[error("cannot open {} for dead letters", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The thread that writes them cannot be started.
    #[error("cannot start the thread that writes dead letters")]
    Thread(#[source] io::Error),
}

/// Characters of a key in the log, at most.
const LOGGED_KEY: usize = 200;

/// Where a run's dead letters go.
#[derive(Debug)]
pub struct DeadLetters {
    topology: Arc<Topology>,
    /// By source.
    sources: Vec<NodeId>,
    path: Option<PathBuf>,
    writer: Option<LetterWriter>,
    events: mpsc::UnboundedSender<LetterEvent>,
    count: u64,
    limits: HashMap<NodeId, LogLimit>,
}

impl DeadLetters {
    /// Appends to `path`, which is opened now so that a path that cannot be written is known at the start. Without a path
    /// dead letters are only logged. `events` is told of each letter once it is kept: by the disk, if `synced`.
    pub fn open(
        path: Option<&Path>,
        plan: &Plan,
        synced: bool,
        events: mpsc::UnboundedSender<LetterEvent>,
    ) -> Result<Self, DeadLetterError> {
        let writer = match path {
            None => None,
            Some(path) => {
                let opened = AppendedFile::open(path);
                let file = opened.map_err(|source| DeadLetterError::Open { path: path.to_owned(), source })?;
                Some(LetterWriter::start(file, synced, events.clone()).map_err(DeadLetterError::Thread)?)
            }
        };
        Ok(Self {
            topology: Arc::clone(&plan.topology),
            sources: plan.sources.iter().map(|source| source.node).collect(),
            path: path.map(Path::to_owned),
            writer,
            events,
            count: 0,
            limits: HashMap::new(),
        })
    }

    /// The ids of the letters in the file. A pipe or a device has none that could be read.
    pub fn ids(&self) -> HashSet<LetterId> {
        /// What is read of a letter.
        #[derive(Deserialize)]
        struct Id {
            id: Option<String>,
        }
        let is_file = |path: &&Path| std::fs::metadata(path).is_ok_and(|found| found.is_file());
        let path = self.path.as_deref().filter(is_file);
        let Some(Ok(file)) = path.map(std::fs::File::open) else { return HashSet::new() };
        let lines = io::BufReader::new(file).split(b'\n').map_while(Result::ok);
        let id = |line: Vec<u8>| serde_json::from_slice::<Id>(&line).ok()?.id?.parse().ok();
        lines.filter_map(id).collect()
    }

    /// Has one message written, as one line, and logs it unless its step logs too much. `connection` is the client's address.
    pub fn write(&mut self, id: Option<LetterId>, message: &DeadMessage, connection: Option<&str>) {
        self.count += 1;
        let letter =
            DeadLetter { id: id.map(|id| id.to_string()), ..self.letter(message, connection, Timestamp::now()) };
        self.log(message.node, &letter);
        match &self.writer {
            Some(writer) => writer.write(line(&letter), message.weight()),
            // The runtime hangs up only when it is going away.
            None => drop(self.events.send(LetterEvent::Kept { bytes: message.weight() })),
        }
    }

    /// Has one message written that only its sink knows of: what it weighs is not reported.
    pub fn write_for_sink(&mut self, message: &DeadMessage) {
        self.count += 1;
        let letter = self.letter(message, None, Timestamp::now());
        self.log(message.node, &letter);
        if let Some(writer) = &self.writer {
            writer.write(line(&letter), 0);
        }
    }

    /// Waits until all letters have been written. No more can be written then.
    ///
    /// # Cancel safety
    /// Safe: a new call goes on waiting.
    pub async fn finish(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.finish().await;
        }
    }

    /// Dead letters so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn letter(&self, message: &DeadMessage, connection: Option<&str>, time: Timestamp) -> DeadLetter {
        let source = message.source.and_then(|source| self.sources.get(source.index()));
        DeadLetter {
            id: None,
            time,
            application: self.topology.name.clone(),
            step: self.name(message.node),
            key: message.key.as_ref().map(|key| key::display(key)),
            exception: message.exception.clone(),
            message: message.message.clone(),
            limit: message.limit,
            traceback: message.traceback.clone(),
            value: message.value.clone(),
            payload: message.payload.to_vec(),
            payload_index: message.payload_index,
            payload_codec: match message.codec {
                1 => PayloadCodec::Msgpack,
                2 => PayloadCodec::Pickle,
                3 => PayloadCodec::App,
                4 => PayloadCodec::Objects,
                _ => PayloadCodec::Frame,
            },
            source: source.map(|node| self.name(*node)),
            connection: connection.map(str::to_owned),
            source_address: source.and_then(|node| self.address(*node)),
            source_framing: source.and_then(|node| self.framing(*node)),
        }
    }

    fn address(&self, source: NodeId) -> Option<String> {
        match &self.topology.nodes.get(source.index())?.kind {
            // The port that stands in for 0 is another one in every run.
            NodeKind::Source { source: SourceConfig::Tcp { host, port, .. }, .. } if *port != 0 => {
                Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
            }
            _ => None,
        }
    }

    fn framing(&self, source: NodeId) -> Option<SourceFraming> {
        match &self.topology.nodes.get(source.index())?.kind {
            NodeKind::Source { source: SourceConfig::Tcp { acknowledged: true, .. }, .. } => {
                Some(SourceFraming::Stream)
            }
            // Nobody can send a message in place of a connector.
            NodeKind::Source { source: SourceConfig::Connector { .. }, .. } => None,
            NodeKind::Source { framing: Some(framing), .. } => Some(framing.into()),
            _ => None,
        }
    }

    fn name(&self, node: NodeId) -> String {
        let node = self.topology.nodes.get(node.index());
        node.map_or_else(|| "?".to_owned(), |node| node.name.clone())
    }

    fn log(&mut self, node: NodeId, letter: &DeadLetter) {
        let limit = self.limits.entry(node).or_default();
        let first = limit.is_new();
        let Some(suppressed) = limit.admit(Instant::now()) else { return };
        let DeadLetter { step, key, exception, message, traceback, value, .. } = letter;
        let exceeded = letter.limit.map(Limit::name);
        let key = key.as_deref().unwrap_or("-");
        // The file has it whole.
        let key = key.char_indices().nth(LOGGED_KEY).map_or(key, |(end, _)| &key[..end]);
        if suppressed > 0 {
            tracing::warn!(step, suppressed, "further messages of this step became dead letters");
        }
        // One traceback a step shows what is wrong; the rest are in the file.
        if first && !traceback.is_empty() {
            tracing::warn!(
                step,
                key,
                value,
                limit = exceeded,
                "dead letter: {exception}: {message}\n{}",
                traceback.trim_end()
            );
        } else {
            tracing::warn!(step, key, value, limit = exceeded, "dead letter: {exception}: {message}");
        }
    }
}

impl Drop for DeadLetters {
    fn drop(&mut self) {
        for (node, limit) in &self.limits {
            let suppressed = limit.suppressed();
            if suppressed > 0 {
                let step = self.name(*node);
                tracing::warn!(step, suppressed, "further messages of this step became dead letters");
            }
        }
    }
}

fn line(letter: &DeadLetter) -> Vec<u8> {
    // A letter has no maps with other keys than strings, and memory takes all that is written to it.
    let mut line = serde_json::to_vec(letter).unwrap_or_default();
    line.push(b'\n');
    line
}

fn write_time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn write_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(bytes))
}

fn read_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    BASE64.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)
}

#[cfg(test)]
pub(crate) mod tests;
