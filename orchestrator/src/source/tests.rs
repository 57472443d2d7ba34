use std::io::Write as _;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Shared, Stream, StreamKind};
use super::framing::LengthPrefix;
use super::*;
use crate::position::{Mark, Position};
use crate::stream_protocol::{self, ToClient, kind};

impl Stream for DuplexStream {}

pub(super) const BUDGET: usize = 1 << 20;

/// A source under test, and the runtime's view of it.
pub(super) struct Rig {
    pub(super) events: mpsc::UnboundedReceiver<SourceEvent>,
    pub(super) budget: SourceBudget,
    pub(super) handle: SourceHandle,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

impl Rig {
    pub(super) fn context(
        framing: Framing,
        budget: usize,
    ) -> (SourceContext, mpsc::UnboundedReceiver<SourceEvent>, SourceHandle) {
        let (sender, events) = mpsc::unbounded_channel();
        let (handle, close_requests) = SourceHandle::new();
        let context = SourceContext {
            source: SourceId(3),
            framing,
            max_frame: 1 << 20,
            events: sender,
            budget: SourceBudget::new(budget),
            clients: ClientLimit::of(1000),
            streams: None,
            connections: ConnectionIds::default(),
            close_requests,
            suspended: CancellationToken::new(),
        };
        (context, events, handle)
    }

    async fn tcp(framing: Framing, budget: usize) -> (Self, std::net::SocketAddr) {
        let listener = tcp::bind("127.0.0.1", 0).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (context, events, handle) = Self::context(framing, budget);
        let budget = context.budget.clone();
        let stop = CancellationToken::new();
        let task = tokio::spawn(tcp::run(listener, context, stop.clone()));
        (Self { events, budget, handle, stop, task }, address)
    }

    /// A source of acknowledged streams.
    async fn acknowledged() -> (Self, std::net::SocketAddr, Streams) {
        let listener = tcp::bind("127.0.0.1", 0).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (mut context, events, handle) = Self::context(lines(), BUDGET);
        let streams = Streams::of_clients(
            std::iter::once(("known".into(), Mark { messages: 7, mark: Bytes::new() })),
            handle.clone(),
        );
        context.streams = Some(streams.clone());
        let (budget, stop) = (context.budget.clone(), CancellationToken::new());
        let task = tokio::spawn(tcp::run(listener, context, stop.clone()));
        (Self { events, budget, handle, stop, task }, address, streams)
    }

    pub(super) fn of(framing: Framing, start: impl FnOnce(SourceContext, CancellationToken) -> JoinHandle<()>) -> Self {
        let (context, events, handle) = Self::context(framing, BUDGET);
        let budget = context.budget.clone();
        let stop = CancellationToken::new();
        let task = start(context, stop.clone());
        Self { events, budget, handle, stop, task }
    }

    pub(super) fn file(input: file::FileInput) -> Self {
        Self::of(lines(), |context, stop| tokio::spawn(file::run(input, context, stop)))
    }

    pub(super) async fn next(&mut self) -> SourceEvent {
        let next = tokio::time::timeout(Duration::from_secs(20), self.events.recv());
        next.await.expect("an event in time").expect("the source is there")
    }

    pub(super) async fn opened(&mut self) -> (ConnectionId, String) {
        match self.next().await {
            SourceEvent::Opened { source: SourceId(3), connection, peer } => (connection, peer),
            other => panic!("not an opened connection: {other:?}"),
        }
    }

    /// Frames until the connection closes, their credits released, and why it closed.
    pub(super) async fn frames_until_closed(&mut self) -> (Vec<String>, CloseReason) {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                SourceEvent::Frames { block, .. } => {
                    frames.extend(texts(&block));
                    self.budget.give_back(block.weight());
                }
                SourceEvent::Closed { outcome, .. } => return (frames, outcome),
                other => panic!("neither frames nor closed: {other:?}"),
            }
        }
    }

    async fn ended(mut self) {
        assert!(matches!(self.next().await, SourceEvent::Ended { source: SourceId(3) }));
        self.task.await.expect("the source's task is well");
        assert!(self.events.recv().await.is_none(), "nothing comes after the end");
    }
}

