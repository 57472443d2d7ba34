//! State folders that are read and changed without their application.

use std::collections::BTreeMap;
use std::fs;

use tempfile::TempDir;
use wallaroo_protocol::{BatchId, EventTime, StageId, Timing};

use super::*;
use crate::ids::SourceId;
use crate::log::Identity;
use crate::position::{FilePosition, Position};
use crate::record::{Consumed, Routed};

const SHAPE: &str = "source file \"in.txt\" \"lines\" <- []\nstate \"totals\" \"count\" <- [0]\nsink tcp \"out\" <- [1]\n\
    stage \"lines\" of frames\nstage \"a key\" of groups\nstage \"b\" of groups\n";

fn at(offset: u64) -> Position {
    Position::File(FilePosition::default().after(offset))
}

/// Frames were read up to `position`, and nothing came of them.
fn read_to(lsn: u64, position: u64) -> Record {
    Record {
        lsn: Lsn(lsn),
        batch: BatchId(lsn),
        stage: StageId(0),
        at: EventTime(lsn.cast_signed()),
        consumed: Consumed::Frames { source: SourceId(0), position: at(position) },
        journaled: None,
        routed: vec![Routed { to: vec![(StageId(2), None)], groups: Vec::new() }],
        written: Vec::new(),
        letters: Vec::new(),
        timing: Timing::default(),
        unloadable: Vec::new(),
        delivered: Vec::new(),
        kept: None,
    }
}

/// A folder of three records and, if it is stored, a checkpoint of the first two with a state.
fn folder(is_stored: bool) -> TempDir {
    let folder = TempDir::new().unwrap();
    let identity = Identity { application: "words".to_owned(), topology: SHAPE.to_owned() };
    let (opened, _) = log::open(folder.path(), &identity).unwrap();
    let log = opened.start(|_| ()).unwrap();
    let mut replay = Replay::new(Checkpoint::beginning(SHAPE.to_owned()));
    for lsn in 1..=3 {
        let record = read_to(lsn, lsn * 10);
        if lsn < 3 {
            replay.apply(record.clone()).unwrap();
        }
        log.append(Lsn(lsn), move |into| record.encode(into));
    }
    if is_stored {
        let state = StoredState { table: "totals".into(), key: "\u{a1}a".into(), state: Some("state".into()) };
        let checkpoint = replay.finish();
        log.checkpoint(Lsn(2), move |into| checkpoint.encode(into), vec![change(state)]);
    }
    log.close();
    folder
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let folders = [folder.to_owned(), folder.join("log")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    paths.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

#[test]
fn inspecting_reads_all_and_changes_nothing() {
    let folder = folder(true);
    let segment = folder.path().join("log/00000000000000000001.log");
    let mut content = fs::read(&segment).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    content[end..end + 100].fill(b'x');
    fs::write(&segment, &content).unwrap();
    let before = files(folder.path());
    let alone = Alone::inspect(folder.path()).unwrap();
    let stages: Vec<&str> = alone.shape.stages.iter().map(|stage| &stage.name[..]).collect();
    assert_eq!(stages, ["lines", "a key", "b"]);
    assert_eq!((alone.application.as_str(), alone.version, alone.unsynced), ("words", 2, 100));
    assert_eq!((alone.content.stored, alone.content.records, alone.content.states.len()), (Some(Lsn(2)), 1, 1));
    assert_eq!((alone.sizes.segments, alone.sizes.log), (1, content.len() as u64));
    let Checkpoint { lsn, sources, stages, sinks, .. } = alone.content.checkpoint;
    assert_eq!((lsn, sources[0].position.bytes(), stages.len(), sinks.len()), (Lsn(3), Some(30), 3, 1));
    assert!(files(folder.path()) == before);
}

#[test]
fn a_folder_without_a_checkpoint_is_understood() {
    let folder = folder(false);
    let alone = Alone::inspect(folder.path()).unwrap();
    assert_eq!((alone.content.stored, alone.content.records), (None, 3));
    assert_eq!((alone.content.checkpoint.stages.len(), alone.content.checkpoint.sinks.len()), (3, 1));
}

#[test]
fn a_position_that_is_stored_is_read_back_with_the_states() {
    for is_stored in [true, false] {
        let folder = folder(is_stored);
        let (opened, alone) = Alone::open(folder.path()).unwrap();
        let mut checkpoint = alone.content.checkpoint;
        checkpoint.sources[0].position = at(7);
        store(opened, checkpoint.clone()).unwrap();
        let alone = Alone::inspect(folder.path()).unwrap();
        assert_eq!((alone.content.stored, alone.content.records), (Some(Lsn(3)), 0));
        assert_eq!(alone.content.checkpoint, checkpoint);
        assert_eq!(alone.content.states.len(), usize::from(is_stored));
    }
}

#[test]
fn a_folder_in_use_or_damaged_is_refused() {
    let folder = folder(true);
    let (opened, _) = Alone::open(folder.path()).unwrap();
    let refused = Alone::inspect(folder.path()).unwrap_err();
    assert!(matches!(refused, FolderError::Log(LogError::InUse { .. })), "{refused}");
    drop(opened);
    let store = folder.path().join("store.redb");
    let content = fs::read(&store).unwrap();
    fs::write(&store, &content[..content.len() / 2]).unwrap();
    assert!(Alone::inspect(folder.path()).is_err());
    assert!(Alone::inspect(&folder.path().join("nothing")).is_err());
}
