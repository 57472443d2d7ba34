//! Locks on a dead letter file.
//!
//! Runs and commands are different processes. They use open file description locks on two bytes (which need not exist); the locks
//! of a process that dies are freed.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Held briefly: while a line is appended, while the end of the last line is searched, and while the file is replaced.
const LINES: i64 = 0;
/// Held by a command that removes letters, from before it reads them until it is done. Runs may append meanwhile.
const EDITING: i64 = 1;

/// While this lives, the lines do not change.
#[derive(Debug)]
pub(super) struct LinesLock<'a>(&'a File);

impl<'a> LinesLock<'a> {
    /// Waits for the exclusive lock on the lines. The file must be open for writing.
    pub(super) fn exclusive(file: &'a File) -> io::Result<Self> {
        Self::wait(file, libc::F_WRLCK)
    }

    /// Takes the exclusive lock on the lines, unless another process has it. The file must be open for writing.
    pub(super) fn try_exclusive(file: &'a File) -> io::Result<Option<Self>> {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&byte(libc::F_WRLCK, LINES))) {
            Ok(_) => Ok(Some(Self(file))),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the shared lock on the lines: nobody changes them meanwhile. The file must be open for reading.
    pub(super) fn shared(file: &'a File) -> io::Result<Self> {
        Self::wait(file, libc::F_RDLCK)
    }

    fn wait(file: &'a File, kind: libc::c_int) -> io::Result<Self> {
        loop {
            match fcntl(file, FcntlArg::F_OFD_SETLKW(&byte(kind, LINES))) {
                Ok(_) => return Ok(Self(file)),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for LinesLock<'_> {
    fn drop(&mut self) {
        // A lock that is held can always be freed.
        let _ = fcntl(self.0, FcntlArg::F_OFD_SETLK(&byte(libc::F_UNLCK, LINES)));
    }
}

/// Takes the right to remove letters, until [`unlock_editing`] or the end of `file`. False: another command has it.
pub(super) fn lock_editing(file: &File) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&byte(libc::F_WRLCK, EDITING))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives the right to remove letters back. Closing the file is not enough while a child that is being started has it, too.
pub(super) fn unlock_editing(file: &File) {
    // Freeing never fails, whether the lock is held or not.
    let _ = fcntl(file, FcntlArg::F_OFD_SETLK(&byte(libc::F_UNLCK, EDITING)));
}

fn byte(kind: libc::c_int, start: i64) -> libc::flock {
    let (l_type, l_whence) = (kind as libc::c_short, libc::SEEK_SET as libc::c_short);
    libc::flock { l_type, l_whence, l_start: start, l_len: 1, l_pid: 0 }
}