pub(super) fn lines() -> Framing {
    Framing::Delimiter(Bytes::from_static(b"\n"))
}

pub(super) fn texts(block: &FrameBlock) -> impl Iterator<Item = String> {
    block
        .spans
        .iter()
        .map(|span| String::from_utf8_lossy(&block.data[span.start as usize..span.end as usize]).into_owned())
}

async fn connect(address: std::net::SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the source listens")
}

#[tokio::test]
async fn every_connection_is_opened_read_and_closed_once() {
    let (mut rig, address) = Rig::tcp(lines(), BUDGET).await;
    let mut first = connect(address).await;
    let (first_id, peer) = rig.opened().await;
    assert_eq!(peer, first.local_addr().expect("connected").to_string());
    first.write_all(b"one\ntwo\nunterminated").await.expect("written");
    drop(first);
    let (frames, outcome) = rig.frames_until_closed().await;
    assert_eq!(frames, ["one", "two", "unterminated"]);
    assert!(matches!(outcome, CloseReason::End), "{outcome:?}");

    let second = connect(address).await;
    let (second_id, _) = rig.opened().await;
    assert_ne!(first_id, second_id);
    drop(second);
    assert!(matches!(rig.frames_until_closed().await.1, CloseReason::End));

    rig.stop.cancel();
    rig.ended().await;
}

#[tokio::test]
async fn a_bad_frame_closes_its_connection_only() {
    let (mut rig, address) = Rig::tcp(Framing::Length(LengthPrefix::U32), BUDGET).await;
    let mut good = connect(address).await;
    rig.opened().await;
    let mut bad = connect(address).await;
    rig.opened().await;
    bad.write_all(b"\0\0\0\x02hi\xff\xff\xff\xff").await.expect("written");
    let (frames, outcome) = rig.frames_until_closed().await;
    assert_eq!(frames, ["hi"]);
    let CloseReason::Failed(error) = outcome else { panic!("closed as {outcome:?}") };
    let text = error.to_string();
    let peer = bad.local_addr().expect("connected").to_string();
    for part in [peer.as_str(), "4294967295", "1048576"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    good.write_all(b"\0\0\0\x02ok").await.expect("written");
    drop(good);
    assert_eq!(rig.frames_until_closed().await.0, ["ok"]);
}

#[tokio::test]
async fn a_sender_is_held_back_while_the_budget_is_exhausted() {
    let (mut rig, address) = Rig::tcp(lines(), 64 << 10).await;
    let client = connect(address).await;
    rig.opened().await;
    let line = [b"x".repeat(999), b"\n".to_vec()].concat();
    let lines = line.repeat(64);
    // Fill the kernel's buffers, too, until nothing moves: the source has taken what its budget allows.
    let mut written = 0;
    let mut held = Vec::new();
    let mut weight = 0;
    loop {
        match client.try_write(&lines[written % lines.len()..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if rig.budget.available() < 17 << 10 && rig.events.is_empty() {
                    break;
                }
                while let Ok(event) = rig.events.try_recv() {
                    let SourceEvent::Frames { block, .. } = event else { panic!("{event:?}") };
                    weight += block.weight();
                    assert!(weight <= 64 << 10, "{weight} bytes were delivered");
                    held.push(block);
                }
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("cannot write: {error}"),
        }
    }
    assert!(written > 64 << 10, "the kernel's buffers hold the rest");
    let delivered: usize = held.iter().map(|block| block.data.len()).sum();
    // Giving credits back lets everything through, exactly.
    rig.budget.give_back(weight);
    let rest = lines.len() - written % lines.len();
    let finish = async {
        let mut client = client;
        client.write_all(&lines[lines.len() - rest..]).await.expect("written");
        written + rest
    };
    let (total, (frames, outcome)) = tokio::join!(finish, rig.frames_until_closed());
    assert!(matches!(outcome, CloseReason::End), "{outcome:?}");
    assert_eq!(frames.len(), (total - delivered) / line.len());
    assert_eq!(rig.budget.available(), 64 << 10, "every credit is back");
}

/// Connections of one source over pipes that hold next to nothing, so that what has been written has been read.
fn piped(clients: u64) -> (Vec<DuplexStream>, mpsc::UnboundedReceiver<SourceEvent>, SourceBudget) {
    let (context, events, _) = Rig::context(Framing::Length(LengthPrefix::U32), BUDGET);
    let returned = context.budget.clone();
    let (shared, ..) = Shared::of(context, CancellationToken::new(), StreamKind::Network);
    let connect = |number| {
        let (client, server) = tokio::io::duplex(64);
        let (refuse, refusal) = oneshot::channel();
        let connection = Connection::new(shared.clone(), (ConnectionId(number), number.to_string()), None, refusal);
        tokio::spawn(async move {
            connection.serve(server).await;
            drop(refuse);
        });
        client
    };
    ((0..clients).map(connect).collect(), events, returned)
}

async fn next_frames(events: &mut mpsc::UnboundedReceiver<SourceEvent>) -> FrameBlock {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(20), events.recv()).await.expect("frames in time");
        match event.expect("the source is there") {
            SourceEvent::Frames { block, .. } => return block,
            SourceEvent::Opened { .. } | SourceEvent::Closed { outcome: CloseReason::End, .. } => {}
            other => panic!("no frames: {other:?}"),
        }
    }
}

