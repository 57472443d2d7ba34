use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

const SINK: SinkId = SinkId(5);

/// A sink under test, and the runtime's view of it.
struct Rig {
    chunks: mpsc::UnboundedSender<SinkChunk>,
    events: mpsc::UnboundedReceiver<SinkEvent>,
    task: JoinHandle<()>,
}

impl Rig {
    fn tcp(address: SocketAddr) -> Self {
        let (chunks, receiver) = mpsc::unbounded_channel();
        let (sender, events) = mpsc::unbounded_channel();
        let (host, port) = (address.ip().to_string(), address.port());
        Self { chunks, events, task: tokio::spawn(tcp::run(host, port, SINK, receiver, sender)) }
    }

    fn file(output: file::FileOutput) -> Self {
        let (chunks, receiver) = mpsc::unbounded_channel();
        let (sender, events) = mpsc::unbounded_channel();
        Self { chunks, events, task: tokio::spawn(file::run(output, SINK, receiver, sender)) }
    }

    fn send(&self, messages: &[&[u8]]) {
        let chunk = SinkChunk {
            bytes: Bytes::from(messages.concat()),
            lengths: messages.iter().map(|message| message.len() as u32).collect(),
        };
        self.chunks.send(chunk).expect("the sink is there");
    }

    async fn next(&mut self) -> SinkEvent {
        in_time(self.events.recv()).await.expect("the sink is there")
    }

    async fn connected(&mut self) {
        let event = self.next().await;
        assert!(matches!(event, SinkEvent::Connected { sink: SINK }), "{event:?}");
    }

    /// The error of the next disconnection; what is written before it is added up.
    async fn disconnected(&mut self) -> (usize, SinkError) {
        let mut written = 0;
        loop {
            match self.next().await {
                SinkEvent::Written { bytes, .. } => written += bytes,
                SinkEvent::Disconnected { sink: SINK, error } => return (written, error),
                other => panic!("neither written nor disconnected: {other:?}"),
            }
        }
    }

    /// Waits until that many bytes are reported as written, and says how many messages these were.
    async fn written(&mut self, wanted: usize) -> usize {
        let (mut total, mut count) = (0, 0);
        while total < wanted {
            match self.next().await {
                SinkEvent::Written { sink: SINK, bytes, messages } => {
                    total += bytes;
                    count += messages;
                }
                other => panic!("not written: {other:?}"),
            }
        }
        assert_eq!(total, wanted, "every byte is reported once");
        count
    }

