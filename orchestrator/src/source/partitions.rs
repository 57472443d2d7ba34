//! A source whose messages a connector reads: its process connects once for each partition.

use std::io;

use tokio::net::UnixListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;

use super::SourceContext;
use super::connection::Stream;
use super::listening::{self, Listen};
use crate::local_socket::accept;

/// Serves the partitions of a connector until `stop`, or until they have ended and the connector says that it is `complete`. Then
/// reports `Ended`.
pub async fn run(
    listener: UnixListener,
    name: String,
    context: SourceContext,
    stop: CancellationToken,
    complete: CancellationToken,
) {
    listening::run(Partitions { listener, name }, context, stop, complete).await;
}

/// Where the process connects.
struct Partitions {
    listener: UnixListener,
    /// The connector's name.
    name: String,
}

impl Stream for OwnedReadHalf {}

impl Listen for Partitions {
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    async fn accept(&self) -> io::Result<(OwnedReadHalf, OwnedWriteHalf, String)> {
        let (reader, writer) = accept(&self.listener).await?.into_split();
        Ok((reader, writer, self.name.clone()))
    }
}

#[cfg(test)]
mod tests;
