//! A state folder on the machine's disk, with the log's threads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use nix::unistd::Uid;
use tempfile::TempDir;

use super::simulated_disk::{Faults, SimulatedDisk};
use crate::log::identity::lock;
use crate::log::recovery::read_back;
use crate::log::store::Store;
use crate::log::threads::{self, Command};
use crate::log::writer::{Checkpoint, Writer};
use crate::log::{Change, Identity, Log, LogError, Lsn, Recovered, Report, error, open, set_topology};

fn identity() -> Identity {
    Identity { application: "words".into(), topology: "split, count".into() }
}

fn started(folder: &Path) -> (Log, Receiver<Report>, Recovered) {
    let (opened, recovered) = open(folder, &identity()).unwrap();
    let (sender, reports) = channel();
    (opened.start(move |report| sender.send(report).unwrap()).unwrap(), reports, recovered)
}

fn append(log: &Log, lsns: std::ops::RangeInclusive<u64>) {
    for lsn in lsns {
        log.append(Lsn(lsn), move |buffer| buffer.extend(format!("record {lsn}").bytes()));
    }
}

fn wait_until(reports: &Receiver<Report>, mut done: impl FnMut(&Report) -> bool) {
    while !done(&reports.recv().unwrap()) {}
}

fn payloads(recovered: &Recovered) -> Vec<String> {
    recovered.records.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
}

#[test]
fn a_folder_gives_back_what_it_was_given() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state");
    let (log, reports, recovered) = started(&path);
    assert_eq!((recovered.last(), recovered.checkpoint, recovered.cut), (Lsn(0), None, None));
    append(&log, 1..=100);
    wait_until(&reports, |report| matches!(report, Report::Durable { upto: Lsn(100), .. }));
    let changes = vec![(Bytes::from("a"), Some(Bytes::from("1"))), (Bytes::from("b"), Some(Bytes::from("2")))];
    log.checkpoint(Lsn(90), |buffer| buffer.extend(b"checkpoint"), changes);
    wait_until(&reports, |report| matches!(report, Report::Checkpointed { upto: Lsn(90) }));
    append(&log, 101..=103);
    log.close();
    assert!(reports.iter().all(|report| matches!(report, Report::Durable { .. })));

    let (log, reports, recovered) = started(&path);
    assert_eq!(recovered.checkpoint, Some((Lsn(90), Bytes::from("checkpoint"))));
    assert_eq!(recovered.states, [("a".into(), "1".into()), ("b".into(), "2".into())]);
    assert_eq!((recovered.records.len(), recovered.last()), (13, Lsn(103)));
    assert_eq!((&payloads(&recovered)[0][..], &payloads(&recovered)[12][..]), ("record 91", "record 103"));
    log.checkpoint(Lsn(103), |_| (), vec![("a".into(), None), ("b".into(), Some("3".into()))]);
    append(&log, 104..=104);
    log.close();
    assert!(reports.iter().any(|report| matches!(report, Report::Checkpointed { upto: Lsn(103) })));

    let (_, recovered) = open(&path, &identity()).unwrap();
    assert_eq!(recovered.states, [("b".into(), "3".into())]);
    assert_eq!(payloads(&recovered), ["record 104"]);
}

#[test]
fn a_tail_that_is_no_record_is_cut() {
    let folder = TempDir::new().unwrap();
    let (log, _reports, _) = started(folder.path());
    append(&log, 1..=3);
    log.close();
    let segment = folder.path().join("log/00000000000000000001.log");
    let mut content = fs::read(&segment).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    content[end..end + 100].fill(b'x');
    fs::write(&segment, &content).unwrap();
    let (opened, recovered) = open(folder.path(), &identity()).unwrap();
    let cut = recovered.cut.unwrap();
    assert_eq!((cut.file, cut.offset, cut.bytes, recovered.records.len()), (segment, end as u64, 100, 3));
    drop(opened);
    assert_eq!(open(folder.path(), &identity()).unwrap().1.cut, None);
}