#[tokio::test]
async fn pieces_of_small_frames_take_no_more_than_the_budget_and_hold_up_no_smaller_frames() {
    const CLIENTS: u64 = 100;
    const FRAME: usize = 100 << 10;
    let (mut clients, mut events, budget) = piped(CLIENTS + 1);
    let mut honest = clients.pop().expect("one more");
    let read = Arc::new(AtomicUsize::new(0));
    let complete = CancellationToken::new();
    for mut client in clients {
        let (read, complete) = (read.clone(), complete.clone());
        tokio::spawn(async move {
            let frame = [&(FRAME as u32).to_be_bytes()[..], &vec![b'x'; FRAME]].concat();
            for piece in frame[..FRAME].chunks(64) {
                client.write_all(piece).await.expect("written");
                read.fetch_add(piece.len(), Ordering::Relaxed);
            }
            complete.cancelled().await;
            client.write_all(&frame[FRAME..]).await.expect("written");
        });
    }
    for round in 0..2000 {
        let frame = format!("\0\0\0\x04{round:04}");
        honest.write_all(frame.as_bytes()).await.expect("written");
        let block = next_frames(&mut events).await;
        assert_eq!(texts(&block).collect::<Vec<_>>(), [format!("{round:04}")]);
        budget.give_back(block.weight());
    }
    let held = read.load(Ordering::Relaxed);
    assert!((BUDGET / 4..BUDGET).contains(&held), "{held} bytes are held");
    // One at a time reads its frame to the end, so all frames come.
    complete.cancel();
    for _ in 0..CLIENTS {
        let block = next_frames(&mut events).await;
        assert_eq!(block.spans.len(), 1);
        budget.give_back(block.weight());
    }
}

#[tokio::test]
async fn a_stop_delivers_what_arrived_whole_and_reports_the_rest() {
    let (mut rig, address) = Rig::tcp(Framing::Length(LengthPrefix::U32), BUDGET).await;
    let idle = connect(address).await;
    rig.opened().await;
    let mut cut_short = connect(address).await;
    rig.opened().await;
    cut_short.write_all(b"\0\0\0\x03one\0\0\0\x03tw").await.expect("written");
    let SourceEvent::Frames { block, .. } = rig.next().await else { panic!("no frames") };
    assert_eq!(texts(&block).collect::<Vec<_>>(), ["one"]);
    rig.stop.cancel();
    let mut outcomes = [rig.frames_until_closed().await.1, rig.frames_until_closed().await.1];
    outcomes.sort_by_key(|outcome| matches!(outcome, CloseReason::Failed(_)));
    assert!(matches!(outcomes[0], CloseReason::Stopped), "{outcomes:?}");
    let CloseReason::Failed(ConnectionError::Framing { error, .. }) = &outcomes[1] else { panic!("{outcomes:?}") };
    assert_eq!(*error, FramingError::Truncated { have: 6, need: 7 });
    rig.ended().await;
    let refused = TcpStream::connect(address).await;
    assert!(refused.is_err(), "a stopped source does not listen");
    drop(idle);
}

