//! The connection `send` writes to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{Address, SendError};
use crate::cli::terminal;
use crate::sink::acknowledged::bytes_acknowledged;

/// Pause between attempts to connect.
const PAUSE: Duration = Duration::from_millis(50);
/// How long to wait for the receiver to close the connection before looking at its kernel's acknowledgements instead.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(in crate::cli) struct Connection {
    stream: TcpStream,
    to: String,
    /// Bytes written.
    written: u64,
    /// The acknowledgement count before the first byte.
    baseline: u64,
}

impl Connection {
    /// Connects, retrying for `within`, because the receiver may still be starting.
    pub(in crate::cli) fn open(to: &Address, within: Duration) -> Result<Self, SendError> {
        let began = Instant::now();
        let mut is_first = true;
        loop {
            let attempt = TcpStream::connect((to.host.as_str(), to.port)).and_then(|stream| {
                let baseline = bytes_acknowledged(&stream)?;
                Ok(Self { stream, to: to.to_string(), written: 0, baseline })
            });
            match attempt {
                Ok(connection) => return Ok(connection),
                Err(source) if began.elapsed() + PAUSE >= within => {
                    return Err(SendError::Connect { to: to.to_string(), within, source });
                }
                Err(source) => {
                    if std::mem::take(&mut is_first) {
                        terminal::note(format_args!("{to} does not answer yet ({source}); trying for {within:?}"));
                    }
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Writes all of `bytes`. `messages` were written before, which an error reports.
    pub(in crate::cli) fn write(&mut self, bytes: &[u8], messages: u64) -> Result<(), SendError> {
        self.stream.write_all(bytes).map_err(|source| self.closed(messages, source))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Ends the stream and waits until the receiver has closed it too, or its kernel has acknowledged every byte. Otherwise a
    /// receiver that closes early would go unnoticed.
    pub(in crate::cli) fn finish(mut self, messages: u64) -> Result<(), SendError> {
        self.settle().map_err(|source| self.closed(messages, source))
    }

    fn settle(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        self.stream.set_read_timeout(Some(CLOSE_WAIT))?;
        let mut ignored = [0; 4096];
        loop {
            match self.stream.read(&mut ignored) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if bytes_acknowledged(&self.stream)? - self.baseline >= self.written {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn closed(&self, messages: u64, source: io::Error) -> SendError {
        SendError::Closed { to: self.to.clone(), messages, source }
    }
}
