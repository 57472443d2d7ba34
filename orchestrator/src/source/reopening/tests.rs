use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::position::{FileIdentity, FilePosition, Position};
use crate::source::tests::{Rig, texts};
use crate::source::{SourceError, SourceEvent, file};

/// A file of which 24 bytes were read.
fn read_before() -> (tempfile::TempDir, PathBuf, FilePosition) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("lines");
    std::fs::write(&path, "one\ntwo\nthree\nfour\nfive\n").expect("written");
    let position = file::position_at(&path, 24).expect("a file");
    (folder, path, position)
}

fn change_of(path: &Path, position: FilePosition) -> FileChange {
    match file::open(path, Some(position)) {
        Err(SourceError::Changed { change, .. }) => change,
        other => panic!("it was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_file_that_has_grown_is_read_from_where_an_earlier_run_ended() {
    let (_folder, path, position) = read_before();
    let mut grown = std::fs::OpenOptions::new().append(true).open(&path).expect("open");
    writeln!(grown, "six").expect("written");
    let mut rig = Rig::file(file::open(&path, Some(position)).expect("the same file"));
    rig.opened().await;
    let SourceEvent::Frames { block, .. } = rig.next().await else { panic!("no frames") };
    assert_eq!(texts(&block).collect::<Vec<_>>(), ["six"]);
    assert_eq!(block.position_after(0), Position::File(file::position_at(&path, 28).expect("a file")));
}

#[test]
fn another_file_is_refused() {
    let (folder, path, position) = read_before();
    std::fs::copy(&path, folder.path().join("copy")).expect("copied");
    std::fs::rename(folder.path().join("copy"), &path).expect("renamed");
    let inode = path.metadata().expect("a file").ino();
    let FileIdentity { device, inode: known_inode, .. } = position.file;
    assert_ne!(inode, known_inode);
    let expected = FileChange::Replaced { device, inode, known_device: device, known_inode };
    assert_eq!(change_of(&path, position), expected);
}

#[test]
fn a_truncated_file_is_refused() {
    let (_folder, path, position) = read_before();
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("open");
    file.set_len(23).expect("truncated");
    assert_eq!(change_of(&path, position), FileChange::Truncated { length: 23, read: 24 });
}

#[test]
fn a_file_with_other_content_is_refused() {
    let (_folder, path, position) = read_before();
    std::fs::write(&path, "One\ntwo\nthree\nfour\nfive\nsix\n").expect("written");
    assert_eq!(change_of(&path, position), FileChange::Overwritten { length: 24 });
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused() {
    let (_folder, _path, position) = read_before();
    assert_eq!(change_of(Path::new("/dev/null"), position), FileChange::Kind);
}
