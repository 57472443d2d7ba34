//! A source that listens for TCP clients.

use std::io;

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, lookup_host};
use tokio_util::sync::CancellationToken;

use super::listening::{self, Listen};
use super::{SourceContext, SourceError};
use crate::keepalive::keep_alive;

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
    listening::run(listener, context, stop, CancellationToken::new()).await;
}

impl Listen for TcpListener {
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    async fn accept(&self) -> io::Result<(OwnedReadHalf, OwnedWriteHalf, String)> {
        let (client, peer) = self.accept().await?;
        keep_alive(&client);
        // Acknowledgements are small, and waited for.
        let _ = client.set_nodelay(true);
        let (reader, writer) = client.into_split();
        Ok((reader, writer, peer.to_string()))
    }
}
