//! How a run appends to a dead letter file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::file::is_at;
use super::lock::LinesLock;

/// A file that lines are appended to. If it was replaced (because letters were removed) or moved, the next line goes to the file
/// at its path, which is created if it does not exist.
#[derive(Debug)]
pub(super) struct AppendedFile {
    path: PathBuf,
    file: File,
}

impl AppendedFile {
    /// Opens for appending. An unfinished line of an earlier run is ended first, so that it does not spoil the next.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: open(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line, its newline included, in one go.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        loop {
            // File systems without locks (some network ones) are fine: without a lock nobody can remove letters either.
            let lock = LinesLock::exclusive(&self.file).ok();
            if !self.file.metadata()?.is_file() || is_at(&self.file, &self.path)? {
                return (&self.file).write_all(line);
            }
            drop(lock);
            self.file = open(&self.path)?;
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    if file.metadata()?.is_file() {
        let _lock = LinesLock::exclusive(&file).ok();
        end_line(&file)?;
    }
    Ok(file)
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
