//! Opens the sources and sinks of a plan before anything runs, so that a port in use is reported before the first message.

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wallaroo_protocol::topology::{SinkConfig, SourceConfig};

use super::{RunError, RunOptions};
use crate::ids::{SinkId, SourceId};
use crate::plan::Plan;
use crate::sink::{self, SinkEvent};
use crate::sink_chunk::SinkChunk;
use crate::source::{self, Framing, SourceBudget, SourceContext, SourceEvent, SourceHandle};

/// Sources that are open and not started yet.
pub(super) struct Inputs {
    /// Where each source listens or reads, as people read it.
    pub(super) addresses: Vec<String>,
    pub(super) events: mpsc::UnboundedReceiver<SourceEvent>,
    waiting: Vec<OpenSource>,
    pub(super) stop: CancellationToken,
}

enum OpenSource {
    Tcp(tokio::net::TcpListener, SourceContext),
    File(source::file::FileInput, SourceContext),
}

impl Inputs {
    /// Starts reading.
    pub(super) fn start(&mut self) {
        for opened in self.waiting.drain(..) {
            let stop = self.stop.clone();
            match opened {
                OpenSource::Tcp(listener, context) => tokio::spawn(source::tcp::run(listener, context, stop)),
                OpenSource::File(input, context) => tokio::spawn(source::file::run(input, context, stop)),
            };
        }
    }
}

/// The budget and the handle of each source. Generators have none.
pub(super) type SourceHandles = Vec<Option<(SourceBudget, SourceHandle)>>;

/// Binds the ports and opens the files of sources.
pub(super) async fn open_sources(plan: &Plan, options: &RunOptions) -> Result<(Inputs, SourceHandles), RunError> {
    let (sender, events) = mpsc::unbounded_channel();
    let connections = source::ConnectionIds::default();
    let mut inputs = Inputs { addresses: Vec::new(), events, waiting: Vec::new(), stop: CancellationToken::new() };
    let mut handles = Vec::new();
    for (id, source) in (0..).map(SourceId).zip(&plan.sources) {
        let (Some(framing), false) = (&source.framing, matches!(source.config, SourceConfig::Generator {})) else {
            inputs.addresses.push("generator".to_owned());
            handles.push(None);
            continue;
        };
        let budget = SourceBudget::new(options.engine.queue_bytes);
        let (handle, close_requests) = SourceHandle::new();
        let context = SourceContext {
            source: id,
            framing: Framing::from(framing),
            max_frame: options.engine.max_frame,
            events: sender.clone(),
            budget: budget.clone(),
            connections: connections.clone(),
            close_requests,
        };
        let (name, opened) = match &source.config {
            SourceConfig::Tcp { host, port } => {
                let listener = source::tcp::bind(host, *port).await?;
                let address =
                    listener.local_addr().map_or_else(|_| format!("{host}:{port}"), |address| address.to_string());
                (format!("tcp {address}"), OpenSource::Tcp(listener, context))
            }
            SourceConfig::File { path } => {
                (format!("file {path}"), OpenSource::File(source::file::open(path.as_ref())?, context))
            }
            SourceConfig::Stdin {} | SourceConfig::Generator {} => {
                ("stdin".to_owned(), OpenSource::File(source::file::stdin()?, context))
            }
        };
        inputs.addresses.push(name);
        inputs.waiting.push(opened);
        handles.push(Some((budget, handle)));
    }
    Ok((inputs, handles))
}

/// Creates the files of sinks and starts the sinks. TCP sinks keep trying to connect.
pub(super) fn open_sinks(
    plan: &Plan,
    events: &mpsc::UnboundedSender<SinkEvent>,
    tasks: &mut JoinSet<()>,
) -> Result<Vec<mpsc::UnboundedSender<SinkChunk>>, RunError> {
    let mut senders = Vec::new();
    for (id, sink) in (0..).map(SinkId).zip(&plan.sinks) {
        let (sender, chunks) = mpsc::unbounded_channel();
        let events = events.clone();
        match &sink.config {
            SinkConfig::Tcp { host, port } => tasks.spawn(sink::tcp::run(host.clone(), *port, id, chunks, events)),
            SinkConfig::File { path } => {
                tasks.spawn(sink::file::run(sink::file::create(path.as_ref())?, id, chunks, events))
            }
            SinkConfig::Stdout {} => tasks.spawn(sink::file::run(sink::file::stdout()?, id, chunks, events)),
        };
        senders.push(sender);
    }
    Ok(senders)
}
