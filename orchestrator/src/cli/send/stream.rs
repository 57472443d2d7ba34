//! The connection `send --stream` writes to: it keeps what is not acknowledged, and sends it again on another connection.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::{Address, SendError};
use crate::cli::terminal;
use crate::stream_protocol::{HEADER, ToClient, hello};

/// Pause between attempts to connect.
const PAUSE: Duration = Duration::from_millis(50);

/// A stream that goes on after its connection is lost.
#[derive(Debug)]
pub(super) struct StreamConnection {
    to: Address,
    name: String,
    within: Duration,
    connection: Attempt,
    /// Messages of the stream that were acknowledged before.
    there: u64,
    /// Messages of the input so far.
    passed: u64,
    /// Messages of the stream that are acknowledged.
    acknowledged: u64,
    /// Messages that are not, encoded.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

/// Messages that may have to be sent again.
#[derive(Debug)]
struct Kept {
    /// Messages of the stream up to the last of these.
    upto: u64,
    messages: u64,
    encoded: Vec<u8>,
}

impl Kept {
    /// Where the messages begin that come after the first `messages` of the stream.
    fn after(&self, messages: u64) -> &[u8] {
        let mut rest = self.encoded.as_slice();
        let first = self.upto - self.messages;
        for _ in first..messages.clamp(first, self.upto) {
            let length = rest.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
            rest = &rest[HEADER + length..];
        }
        rest
    }
}

/// One connection of a stream.
#[derive(Debug)]
struct Attempt {
    stream: TcpStream,
    heard: Receiver<Heard>,
    /// Messages of the stream that the source had when it began: it takes the next one for the first after these.
    received: u64,
    credit: usize,
}

/// What came from the source. `None`: it has closed the connection.
type Heard = io::Result<Option<ToClient>>;

impl StreamConnection {
    /// Connects, retrying for `within`.
    pub(super) fn open(to: &Address, name: &str, within: Duration) -> Result<Self, SendError> {
        let (connection, acknowledged) = connect(to, name, within)?;
        Ok(Self {
            to: to.clone(),
            name: name.to_owned(),
            within,
            connection,
            there: acknowledged,
            passed: 0,
            acknowledged,
            kept: VecDeque::new(),
            kept_bytes: 0,
        })
    }

    /// Sends messages, but for those at the start of the input that the source has. Waits while too many are not acknowledged.
    pub(super) fn write(&mut self, encoded: &[u8], messages: u64) -> Result<(), SendError> {
        self.passed += messages;
        if self.passed <= self.there {
            return Ok(());
        }
        let kept = Kept { upto: self.passed, messages, encoded: encoded.to_vec() };
        let written = self.connection.stream.write_all(kept.after(self.connection.received));
        self.kept_bytes += kept.encoded.len();
        self.kept.push_back(kept);
        if written.is_err() {
            self.reconnect()?;
        }
        self.listen(|sender| sender.kept_bytes < sender.connection.credit)
    }

    /// Waits until all is acknowledged. Returns how many messages of the input had been before.
    pub(super) fn finish(mut self) -> Result<u64, SendError> {
        if self.passed < self.there {
            let (to, name) = (self.to.to_string(), self.name);
            return Err(SendError::Short { to, name, lines: self.passed, acknowledged: self.there });
        }
        self.listen(|sender| sender.kept.is_empty())?;
        // The source closes the connection, or has already.
        let _ = self.connection.stream.shutdown(Shutdown::Write);
        Ok(self.there)
    }

    /// Takes in what the source says; waits for more until there is `enough`.
    fn listen(&mut self, enough: impl Fn(&Self) -> bool) -> Result<(), SendError> {
        loop {
            let heard = if enough(self) {
                match self.connection.heard.try_recv() {
                    Ok(heard) => heard,
                    Err(mpsc::TryRecvError::Empty) => return Ok(()),
                    Err(mpsc::TryRecvError::Disconnected) => Ok(None),
                }
            } else {
                self.connection.heard.recv().unwrap_or(Ok(None))
            };
            match heard {
                Ok(Some(ToClient::Acknowledged(messages))) => self.forget(messages),
                Ok(Some(ToClient::Error(reason))) => {
                    let (to, name) = (self.to.to_string(), self.name.clone());
                    return Err(SendError::Refused { to, name, reason });
                }
                Ok(None) | Err(_) if enough(self) && self.kept.is_empty() => return Ok(()),
                Ok(Some(ToClient::Welcome { .. }) | None) | Err(_) => self.reconnect()?,
            }
        }
    }

    /// Drops messages that need never be sent again.
    fn forget(&mut self, acknowledged: u64) {
        self.acknowledged = self.acknowledged.max(acknowledged);
        while let Some(first) = self.kept.front().filter(|first| first.upto <= acknowledged) {
            self.kept_bytes -= first.encoded.len();
            self.kept.pop_front();
        }
    }

    /// Goes on with the stream on another connection.
    fn reconnect(&mut self) -> Result<(), SendError> {
        loop {
            let (connection, acknowledged) = connect(&self.to, &self.name, self.within)?;
            if connection.received < self.acknowledged {
                let (to, name) = (self.to.to_string(), self.name.clone());
                return Err(SendError::Forgotten { to, name, now: connection.received, before: self.acknowledged });
            }
            self.connection = connection;
            self.forget(acknowledged);
            let Attempt { stream, received, .. } = &mut self.connection;
            if self.kept.iter().try_for_each(|kept| stream.write_all(kept.after(*received))).is_ok() {
                return Ok(());
            }
        }
    }
}

/// Connects and names the stream. Returns the connection, and how many messages are acknowledged.
fn connect(to: &Address, name: &str, within: Duration) -> Result<(Attempt, u64), SendError> {
    let began = Instant::now();
    let mut is_first = true;
    loop {
        let source = match welcomed(to, name) {
            Ok((attempt, ToClient::Welcome { acknowledged, .. })) => return Ok((attempt, acknowledged)),
            Ok((_, ToClient::Error(reason))) => {
                return Err(SendError::Refused { to: to.to_string(), name: name.to_owned(), reason });
            }
            Ok((_, ToClient::Acknowledged(_))) => return Err(SendError::NoStreams { to: to.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(SendError::NoStreams { to: to.to_string() });
            }
            Err(error) => error,
        };
        if began.elapsed() + PAUSE >= within {
            return Err(SendError::Connect { to: to.to_string(), within, source });
        }
        if std::mem::take(&mut is_first) {
            terminal::note(format_args!("{to} does not answer ({source}); trying for {within:?}"));
        }
        thread::sleep(PAUSE);
    }
}

fn welcomed(to: &Address, name: &str) -> io::Result<(Attempt, ToClient)> {
    /// How long a source may take to answer.
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut stream = TcpStream::connect((to.host.as_str(), to.port))?;
    stream.write_all(&hello(name))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let said = ToClient::read(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    stream.set_read_timeout(None)?;
    let (received, credit) = match said {
        ToClient::Welcome { received, credit, .. } => (received, credit as usize),
        _ => (0, 0),
    };
    let (sender, heard) = mpsc::channel();
    let mut reader = stream.try_clone()?;
    thread::spawn(move || {
        loop {
            let said = ToClient::read(&mut reader);
            let is_over = !matches!(said, Ok(Some(_)));
            // Nobody listens to a connection that has been replaced.
            if sender.send(said).is_err() || is_over {
                return;
            }
        }
    });
    Ok((Attempt { stream, heard, received, credit }, said))
}
