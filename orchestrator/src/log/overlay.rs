//! A file that a store reads without changing it: what the store writes stays in memory.
//!
//! A database of a killed run is repaired when it is opened. Whoever only looks must not repair it on the disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

const PAGE: usize = 4096;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    content: Mutex<Content>,
}

#[derive(Debug)]
struct Content {
    len: u64,
    /// Bytes of the file that still count.
    kept: u64,
    /// What was written, by number of the page.
    written: BTreeMap<u64, Box<[u8; PAGE]>>,
}

impl Overlay {
    /// Opens the file `path` for reading.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, content: Mutex::new(Content { len, kept: len, written: BTreeMap::new() }) })
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page as it is now.
    fn page(&self, content: &Content, number: u64) -> io::Result<Box<[u8; PAGE]>> {
        if let Some(written) = content.written.get(&number) {
            return Ok(written.clone());
        }
        let mut page = Box::new([0; PAGE]);
        let begin = number * PAGE as u64;
        let there = content.kept.saturating_sub(begin).min(PAGE as u64) as usize;
        self.file.read_exact_at(&mut page[..there], begin)?;
        Ok(page)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.content();
        if offset + out.len() as u64 > content.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, at, range) in pages(offset, out.len()) {
            let length = range.len();
            out[range].copy_from_slice(&self.page(&content, number)?[at..at + length]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = self.content();
        if len < content.len {
            let (last, at) = (len / PAGE as u64, (len % PAGE as u64) as usize);
            if let Some(page) = content.written.get_mut(&last) {
                page[at..].fill(0);
            }
            content.written.split_off(&(last + 1));
            content.kept = content.kept.min(len);
        }
        content.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut content = self.content();
        for (number, at, range) in pages(offset, data.len()) {
            let mut page = self.page(&content, number)?;
            page[at..at + range.len()].copy_from_slice(&data[range]);
            content.written.insert(number, page);
        }
        content.len = content.len.max(offset + data.len() as u64);
        Ok(())
    }
}

/// The parts of `length` bytes at `offset` that are in one page each: its number, where in it the part begins, and the part.
fn pages(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let position = offset + done as u64;
        let at = (position % PAGE as u64) as usize;
        let range = done..length.min(done + PAGE - at);
        done = range.end;
        (!range.is_empty()).then_some((position / PAGE as u64, at, range))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_the_file_stays() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("file");
        let before: Vec<u8> = (0..10_000_u32).map(|number| number as u8).collect();
        std::fs::write(&path, &before).unwrap();
        let overlay = Overlay::open(&path).unwrap();
        let mut expected = before.clone();
        overlay.write(4090, &[255; 5000]).unwrap();
        expected[4090..9090].fill(255);
        overlay.set_len(9000).unwrap();
        overlay.set_len(20_000).unwrap();
        expected.truncate(9000);
        expected.resize(20_000, 0);
        let mut found = vec![1; 20_000];
        overlay.read(0, &mut found).unwrap();
        assert!(found == expected);
        assert_eq!(overlay.len().unwrap(), 20_000);
        assert!(overlay.read(19_999, &mut [0; 2]).is_err());
        assert!(std::fs::read(&path).unwrap() == before);
    }
}