    /// Closes the sink and waits for its end.
    async fn finish(self) -> mpsc::UnboundedReceiver<SinkEvent> {
        drop(self.chunks);
        in_time(self.task).await.expect("the sink's task is well");
        self.events
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("an event in time")
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    (listener, address)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    in_time(listener.accept()).await.expect("the sink connects").0
}

async fn read_exactly(consumer: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    in_time(consumer.read_exact(&mut bytes)).await.expect("so many bytes");
    bytes
}

async fn read_to_end(mut consumer: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    in_time(consumer.read_to_end(&mut bytes)).await.expect("a clean end");
    bytes
}

/// Closes with a reset, as a consumer that is killed with unread data does.
fn reset(consumer: TcpStream) {
    consumer.set_zero_linger().expect("a live socket");
    drop(consumer);
}

#[tokio::test]
async fn messages_arrive_in_order_and_the_end_waits_for_them() {
    let (listener, address) = listen().await;
    let mut rig = Rig::tcp(address);
    let consumer = accept(&listener).await;
    rig.connected().await;
    rig.send(&[b"one ", b"two "]);
    rig.send(&[b"", b"three"]);
    assert_eq!(rig.written(13).await, 4);
    rig.finish().await;
    assert_eq!(read_to_end(consumer).await, b"one two three");
}

#[tokio::test]
async fn messages_wait_for_a_consumer_that_comes_late() {
    let (listener, address) = listen().await;
    drop(listener);
    let mut rig = Rig::tcp(address);
    rig.send(&[b"kept"]);
    let (written, error) = rig.disconnected().await;
    assert_eq!(written, 0);
    assert!(matches!(error, SinkError::Connect { .. }), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let listener = TcpListener::bind(address).await.expect("the port is still free");
    let consumer = accept(&listener).await;
    rig.connected().await;
    assert_eq!(rig.written(4).await, 1);
    rig.finish().await;
    assert_eq!(read_to_end(consumer).await, b"kept");
}

#[tokio::test]
async fn an_idle_sink_notices_that_its_consumer_went_and_reconnects() {
    let (listener, address) = listen().await;
    let mut rig = Rig::tcp(address);
    let mut first = accept(&listener).await;
    rig.connected().await;
    rig.send(&[b"one"]);
    assert_eq!(read_exactly(&mut first, 3).await, b"one");
    drop(first);
    let (written, error) = rig.disconnected().await;
    assert_eq!(written, 3);
    assert!(matches!(error, SinkError::Closed { .. }), "{error}");
    let second = accept(&listener).await;
    rig.connected().await;
    rig.send(&[b"two"]);
    rig.finish().await;
    assert_eq!(read_to_end(second).await, b"two");
}

/// A stream without repetitions that an error could hide in, more than the kernels' buffers hold: some of it arrives,
/// some is in flight, some not written at all.
fn long_stream() -> Bytes {
    (0..4_u32 << 20).flat_map(u32::to_be_bytes).collect()
}

/// Queues `stream` as messages of `length` bytes, in chunks of several messages.
fn send_all(rig: &Rig, stream: &Bytes, length: usize) {
    for start in (0..stream.len()).step_by(20 * length.max(1000)) {
        let bytes = stream.slice(start..stream.len().min(start + 20 * length.max(1000)));
        let lengths = bytes.chunks(length).map(|message| message.len() as u32).collect();
        rig.chunks.send(SinkChunk { bytes, lengths }).expect("the sink is there");
    }
}

/// Waits until the kernel of a consumer that reads nothing has all it can hold, and says how much that is.
async fn filled(consumer: &TcpStream) -> usize {
    let mut buffer = vec![0; 16 << 20];
    let (mut held, mut unchanged) = (0, 0);
    while held == 0 || unchanged < 100 {
        tokio::task::yield_now().await;
        let now = in_time(consumer.peek(&mut buffer)).await.expect("data");
        unchanged = if now == held { unchanged + 1 } else { 0 };
        held = now;
    }
    held
}

/// A consumer dies after some of the stream has arrived: the next one gets all the rest, from the start of a message.
async fn dies_with_messages_of(length: usize) {
    let (listener, address) = listen().await;
    let mut rig = Rig::tcp(address);
    let first = accept(&listener).await;
    rig.connected().await;
    let stream = long_stream();
    send_all(&rig, &stream, length);
    let arrived = filled(&first).await;
    reset(first);
    let (written, _) = rig.disconnected().await;
    assert!(written > arrived && written < stream.len(), "{arrived} arrived, {written} written");

    let second = accept(&listener).await;
    rig.connected().await;
    let (rest, _) = tokio::join!(
        async {
            // The end is the sink's: until then it waits for more.
            let mut second = second;
            let mut rest = Vec::new();
            while !rest.ends_with(&stream[stream.len() - 4..]) {
                let read = in_time(second.read_buf(&mut rest)).await.expect("more");
                assert!(read > 0, "the end is missing");
            }
            rest
        },
        rig.written(stream.len() - written)
    );
    let resumed = stream.len() - rest.len();
    assert!(rest == stream[resumed..], "the rest of the stream, as it was");
    assert_eq!(resumed % length, 0, "from the start of a message");
    assert!(resumed <= arrived, "resumed at {resumed}, but only {arrived} bytes had arrived");
    assert!(resumed > 0, "what had arrived is not sent again");
    rig.finish().await;
}

#[tokio::test]
async fn a_reset_resends_whole_messages() {
    dies_with_messages_of(10_000).await;
}

#[tokio::test]
async fn a_reset_resends_to_the_byte() {
    dies_with_messages_of(1).await;
}

#[tokio::test]
async fn what_arrived_is_not_sent_again_and_what_did_not_is() {
    let (listener, address) = listen().await;
    let mut rig = Rig::tcp(address);
    let mut first = accept(&listener).await;
    rig.connected().await;
    rig.send(&[b"one", b"two"]);
    assert_eq!(read_exactly(&mut first, 6).await, b"onetwo");
    reset(first);
    let (written, error) = rig.disconnected().await;
    assert_eq!(written, 6);
    assert!(matches!(error, SinkError::Lost { .. }), "{error}");
    rig.send(&[b"three"]);
    let second = accept(&listener).await;
    rig.connected().await;
    rig.finish().await;
    assert_eq!(read_to_end(second).await, b"three");
}

#[tokio::test]
async fn a_consumer_that_half_closes_gets_the_message_being_written_and_no_more() {
    const LENGTH: usize = 32 << 20;
    let (listener, address) = listen().await;
    let mut rig = Rig::tcp(address);
    let mut first = accept(&listener).await;
    rig.connected().await;
    let large = vec![b'x'; LENGTH];
    rig.send(&[&large, b"next"]);
    // The kernel's buffers cannot hold it, so the message is only begun when the consumer half-closes.
    read_exactly(&mut first, 1).await;
    first.shutdown().await.expect("half closed");
    let rest = read_to_end(first).await;
    assert!(rest.len() == LENGTH - 1, "the whole message and no more, not {} bytes", rest.len());
    let (written, error) = rig.disconnected().await;
    assert_eq!(written, LENGTH);
    assert!(matches!(error, SinkError::Closed { .. }), "{error}");
    let second = accept(&listener).await;
    rig.connected().await;
    assert_eq!(rig.written(4).await, 1);
    rig.finish().await;
    assert_eq!(read_to_end(second).await, b"next");
}

#[tokio::test]
async fn the_last_messages_survive_a_consumer_that_dies_before_they_arrive() {
    let (listener, address) = listen().await;
    let mut rig = Rig::tcp(address);
    let first = accept(&listener).await;
    rig.connected().await;
    // All of it fits into the sink's kernel, but not into that of the consumer, which reads nothing.
    let stream = long_stream().slice(..1 << 20);
    send_all(&rig, &stream, 1);
    rig.written(stream.len()).await;
    let arrived = filled(&first).await;
    assert!(arrived < stream.len(), "all {arrived} bytes arrived");
    let Rig { chunks, events, task } = rig;
    drop(chunks);
    tokio::task::yield_now().await;
    reset(first);
    let second = accept(&listener).await;
    let rest = read_to_end(second).await;
    in_time(task).await.expect("the sink's task is well");
    let resumed = stream.len() - rest.len();
    assert!(resumed <= arrived, "resumed at {resumed}, but only {arrived} bytes had arrived");
    assert!(rest == stream[resumed..], "the rest of the stream, to the last byte");
    drop(events);
}

#[tokio::test]
async fn a_sink_with_nothing_to_send_ends_without_a_consumer() {
    let (listener, address) = listen().await;
    drop(listener);
    Rig::tcp(address).finish().await;
}

#[tokio::test]
async fn a_file_is_emptied_and_written() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "what was there before").expect("writable");
    let output = file::create(file.path(), false).expect("writable");
    assert_eq!(std::fs::read(file.path()).expect("readable"), b"what was there before");
    output.empty().expect("writable");
    let mut rig = Rig::file(output);
    rig.send(&[b"one ", b"", b"two "]);
    assert_eq!(rig.written(8).await, 3);
    // Not only at the end: what is written can be read at once.
    assert_eq!(std::fs::read(file.path()).expect("readable"), b"one two ");
    rig.send(&[b"three"]);
    rig.finish().await;
    assert_eq!(std::fs::read(file.path()).expect("readable"), b"one two three");
}

