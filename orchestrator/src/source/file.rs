//! A source that reads a file, or standard input, once from start to end.
//!
//! Reading happens in a thread of its own: a file cannot be awaited, and a read of a terminal or pipe can block for ever.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Shared};
use super::{SourceContext, SourceError, SourceEvent};

/// Bytes of one read.
const READ: usize = 256 << 10;

/// An opened file.
#[derive(Debug)]
pub struct FileInput {
    file: File,
    name: String,
}

/// Opens `path` for reading. It may be a regular file, a pipe or a device.
pub fn open(path: &Path) -> Result<FileInput, SourceError> {
    let failed = |source| SourceError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    Ok(FileInput { file, name: path.display().to_string() })
}

/// Standard input.
pub fn stdin() -> Result<FileInput, SourceError> {
    let file = io::stdin().as_fd().try_clone_to_owned();
    let file = file.map_err(|source| SourceError::Open { path: "standard input".into(), source })?;
    Ok(FileInput { file: file.into(), name: "stdin".to_owned() })
}

/// Reads to the end or until `stop`, then reports `Ended`. The whole file is one connection.
pub async fn run(input: FileInput, context: SourceContext, stop: CancellationToken) {
    let SourceContext { source, framing, max_frame, events, budget, connections, mut close_requests, .. } = context;
    let shared = Arc::new(Shared { source, framing, max_frame, events, budget, stop, is_network: false });
    let id = connections.next();
    let (connection, refuse) = Connection::new(Arc::clone(&shared), id, input.name);
    let mut refuse = Some(refuse);
    let mut served = std::pin::pin!(connection.serve(ThreadReader::start(input.file)));
    loop {
        tokio::select! {
            biased;
            _ = &mut served => break,
            (connection, reason) = close_requests.next(), if refuse.is_some() => {
                if let Some(refuse) = refuse.take_if(|_| connection == id) {
                    // It may have ended by itself at this moment.
                    let _ = refuse.send(reason);
                }
            }
        }
    }
    // The runtime hangs up only when it is going away.
    let _ = shared.events.send(SourceEvent::Ended { source });
}

/// A file read by a thread, at most two reads ahead. Dropping it ends the thread after its current read; a read that
/// never returns keeps the thread, but nothing waits for it.
#[derive(Debug)]
struct ThreadReader {
    reads: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl ThreadReader {
    fn start(file: File) -> Self {
        let (sender, reads) = mpsc::channel(1);
        let failed = sender.clone();
        let thread = std::thread::Builder::new().name("file-source".to_owned());
        if let Err(error) = thread.spawn(move || read_all(file, &sender)) {
            // There is room: nothing has been sent yet.
            let _ = failed.try_send(Err(error));
        }
        Self { reads, current: Bytes::new() }
    }
}

impl AsyncRead for ThreadReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.current.is_empty() {
            match ready!(self.reads.poll_recv(context)) {
                Some(Ok(bytes)) => self.current = bytes,
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.current.len().min(buffer.remaining());
        buffer.put_slice(&self.current[..count]);
        self.current.advance(count);
        Poll::Ready(Ok(()))
    }
}

/// Reads until the end or an error, or until nobody listens.
fn read_all(mut file: File, reads: &mpsc::Sender<io::Result<Bytes>>) {
    let mut buffer = BytesMut::zeroed(READ);
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) if count < READ / 4 => Ok(Bytes::copy_from_slice(&buffer[..count])),
            Ok(count) => {
                let mut full = std::mem::replace(&mut buffer, BytesMut::zeroed(READ));
                full.truncate(count);
                Ok(full.freeze())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Another process that shares this standard input may have made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wanted = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
                match poll(&mut wanted, PollTimeout::NONE) {
                    Ok(_) | Err(nix::Error::EINTR) => continue,
                    Err(error) => Err(error.into()),
                }
            }
            Err(error) => Err(error),
        };
        let last = read.is_err();
        if reads.blocking_send(read).is_err() || last {
            return;
        }
    }
}
