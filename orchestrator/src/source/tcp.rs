//! A source that listens for TCP clients.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::acknowledged;
use super::connection::{Connection, Shared, StreamKind};
use super::{SourceContext, SourceError, SourceEvent};
use crate::descriptors::ClientLimit;
use crate::ids::ConnectionId;
use crate::keepalive::keep_alive;

/// First pause after a failed accept, usually because no descriptor is free; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longest pause after a failed accept.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Listens on `host` and `port` (0: any free port). `SO_REUSEADDR` is set, so that a restart need not wait for old
/// connections to time out.
pub async fn bind(host: &str, port: u16) -> Result<TcpListener, SourceError> {
    let resolve = |source| SourceError::Resolve { host: host.to_owned(), source };
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(resolve)?.collect();
    TcpListener::bind(addresses.as_slice()).await.map_err(|source| {
        let host = host.to_owned();
        match source.kind() {
            io::ErrorKind::AddrInUse => SourceError::Busy { host, port },
            _ => SourceError::Bind { host, port, source },
        }
    })
}

/// Serves clients until `stop`, then delivers what was read and reports `Ended`.
pub async fn run(listener: TcpListener, context: SourceContext, stop: CancellationToken) {
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
            (stream, peer, permit) = accept(listener.as_ref(), &clients) => {
                let id = connections.next();
                let (refuse, refusal) = oneshot::channel();
                open.insert(id, refuse);
                let (shared, streams) = (Arc::clone(&shared), streams.clone());
                tasks.spawn(async move {
                    if let Some(streams) = streams {
                        acknowledged::serve(stream, shared, streams, (id, peer), refusal, permit).await;
                    } else {
                        let _permit = permit;
                        Connection::new(shared, (id, peer), None, refusal).serve(stream).await;
                    }
                    id
                });
            }
        }
    }
    // The runtime hangs up only when it is going away.
    let _ = shared.events.send(SourceEvent::Ended { source });
}

/// The next client and its address. After a failure it waits and tries again; clients queue in the kernel meanwhile.
///
/// # Cancel safety
/// No client is lost when the future is dropped; a pause starts anew.
async fn accept(listener: Option<&TcpListener>, clients: &ClientLimit) -> (TcpStream, String, OwnedSemaphorePermit) {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    let permit = clients.admit().await;
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                keep_alive(&stream);
                return (stream, peer.to_string(), permit);
            }
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
