//! The sending end.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for a listener.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time between two attempts to connect.
const PAUSE: Duration = Duration::from_micros(500);

/// Connects as soon as there is a listener.
pub(crate) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let began = Instant::now();
    loop {
        match TcpStream::connect(to) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