#[tokio::test]
async fn a_stop_waits_for_the_budget_rather_than_drop_frames() {
    let (mut rig, address) = Rig::tcp(lines(), 20).await;
    let mut client = connect(address).await;
    rig.opened().await;
    client.write_all(b"a\nb\nc\n").await.expect("written");
    let SourceEvent::Frames { block, .. } = rig.next().await else { panic!("no frames") };
    assert_eq!(texts(&block).collect::<Vec<_>>(), ["a"]);
    rig.stop.cancel();
    rig.budget.give_back(block.weight());
    let (frames, outcome) = rig.frames_until_closed().await;
    assert_eq!(frames, ["b", "c"]);
    assert!(matches!(outcome, CloseReason::Stopped), "{outcome:?}");
    rig.ended().await;
}

#[tokio::test]
async fn the_runtime_can_close_a_connection_also_while_it_waits_for_credits() {
    let (mut rig, address) = Rig::tcp(Framing::Uncut { header: 4 }, 5).await;
    let mut client = connect(address).await;
    let (connection, _) = rig.opened().await;
    client.write_all(b"12345").await.expect("written");
    let event = rig.next().await;
    let SourceEvent::Chunk { bytes, .. } = event else { panic!("{event:?}") };
    assert_eq!(bytes, "12345");
    client.write_all(b"6").await.expect("written");
    rig.handle.close(ConnectionId(connection.0 + 1), "somebody else".to_owned());
    rig.handle.close(connection, "ValueError: bad header".to_owned());
    let event = rig.next().await;
    let SourceEvent::Closed { outcome: CloseReason::Failed(error), .. } = event else { panic!("{event:?}") };
    assert!(error.to_string().ends_with("ValueError: bad header"), "{error}");
    rig.stop.cancel();
    rig.ended().await;
}

#[tokio::test]
async fn a_port_in_use_is_told_from_other_failures() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    assert!(matches!(tcp::bind("127.0.0.1", port).await, Err(SourceError::Busy { .. })));
    assert!(matches!(tcp::bind("192.0.2.1", 0).await, Err(SourceError::Bind { .. })));
    assert!(matches!(tcp::bind("no host", 0).await, Err(SourceError::Resolve { .. })));
}

#[tokio::test]
async fn a_file_is_read_to_its_end() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let expected: Vec<String> = (0..100_000).map(|number| format!("line {number}")).collect();
    write!(file, "{}", expected.join("\n")).expect("written");
    let mut rig = Rig::file(file::open(file.path(), None).expect("readable"));
    let (_, peer) = rig.opened().await;
    assert_eq!(peer, file.path().display().to_string());
    let (frames, outcome) = rig.frames_until_closed().await;
    assert_eq!(frames, expected);
    assert!(matches!(outcome, CloseReason::End), "{outcome:?}");
    rig.ended().await;
}

#[tokio::test]
async fn a_file_is_not_broken_where_reading_it_stops() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    // More than the budget, and no read ends with a line.
    let line = [b'x'; 99];
    for _ in 0..3 * BUDGET / 100 {
        file.write_all(&line).and_then(|()| file.write_all(b"\n")).expect("written");
    }
    let mut rig = Rig::file(file::open(file.path(), None).expect("readable"));
    rig.opened().await;
    let SourceEvent::Frames { block, .. } = rig.next().await else { panic!("no frames") };
    rig.stop.cancel();
    rig.budget.give_back(block.weight());
    let (_, outcome) = rig.frames_until_closed().await;
    assert!(matches!(outcome, CloseReason::Stopped), "{outcome:?}");
    rig.ended().await;
}

