//! TCP keepalive for both ends of a run, so that a peer whose machine or network went away is noticed. Imports nothing of ours.

use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

/// Seconds without traffic before the first probe.
const IDLE_SECONDS: u32 = 30;
/// Seconds between probes.
const INTERVAL_SECONDS: u32 = 10;
/// Probes without an answer after which the connection counts as broken.
const PROBES: u32 = 3;

/// Has the kernel probe an idle connection. A kernel that refuses only leaves dead peers unnoticed for longer.
pub(crate) fn keep_alive(socket: &impl AsFd) {
    let _ = setsockopt(socket, sockopt::KeepAlive, &true);
    let _ = setsockopt(socket, sockopt::TcpKeepIdle, &IDLE_SECONDS);
    let _ = setsockopt(socket, sockopt::TcpKeepInterval, &INTERVAL_SECONDS);
    let _ = setsockopt(socket, sockopt::TcpKeepCount, &PROBES);
}
