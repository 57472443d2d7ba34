//! A bit that flips in what was durable is refused, with the file and the offset.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Random;
use super::simulated_disk::SimulatedDisk;
use crate::log::format::{self, ParsedHeader, SEGMENT_HEADER, SegmentHeader};
use crate::log::recovery::{ReadBack, read_back};
use crate::log::writer::Writer;
use crate::log::{LogError, Lsn};

const FOLDER: &str = "/state/log";

/// A record's place.
#[derive(Debug, Clone)]
struct Place {
    file: PathBuf,
    start: usize,
    end: usize,
    lsn: Lsn,
    durable: Lsn,
}

/// A disk with a log of `groups`, each of a few records that are synced together.
fn written(random: &mut Random, groups: u64) -> SimulatedDisk {
    let mut disk = SimulatedDisk::new(random.next());
    let back = read_back(&mut disk, Path::new(FOLDER), Lsn(0)).unwrap();
    let mut writer = Writer::new(Box::new(disk.clone()), FOLDER.into(), 2048, back, Lsn(0), Lsn(0));
    let mut lsn = Lsn(0);
    for _ in 0..groups {
        for _ in 0..=random.below(4) {
            lsn = Lsn(lsn.0 + 1);
            let payload: Vec<u8> = (0..random.below(300)).map(|_| random.next() as u8).collect();
            writer.append(lsn, Box::new(move |buffer| buffer.extend(payload))).unwrap();
        }
        while writer.commit().unwrap().is_some() {}
    }
    disk
}

fn places(disk: &SimulatedDisk) -> Vec<Place> {
    let mut places = Vec::new();
    for (file, content) in disk.contents() {
        let ParsedHeader::Known(header) = SegmentHeader::parse(&content) else { panic!("{}", file.display()) };
        let mut start = SEGMENT_HEADER;
        while let Some(record) = format::record_at(&content, start, header.salt) {
            let (file, end) = (file.clone(), record.payload.end);
            places.push(Place { file, start, end, lsn: record.lsn, durable: record.durable });
            start = record.payload.end;
        }
    }
    places
}

fn open(disk: &SimulatedDisk, checkpoint: Lsn) -> Result<ReadBack, LogError> {
    read_back(&mut disk.clone(), Path::new(FOLDER), checkpoint)
}

#[test]
fn a_flipped_bit_at_or_below_the_durable_number_is_refused() {
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let disk = written(&mut random, 12);
        let places = places(&disk);
        let place = &places[random.below(places.len() as u64) as usize];
        let last_segment = places.last().unwrap().file.clone();
        let said = places.iter().filter(|other| other.lsn != place.lsn).map(|other| other.durable).max().unwrap();
        let known = place.lsn <= said || place.file != last_segment;
        let bits = (place.end - place.start) as u64 * 8;
        disk.flip(&place.file, place.start * 8 + random.below(bits) as usize);
        match open(&disk, Lsn(0)) {
            Err(LogError::Damaged { file, offset, lsn, .. }) => {
                assert!(known, "seed {seed}: {place:?} may be an unsynced tail");
                assert_eq!((file, offset, lsn), (place.file.clone(), place.start as u64, place.lsn), "seed {seed}");
            }
            Ok(back) => {
                assert!(!known, "seed {seed}: {place:?} was durable");
                assert_eq!(back.cut.unwrap().offset, place.start as u64);
                assert_eq!(back.records.last().map(|(lsn, _)| lsn.0), Some(place.lsn.0 - 1));
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
}

#[test]
fn a_flipped_bit_in_a_header_is_refused() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let disk = written(&mut random, 8);
        let file = places(&disk)[0].file.clone();
        disk.flip(&file, random.below(SEGMENT_HEADER as u64 * 8) as usize);
        let error = open(&disk, Lsn(0)).err().unwrap();
        assert!(matches!(&error, LogError::Damaged { file: found, offset: 0, .. } if *found == file), "{error}");
    }
}

#[test]
fn what_the_checkpoint_covers_was_durable() {
    let disk = written(&mut Random::new(1), 1);
    let place = places(&disk).pop().unwrap();
    disk.flip(&place.file, place.end * 8 - 1);
    let error = open(&disk, place.lsn).err().unwrap();
    assert!(matches!(error, LogError::Damaged { lsn, durable, .. } if lsn == place.lsn && durable == lsn), "{error}");
    assert!(open(&disk, Lsn(place.lsn.0 - 1)).unwrap().cut.is_some());
}

#[test]
fn zeros_in_place_of_durable_records_are_refused() {
    let disk = written(&mut Random::new(2), 6);
    let places = places(&disk);
    let said = places.iter().map(|place| place.durable).max().unwrap();
    let place = places.iter().rfind(|place| place.lsn <= said).unwrap();
    let content = disk.contents()[&place.file].clone();
    for bit in place.start * 8..place.end * 8 {
        if content[bit / 8] >> (bit % 8) & 1 == 1 {
            disk.flip(&place.file, bit);
        }
    }
    let error = open(&disk, Lsn(0)).err().unwrap();
    assert!(matches!(error, LogError::Damaged { lsn, offset, .. } if lsn == place.lsn && offset == place.start as u64));
}

#[test]
fn a_segment_that_is_missing_is_refused() {
    for missing in 0..2 {
        let mut disk = written(&mut Random::new(3), 20);
        let files: Vec<_> = disk.contents().into_keys().collect();
        crate::log::disk::Disk::remove(&mut disk, &files[missing]).unwrap();
        let error = open(&disk, Lsn(0)).err().unwrap();
        assert!(matches!(&error, LogError::Damaged { .. }) && error.to_string().contains("missing"), "{error}");
    }
    let error = open(&SimulatedDisk::new(0), Lsn(7)).err().unwrap();
    assert!(matches!(error, LogError::Damaged { lsn: Lsn(7), .. }), "{error}");
}

#[test]
fn a_record_inside_a_payload_does_not_count_as_one() {
    let mut disk = SimulatedDisk::new(0);
    let back = open(&disk, Lsn(0)).unwrap();
    let mut writer = Writer::new(Box::new(disk.clone()), FOLDER.into(), 2048, back, Lsn(0), Lsn(0));
    // What another segment holds: it says that record 1 was durable.
    let mut inner = Vec::new();
    format::append(&mut inner, Lsn(2), |buffer| buffer.extend(b"inner")).unwrap();
    format::seal(&mut inner, 1234, Lsn(1));
    writer.append(Lsn(1), Box::new(move |buffer| buffer.extend(inner))).unwrap();
    writer.commit().unwrap();
    let place = places(&disk).pop().unwrap();
    disk.flip(&place.file, place.start * 8);
    let back = read_back(&mut disk, Path::new(FOLDER), Lsn(0)).unwrap();
    assert_eq!(back.records, Vec::<(Lsn, Bytes)>::new());
    assert_eq!(back.cut.unwrap().offset, SEGMENT_HEADER as u64);
}
