//! Opens the sources and sinks of a plan before anything runs, so that a port in use is reported before the first message.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wallaroo_protocol::NodeId;
use wallaroo_protocol::topology::{SinkConfig, SourceConfig};

use super::durable::Left;
use super::named_pools::pool_of_connector;
use super::{RunError, RunOptions};
use crate::connector::process::Program;
use crate::descriptors::ClientLimit;
use crate::ids::{SinkId, SourceId};
use crate::plan::Plan;
use crate::position::{FilePosition, Position};
use crate::sink::{self, SinkEvent};
use crate::sink_chunk::SinkChunk;
use crate::source::{self, Framing, SourceBudget, SourceContext, SourceError, SourceEvent, SourceHandle, Streams};
use crate::worker::descendants::run_tag;
use crate::worker::pool::PoolSettings;
use crate::{connector, local_socket};

/// After this long, the log says what is waited for.
const LONG_OPEN: Duration = Duration::from_secs(1);

/// Sources that are open and not started yet.
pub(super) struct Inputs {
    /// Where each source listens or reads, as people read it.
    pub(super) addresses: Vec<String>,
    pub(super) events: mpsc::UnboundedReceiver<SourceEvent>,
    waiting: Vec<OpenSource>,
    connectors: JoinSet<()>,
    pub(super) stop: CancellationToken,
    /// Cancelled before `stop`, if the next run goes on.
    pub(super) suspended: CancellationToken,
}

enum OpenSource {
    Tcp(tokio::net::TcpListener, SourceContext),
    File(source::file::FileInput, SourceContext),
    Followed(source::follow::FollowedFile, SourceContext),
    Connector(Program, (UnixListener, String), SourceContext),
}

impl Inputs {
    /// The addresses at which sources listen.
    pub(super) fn listening(&self) -> Vec<(SourceId, SocketAddr)> {
        let address = |opened: &OpenSource| match opened {
            OpenSource::Tcp(listener, context) => Some((context.source, listener.local_addr().ok()?)),
            OpenSource::File(..) | OpenSource::Followed(..) | OpenSource::Connector(..) => None,
        };
        self.waiting.iter().filter_map(address).collect()
    }

    /// Starts reading.
    pub(super) fn start(&mut self) {
        for opened in self.waiting.drain(..) {
            let stop = self.stop.clone();
            match opened {
                OpenSource::Tcp(listener, context) => tokio::spawn(source::tcp::run(listener, context, stop)),
                OpenSource::File(input, context) => tokio::spawn(source::file::run(input, context, stop)),
                OpenSource::Followed(file, context) => tokio::spawn(source::follow::run(file, context, stop)),
                OpenSource::Connector(program, socket, context) => {
                    self.connectors.spawn(connector::source::run(program, socket, context, stop));
                    continue;
                }
            };
        }
    }

    /// Waits until connectors have heard what is durable and have ended, and ends those that take too long.
    pub(super) async fn close(&mut self, grace: Duration) {
        let ended = async { while self.connectors.join_next().await.is_some() {} };
        let _ = timeout(grace, ended).await;
        self.connectors.shutdown().await;
    }
}

/// What the runtime has of each source. Generators have none.
pub(super) type SourceHandles = Vec<Option<OpenedSource>>;

/// What the runtime tells a source by.
pub(super) struct OpenedSource {
    pub(super) budget: SourceBudget,
    pub(super) handle: SourceHandle,
    /// The streams of its clients, if these are told what is durable.
    pub(super) streams: Option<Streams>,
}

/// Binds the ports and opens the files of sources.
pub(super) async fn open_sources(
    plan: &Plan,
    options: &RunOptions,
    left: Option<&Left>,
) -> Result<(Inputs, SourceHandles), RunError> {
    let (sender, events) = mpsc::unbounded_channel();
    let connections = source::ConnectionIds::default();
    let pools = std::iter::once(&options.pool).chain(options.named_pools.values());
    let clients = ClientLimit::beside(pools.map(|pool| 2 * pool.slots + pool.standbys).sum());
    let (stop, suspended) = (CancellationToken::new(), CancellationToken::new());
    let mut inputs =
        Inputs { addresses: Vec::new(), events, waiting: Vec::new(), connectors: JoinSet::new(), stop, suspended };
    let mut handles = Vec::new();
    for (id, source) in (0..).map(SourceId).zip(&plan.sources) {
        let (Some(framing), false) = (&source.framing, matches!(source.config, SourceConfig::Generator {})) else {
            inputs.addresses.push("generator".to_owned());
            handles.push(None);
            continue;
        };
        let budget = SourceBudget::new(options.engine.queue_bytes);
        let (handle, close_requests) = SourceHandle::new();
        let streams = streams_of(&source.config, left.map(|left| left.position(id)), &handle);
        let context = SourceContext {
            source: id,
            framing: Framing::from(framing),
            max_frame: options.engine.max_frame,
            events: sender.clone(),
            budget: budget.clone(),
            clients: clients.clone(),
            streams: streams.clone(),
            connections: connections.clone(),
            close_requests,
            suspended: inputs.suspended.clone(),
        };
        let (name, opened) = match &source.config {
            SourceConfig::Tcp { host, port, .. } => {
                let listener = source::tcp::bind(host, *port).await?;
                let address =
                    listener.local_addr().map_or_else(|_| format!("{host}:{port}"), |address| address.to_string());
                (format!("tcp {address}"), OpenSource::Tcp(listener, context))
            }
            SourceConfig::File { path, follow } => {
                let name = format!("file {path}");
                let (path, follow) = (PathBuf::from(path), *follow);
                let position = left.and_then(|left| left.position(id).file());
                let open = move || open_file(&path, follow, position, context);
                let file = opened(name.clone(), open).await;
                (name, file.map_err(|error| not_opened(plan.name(source.node), position, options, error))?)
            }
            SourceConfig::Connector { class, pool } => {
                let name = format!("source {:?}", plan.name(source.node));
                let program = program(plan, (source.node, name), pool.as_ref(), options)?;
                (format!("connector {class}"), OpenSource::Connector(program, listen()?, context))
            }
            SourceConfig::Stdin {} | SourceConfig::Generator {} => {
                ("stdin".to_owned(), OpenSource::File(source::file::stdin()?, context))
            }
        };
        inputs.addresses.push(name);
        inputs.waiting.push(opened);
        handles.push(Some(OpenedSource { budget, handle, streams }));
    }
    Ok((inputs, handles))
}