#[test]
fn a_folder_in_use_is_refused() {
    let folder = TempDir::new().unwrap();
    let (opened, _) = open(folder.path(), &identity()).unwrap();
    let refused = open(folder.path(), &identity()).unwrap_err();
    let process = format!("process {}", std::process::id());
    assert!(matches!(&refused, LogError::InUse { owner, .. } if *owner == process), "{refused}");
    drop(opened);
    open(folder.path(), &identity()).unwrap();
}

#[test]
fn a_folder_of_another_application_is_refused() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path(), &identity()).unwrap());
    let other = Identity { application: "bids".into(), ..identity() };
    let refused = open(folder.path(), &other).unwrap_err();
    assert!(matches!(&refused, LogError::OtherApplication { found, .. } if found == "words"), "{refused}");
}

#[test]
fn another_topology_is_told_and_can_be_taken() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path(), &identity()).unwrap());
    let changed = Identity { topology: "split, count, sum".into(), ..identity() };
    let (opened, recovered) = open(folder.path(), &changed).unwrap();
    assert_eq!(recovered.topology, "split, count");
    set_topology(folder.path(), &changed).unwrap();
    drop(opened);
    assert_eq!(open(folder.path(), &changed).unwrap().1.topology, changed.topology);
}

fn with_format(text: &str) -> (TempDir, LogError) {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path(), &identity()).unwrap());
    fs::write(folder.path().join("FORMAT"), text).unwrap();
    let refused = open(folder.path(), &identity()).unwrap_err();
    (folder, refused)
}

#[test]
fn a_newer_older_or_damaged_format_is_refused() {
    let (_folder, newer) = with_format("{\"version\": 3, \"what\": \"is new\"}");
    assert!(matches!(newer, LogError::Newer { found: 3, known: 2, .. }), "{newer}");
    let (_folder, older) = with_format("{\"version\": 1, \"what\": \"was there once\"}");
    assert!(matches!(older, LogError::Older { found: 1, known: 2, .. }), "{older}");
    let (_folder, damaged) = with_format("{\"version\": 2, \"applic");
    assert!(matches!(damaged, LogError::FormatDamaged { .. }), "{damaged}");
    let (folder, _) = with_format("");
    fs::remove_file(folder.path().join("FORMAT")).unwrap();
    let lost = open(folder.path(), &identity()).unwrap_err();
    assert!(matches!(lost, LogError::NotAStateFolder { .. }), "{lost}");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused() {
    let folder = TempDir::new().unwrap();
    let refused = if Uid::effective().is_root() {
        // Root may write everywhere but to a file system of the kernel, where there are other files.
        lock(Path::new("/sys/kernel")).unwrap_err()
    } else {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        open(folder.path(), &identity()).unwrap_err()
    };
    assert!(matches!(refused, LogError::ReadOnly { .. }), "{refused}");
}

#[test]
fn a_flipped_bit_in_the_store_is_refused() {
    let folder = TempDir::new().unwrap();
    let (log, _reports, _) = started(folder.path());
    append(&log, 1..=1);
    let states = (0..100).map(|key| (Bytes::from(format!("key {key}")), Some(Bytes::from("a state of some length"))));
    log.checkpoint(Lsn(1), |_| (), states.collect());
    log.close();
    let path = folder.path().join("store.redb");
    let mut content = fs::read(&path).unwrap();
    let found = content.windows(7).rposition(|bytes| bytes == b"a state").unwrap();
    content[found] ^= 1;
    fs::write(&path, content).unwrap();
    let refused = open(folder.path(), &identity()).unwrap_err();
    assert!(matches!(refused, LogError::StoreDamaged { .. }), "{refused}");
}

/// A store that fails as it is told.
#[derive(Clone, Default)]
struct FailingStore {
    full: Arc<Mutex<u32>>,
    commits: Arc<Mutex<Vec<Lsn>>>,
}

impl Store for FailingStore {
    fn commit(&mut self, lsn: Lsn, _checkpoint: &[u8], _changes: &[Change]) -> Result<(), LogError> {
        let mut left = self.full.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            return Err(error::LogError::io("write", Path::new("store"), std::io::ErrorKind::StorageFull.into()));
        }
        self.commits.lock().unwrap().push(lsn);
        Ok(())
    }
}

