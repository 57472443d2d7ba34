//! `wallaroo-orch receive`.

use std::io::{self, Write};

use bytes::Bytes;
use clap::Args;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::send::{Address, WireFraming};
use crate::cli::terminal;
use crate::descriptors::ClientLimit;
use crate::frame::FrameBlock;
use crate::ids::SourceId;
use crate::source::framing::{Cutter, LengthPrefix};
use crate::source::{
    CloseReason, ConnectionIds, Framing, SourceBudget, SourceContext, SourceError, SourceEvent, SourceHandle, tcp,
};

/// Bytes received and not yet printed, after which senders are held back.
const QUEUE: usize = 16 << 20;

/// Arguments of `wallaroo-orch receive`.
#[derive(Debug, Args)]
pub(super) struct ReceiveArgs {
    /// Where to listen; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT")]
    listen: Address,
    /// How messages are delimited on the wire
    #[arg(long, value_enum, default_value_t = WireFraming::Newline)]
    framing: WireFraming,
    /// Exit after this many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Exit when the first connection closes
    #[arg(long)]
    until_close: bool,
}

/// Why receiving failed.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Cannot listen on the address.
    #[error(transparent)]
    Listen(#[from] SourceError),
    /// Messages cannot be printed.
    #[error("cannot write to standard output")]
    Print(#[source] io::Error),
}

impl ReceiveError {
    /// Whether another process listens on the address.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Listen(SourceError::Busy { .. }))
    }
}

/// Prints each message that arrives as a line on standard output, and the address it listens on to standard error. Several
/// connections may be open at once. Ends when nobody reads standard output any more.
pub(super) async fn run(args: ReceiveArgs) -> Result<(), ReceiveError> {
    let listener = tcp::bind(&args.listen.host, args.listen.port).await?;
    match listener.local_addr() {
        Ok(address) => terminal::note(format_args!("listening on {address}")),
        Err(_) => terminal::note(format_args!("listening on {}", args.listen)),
    }
    match receive(listener, &args, io::stdout().lock()).await {
        Err(ReceiveError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

async fn receive(
    listener: tokio::net::TcpListener,
    args: &ReceiveArgs,
    mut output: impl Write,
) -> Result<(), ReceiveError> {
    let (sender, mut events) = mpsc::unbounded_channel();
    let (_handle, close_requests) = SourceHandle::new();
    let budget = SourceBudget::new(QUEUE);
    let context = SourceContext {
        source: SourceId(0),
        framing: match args.framing {
            WireFraming::U32 => Framing::Length(LengthPrefix::U32),
            WireFraming::Newline => Framing::Delimiter(Bytes::from_static(b"\n")),
        },
        max_frame: Cutter::MAX_FRAME_LIMIT,
        events: sender,
        budget: budget.clone(),
        clients: ClientLimit::of(1000),
        streams: None,
        connections: ConnectionIds::default(),
        close_requests,
        suspended: CancellationToken::new(),
    };
    let stop = CancellationToken::new();
    let _stop_at_end = stop.clone().drop_guard();
    tokio::spawn(tcp::run(listener, context, stop));
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut lines = Vec::new();
    while left > 0 {
        match events.recv().await {
            Some(SourceEvent::Frames { block, .. }) => {
                let weight = block.weight();
                left -= append_lines(&block, left, &mut lines);
                output.write_all(&lines).and_then(|()| output.flush()).map_err(ReceiveError::Print)?;
                lines.clear();
                budget.give_back(weight);
            }
            Some(SourceEvent::Closed { outcome, .. }) => {
                if let CloseReason::Failed(error) = outcome {
                    terminal::note(format_args!("{error}"));
                }
                if args.until_close {
                    break;
                }
            }
            Some(SourceEvent::Opened { .. } | SourceEvent::Chunk { .. } | SourceEvent::Down { .. }) => {}
            Some(SourceEvent::Ended { .. }) | None => break,
        }
    }
    Ok(())
}

/// Appends the first frames of a block, at most `limit`, as lines. Returns their number.
fn append_lines(block: &FrameBlock, limit: u64, lines: &mut Vec<u8>) -> u64 {
    let count = (block.spans.len() as u64).min(limit);
    for span in &block.spans[..count as usize] {
        lines.extend_from_slice(&block.data[span.start as usize..span.end as usize]);
        lines.push(b'\n');
    }
    count
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn args(framing: WireFraming, count: Option<u64>, until_close: bool) -> ReceiveArgs {
        let listen = Address { host: "127.0.0.1".to_owned(), port: 0 };
        ReceiveArgs { listen, framing, count, until_close }
    }

    /// What is printed when each of `streams` is sent on a connection of its own, one after another.
    async fn printed(args: ReceiveArgs, streams: &[&[u8]]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut output = Vec::new();
        let send = async {
            for stream in streams {
                let mut client = TcpStream::connect(address).await.expect("it listens");
                client.write_all(stream).await.expect("written");
            }
        };
        let (received, ()) = tokio::join!(receive(listener, &args, &mut output), send);
        received.expect("received");
        String::from_utf8(output).expect("text")
    }

    #[tokio::test]
    async fn ends_after_so_many_messages_of_any_number_of_connections() {
        let args = args(WireFraming::Newline, Some(3), false);
        let text = printed(args, &[b"one\nunterminated", b"two\nthree\nfour\n"]).await;
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        lines.sort_unstable();
        assert!(["one", "two", "unterminated"].iter().filter(|line| lines.contains(line)).count() >= 2, "{text}");
    }

    #[tokio::test]
    async fn ends_with_the_first_connection() {
        let args = args(WireFraming::U32, None, true);
        assert_eq!(printed(args, &[b"\0\0\0\x03one\0\0\0\0\0\0\0\x03two"]).await, "one\n\ntwo\n");
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut args = args(WireFraming::Newline, None, false);
        args.listen.port = listener.local_addr().expect("bound").port();
        let error = run(args).await.expect_err("the port is in use");
        assert!(error.is_busy(), "{error}");
    }
}
