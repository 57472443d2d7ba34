use std::fs::{self, OpenOptions};
use std::io::Write as _;

use tempfile::TempDir;

use super::*;
use crate::ids::ConnectionId;
use crate::source::tests::{BUDGET, Rig, lines, texts};
use crate::source::{CloseReason, FileChange, Framing, SourceEvent, framing::LengthPrefix};

/// A file that is followed.
struct Followed {
    folder: TempDir,
    rig: Rig,
}

impl Followed {
    /// Follows a file of this content; None: it does not exist.
    fn of(content: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(content) = content {
            fs::write(folder.path().join("log"), content).expect("written");
        }
        Self::go_on(folder, None)
    }

    fn go_on(folder: TempDir, position: Option<FilePosition>) -> Self {
        let file = open(&folder.path().join("log"), position).expect("it can be followed");
        Self { folder, rig: Rig::of(lines(), |context, stop| tokio::spawn(run(file, context, stop))) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    /// Waits for these messages. Returns where the source goes on after them.
    async fn expect(&mut self, messages: &[&str]) -> FilePosition {
        let (mut found, mut position) = (Vec::new(), None);
        while found.len() < messages.len() {
            match self.rig.next().await {
                SourceEvent::Frames { block, .. } => {
                    found.extend(texts(&block));
                    position = block.position_after(block.spans.len() - 1).file();
                    self.rig.budget.give_back(block.weight());
                }
                SourceEvent::Opened { .. } | SourceEvent::Closed { outcome: CloseReason::End, .. } => {}
                other => panic!("no frames: {other:?}"),
            }
        }
        assert_eq!(found, messages);
        position.expect("a file has positions")
    }

    /// Stops the source, and leaves the folder.
    async fn stop(mut self) -> TempDir {
        self.rig.stop.cancel();
        while !matches!(self.rig.next().await, SourceEvent::Ended { .. }) {}
        self.folder
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("open");
    file.write_all(text.as_bytes()).expect("written");
}

/// Rotates as `logrotate` does by renaming.
fn rename(folder: &Path, from: &str, to: &str) {
    fs::rename(folder.join(from), folder.join(to)).expect("renamed");
}

/// Rotates as `logrotate` does with `copytruncate`. What is written after the last look of the source is in the copy alone.
fn copy_and_truncate(folder: &Path, unseen: &str) {
    fs::copy(folder.join("log"), folder.join("log.1")).expect("copied");
    append(&folder.join("log.1"), unseen);
    fs::write(folder.join("log"), "").expect("truncated");
}

#[tokio::test]
async fn a_line_is_a_message_once_it_is_complete() {
    let mut followed = Followed::of(Some("one\ntw"));
    followed.expect(&["one"]).await;
    followed.append("log", "o\nthree\n");
    followed.expect(&["two", "three"]).await;
    followed.stop().await;
}

#[tokio::test]
async fn a_file_that_does_not_exist_is_waited_for() {
    let mut followed = Followed::of(None);
    followed.append("log", "one\n");
    followed.expect(&["one"]).await;
    followed.stop().await;
}

#[tokio::test]
async fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    let mut followed = Followed::of(Some("one\n"));
    followed.expect(&["one"]).await;
    rename(followed.folder.path(), "log", "log.1");
    followed.append("log.1", "two\n");
    followed.expect(&["two"]).await;
    // The writer has not opened the new one yet.
    followed.append("log", "");
    followed.append("log.1", "three\nincomplete");
    followed.append("log", "four\n");
    followed.expect(&["three", "incomplete", "four"]).await;
    followed.stop().await;
}

#[tokio::test]
async fn a_removed_file_is_followed_by_the_new_one() {
    let mut followed = Followed::of(Some("one\n"));
    followed.append("log.1", "older\n");
    followed.expect(&["one"]).await;
    fs::remove_file(followed.path("log")).expect("removed");
    followed.append("log", "two\n");
    followed.expect(&["two"]).await;
    followed.stop().await;
}

#[tokio::test]
async fn the_rest_of_a_truncated_file_is_read_from_its_copy() {
    let mut followed = Followed::of(Some("one\n"));
    followed.expect(&["one"]).await;
    copy_and_truncate(followed.folder.path(), "two\n");
    followed.append("log", "three\n");
    followed.expect(&["two", "three"]).await;
    followed.stop().await;
}

#[tokio::test]
async fn a_truncated_file_without_a_copy_is_read_from_its_start() {
    let mut followed = Followed::of(Some("one\n"));
    followed.expect(&["one"]).await;
    // It has as many bytes as before at once.
    fs::write(followed.path("log"), "two\nthree\n").expect("written");
    followed.expect(&["two", "three"]).await;
    followed.stop().await;
}

#[tokio::test]
async fn a_run_goes_on_with_the_rest_of_rotated_files() {
    let mut followed = Followed::of(Some("one\ntwo\n"));
    followed.expect(&["one", "two"]).await;
    let folder = followed.stop().await;
    let position = crate::source::file::position_at(&folder.path().join("log"), 4).expect("a position");
    rename(folder.path(), "log", "log.1");
    append(&folder.path().join("log"), "three\n");
    rename(folder.path(), "log.1", "log.2");
    rename(folder.path(), "log", "log.1");
    let mut followed = Followed::go_on(folder, Some(position));
    followed.append("log", "four\n");
    followed.expect(&["two", "three", "four"]).await;
    followed.stop().await;
}

#[tokio::test]
async fn a_run_goes_on_with_the_copy_of_a_truncated_file() {
    let mut followed = Followed::of(Some("one\n"));
    let position = followed.expect(&["one"]).await;
    let folder = followed.stop().await;
    copy_and_truncate(folder.path(), "two\n");
    append(&folder.path().join("log"), "three\n");
    let mut followed = Followed::go_on(folder, Some(position));
    followed.expect(&["two", "three"]).await;
    followed.stop().await;
}

#[tokio::test]
async fn a_file_that_is_missing_or_lacks_bytes_is_refused() {
    let mut followed = Followed::of(Some("one\n"));
    let position = followed.expect(&["one"]).await;
    let folder = followed.stop().await;
    let path = folder.path().join("log");
    let refused = || match open(&path, Some(position)) {
        Err(SourceError::Changed { change, .. }) => change,
        other => panic!("it was not refused: {other:?}"),
    };
    fs::write(&path, "").expect("truncated");
    assert_eq!(refused(), FileChange::Truncated { length: 0, read: 4 });
    let gone = FileChange::Gone { inode: position.file.inode, read: 4 };
    rename(folder.path(), "log", "log.gz");
    assert_eq!(refused(), gone);
    append(&path, "another\n");
    assert_eq!(refused(), gone);
}

/// What becomes of a stream that is stopped once all that there is has been read.
async fn stopped_at_the_end(framing: Framing, bytes: &'static [u8], is_suspended: bool) -> (Vec<String>, CloseReason) {
    let (context, events, handle) = Rig::context(framing, BUDGET);
    let (budget, suspended) = (context.budget.clone(), context.suspended.clone());
    let (reads, reader) = ThreadReader::channel();
    let stop = CancellationToken::new();
    let (shared, _, mut close_requests) = Shared::of(context, stop.clone(), StreamKind::Followed);
    let task = tokio::spawn(async move {
        let connection = (ConnectionId(0), "log".to_owned(), None);
        serve(&shared, connection, reader, &mut close_requests).await;
    });
    // Each is taken before there is room for the next one but one.
    for read in [bytes, b"", b"", b""] {
        reads.send(Ok(Bytes::from_static(read))).await.expect("it is read");
    }
    if is_suspended {
        suspended.cancel();
    }
    stop.cancel();
    let mut rig = Rig { events, budget, handle, stop, task };
    rig.opened().await;
    rig.frames_until_closed().await
}

#[tokio::test]
async fn the_last_line_is_a_message_when_a_run_drains_and_is_left_when_it_is_suspended() {
    let (frames, outcome) = stopped_at_the_end(lines(), b"one\ntwo", false).await;
    assert_eq!(frames, ["one", "two"]);
    assert!(matches!(outcome, CloseReason::Stopped), "{outcome:?}");
    let (frames, outcome) = stopped_at_the_end(lines(), b"one\ntwo", true).await;
    assert_eq!(frames, ["one"]);
    assert!(matches!(outcome, CloseReason::Stopped), "{outcome:?}");
}

#[tokio::test]
async fn the_start_of_a_frame_is_left_when_reading_stops() {
    let (frames, outcome) =
        stopped_at_the_end(Framing::Length(LengthPrefix::U32), b"\0\0\0\x01a\0\0\0\x03t", false).await;
    assert_eq!(frames, ["a"]);
    assert!(matches!(outcome, CloseReason::Stopped), "{outcome:?}");
}
