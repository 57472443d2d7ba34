//! Binds a control socket: one listener a path, nobody else's, and nothing left behind.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tokio::net::{UnixListener, UnixStream};

use super::place::{self, Place};

/// Wait after a connection could not be accepted, most likely because no descriptor was free.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// Bytes in a Unix socket's path, at most.
const LONGEST_PATH: usize = 107;

/// Why a control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another orchestrator has it.
    #[error("{} is the control socket of another orchestrator, pid {pid}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
        /// The process that listens.
        pid: i32,
    },
    /// Something else lies there.
    #[error("{} exists and is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system cannot express the path.
    #[error("the path of the control socket has {length} bytes, a Unix socket's has {LONGEST_PATH} at most: {}", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// Others could have put a socket there.
    #[error("{} is not a folder that only its owner can enter", folder.display())]
    NotPrivate {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder cannot be made, or not be looked at.
    #[error("cannot use the folder {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The port for metrics is taken, or not to be had.
    #[error("cannot listen on {address} for metrics")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot listen at {}", path.display())]
    Listen {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A bound socket's file. Dropping it removes the file; that must happen while the socket is still listened at, or a successor
/// may have taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that somebody else's file at the path is left alone.
    identity: (u64, u64),
}

impl SocketFile {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Accepts connections of this user and of root only.
#[derive(Debug)]
pub struct ControlListener(UnixListener);

/// Binds the socket of a run.
pub(super) fn bind(place: &Place) -> Result<(ControlListener, SocketFile), BindError> {
    match place {
        Place::At(path) => bind_at(path),
        Place::Of(name) => {
            let folder = place::folder();
            place::make_private(&folder)?;
            match bind_at(&folder.join(format!("{name}.sock"))) {
                // Nobody asked for that name: a second run of the application is no mistake.
                Err(BindError::InUse { .. }) => bind_at(&folder.join(format!("{name}-{}.sock", std::process::id()))),
                bound => bound,
            }
        }
    }
}

fn bind_at(path: &Path) -> Result<(ControlListener, SocketFile), BindError> {
    let length = path.as_os_str().len();
    if length > LONGEST_PATH {
        return Err(BindError::TooLong { path: path.to_owned(), length });
    }
    let failed = |source| BindError::Listen { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Held while the path is looked at and bound: two runs that find the same stale socket must not remove each other's.
    let folder = File::open(folder).map_err(|source| BindError::Folder { folder: folder.to_owned(), source })?;
    let _binding = Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))?;
    clear(path)?;
    let listener = StdUnixListener::bind(path).map_err(failed)?;
    // Until here the folder, or the check of each peer, keeps others out.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let found = fs::symlink_metadata(path).map_err(failed)?;
    let file = SocketFile { path: path.to_owned(), identity: (found.dev(), found.ino()) };
    listener.set_nonblocking(true).map_err(failed)?;
    Ok((ControlListener(UnixListener::from_std(listener).map_err(failed)?), file))
}

/// Removes a socket that nobody listens at any more.
fn clear(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Listen { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
    }
    match StdUnixStream::connect(path) {
        Ok(other) => {
            let pid = getsockopt(&other, PeerCredentials).map_or(0, |peer| peer.pid());
            Err(BindError::InUse { path: path.to_owned(), pid })
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

impl axum::serve::Listener for ControlListener {
    type Io = UnixStream;
    type Addr = ();

    async fn accept(&mut self) -> (UnixStream, ()) {
        loop {
            let refused = match self.0.accept().await {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) if is_trusted(peer.uid()) => return (stream, ()),
                    Ok(peer) => format!("user {} may not use the control socket", peer.uid()),
                    Err(error) => format!("a control client cannot be identified: {error}"),
                },
                Err(error) => {
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    format!("a control client cannot be accepted: {error}")
                }
            };
            tracing::warn!("{refused}");
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

fn is_trusted(user: u32) -> bool {
    user == 0 || user == nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_listener_is_refused_and_told_who_was_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one.sock");
        let (_listener, file) = bind(&Place::At(path.clone())).expect("bound");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        let Err(BindError::InUse { pid, .. }) = bind(&Place::At(path.clone())) else { panic!("two listeners") };
        assert_eq!(pid, std::process::id().cast_signed());
        drop(file);
        assert!(!path.exists(), "nothing is left behind");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one.sock");
        // Dropping a plain listener leaves its file, as a process that is killed does.
        drop(StdUnixListener::bind(&path).expect("bound"));
        let (_listener, _file) = bind(&Place::At(path)).expect("replaced");
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes");
        fs::write(&path, "mine").expect("written");
        assert!(matches!(bind(&Place::At(path.clone())), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read(&path).expect("there"), b"mine");
    }

    #[tokio::test]
    async fn a_file_that_took_its_place_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("one.sock"), folder.path().join("other"));
        let (_listener, file) = bind(&Place::At(path.clone())).expect("bound");
        fs::write(&other, "mine").expect("written");
        fs::rename(&other, &path).expect("moved");
        drop(file);
        assert_eq!(fs::read(&path).expect("there"), b"mine");
    }

    #[test]
    fn a_path_that_is_too_long_is_refused_in_words() {
        let path = Path::new("/tmp").join("x".repeat(200));
        assert!(matches!(bind_at(&path), Err(BindError::TooLong { length: 205, .. })));
    }
}
