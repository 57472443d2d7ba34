//! A dead letter file as commands use it: they read it line by line and remove lines, while runs go on appending to it.
//!
//! To remove letters, the file is replaced by one without them, so a crash leaves either file whole. Lines that are appended
//! meanwhile are not lost: most of the file is copied while runs go on. Then, under a lock that runs take for every line, the new
//! lines are copied and the file is replaced. A run that gets the lock afterwards sees that its file is no longer at its path, and
//! opens the new one. So a file is only ever appended to, and what was read of it does not change.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use super::DeadLetter;
use super::lock::{LinesLock, lock_editing, unlock_editing};

/// Bytes read or written at a time.
const BUFFER: usize = 1 << 16;

/// Why a dead letter file cannot be read or changed. Nothing is lost in any case.
#[derive(Debug, thiserror::Error)]
pub enum LetterFileError {
    /// It cannot be opened or read.
    #[error("cannot read the dead letters of {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file without the letters to be removed cannot take its place.
    #[error("cannot remove letters from {}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another command removes letters from it.
    #[error("another wallaroo-orch removes letters from {}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Another program has changed it.
    #[error("{} was cut short or replaced while its letters were looked at", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A pipe, a device or a folder.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
    },
}

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    /// The first line is 1.
    pub(crate) number: u64,
    pub(crate) content: Result<Box<DeadLetter>, Damage>,
}

/// Why a line is not a dead letter.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The file ends in the middle of it.
    #[error("the line is not finished: the orchestrator that wrote it was killed")]
    Unfinished,
    /// It is something else.
    #[error("the line is not a dead letter")]
    Foreign(#[source] serde_json::Error),
}

/// The lines a file had when it was opened.
#[derive(Debug)]
pub(crate) struct LetterFile {
    /// Symbolic links followed.
    path: PathBuf,
    file: File,
    /// Bytes; the file may have grown since.
    length: u64,
}

impl LetterFile {
    /// Opens a file to read it.
    pub(crate) fn open(path: &Path) -> Result<Self, LetterFileError> {
        let path = regular(path)?;
        match File::open(&path) {
            Ok(file) => Self::of(path, file),
            Err(source) => Err(LetterFileError::Read { path, source }),
        }
    }

    /// Opens a file to remove letters from it. Nobody else can remove letters until this is dropped.
    pub(crate) fn edit(path: &Path) -> Result<Self, LetterFileError> {
        let path = regular(path)?;
        loop {
            let opened = OpenOptions::new().read(true).write(true).open(&path).and_then(|file| {
                let locked = lock_editing(&file)?;
                // Another command may have replaced it between the two steps.
                let current = is_at(&file, &path)?;
                Ok((file, locked, current))
            });
            match opened {
                Ok((file, true, true)) => return Self::of(path, file),
                Ok((_, true, false)) => {}
                Ok((_, false, _)) => return Err(LetterFileError::Busy { path }),
                Err(source) => return Err(LetterFileError::Remove { path, source }),
            }
        }
    }

    fn of(path: PathBuf, file: File) -> Result<Self, LetterFileError> {
        let length = {
            // No line is half written while this is held. Without locks that is not certain, but reading does no harm.
            let _lock = LinesLock::shared(&file).ok();
            file.metadata().map(|metadata| metadata.len())
        };
        match length {
            Ok(length) => Ok(Self { path, file, length }),
            Err(source) => Err(LetterFileError::Read { path, source }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads from the first line on. One reader at a time.
    pub(crate) fn lines(&self) -> Result<Lines<'_>, LetterFileError> {
        Ok(Lines { path: &self.path, reader: self.reader().map_err(|source| self.unreadable(source))?, number: 0 })
    }

    /// Removes lines. Keeps lines appended since the file was opened.
    pub(crate) fn remove(self, numbers: &BTreeSet<u64>) -> Result<(), LetterFileError> {
        if numbers.is_empty() {
            return Ok(());
        }
        match self.replace(numbers) {
            Ok(true) => Ok(()),
            Ok(false) => Err(LetterFileError::Changed { path: self.path.clone() }),
            Err(source) => Err(LetterFileError::Remove { path: self.path.clone(), source }),
        }
    }

    /// False: the file at the path is no longer the one that was opened.
    fn replace(&self, numbers: &BTreeSet<u64>) -> io::Result<bool> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        // In the same folder: a rename is atomic only within a file system.
        let kept = tempfile::Builder::new().prefix(".dead-letters-").tempfile_in(folder)?;
        let mut writer = BufWriter::with_capacity(BUFFER, kept.as_file());
        self.copy_without(numbers, &mut writer)?;
        writer.flush()?;
        // Copied while runs go on, so that they wait only for the rest.
        kept.as_file().sync_all()?;
        let metadata = self.file.metadata()?;
        let made = kept.as_file().metadata()?;
        if (made.uid(), made.gid()) != (metadata.uid(), metadata.gid()) {
            fchown(kept.as_file(), Some(metadata.uid()), Some(metadata.gid()))?;
        }
        kept.as_file().set_permissions(metadata.permissions())?;

        let _lock = LinesLock::exclusive(&self.file)?;
        let length = self.file.metadata()?.len();
        if length < self.length || !is_at(&self.file, &self.path)? {
            return Ok(false);
        }
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.length))?;
        io::copy(&mut file.take(length - self.length), &mut writer)?;
        writer.flush()?;
        drop(writer);
        kept.as_file().sync_all()?;
        kept.persist(&self.path)?;
        File::open(folder)?.sync_all()?;
        Ok(true)
    }

    fn copy_without(&self, numbers: &BTreeSet<u64>, writer: &mut impl Write) -> io::Result<()> {
        let mut reader = self.reader()?;
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if !numbers.contains(&number) {
                writer.write_all(&line)?;
            }
        }
        Ok(())
    }

    fn reader(&self) -> io::Result<BufReader<io::Take<&File>>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        Ok(BufReader::with_capacity(BUFFER, file.take(self.length)))
    }

    fn unreadable(&self, source: io::Error) -> LetterFileError {
        LetterFileError::Read { path: self.path.clone(), source }
    }
}

impl Drop for LetterFile {
    fn drop(&mut self) {
        unlock_editing(&self.file);
    }
}

/// Reads a file line by line. Blank lines count and are skipped.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<io::Take<&'a File>>,
    number: u64,
}

impl Iterator for Lines<'_> {
    type Item = Result<Line, LetterFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        loop {
            match self.reader.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => self.number += 1,
                Err(source) => return Some(Err(LetterFileError::Read { path: self.path.to_owned(), source })),
            }
            if !line.trim_ascii().is_empty() {
                return Some(Ok(Line { number: self.number, content: parse(&line) }));
            }
            line.clear();
        }
    }
}

fn parse(line: &[u8]) -> Result<Box<DeadLetter>, Damage> {
    serde_json::from_slice(line).map_err(|error| match line.last() {
        Some(b'\n') => Damage::Foreign(error),
        _ => Damage::Unfinished,
    })
}

/// The path of a regular file, symbolic links followed: it is the file that is replaced, not a link to it.
fn regular(path: &Path) -> Result<PathBuf, LetterFileError> {
    let found = path.canonicalize().and_then(|real| Ok((real.metadata()?.is_file(), real)));
    match found {
        Ok((true, real)) => Ok(real),
        Ok((false, path)) => Err(LetterFileError::NotAFile { path }),
        Err(source) => Err(LetterFileError::Read { path: path.to_owned(), source }),
    }
}

/// Whether `file` is the one that opening `path` would open.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match path.metadata() {
        Ok(there) => Ok((there.dev(), there.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
