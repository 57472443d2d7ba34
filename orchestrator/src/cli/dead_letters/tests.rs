use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use clap::Parser;

use super::*;
use crate::dead_letter::tests::letter;
use crate::dead_letter::{DeadLetter, PayloadCodec, SourceFraming};

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    args: DeadLettersArgs,
}

/// Carries out a command line; returns what it printed.
fn execute(words: &[&str], path: &Path) -> (String, Result<(), DeadLettersError>) {
    let path = path.to_str().expect("a name in UTF-8");
    let words = words.iter().map(|word| if *word == "FILE" { path } else { word });
    let command = Command::try_parse_from(["dead-letters"].into_iter().chain(words)).expect("arguments");
    let mut output = Vec::new();
    let result = match command.args.command {
        DeadLettersCommand::List(args) => list(&args, &mut output),
        DeadLettersCommand::Show(args) => show(&args, &mut output),
        DeadLettersCommand::Retry(args) => retry::retry(&args),
        DeadLettersCommand::Drop(args) => remove(&args),
    };
    (String::from_utf8(output).expect("text"), result)
}

fn with(message: &str, payload: &[u8]) -> DeadLetter {
    DeadLetter { payload: payload.to_vec(), ..letter(message) }
}

fn file(letters: &[DeadLetter]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    for letter in letters {
        serde_json::to_writer(&mut file, letter).expect("written");
        file.write_all(b"\n").expect("written");
    }
    file
}

fn left(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("readable");
    let message = |line| match serde_json::from_str::<DeadLetter>(line) {
        Ok(letter) => letter.message,
        Err(_) => line.to_owned(),
    };
    text.lines().map(message).collect()
}

/// Listens, and collects the bytes of so many connections, one after another.
fn receiver(connections: usize) -> (String, thread::JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let received = thread::spawn(move || {
        let streams = listener.incoming().take(connections);
        let read = |stream: io::Result<std::net::TcpStream>| {
            let mut bytes = Vec::new();
            stream.expect("a connection").read_to_end(&mut bytes).expect("read");
            bytes
        };
        streams.map(read).collect()
    });
    (address, received)
}

#[test]
fn a_list_is_a_row_a_letter() {
    let long = DeadLetter { step: "Count".to_owned(), message: "x\u{1b}[2J\ny".repeat(100), ..letter("") };
    let file = file(&[letter("bad"), long]);
    let (text, result) = execute(&["list", "FILE"], file.path());
    result.expect("listed");
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert_eq!(rows[0], "N  TIME                      STEP   KEY  REASON");
    assert_eq!(rows[1], "1  2025-01-02T03:04:05.678Z  Split  -    ValueError: bad");
    assert!(rows[2].starts_with("2  2025-01-02T03:04:05.678Z  Count  -    ValueError: x\\u{1b}[2J yx"), "{text}");
    assert!(rows[2].ends_with('…'), "{text}");
}

#[test]
fn a_list_in_json_is_the_letters_with_their_numbers() {
    let file = file(&[letter("one"), letter("two")]);
    let (text, result) = execute(&["list", "--json", "FILE"], file.path());
    result.expect("listed");
    let second: serde_json::Value = serde_json::from_str(text.lines().nth(1).expect("two")).expect("JSON");
    assert_eq!((&second["number"], &second["message"]), (&2.into(), &"two".into()));
    let whole: DeadLetter = serde_json::from_value(second).expect("a letter");
    assert_eq!(whole, letter("two"));
}

#[test]
fn many_letters_are_all_listed() {
    let letters: Vec<DeadLetter> = (1..=2500).map(|number| letter(&format!("no {number}."))).collect();
    let (text, result) = execute(&["list", "FILE"], file(&letters).path());
    result.expect("listed");
    assert_eq!(text.lines().count(), 2501);
    for (number, row) in (1..).zip(text.lines().skip(1)) {
        assert!(
            row.trim_start().starts_with(&format!("{number} ")) && row.ends_with(&format!("no {number}.")),
            "{row}"
        );
    }
}

#[test]
fn lines_that_are_no_letters_are_named_after_the_list() {
    let mut file = file(&[letter("one")]);
    file.write_all(b"what is this\n{\"time\":").expect("written");
    let (text, result) = execute(&["list", "FILE"], file.path());
    assert_eq!(text.lines().count(), 2, "{text}");
    let error = result.expect_err("two lines are no letters");
    assert!(matches!(error, DeadLettersError::Damaged { number: 2, others: 1, .. }), "{error:?}");
    assert!(error.to_string().starts_with("line 2 of "), "{error}");
    let (_, result) = execute(&["show", "FILE", "3"], file.path());
    let error = result.expect_err("the line is not finished");
    assert!(matches!(error, DeadLettersError::Damaged { number: 3, source: Damage::Unfinished, .. }), "{error:?}");
}

#[test]
fn a_letter_is_shown_whole() {
    let traceback = "Traceback (most recent call last):\n  File \"app.py\"\nValueError: bad\n".to_owned();
    let text = DeadLetter { traceback, ..with("bad", "größe 7".as_bytes()) };
    let binary =
        DeadLetter { payload_codec: PayloadCodec::Pickle, payload_index: Some(4), ..with("worse", b"\x80pickle") };
    let file = file(&[text, binary]);
    let (text, result) = execute(&["show", "FILE", "1"], file.path());
    result.expect("shown");
    assert!(text.contains("\nmessage      bad\n"), "{text}");
    assert!(text.contains("\nTraceback (most recent call last):\n  File \"app.py\"\nValueError: bad\n"), "{text}");
    assert!(text.ends_with("\npayload: the message as it was read, 9 bytes\ngröße 7\n"), "{text}");
    let (text, result) = execute(&["show", "FILE", "2"], file.path());
    result.expect("shown");
    assert!(text.contains("\npayload: values as a pickle, 7 bytes, value number 4 (counted from 0)\n"), "{text}");
    assert!(text.ends_with("\n00000000  80 70 69 63 6b 6c 65                             .pickle\n"), "{text}");
    let (_, result) = execute(&["show", "FILE", "3"], file.path());
    let error = result.expect_err("there are two");
    assert!(
        error.is_usage() && matches!(error, DeadLettersError::NoSuchLetter { number: 3, lines: 2, .. }),
        "{error:?}"
    );
}

