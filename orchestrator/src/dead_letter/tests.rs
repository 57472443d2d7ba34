use bytes::Bytes;
use wallaroo_protocol::topology::{Node, NodeKind, SinkConfig, SourceConfig};

use super::*;
use crate::ids::{ConnectionId, SourceId};

fn plan() -> Plan {
    plan_with(SourceConfig::Generator {}, None)
}

fn plan_with(source: SourceConfig, framing: Option<Framing>) -> Plan {
    let node = |name: &str, inputs: Vec<NodeId>, kind| Node { name: name.to_owned(), inputs, kind };
    let source = NodeKind::Source {
        pipeline: "words".to_owned(),
        source,
        decoder: framing.as_ref().map(|_| "Decoder".to_owned()),
        framing,
        event_time: false,
    };
    let sink = NodeKind::Sink { sink: SinkConfig::Stdout {}, encoder: "Encode".to_owned() };
    let nodes = vec![
        node("words", vec![], source),
        node("Split", vec![NodeId(0)], NodeKind::Computation { pool: None, fill: None }),
        node("out", vec![NodeId(1)], sink),
    ];
    Plan::new(Topology { name: "word count".to_owned(), nodes, stop_at: Vec::new() }).expect("a plan")
}

fn message() -> DeadMessage {
    DeadMessage {
        node: NodeId(1),
        key: Some(key::from_str("it's")),
        exception: "ValueError".to_owned(),
        message: "two\nlines".to_owned(),
        traceback: "Traceback …".to_owned(),
        value: "b'\\xff'".to_owned(),
        payload: Bytes::from_static(b"\xff\0"),
        payload_index: None,
        codec: 0,
        limit: None,
        source: Some(SourceId(0)),
        connection: Some(ConnectionId(7)),
    }
}

/// What a letter may look like.
pub(crate) fn letter(message: &str) -> DeadLetter {
    DeadLetter {
        id: None,
        time: "2025-01-02T03:04:05.678Z".parse().expect("a time"),
        application: "word count".to_owned(),
        step: "Split".to_owned(),
        key: None,
        exception: "ValueError".to_owned(),
        message: message.to_owned(),
        limit: None,
        traceback: String::new(),
        value: "b''".to_owned(),
        payload: Vec::new(),
        payload_index: None,
        payload_codec: PayloadCodec::Frame,
        source: Some("words".to_owned()),
        connection: Some("127.0.0.1:999".to_owned()),
        source_address: None,
        source_framing: None,
    }
}

type Events = mpsc::UnboundedReceiver<LetterEvent>;

fn opened(path: Option<&Path>) -> (DeadLetters, Events) {
    let (sender, events) = mpsc::unbounded_channel();
    (DeadLetters::open(path, &plan(), true, sender).expect("writable"), events)
}

/// Waits until letters of `weight` are kept. Returns why they had to wait, if they had.
fn await_kept(events: &mut Events, weight: usize) -> Option<String> {
    let (mut kept, mut waited) = (0, None);
    while kept < weight {
        match events.blocking_recv().expect("the writer lives") {
            LetterEvent::Kept { bytes } => kept += bytes,
            LetterEvent::Waiting { reason } => waited = Some(reason),
        }
    }
    assert_eq!(kept, weight);
    waited
}

#[test]
fn letters_are_whole_lines_and_read_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("dead.jsonl");
    let (mut letters, mut events) = opened(Some(&path));
    letters.write(None, &message(), Some("127.0.0.1:999"));
    let unknown = DeadMessage { key: None, source: None, connection: None, codec: 2, ..message() };
    letters.write(None, &unknown, None);
    assert_eq!(letters.count(), 2);
    await_kept(&mut events, message().weight() + unknown.weight());

    let text = std::fs::read_to_string(&path).expect("readable");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    let json: serde_json::Value = serde_json::from_str(lines[0]).expect("JSON");
    let expected = [
        ("application", "word count"),
        ("step", "Split"),
        ("key", "\"it's\""),
        ("exception", "ValueError"),
        ("message", "two\nlines"),
        ("payload", "/wA="),
        ("payload_codec", "frame"),
        ("source", "words"),
        ("connection", "127.0.0.1:999"),
    ];
    for (field, value) in expected {
        assert_eq!(json[field], value, "{field}");
    }
    let time = json["time"].as_str().expect("a time");
    assert!(time.len() == "2025-01-02T03:04:05.678Z".len() && time.ends_with('Z'), "{time}");

    let letter: DeadLetter = serde_json::from_str(lines[0]).expect("a letter");
    assert_eq!(letter.payload, b"\xff\0");
    let letter: DeadLetter = serde_json::from_str(lines[1]).expect("a letter");
    assert_eq!((letter.key, letter.source, letter.connection), (None, None, None));
    assert_eq!(letter.payload_codec, PayloadCodec::Pickle);
}

