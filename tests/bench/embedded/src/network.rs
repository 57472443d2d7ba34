//! The sockets: the orchestrator's own sources and sinks, on a thread of their own.

use std::io;
use std::thread;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wallaroo_orch::ids::{SinkId, SourceId};
use wallaroo_orch::sink_chunk::SinkChunk;
use wallaroo_orch::sink::{self, SinkEvent};
use wallaroo_orch::source::{self, ConnectionIds, SourceBudget, SourceContext, SourceError, SourceEvent, SourceHandle};

use crate::application::{Application, Place};
use crate::outlet::Outlet;

/// Maximum message size, as in the orchestrator.
const MAX_FRAME: usize = 16 << 20;
/// Unprocessed bytes at which senders are held back, as in the orchestrator.
const QUEUE: usize = 16 << 20;

/// The interpreter thread's side of all sockets.
pub(crate) struct Network {
    /// The frames that the sources read.
    pub(crate) events: mpsc::UnboundedReceiver<SourceEvent>,
    /// One for each source.
    pub(crate) budgets: Vec<SourceBudget>,
    /// One for each sink.
    pub(crate) outlets: Vec<Outlet>,
    /// Where the sources listen.
    pub(crate) listening: Vec<String>,
}

/// The network thread's data for one sink.
struct SinkTask {
    host: String,
    port: u16,
    chunks: mpsc::UnboundedReceiver<SinkChunk>,
    events: mpsc::UnboundedSender<SinkEvent>,
}

/// The network thread's data for one source.
struct SourceTask {
    host: String,
    port: u16,
    context: SourceContext,
    /// Keeps the channel of the source's close requests open.
    _handle: SourceHandle,
}

/// Why the sockets could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    /// The thread or its event loop could not be started.
    #[error("cannot start the network thread")]
    Start(#[from] io::Error),
    /// A source cannot listen.
    #[error(transparent)]
    Listen(#[from] SourceError),
    /// The thread ended before it was listening.
    #[error("the network thread ended early")]
    Ended(#[from] oneshot::error::RecvError),
}

/// Opens the sources and sinks of an application. They last as long as the process.
pub(crate) fn open(application: &Application) -> Result<Network, NetworkError> {
    let (events, received) = mpsc::unbounded_channel();
    let connections = ConnectionIds::default();
    let mut budgets = Vec::new();
    let mut sources = Vec::new();
    for (id, source) in application.sources.iter().enumerate() {
        let (handle, close_requests) = SourceHandle::new();
        let budget = SourceBudget::new(QUEUE);
        budgets.push(budget.clone());
        let context = SourceContext {
            source: SourceId(id as u32),
            framing: source.framing.clone(),
            max_frame: MAX_FRAME,
            events: events.clone(),
            budget,
            connections: connections.clone(),
            close_requests,
        };
        let Place { host, port } = &source.place;
        sources.push(SourceTask { host: host.clone(), port: *port, context, _handle: handle });
    }
    let (sinks, outlets) = application.sinks.iter().map(sink_task).unzip();
    let (report, listening) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("network".to_owned()).spawn(move || runtime.block_on(serve(sources, sinks, report)))?;
    let listening = listening.blocking_recv()??;
    Ok(Network { events: received, budgets, outlets, listening })
}

fn sink_task(place: &Place) -> (SinkTask, Outlet) {
    let (chunks, taken) = mpsc::unbounded_channel();
    let (events, written) = mpsc::unbounded_channel();
    let task = SinkTask { host: place.host.clone(), port: place.port, chunks: taken, events };
    (task, Outlet::new(chunks, written))
}

async fn serve(
    sources: Vec<SourceTask>,
    sinks: Vec<SinkTask>,
    report: oneshot::Sender<Result<Vec<String>, SourceError>>,
) {
    for (id, task) in sinks.into_iter().enumerate() {
        tokio::spawn(sink::tcp::run(task.host, task.port, SinkId(id as u32), task.chunks, task.events));
    }
    let mut listening = Vec::new();
    let mut handles = Vec::new();
    for SourceTask { host, port, context, _handle: handle } in sources {
        match source::tcp::bind(&host, port).await {
            Ok(listener) => {
                listening
                    .push(listener.local_addr().map_or_else(|_| format!("{host}:{port}"), |place| place.to_string()));
                tokio::spawn(source::tcp::run(listener, context, CancellationToken::new()));
                handles.push(handle);
            }
            Err(error) => {
                let _ = report.send(Err(error));
                return;
            }
        }
    }
    // The receiver is gone only when the process is ending.
    let _ = report.send(Ok(listening));
    std::future::pending::<()>().await;
}