/// The log's threads on a simulated disk.
fn simulated(disk: &SimulatedDisk, store: &FailingStore) -> (Sender<Command>, Receiver<Report>) {
    let folder = Path::new("/state/log");
    let back = read_back(&mut disk.clone(), folder, Lsn(0)).unwrap();
    let writer = Writer::new(Box::new(disk.clone()), folder.into(), 4096, back, Lsn(0), Lsn(0));
    let (sender, reports) = channel();
    let on = Box::new(move |report| sender.send(report).unwrap());
    (threads::start(writer, Box::new(store.clone()), None, on).unwrap().0, reports)
}

fn record(lsn: u64) -> Command {
    Command::Append(Lsn(lsn), Box::new(|buffer| buffer.extend(b"record")))
}

#[test]
fn a_full_disk_is_tried_again_until_there_is_room() {
    let disk = SimulatedDisk::new(0);
    let (commands, reports) = simulated(&disk, &FailingStore::default());
    disk.set(Faults { full: true, ..Faults::default() });
    commands.send(record(1)).unwrap();
    assert!(matches!(reports.recv().unwrap(), Report::Full { reason } if reason.contains("full")));
    commands.send(record(2)).unwrap();
    disk.set(Faults::default());
    assert!(matches!(reports.recv().unwrap(), Report::Room));
    wait_until(&reports, |report| matches!(report, Report::Durable { upto: Lsn(2), .. }));
}

#[test]
fn a_full_store_is_tried_again_while_records_go_on() {
    let store = FailingStore { full: Arc::new(Mutex::new(1)), ..FailingStore::default() };
    let (commands, reports) = simulated(&SimulatedDisk::new(0), &store);
    commands.send(record(1)).unwrap();
    commands
        .send(Command::Checkpoint(Checkpoint { lsn: Lsn(1), encode: Box::new(|_| ()), changes: Vec::new() }))
        .unwrap();
    wait_until(&reports, |report| matches!(report, Report::Full { .. }));
    commands.send(record(2)).unwrap();
    assert!(matches!(reports.recv().unwrap(), Report::Durable { upto: Lsn(2), .. }));
    assert!(matches!(reports.recv().unwrap(), Report::Room));
    assert!(matches!(reports.recv().unwrap(), Report::Checkpointed { upto: Lsn(1) }));
    assert_eq!(*store.commits.lock().unwrap(), [Lsn(1)]);
}

#[test]
fn a_sync_that_fails_ends_the_log() {
    let disk = SimulatedDisk::new(0);
    let (commands, reports) = simulated(&disk, &FailingStore::default());
    commands.send(record(1)).unwrap();
    wait_until(&reports, |report| matches!(report, Report::Durable { upto: Lsn(1), .. }));
    disk.set(Faults { sync_fails: true, ..Faults::default() });
    commands.send(record(2)).unwrap();
    assert!(matches!(reports.recv().unwrap(), Report::Failed(LogError::Sync { .. })));
    assert!(reports.recv().is_err(), "a failed log says no more");
}

#[test]
fn a_record_out_of_order_ends_the_log() {
    let (commands, reports) = simulated(&SimulatedDisk::new(0), &FailingStore::default());
    commands.send(record(2)).unwrap();
    let report = reports.recv().unwrap();
    assert!(matches!(report, Report::Failed(LogError::OutOfOrder { given: Lsn(2), expected: Lsn(1) })), "{report:?}");
}
