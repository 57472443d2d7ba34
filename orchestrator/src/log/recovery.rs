//! Reads segments back: tells an unsynced tail, which is cut, from damage, which is refused.
//!
//! A record that is not valid is damage if it was durable. A number is known to have been durable if a valid record of the log
//! says so, if a later segment exists (a segment is synced before the next one is made), or if the checkpoint has it.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::disk::Disk;
use super::format::{self, ParsedHeader, RECORD_HEADER, SEGMENT_HEADER, SegmentHeader};
use super::segment::Segment;
use super::{LogError, Lsn};

/// Bytes that were written and never synced, and were dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub file: PathBuf,
    /// Where in it the tail began.
    pub offset: u64,
    /// How many bytes were dropped.
    pub bytes: u64,
}

/// What the segments hold.
pub(super) struct ReadBack {
    /// The first numbers of the segments, in order. The last one is `active`.
    pub(super) segments: Vec<Lsn>,
    /// The segment that further records go to. None: the log is empty.
    pub(super) active: Option<Segment>,
    /// The records after the checkpoint, in order.
    pub(super) records: Vec<(Lsn, Bytes)>,
    /// The bytes that these records take in the log.
    pub(super) bytes: u64,
    pub(super) cut: Option<Cut>,
}

impl ReadBack {
    fn new(
        segments: Vec<Lsn>,
        active: Option<Segment>,
        scanned: Vec<Scanned>,
        checkpoint: Lsn,
        cut: Option<Cut>,
    ) -> Self {
        let records = scanned.into_iter().flat_map(|segment| segment.records);
        let records: Vec<_> = records.filter(|(lsn, _)| *lsn > checkpoint).collect();
        let bytes = records.iter().map(|(_, payload)| (RECORD_HEADER + payload.len()) as u64).sum();
        Self { segments, active, records, bytes, cut }
    }
}

/// A segment's content.
struct Scanned {
    first: Lsn,
    salt: u64,
    path: PathBuf,
    content: Bytes,
    records: Vec<(Lsn, Bytes)>,
    /// Where the first record that is not valid begins, or the rest without records.
    end: usize,
    /// Where the rest has only zeros. At least `end`.
    zeros: usize,
    /// The highest number that a valid record of the segment says was durable.
    durable: Lsn,
}

impl Scanned {
    /// The number after the last valid record.
    fn next(&self) -> Lsn {
        Lsn(self.first.0 + self.records.len() as u64)
    }

    /// Where the bytes begin that no later write says were durable.
    fn unsure_from(&self, durable: Lsn) -> usize {
        if durable < self.first {
            return 0;
        }
        let known = self.records.iter().take_while(|(lsn, _)| *lsn <= durable);
        SEGMENT_HEADER + known.map(|(_, payload)| RECORD_HEADER + payload.len()).sum::<usize>()
    }

    /// What is behind the last valid record.
    fn unsynced(&self) -> Option<Cut> {
        let bytes = (self.zeros - self.end) as u64;
        (bytes > 0).then(|| Cut { file: self.path.clone(), offset: self.end as u64, bytes })
    }

    fn damage(&self, durable: Lsn) -> LogError {
        let reason = if self.zeros > self.end { "is not valid" } else { "is missing" };
        LogError::Damaged {
            file: self.path.clone(),
            offset: self.end as u64,
            lsn: self.next(),
            reason: reason.to_owned(),
            durable,
        }
    }
}

/// Reads the segments of `folder`, cuts an unsynced tail, and syncs what it keeps.
pub(super) fn read_back(disk: &mut dyn Disk, folder: &Path, checkpoint: Lsn) -> Result<ReadBack, LogError> {
    let mut segments = segment_names(disk, folder)?;
    let (unfinished, last_content) = take_unfinished(disk, folder, &mut segments)?;
    if let Some(path) = unfinished {
        disk.remove(&path).map_err(|source| LogError::io("remove", &path, source))?;
    }
    let (scanned, durable) = scan_all(disk, folder, &segments, last_content, checkpoint)?;
    let Some(last) = scanned.last() else {
        sync_folder(disk, folder)?;
        return Ok(ReadBack { segments, active: None, records: Vec::new(), bytes: 0, cut: None });
    };
    let (active, cut) = keep(disk, last, durable)?;
    // The last segment must be durable before those before it are removed.
    sync_folder(disk, folder)?;
    remove_covered(disk, folder, &mut segments, checkpoint)?;
    Ok(ReadBack::new(segments, Some(active), scanned, checkpoint, cut))
}

