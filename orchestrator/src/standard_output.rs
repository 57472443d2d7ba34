//! Whether this process was given a standard output. Before `main`, Rust opens `/dev/null` in place of a standard stream that is
//! closed, and what is written there is lost without an error. So it is looked at earlier.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, fcntl};

const STANDARD_OUTPUT: RawFd = 1;

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Run by the C library before the Rust runtime is set up.
#[used]
#[expect(unsafe_code, reason = "nothing of Rust runs before its runtime opens streams that are closed")]
// SAFETY: the section holds pointers to functions of this type; it needs nothing of the Rust runtime.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

#[expect(unsafe_code, reason = "the descriptor has no owner yet, and may be closed")]
extern "C" fn look() {
    // SAFETY: the descriptor is only asked for its flags; a closed one gives an error.
    let descriptor = unsafe { BorrowedFd::borrow_raw(STANDARD_OUTPUT) };
    WAS_CLOSED.store(fcntl(descriptor, FcntlArg::F_GETFD).is_err(), Ordering::Relaxed);
}

/// Whether standard output was closed when this process was started.
pub fn was_closed() -> bool {
    WAS_CLOSED.load(Ordering::Relaxed)
}
