//! A source that reads a file, or standard input, once from start to end.
//!
//! Reading happens in a thread of its own: a file cannot be awaited, and a read of a terminal or pipe can block for ever.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Shared, Stream, StreamKind};
use super::reopening;
use super::{CloseRequests, SourceContext, SourceError, SourceEvent};
use crate::ids::ConnectionId;
use crate::position::FilePosition;

/// Bytes of one read.
pub(super) const READ: usize = 256 << 10;

/// An opened file.
#[derive(Debug)]
pub struct FileInput {
    file: File,
    name: String,
    /// Where reading begins, if it is a regular file.
    begin: Option<FilePosition>,
}

/// Opens `path` for reading: at `position`, if an earlier run has read it, or from its beginning. Then it may also be a pipe or a
/// device.
pub fn open(path: &Path, position: Option<FilePosition>) -> Result<FileInput, SourceError> {
    let failed = |source| SourceError::Open { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if found.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if let Some(position) = position
        && let Some(change) = reopening::change(&file, &found, &position).map_err(failed)?
    {
        return Err(SourceError::Changed { path: path.to_owned(), change });
    }
    let offset = position.map_or(0, |position| position.offset);
    let begin =
        if found.is_file() { Some(reopening::position_at(&file, &found, offset).map_err(failed)?) } else { None };
    if offset > 0 {
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    }
    Ok(FileInput { file, name: path.display().to_string(), begin })
}

/// The position behind `offset` bytes of a regular file that has so many.
pub fn position_at(path: &Path, offset: u64) -> io::Result<FilePosition> {
    let file = File::open(path)?;
    let found = file.metadata()?;
    reopening::position_at(&file, &found, offset)
}

/// Standard input.
pub fn stdin() -> Result<FileInput, SourceError> {
    let file = io::stdin().as_fd().try_clone_to_owned();
    let file = file.map_err(|source| SourceError::Open { path: "standard input".into(), source })?;
    Ok(FileInput { file: file.into(), name: "stdin".to_owned(), begin: None })
}

/// Reads to the end or until `stop`, then reports `Ended`. The whole file is one connection.
pub async fn run(input: FileInput, context: SourceContext, stop: CancellationToken) {
    let (shared, connections, mut close_requests) = Shared::of(context, stop, StreamKind::File);
    let connection = (connections.next(), input.name, input.begin);
    serve(&shared, connection, ThreadReader::start(input.file), &mut close_requests).await;
    // The runtime hangs up only when it is going away.
    let _ = shared.events.send(SourceEvent::Ended { source: shared.source });
}

/// Reads one file as a connection, unless the runtime wants it closed. It is given as its number, its name and where it begins.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    (id, name, begin): (ConnectionId, String, Option<FilePosition>),
    reader: ThreadReader,
    close_requests: &mut CloseRequests,
) {
    let (refuse, refusal) = oneshot::channel();
    let connection = Connection::new(Arc::clone(shared), (id, name), None, refusal);
    let mut refuse = Some(refuse);
    let mut served = std::pin::pin!(connection.beginning_at(begin).serve(reader));
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
}

/// A file read by a thread, at most two reads ahead. Dropping it ends the thread after its current read; a read that
/// never returns keeps the thread, but nothing waits for it.
#[derive(Debug)]
pub(super) struct ThreadReader {
    reads: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    is_at_end: bool,
}

impl ThreadReader {
    /// Reads what a thread sends. No bytes mean that there is no more for now.
    pub(super) fn channel() -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, reads) = mpsc::channel(1);
        (sender, Self { reads, current: Bytes::new(), is_at_end: false })
    }

    /// A file that cannot be read.
    pub(super) fn failed(error: io::Error) -> Self {
        let (sender, reader) = Self::channel();
        // There is room: nothing has been sent yet.
        let _ = sender.try_send(Err(error));
        reader
    }

    fn start(file: File) -> Self {
        let (sender, reader) = Self::channel();
        let failed = sender.clone();
        let thread = std::thread::Builder::new().name("file-source".to_owned());
        if let Err(error) = thread.spawn(move || read_all(file, &sender)) {
            // There is room: nothing has been sent yet.
            let _ = failed.try_send(Err(error));
        }
        reader
    }
}

impl Stream for ThreadReader {
    fn is_at_end(&self) -> bool {
        self.is_at_end && self.current.is_empty()
    }
}

impl AsyncRead for ThreadReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match ready!(self.reads.poll_recv(context)) {
                Some(Ok(bytes)) => {
                    self.is_at_end = bytes.is_empty();
                    self.current = bytes;
                }
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
