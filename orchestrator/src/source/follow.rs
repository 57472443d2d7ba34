//! A source that follows a growing file, also through its rotation. It does not end by itself.
//!
//! A thread reads the file, and looks for more every [`POLL`]. It is not told of changes by inotify: that says nothing of what other
//! machines write to a shared file system, and shares a limit with all processes of the user, so there would be polling beside it. A
//! look costs about three system calls.
//!
//! Each file is one connection, so that the incomplete last line of a file is not joined to the next one. A file ends once a newer one
//! has bytes; it is read to its end after that was seen.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connection::{Shared, StreamKind};
use super::file::{READ, ThreadReader, serve};
use super::rotation::{self, OpenFile};
use super::{SourceContext, SourceError, SourceEvent};
use crate::position::{FileIdentity, FilePosition};

/// How often a file that has been read to its end is looked at.
const POLL: Duration = Duration::from_millis(100);

/// A file that will be followed.
#[derive(Debug)]
pub struct FollowedFile {
    path: PathBuf,
    /// Where reading begins. None: it does not exist yet.
    first: Option<OpenFile>,
}

/// Opens the file at `path`: from its start, if it exists; or at `position`, also if it was rotated since.
pub fn open(path: &Path, position: Option<FilePosition>) -> Result<FollowedFile, SourceError> {
    let failed = |source| SourceError::Open { path: path.to_owned(), source };
    let first = match position {
        Some(position) => {
            let found = rotation::find(path, &position).map_err(failed)?;
            Some(found.map_err(|change| SourceError::Changed { path: path.to_owned(), change })?)
        }
        None => existing(path).map_err(failed)?,
    };
    Ok(FollowedFile { path: path.to_owned(), first })
}

/// Opens a file from its start, if it exists.
fn existing(path: &Path) -> io::Result<Option<OpenFile>> {
    match OpenFile::at(path, 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Follows the file until `stop`, or until it cannot be read, then reports `Ended`.
pub async fn run(followed: FollowedFile, context: SourceContext, stop: CancellationToken) {
    let (shared, connections, mut close_requests) = Shared::of(context, stop, StreamKind::Followed);
    let mut parts = start(followed);
    loop {
        let part = tokio::select! {
            biased;
            () = shared.stop.cancelled() => break,
            part = parts.recv() => part,
        };
        let Some(Part { name, begin, reader }) = part else { break };
        serve(&shared, (connections.next(), name, Some(begin)), reader, &mut close_requests).await;
    }
    // The runtime hangs up only when it is going away.
    let _ = shared.events.send(SourceEvent::Ended { source: shared.source });
}

/// A file, as far as it is read.
struct Part {
    name: String,
    begin: FilePosition,
    reader: ThreadReader,
}

/// Starts the thread that reads.
fn start(followed: FollowedFile) -> mpsc::Receiver<Part> {
    let (parts, received) = mpsc::channel(1);
    let thread = std::thread::Builder::new().name("followed-file".to_owned());
    let path = followed.path.clone();
    let failed = parts.clone();
    let follower = move || Follower { path: followed.path, parts }.run(followed.first);
    if let Err(error) = thread.spawn(follower) {
        let (name, begin) = (path.display().to_string(), FilePosition::default());
        // There is room: nothing has been sent yet.
        let _ = failed.try_send(Part { name, begin, reader: ThreadReader::failed(error) });
    }
    received
}

/// The thread that reads. It ends when nobody listens any more, or after an error, which it has sent.
struct Follower {
    path: PathBuf,
    parts: mpsc::Sender<Part>,
}

impl Follower {
    fn run(self, first: Option<OpenFile>) {
        let mut next = first.or_else(|| self.wait());
        while let Some(open) = next {
            let (reads, reader) = ThreadReader::channel();
            let part = Part { name: open.path.display().to_string(), begin: open.position, reader };
            if self.parts.blocking_send(part).is_err() {
                return;
            }
            next = match self.read(open, &reads) {
                Ok(next) => next,
                Err(error) => {
                    // If nobody listens, nobody needs to know.
                    let _ = reads.blocking_send(Err(error));
                    None
                }
            };
        }
    }

    /// Waits until the file exists.
    fn wait(&self) -> Option<OpenFile> {
        tracing::info!("waiting for {}, which does not exist", self.path.display());
        while !self.parts.is_closed() {
            match existing(&self.path) {
                Ok(None) => std::thread::sleep(POLL),
                Ok(open) => return open,
                Err(error) => {
                    let (name, begin) = (self.path.display().to_string(), FilePosition::default());
                    // If nobody listens, nobody needs to know.
                    let _ = self.parts.blocking_send(Part { name, begin, reader: ThreadReader::failed(error) });
                    return None;
                }
            }
        }
        None
    }

    /// Reads a file until a newer one has bytes, which is returned, or until nobody listens.
    fn read(&self, open: OpenFile, reads: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<Option<OpenFile>> {
        let OpenFile { mut file, mut position, .. } = open;
        file.seek(SeekFrom::Start(position.offset))?;
        let mut buffer = vec![0; READ];
        let mut newer = None;
        loop {
            if !read_to_end(&mut file, &mut position, &mut buffer, reads)? {
                return Ok(None);
            }
            if newer.is_some() {
                return Ok(newer);
            }
            std::thread::sleep(POLL);
            if reads.is_closed() {
                return Ok(None);
            }
            if is_truncated(&file, &position)? {
                return self.after_truncation(&position);
            }
            newer = self.newer(&position.file)?;
        }
    }

    /// What is read after a file was truncated: the rest of it in a copy, if there is one, or else what it has now.
    fn after_truncation(&self, position: &FilePosition) -> io::Result<Option<OpenFile>> {
        if let Some(copy) = rotation::copy(&self.path, position)? {
            return Ok(Some(copy));
        }
        tracing::info!("{} was truncated: reading goes on at its start", self.path.display());
        Ok(existing(&self.path)?.or_else(|| self.wait()))
    }

    fn newer(&self, current: &FileIdentity) -> io::Result<Option<OpenFile>> {
        match rotation::next(&self.path, current) {
            // It was moved at this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            next => next,
        }
    }
}

/// Sends what a file has, and that there is no more for now. Returns false if nobody listens.
fn read_to_end(
    file: &mut File,
    position: &mut FilePosition,
    buffer: &mut [u8],
    reads: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<bool> {
    loop {
        let count = match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        position.read(&buffer[..count]);
        if reads.blocking_send(Ok(Bytes::copy_from_slice(&buffer[..count]))).is_err() {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// Whether a file has lost what was read of it, also if it has grown again since.
fn is_truncated(file: &File, position: &FilePosition) -> io::Result<bool> {
    let length = file.metadata()?.len();
    if length == position.offset {
        return Ok(false);
    }
    let mut head = vec![0; position.file.head as usize];
    let is_short = length < position.offset || file.read_exact_at(&mut head, 0).is_err();
    Ok(is_short || crc32fast::hash(&head) != position.file.checksum)
}

#[cfg(test)]
mod tests;
