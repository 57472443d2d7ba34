//! How a run appends to a dead letter file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::file::is_at;
use super::lock::LinesLock;

/// A file that lines are appended to. If it was replaced (because letters were removed) or moved, the next lines go to the file
/// at its path, which is created if it does not exist.
#[derive(Debug)]
pub(super) struct AppendedFile {
    path: PathBuf,
    file: File,
    /// The file may end inside a line, of an earlier run or of a write that failed.
    may_be_unfinished: bool,
}

impl AppendedFile {
    /// Has the disk take what was appended. What is no regular file has no disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.file.metadata()?.is_file() { self.file.sync_data() } else { Ok(()) }
    }

    /// Opens for appending.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: open(path)?, may_be_unfinished: true })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends lines, their newlines included, in one go. If that fails, none of them is in the file.
    ///
    /// # Errors
    /// `WouldBlock`: another process holds the lock on the lines. Otherwise what the operating system says.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        loop {
            let lock = match LinesLock::try_exclusive(&self.file) {
                Ok(Some(lock)) => Some(lock),
                Ok(None) => {
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, "another process has locked the file"));
                }
                // File systems without locks (some network ones) are fine: without a lock nobody can remove letters either.
                Err(_) => None,
            };
            let metadata = self.file.metadata()?;
            let is_regular = metadata.is_file();
            // A pipe or a device whose name is gone is written to as long as it is open.
            if !is_at(&self.file, &self.path)? && (is_regular || self.path.exists()) {
                drop(lock);
                self.file = open(&self.path)?;
                self.may_be_unfinished = true;
                continue;
            }
            if is_regular && self.may_be_unfinished {
                end_line(&self.file)?;
                self.may_be_unfinished = false;
            }
            let written = (&self.file).write_all(lines);
            if written.is_err() && is_regular {
                // Only under the lock: another run may have appended meanwhile.
                self.may_be_unfinished = lock.is_none() || self.file.set_len(metadata.len()).is_err();
            }
            return written;
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).read(true).open(path)
}

fn end_line(mut file: &File) -> io::Result<()> {
    if file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(())
}
