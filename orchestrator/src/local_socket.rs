//! Sockets at which processes that this one has started connect. They have no file, so nothing is left of them.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::unistd::getuid;
use tokio::net::{UnixListener, UnixStream};

/// Listens at a new name, which is returned too.
pub(crate) fn listen() -> io::Result<(UnixListener, String)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("wallaroo-{}-{number}", std::process::id());
    let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    listener.set_nonblocking(true)?;
    Ok((UnixListener::from_std(listener)?, name))
}

/// The next connection of a process of this user. Anybody can find the name.
///
/// # Cancel safety
/// No connection is lost when the future is dropped.
pub(crate) async fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
    loop {
        let (client, _) = listener.accept().await?;
        if client.peer_cred().is_ok_and(|credentials| credentials.uid() == getuid().as_raw()) {
            return Ok(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_process_of_this_user_is_let_in() {
        let (listener, name) = listen().expect("a socket");
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let client = std::os::unix::net::UnixStream::connect_addr(&address).expect("somebody listens");
        client.set_nonblocking(true).expect("an open socket");
        let mut client = UnixStream::from_std(client).expect("a runtime");
        let mut served = accept(&listener).await.expect("a client");
        client.write_all(b"here").await.expect("an open socket");
        let mut read = [0; 4];
        served.read_exact(&mut read).await.expect("four bytes");
        assert_eq!(&read, b"here");
    }
}
