//! A source that listens: clients connect, and each has a connection of its own.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::acknowledged;
use super::connection::{Connection, Shared, Stream, StreamKind};
use super::{SourceContext, SourceEvent};
use crate::descriptors::ClientLimit;
use crate::ids::ConnectionId;

/// First pause after a failed accept, usually because no descriptor is free; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longest pause after a failed accept.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where clients connect.
pub(super) trait Listen {
    /// What a client sends.
    type Reader: Stream + Send + 'static;
    /// What a client is told by.
    type Writer: AsyncWrite + Unpin + Send + 'static;

    /// The next client and its name.
    ///
    /// # Cancel safety
    /// No client is lost when the future is dropped.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Reader, Self::Writer, String)>> + Send;
}

/// Serves clients until `stop`, then delivers what was read and reports `Ended`. No more clients are admitted once it is `complete`:
/// those that are there are served to their end.
pub(super) async fn run<L: Listen + Send + Sync>(
    listener: L,
    context: SourceContext,
    stop: CancellationToken,
    complete: CancellationToken,
) {
    let (source, clients, streams) = (context.source, context.clients.clone(), context.streams.clone());
    let (shared, connections, mut close_requests) = Shared::of(context, stop.clone(), StreamKind::Network);
    let mut open: HashMap<ConnectionId, oneshot::Sender<String>> = HashMap::new();
    let mut tasks = JoinSet::new();
    // Closed as soon as the source stops, so that clients are refused instead of left waiting.
    let mut listener = Some(listener);
    while listener.is_some() || !tasks.is_empty() {
        tokio::select! {
            biased;
            () = stop.cancelled(), if listener.is_some() => listener = None,
            (connection, reason) = close_requests.next() => {
                if let Some(refuse) = open.remove(&connection) {
                    // It may have closed by itself at this moment.
                    let _ = refuse.send(reason);
                }
            }
            Some(closed) = tasks.join_next() => match closed {
                Ok(connection) => drop(open.remove(&connection)),
                Err(error) => tracing::error!(%error, "a connection's task failed"),
            },
            (reader, writer, peer, permit) = accept(listener.as_ref(), &clients) => {
                let id = connections.next();
                let (refuse, refusal) = oneshot::channel();
                open.insert(id, refuse);
                let (shared, streams) = (Arc::clone(&shared), streams.clone());
                tasks.spawn(async move {
                    if let Some(streams) = streams {
                        acknowledged::serve((reader, writer), shared, streams, (id, peer), refusal, permit).await;
                    } else {
                        let _permit = permit;
                        // Dropped at the end: the client would take it for the end of the connection.
                        let _writer = writer;
                        Connection::new(shared, (id, peer), None, refusal).serve(reader).await;
                    }
                    id
                });
            }
            // Those that had connected before have come.
            () = complete.cancelled(), if listener.is_some() => listener = None,
        }
    }
    // The runtime hangs up only when it is going away.
    let _ = shared.events.send(SourceEvent::Ended { source });
}

/// The next client and its name. After a failure it waits and tries again; clients queue in the kernel meanwhile.
///
/// # Cancel safety
/// No client is lost when the future is dropped; a pause starts anew.
async fn accept<L: Listen>(
    listener: Option<&L>,
    clients: &ClientLimit,
) -> (L::Reader, L::Writer, String, OwnedSemaphorePermit) {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    let permit = clients.admit().await;
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((reader, writer, peer)) => return (reader, writer, peer, permit),
            // The client went away while it queued.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, retry_in = ?pause, "cannot accept a connection");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
