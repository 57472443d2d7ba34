//! A connection of a client, or of a connector, that is told which of its messages are durable, see `spec/streams.md`.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use wallaroo_protocol::topology::ByteOrder;

use super::connection::{Connection, Shared, Stream};
use super::framing::LengthPrefix;
use super::streams::{Lease, Streams};
use super::{ConnectionError, Framing};
use crate::frame::FrameBlock;
use crate::ids::ConnectionId;
use crate::position::StreamName;
use crate::stream_protocol::{HEADER, MAX_NAME, ToClient, VERSION, kind};

/// Bytes of messages that a client may have sent and not heard of.
const CREDIT: usize = 8 << 20;

/// How the stream of a client is cut: the last byte of the header says what a frame is.
pub(super) const FRAMING: Framing = Framing::Length(LengthPrefix {
    header: HEADER,
    width: HEADER - 1,
    offset: 0,
    order: ByteOrder::Big,
    signed: false,
    adjust: 0,
});

/// Serves a client. Acknowledgements go on when reading has ended, until all messages are durable.
pub(super) async fn serve(
    (mut reader, mut writer): (impl Stream, impl AsyncWrite + Unpin + Send + 'static),
    shared: Arc<Shared>,
    streams: Streams,
    (id, peer): (ConnectionId, String),
    refusal: oneshot::Receiver<String>,
    permit: OwnedSemaphorePermit,
) {
    let name = tokio::select! {
        () = shared.stop.cancelled() => return,
        name = hello(&mut reader) => name,
    };
    let name = match name {
        Ok(Some(name)) => name,
        Ok(None) => {
            tracing::debug!("connection from {peer} ended without a word");
            return;
        }
        Err(reason) => {
            tracing::error!("connection from {peer}: {reason}; it is closed, others go on");
            // The client may be gone.
            let _ = writer.write_all(&ToClient::Error(reason).encode()).await;
            return;
        }
    };
    let lease = Arc::new(streams.take(name, id));
    let credit = shared.budget.total().min(CREDIT) as u32;
    let connection = Connection::new(shared, (id, peer), Some(Arc::clone(&lease)), refusal);
    let (over, ended) = oneshot::channel();
    // Not waited for: a client that does not read holds up nobody.
    tokio::spawn(async move {
        let _permit = permit;
        // The client is gone, or does not want to know.
        let _ = acknowledge(&mut writer, &lease, credit, ended).await;
    });
    let _ = over.send(connection.serve(reader).await);
}

/// Reads the first frame of a client: the name of its stream, or what is wrong. One that only tries the port says nothing.
async fn hello(reader: &mut impl Stream) -> Result<Option<StreamName>, String> {
    let mut frame = [0; HEADER + 1 + MAX_NAME];
    let gone = |error: io::Error| format!("it ended before it named its stream: {error}");
    let Ok(1..) = reader.read(&mut frame[..1]).await else { return Ok(None) };
    reader.read_exact(&mut frame[1..HEADER]).await.map_err(gone)?;
    let [a, b, c, d, kind, body @ ..] = &mut frame;
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    if *kind != kind::HELLO || length > body.len() {
        return Err("it does not begin with the name of a stream: this source takes acknowledged streams, which \
                    wallaroo.client.Sender sends, and wallaroo-orch send if it is told a stream"
            .to_owned());
    }
    reader.read_exact(&mut body[..length]).await.map_err(gone)?;
    match &body[..length] {
        [VERSION, name @ ..] => match std::str::from_utf8(name) {
            Ok(name) if !name.is_empty() => Ok(Some(name.into())),
            _ => Err("the name of its stream is empty or not UTF-8".to_owned()),
        },
        [version, ..] => Err(format!("it speaks version {version} of the protocol, and {VERSION} is spoken here")),
        [] => Err("it names neither version nor stream".to_owned()),
    }
}

/// Tells the client where to go on, and then what is durable, until reading has `ended` and everything is.
async fn acknowledge(
    writer: &mut (impl AsyncWrite + Unpin),
    lease: &Lease,
    credit: u32,
    mut ended: oneshot::Receiver<Option<String>>,
) -> io::Result<()> {
    let mut durable = lease.acknowledged.clone();
    let mut told = *durable.borrow_and_update();
    let (received, mark) = (lease.received, lease.mark.clone());
    let welcome = ToClient::Welcome { received, acknowledged: told, credit, mark };
    writer.write_all(&welcome.encode()).await?;
    let mut is_reading = true;
    while is_reading || !lease.is_settled() {
        tokio::select! {
            failed = &mut ended, if is_reading => {
                if let Ok(Some(reason)) = failed {
                    return writer.write_all(&ToClient::Error(reason).encode()).await;
                }
                is_reading = false;
            }
            changed = durable.changed() => if changed.is_err() { return Ok(()) },
        }
        let messages = *durable.borrow_and_update();
        if messages > told {
            writer.write_all(&ToClient::Acknowledged(messages).encode()).await?;
            told = messages;
        }
    }
    writer.shutdown().await
}

/// Fails unless all frames are messages of the stream. Their marks, if they have any, are no part of the frames then.
pub(super) fn open_messages(block: &mut FrameBlock, lease: &Lease, peer: &str) -> Result<(), ConnectionError> {
    let expected = if lease.is_marked() { kind::MARKED } else { kind::MESSAGE };
    let no_message = |kind| ConnectionError::NoMessage { peer: peer.to_owned(), kind };
    for span in &block.spans {
        let kind = block.data[span.start as usize - 1];
        if kind != expected {
            return Err(no_message(kind));
        }
    }
    if lease.is_marked() { block.split_marks().map_err(|_| no_message(expected)) } else { Ok(()) }
}
