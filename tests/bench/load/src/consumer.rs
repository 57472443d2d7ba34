//! The receiving end.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use crate::now;

/// The size of a read in bytes.
const READ: usize = 1 << 20;

/// Listens, and passes on what arrives on any connection.
pub(crate) struct Consumer {
    listener: TcpListener,
}

/// Takes received data: the time, and the bytes up to the last newline so far. Each connection has its own.
pub(crate) trait Take: Send + 'static {
    fn take(&mut self, at: u64, lines: &[u8]);
}

impl Consumer {
    pub(crate) fn listen(at: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(at)? })
    }

    /// Begins to accept connections, each read on its own thread.
    pub(crate) fn start<T: Take>(self, make: impl Fn() -> T + Send + 'static) {
        thread::spawn(move || {
            while let Ok((stream, _)) = self.listener.accept() {
                let taker = make();
                thread::spawn(move || read(stream, taker));
            }
        });
    }
}

fn read(mut stream: TcpStream, mut taker: impl Take) {
    let mut buffer = vec![0; 2 * READ];
    let mut held = 0;
    loop {
        if buffer.len() - held < READ {
            buffer.resize(buffer.len() + READ, 0);
        }
        match stream.read(&mut buffer[held..]) {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                let at = now();
                let end = held + read;
                let Some(last) = memchr::memrchr(b'\n', &buffer[held..end]) else {
                    held = end;
                    continue;
                };
                let whole = held + last + 1;
                taker.take(at, &buffer[..whole]);
                buffer.copy_within(whole..end, 0);
                held = end - whole;
            }
        }
    }
}

/// Counts messages and reports when a target is reached.
pub(crate) struct Counter {
    count: std::sync::Arc<std::sync::atomic::AtomicU64>,
    target: u64,
    reached: mpsc::Sender<u64>,
}

impl Counter {
    /// `make`s share the count; `reached` gets the time whenever it passes a multiple of `target`.
    pub(crate) fn sharing(target: u64, reached: mpsc::Sender<u64>) -> impl Fn() -> Self + Send {
        let count = std::sync::Arc::default();
        move || Self { count: std::sync::Arc::clone(&count), target, reached: reached.clone() }
    }
}

impl Take for Counter {
    fn take(&mut self, at: u64, lines: &[u8]) {
        use std::sync::atomic::Ordering;
        let more = memchr::memchr_iter(b'\n', lines).count() as u64;
        let before = self.count.fetch_add(more, Ordering::Relaxed);
        for _ in before / self.target..(before + more) / self.target {
            // There is no receiver any more after the measurement.
            let _ = self.reached.send(at);
        }
    }
}
