//! How much of what was written the peer's kernel has acknowledged, and whether it still answers.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::GetSockOpt;
use nix::sys::socket::sockopt::GetStruct;

/// The start of Linux's `struct tcp_info`, up to the field wanted. Newer kernels append fields and cut what they return
/// to the size asked for, so asking for this much works on every kernel since 4.1.
type TcpInfoStart = [u8; 128];

/// Where `tcpi_retransmits` lies in it: retransmissions since the last acknowledgement, one byte.
const RETRANSMITS: usize = 2;
/// Where `tcpi_unacked` lies in it: segments sent and not acknowledged, four bytes.
const UNACKNOWLEDGED: usize = 24;
/// Where `tcpi_last_ack_recv` lies in it: milliseconds since the last acknowledgement, four bytes.
const SINCE_ACKNOWLEDGEMENT: usize = 56;
/// Where `tcpi_bytes_acked` lies in it.
const BYTES_ACKED: usize = 120;

#[derive(Debug, Clone, Copy)]
struct TcpInfo;

nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, TcpInfoStart, GetStruct<TcpInfoStart>);

/// Bytes acknowledged on `socket` since its connection began. The connection's opening counts for one and its end for
/// another, so take the difference to a count read right after connecting, and no more than was written. Stays readable
/// after the connection has broken, as long as the socket is open.
pub(crate) fn bytes_acknowledged(socket: &impl AsFd) -> io::Result<u64> {
    let info = TcpInfo.get(socket)?;
    let (_, field) = info.split_at(BYTES_ACKED);
    Ok(field.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes)))
}

/// How long the peer's kernel has answered no retransmission; `None` if nothing had to be sent again. A peer that reads nothing
/// still answers: its window is closed, and then no segment is on its way.
pub(crate) fn unanswered_for(socket: &impl AsFd) -> Option<Duration> {
    let info = TcpInfo.get(socket).ok()?;
    let word = |at: usize| info[at..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    let resent = info[RETRANSMITS] > 0 && word(UNACKNOWLEDGED) > 0;
    resent.then(|| Duration::from_millis(word(SINCE_ACKNOWLEDGEMENT).into()))
}
