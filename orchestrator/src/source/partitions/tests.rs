use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream as StdStream};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::super::tests::{BUDGET, Rig, lines, said, texts};
use super::super::{CloseReason, ConnectionError, SourceEvent, Streams};
use super::*;
use crate::frame::FrameBlock;
use crate::local_socket::listen;
use crate::position::{Mark, Position};
use crate::stream_protocol::{self, ToClient, kind};

/// A source that a connector reads, whose partition `known` is behind seven messages.
struct Connected {
    rig: Rig,
    socket: String,
    streams: Streams,
    complete: CancellationToken,
}

fn connected() -> Connected {
    let (mut context, events, handle) = Rig::context(lines(), BUDGET);
    let mark = Mark { messages: 7, mark: Bytes::from_static(b"at seven") };
    let streams = Streams::of_connector(std::iter::once(("known".into(), mark)), handle.clone());
    context.streams = Some(streams.clone());
    let (budget, stop, complete) = (context.budget.clone(), CancellationToken::new(), CancellationToken::new());
    let (listener, socket) = listen().expect("a socket");
    let task = tokio::spawn(run(listener, "source \"orders\"".to_owned(), context, stop.clone(), complete.clone()));
    Connected { rig: Rig { events, budget, handle, stop, task }, socket, streams, complete }
}

impl Connected {
    /// A partition's connection that has been welcomed.
    async fn partition(&self, name: &str) -> (UnixStream, u64, u64, Bytes) {
        let address = SocketAddr::from_abstract_name(&self.socket).expect("a name");
        let client = StdStream::connect_addr(&address).expect("somebody listens");
        client.set_nonblocking(true).expect("an open socket");
        let mut client = UnixStream::from_std(client).expect("a runtime");
        client.write_all(&stream_protocol::hello(name)).await.expect("written");
        match said(&mut client).await {
            ToClient::Welcome { received, acknowledged, mark, .. } => (client, received, acknowledged, mark),
            other => panic!("no welcome: {other:?}"),
        }
    }

    async fn block(&mut self) -> FrameBlock {
        match self.rig.next().await {
            SourceEvent::Frames { block, .. } => block,
            other => panic!("no frames: {other:?}"),
        }
    }
}

fn marked(messages: &[(&str, &str)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (text, mark) in messages {
        let body = [&(mark.len() as u32).to_be_bytes()[..], text.as_bytes(), mark.as_bytes()].concat();
        stream_protocol::append(kind::MARKED, &body, &mut encoded);
    }
    encoded
}

#[tokio::test]
async fn a_partition_goes_on_behind_its_mark() {
    let mut source = connected();
    let (mut first, received, acknowledged, mark) = source.partition("known").await;
    assert_eq!((received, acknowledged, &mark[..]), (7, 7, &b"at seven"[..]));
    assert_eq!(source.rig.opened().await.1, "source \"orders\"");
    first.write_all(&marked(&[("eight", "at eight"), ("", "n"), ("ten", "")])).await.expect("written");
    let block = source.block().await;
    assert_eq!(texts(&block).collect::<Vec<_>>(), ["eight", "", "ten"]);
    let behind = |messages, mark| Position::in_partition("known".into(), messages, Bytes::from_static(mark));
    assert_eq!(block.position_after(0), behind(8, b"at eight"));
    assert_eq!(block.position_after(1), behind(9, b"n"));
    assert_eq!(block.position_after(2), behind(10, b""));
    source.streams.acknowledge(&"known".into(), 9);
    assert_eq!(said(&mut first).await, ToClient::Acknowledged(9));
    first.write_all(&marked(&[("eleven", "at eleven")])).await.expect("written");
    source.block().await;

    // Its process dies in the middle of a message.
    first.write_all(&marked(&[("twelve", "at twelve")])[..9]).await.expect("written");
    drop(first);
    assert!(matches!(source.rig.next().await, SourceEvent::Closed { outcome: CloseReason::End, .. }));
    let (_second, received, acknowledged, mark) = source.partition("known").await;
    assert_eq!((received, acknowledged, &mark[..]), (11, 9, &b"at eleven"[..]));
}

#[tokio::test]
async fn the_source_ends_with_its_partitions() {
    let mut source = connected();
    let (mut client, received, _, mark) = source.partition("new").await;
    assert_eq!((received, &mark[..]), (0, &b""[..]));
    source.rig.opened().await;
    client.write_all(&marked(&[("one", "1")])).await.expect("written");
    client.shutdown().await.expect("an open socket");
    source.block().await;
    assert!(matches!(source.rig.next().await, SourceEvent::Closed { outcome: CloseReason::End, .. }));
    source.streams.acknowledge(&"new".into(), 1);
    assert_eq!(said(&mut client).await, ToClient::Acknowledged(1));
    assert_eq!(client.read(&mut [0]).await.expect("closed properly"), 0);
    source.complete.cancel();
    assert!(matches!(source.rig.next().await, SourceEvent::Ended { .. }));
}

#[tokio::test]
async fn a_message_without_its_mark_is_refused() {
    let mut unmarked = Vec::new();
    stream_protocol::append(kind::MESSAGE, b"tea", &mut unmarked);
    let with_mark_of = |length: u32| {
        let mut frame = Vec::new();
        stream_protocol::append(kind::MARKED, &[&length.to_be_bytes()[..], b"tea"].concat(), &mut frame);
        frame
    };
    let mut short = Vec::new();
    stream_protocol::append(kind::MARKED, b"\0\0\0", &mut short);
    for wrong in [unmarked, short, with_mark_of(4), with_mark_of(u32::MAX)] {
        let mut source = connected();
        let (mut client, ..) = source.partition("new").await;
        source.rig.opened().await;
        client.write_all(&wrong).await.expect("written");
        match source.rig.next().await {
            SourceEvent::Closed { outcome: CloseReason::Failed(ConnectionError::NoMessage { .. }), .. } => {}
            other => panic!("{wrong:?}: {other:?}"),
        }
        assert!(matches!(said(&mut client).await, ToClient::Error(_)));
    }
}
