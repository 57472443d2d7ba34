//! Puts records into groups and appends these to segments. It does no waiting and has no thread: tests drive it step by step.

use std::collections::VecDeque;
use std::path::PathBuf;

use super::disk::Disk;
use super::format::{self, SEGMENT_HEADER};
use super::recovery::{self, ReadBack};
use super::segment::Segment;
use super::{Change, Encode, LogError, Lsn};

/// The size of a segment, unless one record is larger.
pub(super) const SEGMENT_BYTES: u64 = 64 << 20;
/// A group takes no further record once it has this many bytes.
const GROUP_BYTES: usize = 4 << 20;

/// A checkpoint on its way to the store.
pub(super) struct Checkpoint {
    /// The last record that it covers.
    pub(super) lsn: Lsn,
    pub(super) encode: Encode,
    pub(super) changes: Vec<Change>,
}

/// How far the log is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) upto: Lsn,
    /// Bytes of the log since the last checkpoint.
    pub(super) bytes: u64,
}

/// Records that are encoded and not durable.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    /// The number and the length of each.
    records: VecDeque<(Lsn, usize)>,
}

impl Group {
    /// How many records, and how many bytes, fit into `room`.
    fn fitting(&self, room: u64) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        for (_, length) in &self.records {
            if (bytes + length) as u64 > room {
                break;
            }
            count += 1;
            bytes += length;
        }
        (count, bytes)
    }
}

/// Owns the segments.
pub(super) struct Writer {
    disk: Box<dyn Disk>,
    folder: PathBuf,
    segment_bytes: u64,
    /// The first numbers of the segments, in order. The last one is `active`.
    segments: Vec<Lsn>,
    active: Option<Segment>,
    queue: VecDeque<(Lsn, Encode)>,
    group: Group,
    /// The last record that was given.
    given: Lsn,
    durable: Lsn,
    /// Bytes of the records that are durable, since the log was opened.
    written: u64,
    /// The value of `written` up to the last checkpoint that is stored.
    covered: u64,
    /// Checkpoints that wait until their record is durable.
    waiting: VecDeque<Checkpoint>,
    /// Checkpoints that are being stored, with the value of `written` up to their record.
    storing: VecDeque<(Lsn, u64)>,
    /// The last checkpoint that was given.
    checkpoint: Lsn,
}

impl Writer {
    /// Goes on behind what was read back.
    pub(super) fn new(
        disk: Box<dyn Disk>,
        folder: PathBuf,
        segment_bytes: u64,
        back: ReadBack,
        checkpoint: Lsn,
        last: Lsn,
    ) -> Self {
        Self {
            disk,
            folder,
            segment_bytes,
            segments: back.segments,
            active: back.active,
            queue: VecDeque::new(),
            group: Group::default(),
            given: last,
            durable: last,
            written: back.bytes,
            covered: 0,
            waiting: VecDeque::new(),
            storing: VecDeque::new(),
            checkpoint,
        }
    }

    /// Takes a record. It is written by a later [`commit`](Self::commit).
    pub(super) fn append(&mut self, lsn: Lsn, encode: Encode) -> Result<(), LogError> {
        let expected = Lsn(self.given.0 + 1);
        if lsn != expected {
            return Err(LogError::OutOfOrder { given: lsn, expected });
        }
        self.given = lsn;
        self.queue.push_back((lsn, encode));
        Ok(())
    }

    /// Takes a checkpoint. [`due`](Self::due) gives it out once its record is durable.
    pub(super) fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), LogError> {
        if checkpoint.lsn < self.checkpoint || checkpoint.lsn > self.given {
            return Err(LogError::OutOfOrder { given: checkpoint.lsn, expected: self.given });
        }
        self.checkpoint = checkpoint.lsn;
        if checkpoint.lsn <= self.durable {
            self.storing.push_back((checkpoint.lsn, self.written));
        }
        self.waiting.push_back(checkpoint);
        Ok(())
    }

    /// Whether all records that were given are durable.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.group.records.is_empty()
    }

    /// Writes one group and syncs it. None: there was nothing to write. When the disk is full, a later call tries again.
    pub(super) fn commit(&mut self) -> Result<Option<Progress>, LogError> {
        self.encode_group()?;
        let Some(&(first, length)) = self.group.records.front() else { return Ok(None) };
        let segment = make_room(&mut self.active, &mut self.segments, first, length, |first, len| {
            Segment::create(&mut *self.disk, &self.folder, first, len.max(self.segment_bytes))
        })?;
        let (count, bytes) = self.group.fitting(segment.room());
        let mut start = 0;
        for &(_, length) in self.group.records.iter().take(count) {
            format::seal(&mut self.group.bytes[start..start + length], segment.salt(), self.durable);
            start += length;
        }
        segment.append(&self.group.bytes[..bytes])?;
        self.note_durable(count, bytes);
        Ok(Some(Progress { upto: self.durable, bytes: self.written - self.covered }))
    }

    /// The next checkpoint whose record is durable, for the store.
    pub(super) fn due(&mut self) -> Option<Checkpoint> {
        let durable = self.durable;
        if self.waiting.front()?.lsn <= durable { self.waiting.pop_front() } else { None }
    }

    /// The store has the checkpoint: removes the segments that it covers.
    pub(super) fn stored(&mut self, lsn: Lsn) -> Result<(), LogError> {
        while let Some(&(checkpoint, written)) = self.storing.front()
            && checkpoint <= lsn
        {
            self.covered = written;
            self.storing.pop_front();
        }
        recovery::remove_covered(&mut *self.disk, &self.folder, &mut self.segments, lsn)
    }

    fn encode_group(&mut self) -> Result<(), LogError> {
        while self.group.bytes.len() < GROUP_BYTES {
            let Some((lsn, encode)) = self.queue.pop_front() else { break };
            let length = format::append(&mut self.group.bytes, lsn, encode)?;
            self.group.records.push_back((lsn, length));
        }
        Ok(())
    }

    fn note_durable(&mut self, count: usize, bytes: usize) {
        for (lsn, length) in self.group.records.drain(..count) {
            self.durable = lsn;
            self.written += length as u64;
            let reached = self.waiting.iter().filter(|checkpoint| checkpoint.lsn == lsn);
            self.storing.extend(reached.map(|checkpoint| (checkpoint.lsn, self.written)));
        }
        self.group.bytes.drain(..bytes);
        if self.group.bytes.is_empty() && self.group.bytes.capacity() > 2 * GROUP_BYTES {
            self.group.bytes = Vec::new();
        }
    }
}

/// The segment that has room for the record `first` of `length` bytes: the active one, or a new one behind it.
///
/// All records of the active segment are durable when a new one is made: [`recovery`] relies on that.
fn make_room<'a>(
    active: &'a mut Option<Segment>,
    segments: &mut Vec<Lsn>,
    first: Lsn,
    length: usize,
    create: impl FnOnce(Lsn, u64) -> Result<Segment, LogError>,
) -> Result<&'a mut Segment, LogError> {
    let needed = (SEGMENT_HEADER + length) as u64;
    match active {
        Some(segment) if segment.room() >= length as u64 => {}
        // A segment without records has the name that a new one would have.
        Some(segment) if segment.is_empty() => segment.grow(needed)?,
        _ => {
            *active = Some(create(first, needed)?);
            segments.push(first);
        }
    }
    match active {
        Some(segment) => Ok(segment),
        None => Err(LogError::OutOfOrder { given: first, expected: first }),
    }
}
