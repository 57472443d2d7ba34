//! `wallaroo-orch send`.

mod connection;
mod lines;
mod marking;
mod pace;
mod stream;

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(super) use self::connection::Connection;
use self::lines::{Batch, Lines};
pub(super) use self::marking::Marking;
use self::pace::Pace;
use self::stream::StreamConnection;
use crate::cli::terminal;
use crate::stream_protocol::MAX_NAME;

/// Bytes read from the input at a time.
const BUFFER: usize = 1 << 20;

/// Arguments of `wallaroo-orch send`.
#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// Where to send
    #[arg(long, value_name = "HOST:PORT")]
    to: Address,
    /// How messages are delimited on the wire
    #[arg(long, value_enum, default_value_t = WireFraming::U32)]
    framing: WireFraming,
    /// Send as this acknowledged stream: wait until all is durable, and go on behind what an earlier `send` of the stream has sent
    #[arg(long, value_name = "NAME", value_parser = stream_name, conflicts_with = "framing")]
    stream: Option<String>,
    /// Send at most this many messages a second
    #[arg(long, value_name = "N[/s]", value_parser = pace::parse_rate)]
    rate: Option<f64>,
    /// Send the file this many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), requires = "file")]
    repeat: u64,
    /// Seconds to keep trying to connect
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    connect_timeout: f64,
    /// File with one message per line [default: standard input]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// How messages are delimited on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum WireFraming {
    /// Each message follows its length, four bytes in big-endian order
    U32,
    /// Each message ends with a newline
    Newline,
}

/// `HOST:PORT`, with an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let Some((host, port)) = parts.filter(|(host, _)| !host.is_empty()) else {
            return Err("an address is HOST:PORT, for example 127.0.0.1:7010".to_owned());
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(formatter, "[{host}]:{port}") } else { write!(formatter, "{host}:{port}") }
    }
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds, at most 86400".to_owned()),
    }
}

fn stream_name(text: &str) -> Result<String, String> {
    match text.len() {
        1..=MAX_NAME => Ok(text.to_owned()),
        _ => Err(format!("a name has 1 to {MAX_NAME} bytes")),
    }
}

/// Why sending failed.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Could not connect in time.
    #[error("cannot connect to {to} within {within:?}")]
    Connect {
        /// Where.
        to: String,
        /// How long connecting was tried.
        within: Duration,
        /// Why the last attempt failed.
        source: io::Error,
    },
    /// The input cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The receiver closed the connection.
    #[error("{to} closed the connection; {messages} messages were sent, of which it may have read fewer")]
    Closed {
        /// Where.
        to: String,
        /// Messages handed to the operating system.
        messages: u64,
        /// What the operating system says.
        source: io::Error,
    },
    /// The source refuses the stream.
    #[error("{to} closed stream {name:?}: {reason}")]
    Refused {
        /// Where.
        to: String,
        /// The stream.
        name: String,
        /// What the source says.
        reason: String,
    },
    /// The receiver does not speak the protocol of acknowledged streams.
    #[error(
        "{to} takes no acknowledged streams; its application has to ask for them, with wallaroo.tcp(..., acknowledged=True)"
    )]
    NoStreams {
        /// Where.
        to: String,
    },
    /// The source knows less of the stream than it had said before.
    #[error(
        "{to} has {now} messages of stream {name:?}, and had acknowledged {before}: it has lost its state, and those messages are not sent again"
    )]
    Forgotten {
        /// Where.
        to: String,
        /// The stream.
        name: String,
        /// Messages it has.
        now: u64,
        /// Messages it had.
        before: u64,
    },
    /// The input has ended before what an earlier run has sent of the stream.
    #[error(
        "the input has {lines} lines, and {to} has {acknowledged} messages of stream {name:?} already: is it another file?"
    )]
    Short {
        /// Where.
        to: String,
        /// The stream.
        name: String,
        /// Lines of the input.
        lines: u64,
        /// Messages the receiver has.
        acknowledged: u64,
    },
    /// The thread that sends did not finish.
    #[error("sending was interrupted")]
    Aborted(#[source] tokio::task::JoinError),
}

