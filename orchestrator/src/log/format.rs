//! The bytes of segments and records. `spec/log.md` lays them down.

use std::ops::Range;

use super::{LogError, Lsn};

/// The newest format version that this program reads, and the one that it writes.
pub(super) const VERSION: u32 = 2;
/// The first bytes of each segment.
const MAGIC: [u8; 8] = *b"wallaroo";
/// Bytes before a segment's first record.
pub(super) const SEGMENT_HEADER: usize = 32;
/// Bytes before a record's payload.
pub(super) const RECORD_HEADER: usize = 24;

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// The number of the segment's first record.
    pub(super) first: Lsn,
    /// Drawn at random for each segment. It is part of each record's checksum: bytes of another file are not taken for records.
    pub(super) salt: u64,
}

/// What the first bytes of a segment are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParsedHeader {
    /// A segment that can be read.
    Known(SegmentHeader),
    /// A segment of a newer format version.
    Newer(u32),
    /// Anything else.
    Invalid,
}

impl SegmentHeader {
    /// The header's bytes.
    pub(super) fn encode(self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[24..].copy_from_slice(&self.salt.to_le_bytes());
        let checksum = header_checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header of the segment `bytes`.
    pub(super) fn parse(bytes: &[u8]) -> ParsedHeader {
        let Some(header) = bytes.first_chunk::<SEGMENT_HEADER>() else { return ParsedHeader::Invalid };
        if header[..8] != MAGIC || u32_at(header, 12) != header_checksum(header) {
            return ParsedHeader::Invalid;
        }
        match u32_at(header, 8) {
            VERSION => ParsedHeader::Known(Self { first: Lsn(u64_at(header, 16)), salt: u64_at(header, 24) }),
            newer if newer > VERSION => ParsedHeader::Newer(newer),
            _ => ParsedHeader::Invalid,
        }
    }
}

fn header_checksum(bytes: &[u8; SEGMENT_HEADER]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..]);
    hasher.finalize()
}

/// Where a valid record is, and what its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundRecord {
    pub(super) lsn: Lsn,
    /// The highest number that was known durable when the record was written.
    pub(super) durable: Lsn,
    pub(super) payload: Range<usize>,
}

/// Appends a record to `buffer`. [`seal`] completes it. Returns the number of its bytes.
pub(super) fn append(buffer: &mut Vec<u8>, lsn: Lsn, encode: impl FnOnce(&mut Vec<u8>)) -> Result<usize, LogError> {
    let start = buffer.len();
    buffer.resize(start + RECORD_HEADER, 0);
    encode(buffer);
    let length = buffer.len().saturating_sub(start + RECORD_HEADER);
    let Ok(short) = u32::try_from(length) else {
        return Err(LogError::TooLarge { lsn, bytes: length as u64, most: u64::from(u32::MAX) });
    };
    buffer[start..start + 4].copy_from_slice(&short.to_le_bytes());
    buffer[start + 8..start + 16].copy_from_slice(&lsn.0.to_le_bytes());
    Ok(RECORD_HEADER + length)
}

/// Sets what is known only when a record is written: its segment's salt and the highest durable number.
pub(super) fn seal(record: &mut [u8], salt: u64, durable: Lsn) {
    record[16..24].copy_from_slice(&durable.0.to_le_bytes());
    let checksum = record_checksum(salt, record);
    record[4..8].copy_from_slice(&checksum.to_le_bytes());
}

fn record_checksum(salt: u64, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&record[..4]);
    hasher.update(&record[8..]);
    hasher.finalize()
}

/// The record that begins at `start` of a segment, if a valid one does.
pub(super) fn record_at(segment: &[u8], start: usize, salt: u64) -> Option<FoundRecord> {
    let rest = segment.get(start..)?;
    let header = rest.first_chunk::<RECORD_HEADER>()?;
    let (lsn, durable) = (Lsn(u64_at(header, 8)), Lsn(u64_at(header, 16)));
    let end = RECORD_HEADER + u32_at(header, 0) as usize;
    if durable >= lsn || end > rest.len() || record_checksum(salt, &rest[..end]) != u32_at(header, 4) {
        return None;
    }
    Some(FoundRecord { lsn, durable, payload: start + RECORD_HEADER..start + end })
}

/// The number that the record at `start` has if it is one: cheap to compare before its checksum.
pub(super) fn claimed_lsn(segment: &[u8], start: usize) -> Option<Lsn> {
    Some(Lsn(u64_at(segment.get(start..)?.first_chunk::<RECORD_HEADER>()?, 8)))
}

/// A segment's file name.
pub(super) fn segment_name(first: Lsn) -> String {
    format!("{:020}.log", first.0)
}

/// The first record's number in a segment's file name. None: the file is not a segment.
pub(super) fn first_of_name(name: &str) -> Option<Lsn> {
    let digits = name.strip_suffix(".log")?;
    let first = Lsn(digits.parse().ok()?);
    (segment_name(first) == name).then_some(first)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}