#[tokio::test]
async fn a_file_that_is_appended_to_keeps_what_is_there() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "before ").expect("writable");
    let output = file::create(file.path(), true).expect("writable");
    assert_eq!(output.length().expect("a length"), 7);
    let rig = Rig::file(output);
    rig.send(&[b"one "]);
    rig.finish().await;
    assert_eq!(std::fs::read(file.path()).expect("readable"), b"before one ");
    let mut output = file::create(file.path(), true).expect("writable");
    output.go_on_behind(7).expect("cut back");
    let rig = Rig::file(output);
    rig.send(&[b"two"]);
    rig.finish().await;
    assert_eq!(std::fs::read(file.path()).expect("readable"), b"before two");
}

#[tokio::test]
async fn a_full_disk_is_reported() {
    let mut rig = Rig::file(file::create(Path::new("/dev/full"), false).expect("it exists"));
    rig.send(&[b"one"]);
    let event = rig.next().await;
    let SinkEvent::Failed { error, .. } = event else { panic!("{event:?}") };
    let SinkError::Write { path, source } = &error else { panic!("{error:?}") };
    assert_eq!((path.as_path(), source.kind()), (Path::new("/dev/full"), io::ErrorKind::StorageFull));
    in_time(rig.task).await.expect("the sink's task is well");
}

#[tokio::test]
async fn a_slow_reader_of_a_pipe_holds_up_only_the_sink() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    // Opened for both, so that opening does not block.
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&path);
    let mut reader = reader.expect("readable");
    let rig = Rig::file(file::create(&path, false).expect("writable"));
    let large = vec![b'x'; 1 << 20];
    rig.send(&[&large]);
    // Part of it fills the pipe; this thread, the only one tasks run on, goes on all the same and has the rest read.
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; 1 << 20];
        reader.read_exact(&mut bytes).map(|()| bytes)
    });
    rig.finish().await;
    assert!(read.await.expect("no panic").expect("readable") == large);
}

#[test]
fn what_cannot_be_written_is_named() {
    let error = file::create(Path::new("/proc/none/such"), false).expect_err("not writable");
    assert!(error.to_string().contains("/proc/none/such"), "{error}");
}
