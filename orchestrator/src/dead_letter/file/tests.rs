use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::append::AppendedFile;
use super::super::tests::letter;
use super::*;

/// A letter as a line.
fn line(message: &str) -> Vec<u8> {
    let mut line = serde_json::to_vec(&letter(message)).expect("JSON");
    line.push(b'\n');
    line
}

/// A file in a folder of its own, with a letter for each message.
fn written(messages: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("dead.jsonl");
    let mut file = AppendedFile::open(&path).expect("writable");
    for message in messages {
        file.append(&line(message)).expect("written");
    }
    (folder, path)
}

/// The messages of the letters, by number.
fn messages(file: &LetterFile) -> Vec<(u64, String)> {
    let lines = file.lines().expect("readable").map(|line| line.expect("read"));
    lines.map(|line| (line.number, line.content.expect("a letter").message)).collect()
}

fn left(path: &Path) -> Vec<String> {
    messages(&LetterFile::open(path).expect("readable")).into_iter().map(|(_, message)| message).collect()
}

/// Ends the writer also when the test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nothing_is_lost_or_doubled_while_a_run_goes_on_writing() {
    const ROUNDS: usize = 30;
    let (_folder, path) = written(&[]);
    let enough = AtomicBool::new(false);
    let (mut taken, written) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut file = AppendedFile::open(&path).expect("writable");
            let mut count = 0;
            while !enough.load(Ordering::Relaxed) {
                match file.append(&line(&count.to_string())) {
                    Ok(()) => count += 1,
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
                }
            }
            count
        });
        let stop = StopAtEnd(&enough);
        let mut taken = Vec::new();
        let mut rounds = 0;
        while rounds < ROUNDS {
            let file = LetterFile::edit(&path).expect("readable");
            // The last one stays, so that a round begins with a letter that an earlier one has copied.
            let mut found = messages(&file);
            if found.pop().is_none() || found.is_empty() {
                continue;
            }
            rounds += 1;
            file.remove(&found.iter().map(|(number, _)| *number).collect()).expect("removed");
            taken.extend(found.into_iter().map(|(_, message)| message));
        }
        drop(stop);
        (taken, writer.join().expect("no panic"))
    });
    taken.extend(left(&path));
    let expected: Vec<String> = (0..written).map(|count: u64| count.to_string()).collect();
    assert_eq!(taken, expected);
}

#[test]
fn letters_appended_since_the_file_was_opened_are_kept() {
    let (_folder, path) = written(&["one", "two"]);
    let mut run = AppendedFile::open(&path).expect("writable");
    let file = LetterFile::edit(&path).expect("readable");
    run.append(&line("three")).expect("written");
    assert_eq!(messages(&file), [(1, "one".to_owned()), (2, "two".to_owned())]);
    file.remove(&BTreeSet::from([1, 3])).expect("removed");
    run.append(&line("four")).expect("written");
    assert_eq!(left(&path), ["two", "three", "four"]);
}

#[test]
fn only_one_command_removes_at_a_time() {
    let (_folder, path) = written(&["one"]);
    let first = LetterFile::edit(&path).expect("readable");
    let error = LetterFile::edit(&path).expect_err("the first is not done");
    assert!(matches!(error, LetterFileError::Busy { .. }), "{error}");
    assert_eq!(left(&path), ["one"], "reading needs no permission");
    drop(first);
    LetterFile::edit(&path).expect("the first is done");
}

#[test]
fn a_file_that_was_cut_or_replaced_is_left_alone() {
    let (_folder, path) = written(&["one", "two"]);
    let file = LetterFile::edit(&path).expect("readable");
    std::fs::write(&path, line("other")).expect("writable");
    let error = file.remove(&BTreeSet::from([1])).expect_err("it is shorter");
    assert!(matches!(error, LetterFileError::Changed { .. }), "{error}");
    assert_eq!(left(&path), ["other"]);

    let file = LetterFile::edit(&path).expect("readable");
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, [line("new"), line("newer")].concat()).expect("writable");
    let error = file.remove(&BTreeSet::from([1])).expect_err("it is another file");
    assert!(matches!(error, LetterFileError::Changed { .. }), "{error}");
    assert_eq!(left(&path), ["new", "newer"]);
}

#[test]
fn lines_that_are_no_letters_are_told_apart_and_kept() {
    let (_folder, path) = written(&["one"]);
    let whole = std::fs::read(&path).expect("readable");
    let text = [&whole, b"\nnot a letter\n".as_slice(), &whole, b"{\"time\": \"2025"].concat();
    std::fs::write(&path, text).expect("writable");
    let file = LetterFile::edit(&path).expect("readable");
    let lines: Vec<Line> = file.lines().expect("readable").collect::<Result<_, _>>().expect("read");
    let numbers: Vec<u64> = lines.iter().map(|line| line.number).collect();
    assert_eq!(numbers, [1, 3, 4, 5]);
    assert!(matches!(lines[1].content, Err(Damage::Foreign(_))), "{lines:?}");
    assert!(matches!(lines[3].content, Err(Damage::Unfinished)), "{lines:?}");
    drop(lines);
    file.remove(&BTreeSet::from([1, 4])).expect("removed");
    assert_eq!(std::fs::read(&path).expect("readable"), b"\nnot a letter\n{\"time\": \"2025");
}

#[test]
fn links_permissions_and_the_folder_stay_as_they_were() {
    let (folder, path) = written(&["one", "two"]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("its owner may");
    let link = folder.path().join("link.jsonl");
    symlink(&path, &link).expect("a link");
    let mut run = AppendedFile::open(&link).expect("writable");
    LetterFile::edit(&link).and_then(|file| file.remove(&BTreeSet::from([1]))).expect("removed");
    run.append(&line("three")).expect("written");
    assert_eq!(left(&path), ["two", "three"]);
    assert!(link.symlink_metadata().expect("there").is_symlink());
    assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o640);
    assert_eq!(folder.path().read_dir().expect("readable").count(), 2);
}

#[test]
fn a_file_moved_away_is_begun_anew() {
    let (folder, path) = written(&[]);
    let mut run = AppendedFile::open(&path).expect("writable");
    run.append(&line("one")).expect("written");
    let moved = folder.path().join("dead.1.jsonl");
    std::fs::rename(&path, &moved).expect("moved");
    run.append(&line("two")).expect("written");
    assert_eq!((left(&moved), left(&path)), (vec!["one".to_owned()], vec!["two".to_owned()]));
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let error = LetterFile::open(&pipe).expect_err("a pipe");
    assert!(matches!(error, LetterFileError::NotAFile { .. }), "{error}");
    let error = LetterFile::edit(folder.path()).expect_err("a folder");
    assert!(matches!(error, LetterFileError::NotAFile { .. }), "{error}");
    let error = LetterFile::open(&folder.path().join("none")).expect_err("nothing there");
    assert!(matches!(error, LetterFileError::Read { .. }), "{error}");
}
