//! Opens the sources and sinks of a plan before anything runs, so that a port in use is reported before the first message.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wallaroo_protocol::topology::{SinkConfig, SourceConfig};

use super::{RunError, RunOptions};
use crate::descriptors::ClientLimit;
use crate::ids::{SinkId, SourceId};
use crate::plan::Plan;
use crate::sink::{self, SinkEvent};
use crate::sink_chunk::SinkChunk;
use crate::source::{self, Framing, SourceBudget, SourceContext, SourceEvent, SourceHandle};

/// After this long, the log says what is waited for.
const LONG_OPEN: Duration = Duration::from_secs(1);

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
    let pools = std::iter::once(&options.pool).chain(options.named_pools.values());
    let clients = ClientLimit::beside(pools.map(|pool| 2 * pool.slots + pool.standbys).sum());
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
            clients: clients.clone(),
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
                let name = format!("file {path}");
                let path = PathBuf::from(path);
                let input = opened(path.clone(), move || source::file::open(&path)).await?;
                (name, OpenSource::File(input, context))
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

/// Opens the files of sinks, empties them once all are open, and starts the sinks. TCP sinks keep trying to connect.
pub(super) async fn open_sinks(
    plan: &Plan,
    events: &mpsc::UnboundedSender<SinkEvent>,
    tasks: &mut JoinSet<()>,
) -> Result<Vec<mpsc::UnboundedSender<SinkChunk>>, RunError> {
    let mut files = Vec::new();
    for sink in &plan.sinks {
        files.push(match &sink.config {
            SinkConfig::Tcp { .. } => None,
            SinkConfig::File { path } => {
                let path = PathBuf::from(path);
                Some(opened(path.clone(), move || sink::file::create(&path)).await?)
            }
            SinkConfig::Stdout {} => Some(sink::file::stdout()?),
        });
    }
    for (file, sink) in files.iter().zip(&plan.sinks) {
        if let (Some(file), SinkConfig::File { .. }) = (file, &sink.config) {
            file.empty()?;
        }
    }
    let mut senders = Vec::new();
    for ((id, sink), file) in (0..).map(SinkId).zip(&plan.sinks).zip(files) {
        let (sender, chunks) = mpsc::unbounded_channel();
        let events = events.clone();
        match (&sink.config, file) {
            (SinkConfig::Tcp { host, port }, _) => {
                tasks.spawn(sink::tcp::run(host.clone(), *port, id, chunks, events));
            }
            (_, Some(file)) => drop(tasks.spawn(sink::file::run(file, id, chunks, events))),
            (_, None) => {}
        }
        senders.push(sender);
    }
    Ok(senders)
}

/// Opens a file in a thread of its own: a named pipe blocks until another process has opened its other end.
async fn opened<T: Send + 'static>(path: PathBuf, open: impl FnOnce() -> T + Send + 'static) -> T {
    let mut opening = tokio::task::spawn_blocking(open);
    let open = tokio::select! {
        open = &mut opening => open,
        () = tokio::time::sleep(LONG_OPEN) => {
            tracing::info!("waiting for another process to open {}", path.display());
            opening.await
        }
    };
    open.expect("opening a file does not panic")
}
