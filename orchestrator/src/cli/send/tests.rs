use std::io::Write;
use std::net::TcpListener;
use std::thread;

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    args: SendArgs,
}

fn args(words: &[&str]) -> SendArgs {
    Command::try_parse_from(["send"].iter().chain(words)).expect("arguments").args
}

#[test]
fn a_file_is_sent_as_often_as_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let received = thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"one\n\ntwo").expect("written");
    let path = file.path().to_str().expect("a name in UTF-8");
    send(&args(&["--to", &address, "--repeat", "2", path])).expect("sent");
    let once = b"\0\0\0\x03one\0\0\0\0\0\0\0\x03two";
    let received = received.join().expect("no panic").expect("received");
    assert_eq!(received, [once.as_slice(), once].concat());
}

#[test]
fn a_receiver_that_resets_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    // Closing with unread data resets.
    let receiver = thread::spawn(move || listener.accept().and_then(|(stream, _)| stream.peek(&mut [0])));
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "line\n".repeat(4 << 20)).expect("written");
    let path = file.path().to_str().expect("a name in UTF-8");
    let error = send(&args(&["--to", &address, path])).expect_err("the receiver is gone");
    assert!(matches!(error, SendError::Closed { .. }), "{error}");
    receiver.join().expect("no panic").expect("accepted");
}

#[test]
fn nobody_there_and_nothing_to_send_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port").to_string();
    let error = send(&args(&["--to", &address, "--connect-timeout", "0", "/dev/null"]));
    assert!(matches!(error, Err(SendError::Connect { .. })), "{error:?}");
    let error = send(&args(&["--to", &address, "/no/such/file"]));
    assert!(matches!(error, Err(SendError::Read { .. })), "{error:?}");
}

#[test]
fn addresses_are_checked_as_they_are_read() {
    let address = |text: &str| text.parse::<Address>();
    let local = Address { host: "localhost".to_owned(), port: 7010 };
    assert_eq!(address("localhost:7010"), Ok(local));
    let six = Address { host: "::1".to_owned(), port: 1 };
    assert_eq!(six.to_string(), "[::1]:1");
    assert_eq!(address("[::1]:1"), Ok(six));
    for wrong in ["7010", "localhost", ":7010", "localhost:", "localhost:70000"] {
        assert!(address(wrong).is_err(), "{wrong}");
    }
}