/// The streams of a source whose clients, or whose connector, are told what is durable.
fn streams_of(config: &SourceConfig, left: Option<&Position>, handle: &SourceHandle) -> Option<Streams> {
    let left = left.cloned().unwrap_or_default().into_marks();
    match config {
        SourceConfig::Tcp { acknowledged: true, .. } => Some(Streams::of_clients(left, handle.clone())),
        SourceConfig::Connector { .. } => Some(Streams::of_connector(left, handle.clone())),
        _ => None,
    }
}

/// What a connector runs.
fn program(
    plan: &Plan,
    (node, name): (NodeId, String),
    pool: Option<&String>,
    options: &RunOptions,
) -> Result<Program, RunError> {
    let PoolSettings { interpreter, application, args, memory, .. } =
        pool_of_connector(plan, node, pool, options)?.clone();
    Ok(Program { node, name: name.into(), interpreter, application, args, memory })
}

/// Where the process of a connector connects.
fn listen() -> Result<(UnixListener, String), RunError> {
    local_socket::listen().map_err(RunError::LocalSocket)
}

fn open_file(
    path: &Path,
    follow: bool,
    position: Option<FilePosition>,
    context: SourceContext,
) -> Result<OpenSource, SourceError> {
    if follow {
        return Ok(OpenSource::Followed(source::follow::open(path, position)?, context));
    }
    Ok(OpenSource::File(source::file::open(path, position)?, context))
}

/// What is said of a source that cannot be opened. One whose file has changed is named, with where an earlier run ended.
fn not_opened(name: &str, position: Option<FilePosition>, options: &RunOptions, error: SourceError) -> RunError {
    match (error, position, &options.state) {
        (error @ SourceError::Changed { .. }, Some(FilePosition { offset, .. }), Some(folder)) => {
            RunError::SourceChanged { name: name.to_owned(), folder: folder.clone(), offset, error }
        }
        (error, ..) => error.into(),
    }
}

/// Opens the files of sinks, cuts them back to what an earlier run has delivered once all are open, and starts the sinks. TCP sinks
/// keep trying to connect.
pub(super) async fn open_sinks(
    plan: &Plan,
    options: &RunOptions,
    mut left: Option<&mut Left>,
    events: &mpsc::UnboundedSender<SinkEvent>,
    tasks: &mut JoinSet<()>,
) -> Result<Vec<mpsc::UnboundedSender<SinkChunk>>, RunError> {
    let mut files = Vec::new();
    for sink in &plan.sinks {
        files.push(match &sink.config {
            SinkConfig::Tcp { .. } | SinkConfig::Connector { .. } => None,
            SinkConfig::File { path, append } => {
                let (path, append) = (PathBuf::from(path), *append);
                Some(opened(path.display().to_string(), move || sink::file::create(&path, append)).await?)
            }
            SinkConfig::Stdout {} => Some(sink::file::stdout()?),
        });
    }
    for ((id, sink), file) in (0..).map(SinkId).zip(&plan.sinks).zip(&mut files) {
        let (Some(file), SinkConfig::File { append, .. }) = (file, &sink.config) else { continue };
        match &mut left {
            Some(left) => file.go_on_behind(left.delivered(id, || if *append { file.length() } else { Ok(0) })?)?,
            None if *append => {}
            None => file.empty()?,
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
            (SinkConfig::Connector { pool, .. }, _) => {
                let name = plan.name(sink.node);
                let program = program(plan, (sink.node, format!("sink {name:?}")), pool.as_ref(), options)?;
                let delivered = left.as_mut().map_or(Ok(0), |left| left.delivered(id, || Ok(0)))?;
                let run = left.as_ref().map_or(run_tag(), |left| &left.folder_id);
                let made = left.as_ref().map_or(0, |left| left.made(id));
                let progress = connector::sink::Progress { stream: format!("{run} {name}").into(), delivered, made };
                tasks.spawn(connector::sink::run(program, progress, id, chunks, events));
            }
            (_, Some(file)) => drop(tasks.spawn(sink::file::run(file, id, chunks, events))),
            (_, None) => {}
        }
        senders.push(sender);
    }
    Ok(senders)
}

/// Opens a file in a thread of its own: a named pipe blocks until another process has opened its other end.
async fn opened<T: Send + 'static>(name: String, open: impl FnOnce() -> T + Send + 'static) -> T {
    let mut opening = tokio::task::spawn_blocking(open);
    let open = tokio::select! {
        open = &mut opening => open,
        () = tokio::time::sleep(LONG_OPEN) => {
            tracing::info!("waiting for another process to open {name}");
            opening.await
        }
    };
    open.expect("opening a file does not panic")
}
