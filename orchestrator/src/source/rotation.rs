//! The files that a rotated file leaves behind, in the order in which they were written: `NAME-DATE` or `NAME.DATE`, the oldest first,
//! then `NAME.3`, `NAME.2`, `NAME.1`, then `NAME` itself. They are known by their inode, and copies by their first bytes.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::FileChange;
use super::reopening::{change, content_change, position_at};
use crate::position::{FileIdentity, FilePosition};

/// From so many digits on, what follows a name is a date and no count.
const DATE_DIGITS: usize = 6;

/// An open file, and where reading goes on in it.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) position: FilePosition,
}

impl OpenFile {
    /// Opens a regular file behind its first `offset` bytes.
    pub(super) fn at(path: &Path, offset: u64) -> io::Result<Self> {
        let (file, found) = open(path)?;
        let position = position_at(&file, &found, offset)?;
        Ok(Self { file, path: path.to_owned(), position })
    }
}

/// Opens what an earlier run has read of the file at `path`, wherever it is now.
pub(super) fn find(path: &Path, position: &FilePosition) -> io::Result<Result<OpenFile, FileChange>> {
    let mut difference = FileChange::Gone { inode: position.file.inode, read: position.bytes_read() };
    for candidate in in_order(path)? {
        let (file, found) = match open(&candidate) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        match change(&file, &found, position)? {
            None => return OpenFile::at(&candidate, position.offset).map(Ok),
            Some(FileChange::Kind | FileChange::Replaced { .. }) => {}
            Some(other) => difference = other,
        }
    }
    Ok(copy(path, position)?.ok_or(difference))
}

/// Opens the newest rotated file that begins as the one of `position` did and has what was read of it: a copy, made before that one
/// was truncated.
pub(super) fn copy(path: &Path, position: &FilePosition) -> io::Result<Option<OpenFile>> {
    if position.file.head == 0 {
        // Any file begins so.
        return Ok(None);
    }
    for candidate in in_order(path)?.into_iter().rev().filter(|candidate| candidate != path) {
        let Ok((file, found)) = open(&candidate) else { continue };
        if content_change(&file, &found, position)?.is_none() {
            return OpenFile::at(&candidate, position.offset).map(Some);
        }
    }
    Ok(None)
}

/// Opens the file that was begun after `current`, once it has bytes: then nothing more is written to `current`.
pub(super) fn next(path: &Path, current: &FileIdentity) -> io::Result<Option<OpenFile>> {
    let files = in_order(path)?.into_iter().filter_map(|file| Some((file.metadata().ok()?, file)));
    let files: Vec<(Metadata, PathBuf)> = files.filter(|(found, _)| found.is_file()).collect();
    let is_current = |found: &Metadata| (found.dev(), found.ino()) == (current.device, current.inode);
    // One that was removed is older than what is there now, and no rotated file is known to be newer.
    let is_there = |(_, file): &(Metadata, PathBuf)| file == path;
    let first_later = match files.iter().rposition(|(found, _)| is_current(found)) {
        Some(index) => index + 1,
        None => files.iter().position(is_there).unwrap_or(files.len()),
    };
    match files[first_later..].iter().find(|(found, _)| found.len() > 0) {
        Some((_, file)) => OpenFile::at(file, 0).map(Some),
        None => Ok(None),
    }
}

fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // Opening a pipe would wait for its writer.
    if path.metadata()?.is_file() {
        let file = File::open(path)?;
        let found = file.metadata()?;
        return Ok((file, found));
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "only a regular file can be followed"))
}

/// The rotated files of `path`, the oldest first, then `path`.
fn in_order(path: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(vec![path.to_owned()]) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut rotated = Vec::new();
    for entry in folder.read_dir()? {
        let entry = entry?.file_name();
        if let Some(age) = entry.to_str().and_then(|entry| age(entry.strip_prefix(name)?)) {
            rotated.push((age, path.with_file_name(entry)));
        }
    }
    rotated.sort_unstable();
    Ok(rotated.into_iter().map(|(_, file)| file).chain([path.to_owned()]).collect())
}

/// Orders rotated files by what follows the name: dates rise with time, counts fall. None: it is no rotated file.
fn age(suffix: &str) -> Option<(bool, i128)> {
    let digits: String = suffix.strip_prefix(['.', '-'])?.chars().filter(|character| *character != '-').collect();
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: i128 = digits.parse().ok()?;
    Some(if digits.len() < DATE_DIGITS { (true, -number) } else { (false, number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_in_the_order_in_which_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let expected = ["log-2026-01-31", "log-20260201", "log.20260202", "log.10", "log.9", "log.1", "log"];
        for name in
            expected.iter().chain(&["log.gz", "log.1.gz", "log.", "log-", "log.1a", "logs.1", "blog.1", "log-old"])
        {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let found = in_order(&folder.path().join("log")).expect("a folder");
        let names: Vec<&str> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, expected);
    }
}
