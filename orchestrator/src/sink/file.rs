//! A sink that writes a file, or standard output.
//!
//! Writing happens in a thread of its own: a full pipe or a slow disk would otherwise stop the whole orchestrator.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;

use super::outbox::{Outbox, Progress};
use super::{SinkChunks, SinkError, SinkEvent, SinkEvents};
use crate::ids::SinkId;
use crate::standard_output;

/// Bytes taken from the channel before they are written, and bytes of one write.
const GATHER: u64 = 1 << 20;
/// Chunks of one write.
const SLICES: usize = 256;

/// A file opened for writing.
#[derive(Debug)]
pub struct FileOutput {
    file: File,
    path: PathBuf,
    /// What is written counts as delivered only once the disk has it.
    is_synced: bool,
}

/// Opens `path` for writing, or else for appending, and creates it if it does not exist. It may also be a pipe or a device; a named
/// pipe blocks until it has a reader. What is there stays until [`FileOutput::empty`].
pub fn create(path: &Path, append: bool) -> Result<FileOutput, SinkError> {
    let file = OpenOptions::new().write(true).append(append).create(true).truncate(false).open(path);
    let file = file.map_err(|source| SinkError::Create { path: path.to_owned(), source })?;
    Ok(FileOutput { file, path: path.to_owned(), is_synced: false })
}

impl FileOutput {
    /// Bytes that are there.
    pub fn length(&self) -> Result<u64, SinkError> {
        let found = self.file.metadata().map_err(|source| SinkError::Create { path: self.path.clone(), source })?;
        Ok(if found.is_file() { found.len() } else { 0 })
    }

    /// Keeps what an earlier run has delivered, and nothing that it has written beyond that. From now on messages are delivered once
    /// the disk has them.
    pub fn go_on_behind(&mut self, delivered: u64) -> Result<(), SinkError> {
        let failed = |source| SinkError::Create { path: self.path.clone(), source };
        let found = self.file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Ok(());
        }
        if found.len() < delivered {
            return Err(SinkError::Shorter { path: self.path.clone(), length: found.len(), delivered });
        }
        self.file.set_len(delivered).map_err(failed)?;
        self.file.seek(SeekFrom::Start(delivered)).map_err(failed)?;
        if delivered == 0 {
            // The file may be new, and the disk must know that it is there.
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        self.is_synced = true;
        Ok(())
    }

    /// Removes what was there before, as a shell's `>` does.
    pub fn empty(&self) -> Result<(), SinkError> {
        let emptied =
            self.file.metadata().and_then(|found| if found.is_file() { self.file.set_len(0) } else { Ok(()) });
        emptied.map_err(|source| SinkError::Create { path: self.path.clone(), source })
    }
}

/// Standard output.
pub fn stdout() -> Result<FileOutput, SinkError> {
    let path = PathBuf::from("standard output");
    if standard_output::was_closed() {
        let source = io::Error::other("it was closed when wallaroo-orch was started");
        return Err(SinkError::Create { path, source });
    }
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(file) => Ok(FileOutput { file: file.into(), path, is_synced: false }),
        Err(source) => Err(SinkError::Create { path, source }),
    }
}

/// Writes everything from `chunks`, in order. Ends when `chunks` is closed and all is written, or with a `Failed` event.
/// Messages are written as soon as they come; what gathers meanwhile goes in one write.
pub async fn run(output: FileOutput, sink: SinkId, chunks: SinkChunks, events: SinkEvents) {
    let (done, ended) = oneshot::channel();
    let path = output.path.clone();
    let failed = events.clone();
    let write = move || {
        write_all(output, sink, chunks, &events);
        // Nobody waits any more when the runtime is going away.
        let _ = done.send(());
    };
    // Not tokio's blocking pool: its threads are waited for at exit, and a write to a full pipe may never return.
    match std::thread::Builder::new().name("file-sink".to_owned()).spawn(write) {
        // The thread sends as its last act; an error means that it panicked, which has been reported.
        Ok(_) => drop(ended.await),
        Err(source) => {
            let _ = failed.send(SinkEvent::Failed { sink, error: SinkError::Write { path, source } });
        }
    }
}

fn write_all(mut output: FileOutput, sink: SinkId, mut chunks: SinkChunks, events: &SinkEvents) {
    let mut outbox = Outbox::default();
    let mut delivered = Progress::default();
    while let Some(chunk) = chunks.blocking_recv() {
        outbox.push(chunk);
        while outbox.unwritten() < GATHER {
            let Ok(chunk) = chunks.try_recv() else { break };
            outbox.push(chunk);
        }
        while !outbox.is_written() {
            let written = match write_some(&mut output.file, &outbox) {
                Ok(written) => written,
                Err(source) => {
                    let error = SinkError::Write { path: output.path, source };
                    // The runtime hangs up only when it is going away.
                    let _ = events.send(SinkEvent::Failed { sink, error });
                    return;
                }
            };
            let Progress { bytes, messages } = outbox.advance(written);
            outbox.acknowledge(outbox.position());
            delivered.bytes += bytes;
            delivered.messages += messages;
            if !output.is_synced {
                let Progress { bytes, messages } = std::mem::take(&mut delivered);
                let _ = events.send(SinkEvent::Written { sink, bytes, messages });
            }
        }
        if output.is_synced {
            if let Err(source) = output.file.sync_data() {
                let _ = events.send(SinkEvent::Failed { sink, error: SinkError::Write { path: output.path, source } });
                return;
            }
            let Progress { bytes, messages } = std::mem::take(&mut delivered);
            let _ = events.send(SinkEvent::Written { sink, bytes, messages });
        }
    }
}

/// Writes what the operating system takes at once, waiting if that is nothing.
fn write_some(file: &mut File, outbox: &Outbox) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = outbox.gather(&mut slices, GATHER);
    if count == 0 {
        // Nothing but empty messages.
        return Ok(0);
    }
    loop {
        match file.write_vectored(&slices[..count]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares this standard output may have made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wanted = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut wanted, PollTimeout::NONE) {
                    Ok(_) | Err(nix::Error::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
}