#[test]
fn letters_say_where_their_source_listens_and_how_it_is_written_to() {
    let tcp = |host: &str, port| SourceConfig::Tcp { host: host.to_owned(), port, acknowledged: false };
    let acknowledged = SourceConfig::Tcp { host: "localhost".to_owned(), port: 7010, acknowledged: true };
    let prefix = |width| {
        let (offset, order, signed, adjust) = (0, ByteOrder::Big, false, 0);
        Some(Framing::Length { header: width, width, offset, order, signed, adjust })
    };
    let delimiter = |delimiter| Some(Framing::Delimiter { delimiter: Bytes::from_static(delimiter) });
    let cases = [
        (tcp("localhost", 7010), prefix(4), Some("localhost:7010"), Some(SourceFraming::U32)),
        (tcp("::1", 7010), delimiter(b"\n"), Some("[::1]:7010"), Some(SourceFraming::Newline)),
        (acknowledged, delimiter(b"\n"), Some("localhost:7010"), Some(SourceFraming::Stream)),
        (tcp("localhost", 0), prefix(2), None, Some(SourceFraming::Other)),
        (SourceConfig::Stdin {}, delimiter(b"\r\n"), None, Some(SourceFraming::Other)),
        (SourceConfig::Generator {}, None, None, None),
    ];
    for (source, source_framing, address, framing) in cases {
        let (events, _) = mpsc::unbounded_channel();
        let letters = DeadLetters::open(None, &plan_with(source, source_framing), false, events).expect("no file");
        let letter = letters.letter(&message(), None, Timestamp::UNIX_EPOCH);
        assert_eq!((letter.source_address.as_deref(), letter.source_framing), (address, framing));
    }
}

#[test]
fn a_line_cut_short_by_a_crash_spoils_no_other() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "{\"time\":").expect("writable");
    let (mut letters, mut events) = opened(Some(file.path()));
    letters.write(None, &message(), None);
    await_kept(&mut events, message().weight());
    let text = std::fs::read_to_string(file.path()).expect("readable");
    let (cut, whole) = text.split_once('\n').expect("two lines");
    assert_eq!(cut, "{\"time\":");
    assert!(serde_json::from_str::<DeadLetter>(whole).is_ok(), "{whole}");
}

#[test]
fn a_path_that_cannot_be_written_is_known_at_the_start() {
    let (events, _) = mpsc::unbounded_channel();
    let error = DeadLetters::open(Some(Path::new("/proc/none")), &plan(), false, events).expect_err("not writable");
    assert!(error.to_string().contains("/proc/none"), "{error}");
}

#[test]
fn without_a_file_letters_are_kept_at_once() {
    let (mut letters, mut events) = opened(None);
    letters.write(None, &message(), None);
    assert_eq!(await_kept(&mut events, message().weight()), None);
}

#[test]
fn a_locked_file_is_waited_for_and_nothing_is_dropped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("dead.jsonl");
    let (mut letters, mut events) = opened(Some(&path));
    let other = std::fs::OpenOptions::new().read(true).open(&path).expect("readable");
    let lock = lock::LinesLock::shared(&other).expect("nobody else has it");
    letters.write(None, &message(), None);
    letters.write(None, &message(), None);
    let waiting = events.blocking_recv().expect("the writer lives");
    assert!(matches!(&waiting, LetterEvent::Waiting { reason } if reason.contains("locked")), "{waiting:?}");
    assert_eq!(std::fs::read_to_string(&path).expect("readable"), "");
    drop(lock);
    await_kept(&mut events, 2 * message().weight());
    assert_eq!(std::fs::read_to_string(&path).expect("readable").lines().count(), 2);
}

#[test]
fn a_full_disk_is_waited_for() {
    let (mut letters, mut events) = opened(Some(Path::new("/dev/full")));
    letters.write(None, &message(), None);
    let waiting = events.blocking_recv().expect("the writer lives");
    let told =
        |event: &LetterEvent| matches!(event, LetterEvent::Waiting { reason } if reason.contains("No space left"));
    assert!(told(&waiting), "{waiting:?}");
}