/// Reads the segments of `folder`, if it exists, and changes nothing. What it returns takes no further records.
pub(super) fn look(disk: &mut dyn Disk, folder: &Path, checkpoint: Lsn) -> Result<ReadBack, LogError> {
    let mut segments = match segment_names(disk, folder) {
        Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
        found => found?,
    };
    let (_, last_content) = take_unfinished(disk, folder, &mut segments)?;
    let (scanned, _) = scan_all(disk, folder, &segments, last_content, checkpoint)?;
    let cut = scanned.last().and_then(Scanned::unsynced);
    Ok(ReadBack::new(segments, None, scanned, checkpoint, cut))
}

/// Reads the segments that the checkpoint does not cover. Returns them and the highest number that is known to have been durable.
fn scan_all(
    disk: &mut dyn Disk,
    folder: &Path,
    segments: &[Lsn],
    mut last_content: Option<Bytes>,
    checkpoint: Lsn,
) -> Result<(Vec<Scanned>, Lsn), LogError> {
    let mut scanned = Vec::new();
    for &first in &segments[covered(segments, checkpoint)..] {
        let path = folder.join(format::segment_name(first));
        let content = if segments.last() == Some(&first) { last_content.take() } else { None };
        let content = content.map_or_else(|| read(disk, &path), Ok)?;
        scanned.push(scan(first, path, content)?);
    }
    let durable = known_durable(&scanned, checkpoint);
    refuse_damage(&scanned, folder, checkpoint, durable)?;
    Ok((scanned, durable))
}

fn segment_names(disk: &mut dyn Disk, folder: &Path) -> Result<Vec<Lsn>, LogError> {
    let names = disk.names(folder).map_err(|source| LogError::io("read", folder, source))?;
    let mut segments: Vec<Lsn> = names.iter().filter_map(|name| format::first_of_name(name)).collect();
    segments.sort_unstable();
    Ok(segments)
}

/// Takes the last segment off the list, and returns its path, if it was being made when the run ended: its header is synced before
/// its first record is written. Else returns its content.
fn take_unfinished(
    disk: &mut dyn Disk,
    folder: &Path,
    segments: &mut Vec<Lsn>,
) -> Result<(Option<PathBuf>, Option<Bytes>), LogError> {
    let Some(&last) = segments.last() else { return Ok((None, None)) };
    let path = folder.join(format::segment_name(last));
    let content = read(disk, &path)?;
    let is_invalid = SegmentHeader::parse(&content) == ParsedHeader::Invalid;
    if is_invalid && content.get(SEGMENT_HEADER..).is_none_or(|rest| end_of_data(rest) == 0) {
        segments.pop();
        return Ok((Some(path), None));
    }
    Ok((None, Some(content)))
}

fn read(disk: &mut dyn Disk, path: &Path) -> Result<Bytes, LogError> {
    disk.read(path).map(Bytes::from).map_err(|source| LogError::io("read", path, source))
}

/// How many segments, from the first one on, the checkpoint covers. The last segment is not among them.
fn covered(segments: &[Lsn], checkpoint: Lsn) -> usize {
    segments.iter().skip(1).take_while(|next| next.0 <= checkpoint.0 + 1).count()
}

/// Removes the segments that the checkpoint covers, the oldest first, durably.
pub(super) fn remove_covered(
    disk: &mut dyn Disk,
    folder: &Path,
    segments: &mut Vec<Lsn>,
    checkpoint: Lsn,
) -> Result<(), LogError> {
    let count = covered(segments, checkpoint);
    for first in segments.drain(..count) {
        let path = folder.join(format::segment_name(first));
        disk.remove(&path).map_err(|source| LogError::io("remove", &path, source))?;
    }
    if count > 0 { sync_folder(disk, folder) } else { Ok(()) }
}

/// Makes durable which segments `folder` has.
pub(super) fn sync_folder(disk: &mut dyn Disk, folder: &Path) -> Result<(), LogError> {
    disk.sync_folder(folder).map_err(|source| LogError::sync(folder, source))
}