/// Sends the file or standard input.
pub(super) async fn run(args: SendArgs) -> Result<(), SendError> {
    // Blocking calls are the fastest way from a file to a socket, and the command does nothing else at the same time.
    tokio::task::spawn_blocking(move || send(&args)).await.map_err(SendError::Aborted)?
}

fn send(args: &SendArgs) -> Result<(), SendError> {
    let path = args.file.clone().unwrap_or_else(|| "standard input".into());
    let unreadable = |source| SendError::Read { path: path.clone(), source };
    // Opened before connecting: otherwise a wrong file name would look like an empty connection to the receiver.
    let mut input = open(args).map_err(unreadable)?;
    let within = Duration::from_secs_f64(args.connect_timeout);
    let mut receiver = match &args.stream {
        Some(name) => Receiver::Stream(StreamConnection::open(&args.to, name, within)?),
        None => Receiver::Plain(Connection::open(&args.to, within)?),
    };
    let progress = progress(input.length.map(|length| length * args.repeat));
    let mut lines = Lines::new(receiver.framing(args.framing));
    let mut pace = args.rate.map(Pace::new);
    let began = Instant::now();
    let (mut messages, mut bytes) = (0, 0);
    for round in 1..=args.repeat {
        loop {
            let limit = pace.as_ref().map_or(u64::MAX, Pace::wait);
            let Some(batch) = lines.next(&mut input.reader, limit).map_err(unreadable)? else { break };
            receiver.write(&batch, messages)?;
            messages += batch.messages;
            bytes += batch.read;
            if let Some(pace) = &mut pace {
                pace.sent(batch.messages);
            }
            progress.set_position(bytes);
            progress.set_message(format!("{messages} messages"));
        }
        if round < args.repeat {
            input = open(args).map_err(unreadable)?;
        }
    }
    let there = receiver.finish(messages)?;
    progress.finish_and_clear();
    messages -= there;
    if there > 0 {
        terminal::note(format_args!("{there} messages had been sent before"));
    }
    let elapsed = began.elapsed().as_secs_f64();
    terminal::note(format_args!(
        "sent {messages} messages in {elapsed:.3} s ({:.0} messages/s)",
        messages as f64 / elapsed.max(1e-9)
    ));
    Ok(())
}

/// Who is sent to.
enum Receiver {
    Plain(Connection),
    Stream(StreamConnection),
}

impl Receiver {
    fn framing(&self, asked: WireFraming) -> Marking {
        match self {
            Self::Plain(_) => Marking::Framed(asked),
            Self::Stream(_) => Marking::Stream,
        }
    }

    fn write(&mut self, batch: &Batch<'_>, messages: u64) -> Result<(), SendError> {
        match self {
            Self::Plain(connection) => connection.write(batch.encoded, messages),
            Self::Stream(connection) => connection.write(batch.encoded, batch.messages),
        }
    }

    /// Waits for the receiver to have everything. Returns how many of the messages it had before.
    fn finish(self, messages: u64) -> Result<u64, SendError> {
        match self {
            Self::Plain(connection) => connection.finish(messages).map(|()| 0),
            Self::Stream(connection) => connection.finish(),
        }
    }
}

/// The input to send.
struct Input {
    reader: BufReader<Box<dyn Read>>,
    /// Its length in bytes, where that is known.
    length: Option<u64>,
}

fn open(args: &SendArgs) -> io::Result<Input> {
    let (reader, length): (Box<dyn Read>, _) = match &args.file {
        Some(path) => {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        }
        None => (Box::new(io::stdin()), None),
    };
    Ok(Input { reader: BufReader::with_capacity(BUFFER, reader), length })
}

fn progress(length: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{bar:40} {bytes}/{total_bytes} {msg} eta {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {msg} {elapsed}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    // The templates are constants, so this does not fail; the default style is a harmless fallback.
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests;
