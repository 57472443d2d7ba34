//! The orchestrator's end of the socket to a worker, in two halves.
//!
//! Tokio's own stream waits for both directions at once. On a Unix socket that wakes this process whenever the worker has read
//! what it was sent, since there is room again, just as the worker begins to work. Here the reader waits for data, and the writer
//! waits for room only if there was none.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, Interest, ReadBuf};

/// Slices written with one system call: a frame's header, head and tail.
const SLICES: usize = 4;

/// The reading half.
#[derive(Debug)]
pub struct FromWorkerHalf(Arc<AsyncFd<UnixStream>>);

/// The writing half.
#[derive(Debug)]
pub struct ToWorkerHalf(Arc<AsyncFd<UnixStream>>);

/// Hands `socket`, which must be non-blocking, to the runtime.
pub(super) fn halves(socket: UnixStream) -> io::Result<(FromWorkerHalf, ToWorkerHalf)> {
    let socket = Arc::new(watched(socket, Interest::READABLE)?);
    Ok((FromWorkerHalf(socket.clone()), ToWorkerHalf(socket)))
}

#[expect(unsafe_code, reason = "the runtime cannot see that the descriptor stays open")]
fn watched(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    // SAFETY: the stream owns its descriptor, is owned by what this returns, and is only ever lent out shared: nothing closes or
    // replaces the descriptor before that is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

/// Reads once into memory that is not cleared first: clearing would touch 256 KiB for a batch of 100 bytes.
#[expect(unsafe_code, reason = "std has no stable way to read into memory that was never written")]
fn fill(mut socket: &UnixStream, into: &mut ReadBuf<'_>) -> io::Result<usize> {
    // SAFETY: reading from a socket only ever writes to the memory it is given, and what it has not written stays unfilled.
    let unfilled = unsafe { &mut *(std::ptr::from_mut(into.unfilled_mut()) as *mut [u8]) };
    let read = socket.read(unfilled)?;
    // SAFETY: so many bytes were just written.
    unsafe { into.assume_init(read) };
    into.advance(read);
    Ok(read)
}

impl AsyncRead for FromWorkerHalf {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            match ready.try_io(|socket| fill(socket.get_ref(), into)) {
                Ok(Ok(read)) => {
                    if read > 0 && into.remaining() > 0 {
                        // The socket is empty now: the runtime reports new data, and a read that would fail is saved.
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl ToWorkerHalf {
    /// Writes all of `frame`.
    ///
    /// # Cancel safety
    /// Not safe: part of the frame may have been written.
    pub async fn write_all(&mut self, frame: &mut impl Buf) -> io::Result<()> {
        while frame.has_remaining() {
            let mut slices = [io::IoSlice::new(&[]); SLICES];
            let filled = frame.chunks_vectored(&mut slices);
            match self.0.get_ref().write_vectored(&slices[..filled]) {
                Ok(written) => frame.advance(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.room().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until there is room.
    async fn room(&self) -> io::Result<()> {
        let socket = watched(self.0.get_ref().try_clone()?, Interest::WRITABLE)?;
        socket.writable().await?.retain_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn pair() -> (FromWorkerHalf, ToWorkerHalf, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("an open socket");
        let (from, to) = halves(ours).expect("a runtime");
        (from, to, theirs)
    }

    #[tokio::test]
    async fn a_frame_larger_than_the_socket_goes_as_room_is_made() {
        let (_from, mut to, mut theirs) = pair();
        let head = vec![1_u8; 3 << 20];
        let tail = vec![2_u8; 1 << 20];
        let reader = std::thread::spawn(move || {
            let mut read = vec![0; 4 << 20];
            theirs.read_exact(&mut read).map(|()| read)
        });
        to.write_all(&mut Buf::chain(head.as_slice(), tail.as_slice())).await.expect("somebody reads");
        let read = reader.join().expect("no panic").expect("all of it");
        assert!(read[..3 << 20].iter().all(|byte| *byte == 1) && read[3 << 20..].iter().all(|byte| *byte == 2));
    }

    #[tokio::test]
    async fn what_comes_in_two_pieces_is_read_in_two() {
        let (mut from, _to, mut theirs) = pair();
        let mut buffer = [0; 64];
        for piece in [b"first".as_slice(), b"second"] {
            theirs.write_all(piece).expect("an open socket");
            let read = from.read(&mut buffer).await.expect("an open socket");
            assert_eq!(&buffer[..read], piece);
        }
        drop(theirs);
        assert_eq!(from.read(&mut buffer).await.expect("an end is no error"), 0);
    }
}