fn scan(first: Lsn, path: PathBuf, content: Bytes) -> Result<Scanned, LogError> {
    let salt = match SegmentHeader::parse(&content) {
        ParsedHeader::Known(header) if header.first == first => header.salt,
        ParsedHeader::Newer(found) => return Err(LogError::Newer { path, found, known: format::VERSION }),
        ParsedHeader::Known(_) | ParsedHeader::Invalid => {
            let (lsn, reason) = (first, "cannot be read: the segment's header is not valid".to_owned());
            let durable = Lsn(first.0.saturating_sub(1));
            return Err(LogError::Damaged { file: path, offset: 0, lsn, reason, durable });
        }
    };
    let (mut records, mut end, mut durable) = (Vec::new(), SEGMENT_HEADER, Lsn(0));
    while let Some(record) = format::record_at(&content, end, salt) {
        if record.lsn.0 != first.0 + records.len() as u64 {
            break;
        }
        durable = durable.max(record.durable);
        end = record.payload.end;
        records.push((record.lsn, content.slice(record.payload)));
    }
    let zeros = end + content.get(end..).map_or(0, end_of_data);
    let next = Lsn(first.0 + records.len() as u64);
    let durable = durable.max(durable_after(&content[..zeros], end, salt, next));
    Ok(Scanned { first, salt, path, content, records, end, zeros, durable })
}

/// The highest durable number of the valid records behind one that is not valid, wherever they begin.
fn durable_after(content: &[u8], from: usize, salt: u64, expected: Lsn) -> Lsn {
    let most = expected.0 + (content.len() / RECORD_HEADER) as u64;
    let (mut durable, mut at) = (Lsn(0), from);
    while let Some(lsn) = format::claimed_lsn(content, at) {
        // Numbers that no record here can have are passed over without a look at the checksum.
        let record = if lsn <= Lsn(most) { format::record_at(content, at, salt) } else { None };
        at = record.as_ref().map_or(at + 1, |record| record.payload.end);
        durable = durable.max(record.map_or(Lsn(0), |record| record.durable));
    }
    durable
}

/// The highest number that is known to have been durable.
fn known_durable(scanned: &[Scanned], checkpoint: Lsn) -> Lsn {
    let begun = scanned.last().map_or(0, |last| last.first.0 - 1);
    let said = scanned.iter().map(|segment| segment.durable.0).max().unwrap_or(0);
    Lsn(begun.max(said).max(checkpoint.0))
}

fn refuse_damage(scanned: &[Scanned], folder: &Path, checkpoint: Lsn, durable: Lsn) -> Result<(), LogError> {
    let missing = |lsn| {
        let (file, reason) = (folder.join(format::segment_name(lsn)), "and its segment are missing".to_owned());
        LogError::Damaged { file, offset: 0, lsn, reason, durable }
    };
    match scanned.first() {
        Some(segment) if segment.first.0 > checkpoint.0 + 1 => return Err(missing(Lsn(checkpoint.0 + 1))),
        None if checkpoint > Lsn(0) => return Err(missing(checkpoint)),
        _ => {}
    }
    for (index, segment) in scanned.iter().enumerate() {
        let whole = match scanned.get(index + 1) {
            Some(next) => segment.next() == next.first && segment.zeros == segment.end,
            None => segment.next() > durable,
        };
        if !whole {
            return Err(segment.damage(durable));
        }
    }
    Ok(())
}

/// Opens the last segment for further records. Drops its unsynced tail and makes the rest durable.
///
/// Bytes that may not be durable are written again first. If a sync failed before the process ended, the operating system has them
/// in memory only, and a further sync would do nothing.
fn keep(disk: &mut dyn Disk, last: &Scanned, durable: Lsn) -> Result<(Segment, Option<Cut>), LogError> {
    let mut file = disk.open(&last.path).map_err(|source| LogError::io("open", &last.path, source))?;
    let (end, len) = (last.end as u64, last.content.len() as u64);
    let cut = last.unsynced();
    if cut.is_some() {
        file.cut(end, len).map_err(|source| LogError::io("cut", &last.path, source))?;
    }
    let from = last.unsure_from(durable);
    let mut segment = Segment::reopened(last.path.clone(), file, last.salt, from as u64, len);
    segment.append(&last.content[from..last.end])?;
    Ok((segment, cut))
}

/// The number of bytes up to the last one that is not zero.
fn end_of_data(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let blocks = bytes.rchunks(ZEROS.len()).take_while(|block| *block == &ZEROS[..block.len()]);
    let rest = &bytes[..bytes.len() - blocks.map(<[u8]>::len).sum::<usize>()];
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}