#[tokio::test]
async fn a_pipe_that_never_ends_does_not_hold_up_a_stop() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    // Opened for both, the pipe never ends and opening it does not block.
    let mut writer = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("open");
    let mut rig = Rig::file(file::open(&path, None).expect("readable"));
    rig.opened().await;
    writer.write_all(b"one\n").expect("written");
    let SourceEvent::Frames { block, .. } = rig.next().await else { panic!("no frames") };
    assert_eq!(texts(&block).collect::<Vec<_>>(), ["one"]);
    rig.stop.cancel();
    assert!(matches!(rig.frames_until_closed().await.1, CloseReason::Stopped));
    rig.ended().await;
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for path in [folder.path().to_owned(), folder.path().join("missing")] {
        let error = file::open(&path, None).expect_err("not a readable file");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

/// A client of a stream that has been welcomed, and how many messages were received and are acknowledged.
async fn welcomed(address: std::net::SocketAddr, stream: &str) -> (TcpStream, u64, u64) {
    let mut client = connect(address).await;
    client.write_all(&stream_protocol::hello(stream)).await.expect("written");
    match said(&mut client).await {
        ToClient::Welcome { received, acknowledged, .. } => (client, received, acknowledged),
        other => panic!("no welcome: {other:?}"),
    }
}

pub(super) async fn said(client: &mut (impl AsyncRead + Unpin)) -> ToClient {
    let mut header = [0; stream_protocol::HEADER];
    client.read_exact(&mut header).await.expect("a frame");
    let mut frame = header.to_vec();
    frame.resize(header.len() + u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize, 0);
    client.read_exact(&mut frame[header.len()..]).await.expect("a whole frame");
    ToClient::read(&mut frame.as_slice()).expect("of a known kind").expect("there")
}

fn messages(texts: &[&str]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for text in texts {
        stream_protocol::append(kind::MESSAGE, text.as_bytes(), &mut encoded);
    }
    encoded
}

#[tokio::test]
async fn a_client_is_told_where_to_go_on_and_what_is_durable() {
    let (mut rig, address, streams) = Rig::acknowledged().await;
    let (mut client, received, acknowledged) = welcomed(address, "known").await;
    assert_eq!((received, acknowledged), (7, 7));
    rig.opened().await;
    client.write_all(&messages(&["eight", "", "ten"])).await.expect("written");
    let block = next_frames(&mut rig.events).await;
    assert_eq!(texts(&block).collect::<Vec<_>>(), ["eight", "", "ten"]);
    assert_eq!(block.position_after(1), Position::in_stream("known".into(), 9));
    streams.acknowledge(&"known".into(), 9);
    assert_eq!(said(&mut client).await, ToClient::Acknowledged(9));

    // Half closed: what is left is acknowledged first.
    client.shutdown().await.expect("still connected");
    assert!(matches!(rig.frames_until_closed().await.1, CloseReason::End));
    streams.acknowledge(&"known".into(), 10);
    assert_eq!(said(&mut client).await, ToClient::Acknowledged(10));
    assert_eq!(client.read(&mut [0]).await.expect("closed properly"), 0);
}

#[tokio::test]
async fn a_stream_goes_on_with_its_latest_connection_alone() {
    let (mut rig, address, _) = Rig::acknowledged().await;
    let (mut first, ..) = welcomed(address, "new").await;
    rig.opened().await;
    first.write_all(&messages(&["one"])).await.expect("written");
    next_frames(&mut rig.events).await;
    let (mut second, received, acknowledged) = welcomed(address, "new").await;
    assert_eq!((received, acknowledged), (1, 0));
    // Whichever of the two is heard first.
    let _ = first.write_all(&messages(&["lost"])).await;
    second.write_all(&messages(&["two"])).await.expect("written");
    second.shutdown().await.expect("still connected");
    let mut frames = Vec::new();
    let mut closed = 0;
    while closed < 2 {
        match rig.next().await {
            SourceEvent::Frames { block, .. } => frames.extend(texts(&block)),
            SourceEvent::Closed { .. } => closed += 1,
            _ => {}
        }
    }
    assert_eq!(frames, ["two"]);
    assert!(matches!(said(&mut first).await, ToClient::Error(reason) if reason.contains("another connection")));
}

#[tokio::test]
async fn who_names_no_stream_is_refused() {
    let (_rig, address, _) = Rig::acknowledged().await;
    for wrong in [&b"\0\0\0\x03tea"[..], b"\0\0\0\x01\x01\x01", b"\0\0\0\x02\x01\x02a", b"\0\0\0\0\x01"] {
        let mut client = connect(address).await;
        client.write_all(wrong).await.expect("written");
        assert!(matches!(said(&mut client).await, ToClient::Error(_)), "{wrong:?}");
    }
}
