//! Binds a control socket. A path has one listener at a time, a file that is not a socket is left alone, and the socket's file is
//! removed at the end.

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

use super::address::{self, ControlAddress};

/// How long to wait after accepting a connection failed, usually because no file descriptor was free.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// The most bytes in the path of a Unix socket.
const LONGEST_PATH: usize = 107;

/// Why a control socket, or the port for metrics, cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another orchestrator listens there.
    #[error("{} is the control socket of another orchestrator, pid {pid}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
        /// The process that listens.
        pid: i32,
    },
    /// The path is not a socket.
    #[error("{} exists and is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The path is longer than the operating system allows.
    #[error("the path of the control socket has {length} bytes, more than the {LONGEST_PATH} that are allowed: {}", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// Another user could have put a socket there.
    #[error("{} must be a folder that only its owner can enter", folder.display())]
    NotPrivate {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder cannot be created or opened.
    #[error("cannot use the folder {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The port for metrics is in use or cannot be bound.
    #[error("cannot listen on {address} for metrics")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// Binding failed in another way.
    #[error("cannot listen at {}", path.display())]
    Listen {
        /// The path.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// The file of a bound socket. Dropping it removes the file. Drop it while the socket is still open: after that another run may
/// have bound the path.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that only this file is removed and not another one at the path.
    identity: (u64, u64),
}

impl SocketFile {
    /// Its path.
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
pub(super) fn bind(address: &ControlAddress) -> Result<(ControlListener, SocketFile), BindError> {
    match address {
        ControlAddress::At(path) => bind_at(path),
        ControlAddress::NamedAfter(name) => {
            let folder = address::folder();
            address::make_private(&folder)?;
            match bind_at(&folder.join(format!("{name}.sock"))) {
                // The user chose no path, so a second run of the application is not an error.
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
    // Locked while the path is checked and bound: two runs that find the same stale socket must not remove each other's.
    let folder = File::open(folder).map_err(|source| BindError::Folder { folder: folder.to_owned(), source })?;
    let _binding = Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))?;
    clear(path)?;
    let listener = StdUnixListener::bind(path).map_err(failed)?;
    // Until here the permissions of the folder, or the check of each peer, keep other users out.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let found = fs::symlink_metadata(path).map_err(failed)?;
    let file = SocketFile { path: path.to_owned(), identity: (found.dev(), found.ino()) };
    listener.set_nonblocking(true).map_err(failed)?;
    Ok((ControlListener(UnixListener::from_std(listener).map_err(failed)?), file))
}

/// Removes a socket that nobody listens on any more.
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
        let (_listener, file) = bind(&ControlAddress::At(path.clone())).expect("bound");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        let Err(BindError::InUse { pid, .. }) = bind(&ControlAddress::At(path.clone())) else {
            panic!("two listeners")
        };
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
        let (_listener, _file) = bind(&ControlAddress::At(path)).expect("replaced");
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes");
        fs::write(&path, "mine").expect("written");
        assert!(matches!(bind(&ControlAddress::At(path.clone())), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read(&path).expect("there"), b"mine");
    }

    #[tokio::test]
    async fn a_file_that_took_its_place_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("one.sock"), folder.path().join("other"));
        let (_listener, file) = bind(&ControlAddress::At(path.clone())).expect("bound");
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
