//! The bytes that `spec/log.md` shows.

use crate::log::Lsn;
use crate::log::format::{self, ParsedHeader, SegmentHeader};

const SPEC: &str = include_str!("../../../../spec/log.md");
const SALT: u64 = 0x0123_4567_89ab_cdef;

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn the_header_of_a_segment() {
    let header = SegmentHeader { first: Lsn(41), salt: SALT };
    let shown = hex(&header.encode());
    assert!(SPEC.lines().any(|line| line.trim() == shown), "{shown}");
    assert_eq!(SegmentHeader::parse(&header.encode()), ParsedHeader::Known(header));
}

#[test]
fn a_record() {
    let mut bytes = Vec::new();
    format::append(&mut bytes, Lsn(42), |buffer| buffer.extend(b"hello")).unwrap();
    format::seal(&mut bytes, SALT, Lsn(40));
    let shown = hex(&bytes);
    assert!(SPEC.lines().any(|line| line.trim() == shown), "{shown}");
    let found = format::record_at(&bytes, 0, SALT).unwrap();
    assert_eq!((found.lsn, found.durable, &bytes[found.payload]), (Lsn(42), Lsn(40), &b"hello"[..]));
    assert_eq!(format::record_at(&bytes, 0, SALT + 1), None);
}

#[test]
fn a_newer_segment_says_so() {
    // A checksum that a later version would have made.
    let mut bytes = SegmentHeader { first: Lsn(1), salt: 0 }.encode();
    bytes[8] = 3;
    assert_eq!(SegmentHeader::parse(&bytes), ParsedHeader::Invalid);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..]);
    bytes[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
    assert_eq!(SegmentHeader::parse(&bytes), ParsedHeader::Newer(3));
}
