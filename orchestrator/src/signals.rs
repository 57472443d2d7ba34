//! What this process inherits about signals from whoever started it, put right. Imports nothing of ours.

use std::io;

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};

/// Undoes what a parent may have blocked or ignored: no signal is blocked, and the ends of children are reported. A write above the
/// limit on a file's size fails instead of killing this process. Call it once, before threads start; children inherit it.
pub fn reset_inherited() {
    // Refused by no kernel; without it everything works for a parent that left signals alone.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let _ = set(Signal::SIGCHLD, SigHandler::SigDfl);
    let _ = ignore(Signal::SIGXFSZ);
}

/// Ignores a signal.
pub fn ignore(ignored: Signal) -> io::Result<()> {
    set(ignored, SigHandler::SigIgn)
}

#[expect(
    unsafe_code,
    reason = "installing a disposition is unsafe in general; ignoring a signal, or its default, runs no code of ours"
)]
fn set(of: Signal, disposition: SigHandler) -> io::Result<()> {
    // SAFETY: no handler is installed.
    unsafe { signal(of, disposition) }?;
    Ok(())
}
