//! Throughput: sends rounds of a corpus as fast as they are accepted. A round begins after all output of the last has
//! arrived.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use crate::consumer::{Consumer, Counter};
use crate::corpus::{append_frame, messages};
use crate::sender::connect;
use crate::{now, tell, wait_for_harness};

/// No round takes this long.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Messages, one a line
    input: PathBuf,
    /// The newline is part of the message
    #[arg(long)]
    keep_newline: bool,
    /// Times the input is sent in a round
    #[arg(long, default_value_t = 1)]
    repeat: u64,
    /// Messages that come out for the input sent once
    #[arg(long)]
    outputs: u64,
    /// Rounds; the harness decides which of them count
    #[arg(long)]
    rounds: u64,
}

pub(crate) fn run(to: SocketAddr, consumer: Consumer, args: &Args) -> io::Result<()> {
    let mut frames = Vec::new();
    let corpus = messages(&args.input, args.keep_newline)?;
    for message in &corpus {
        append_frame(message, &mut frames);
    }
    let outputs = args.outputs * args.repeat;
    let (reached, arrivals) = mpsc::channel();
    consumer.start(Counter::sharing(outputs, reached));
    let mut stream = connect(to)?;
    for _ in 0..args.rounds {
        wait_for_harness()?;
        let began = now();
        send(&mut stream, &frames, args.repeat)?;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "not everything has come out");
        let ended = arrivals.recv_timeout(PATIENCE).map_err(late)?;
        let messages = corpus.len() as u64 * args.repeat;
        tell(&serde_json::json!({
            "event": "round", "began": began, "ended": ended, "messages": messages, "outputs": outputs,
        }))?;
    }
    // Keeps the connections open until the harness has read the last counters.
    let _ = wait_for_harness();
    Ok(())
}

fn send(stream: &mut TcpStream, frames: &[u8], repeat: u64) -> io::Result<()> {
    for _ in 0..repeat {
        stream.write_all(frames)?;
    }
    Ok(())
}