#[test]
fn letters_are_dropped_by_number_and_all_together() {
    let mut file = file(&["one", "two", "three", "four", "five"].map(letter));
    file.write_all(b"foreign\n").expect("written");
    execute(&["drop", "FILE", "1", "3-4"], file.path()).1.expect("dropped");
    assert_eq!(left(file.path()), ["two", "five", "foreign"]);
    let error = execute(&["drop", "FILE", "1", "4"], file.path()).1.expect_err("there are three lines");
    assert!(matches!(error, DeadLettersError::NoSuchLetter { number: 4, lines: 3, .. }), "{error:?}");
    assert_eq!(left(file.path()), ["two", "five", "foreign"]);
    let error = execute(&["drop", "FILE", "--all"], file.path()).1.expect_err("one line is no letter");
    assert!(matches!(error, DeadLettersError::Damaged { number: 3, others: 0, .. }), "{error:?}");
    assert_eq!(left(file.path()), ["foreign"]);
    execute(&["drop", "FILE", "1"], file.path()).1.expect("dropped, since it was named");
    assert!(left(file.path()).is_empty());
    for wrong in
        [&["drop", "FILE"][..], &["drop", "FILE", "--all", "1"], &["drop", "FILE", "0"], &["drop", "FILE", "3-1"]]
    {
        assert!(Command::try_parse_from(["dead-letters"].iter().chain(wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn messages_are_sent_again_in_order_and_their_letters_removed() {
    let value = DeadLetter { payload_codec: PayloadCodec::Msgpack, ..with("value", b"\x91\x01") };
    let nothing = DeadLetter { connection: None, ..with("generated", b"") };
    let mut file = file(&[with("a", b"one"), value, with("b", b""), nothing, with("c", b"two\nlines")]);
    file.write_all(b"foreign\n").expect("written");
    let (address, received) = receiver(1);
    let error = execute(&["retry", "FILE", "--to", &address], file.path()).1.expect_err("three cannot be sent");
    assert!(matches!(error, DeadLettersError::Kept { kept: 3, asked: 6 }), "{error:?}");
    assert_eq!(received.join().expect("no panic"), [b"\0\0\0\x03one\0\0\0\0\0\0\0\x09two\nlines"]);
    assert_eq!(left(file.path()), ["value", "generated", "foreign"]);
}

#[test]
fn letters_say_where_they_go_and_how() {
    let ((first, at_first), (second, at_second)) = (receiver(1), receiver(1));
    let to = |address: &str, framing, letter| {
        let source_address = Some(address.to_owned());
        DeadLetter { source_address, source_framing: Some(framing), ..letter }
    };
    let file = file(&[
        to(&first, SourceFraming::Newline, with("a", b"1")),
        to(&second, SourceFraming::U32, with("b", b"2")),
        to(&first, SourceFraming::Newline, with("c", b"3")),
        to(&first, SourceFraming::Newline, with("newline", b"3\n4")),
        to(&first, SourceFraming::Other, with("other", b"5")),
    ]);
    let error = execute(&["retry", "FILE"], file.path()).1.expect_err("two cannot be sent");
    assert!(matches!(error, DeadLettersError::Kept { kept: 2, asked: 5 }), "{error:?}");
    assert_eq!(at_first.join().expect("no panic"), [b"1\n3\n"]);
    assert_eq!(at_second.join().expect("no panic"), [b"\0\0\0\x012"]);
    assert_eq!(left(file.path()), ["newline", "other"]);

    let (address, received) = receiver(1);
    execute(&["retry", "FILE", "2", "--to", &address, "--framing", "u32"], file.path()).1.expect("sent");
    assert_eq!(received.join().expect("no panic"), [b"\0\0\0\x015"]);
    assert_eq!(left(file.path()), ["newline"]);
}

#[test]
fn nothing_is_sent_when_a_letter_has_nowhere_to_go() {
    let (address, _received) = receiver(1);
    let known = DeadLetter { source_address: Some(address), ..letter("known") };
    let file = file(&[known, letter("unknown")]);
    let error = execute(&["retry", "FILE"], file.path()).1.expect_err("the second has no address");
    assert!(error.is_usage() && matches!(error, DeadLettersError::NoAddress { number: 2, .. }), "{error:?}");
    let text = crate::cli::CliError::from(error).render();
    assert!(text.contains("\nhint: --to HOST:PORT"), "{text}");
    assert_eq!(left(file.path()), ["known", "unknown"]);
}

#[test]
fn what_was_not_delivered_is_kept() {
    // Addresses are taken in order, so the one that listens comes first.
    let (address, received) = receiver(1);
    let nobody = DeadLetter { source_address: Some("[::1]:1".to_owned()), ..letter("nobody") };
    let somebody = DeadLetter { source_address: Some(address), ..with("somebody", b"1") };
    let file = file(&[nobody, somebody]);
    let error = execute(&["retry", "FILE", "--connect-timeout", "0"], file.path()).1.expect_err("nobody listens");
    assert!(matches!(error, DeadLettersError::Send(SendError::Connect { .. })), "{error:?}");
    assert_eq!(received.join().expect("no panic"), [b"\0\0\0\x011"]);
    assert_eq!(left(file.path()), ["nobody"]);
}
