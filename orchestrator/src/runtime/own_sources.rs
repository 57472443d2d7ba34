//! Refuses a run in which a TCP sink would send to the application's own source: what leaves would come in again, without end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use tokio::net::lookup_host;
use wallaroo_protocol::topology::SinkConfig;

use super::RunError;
use crate::ids::SourceId;
use crate::plan::Plan;

/// Returns an error if a sink's address leads to a source that listens.
pub(super) async fn check_addresses(plan: &Plan, listening: &[(SourceId, SocketAddr)]) -> Result<(), RunError> {
    for sink in &plan.sinks {
        let SinkConfig::Tcp { host, port } = &sink.config else { continue };
        if listening.iter().all(|(_, source)| source.port() != *port) {
            continue;
        }
        // A host that cannot be resolved yet is tried again when the sink connects.
        let Ok(found) = lookup_host((host.as_str(), *port)).await else { continue };
        let found: Vec<SocketAddr> = found.collect();
        let own = listening.iter().find(|(_, source)| found.iter().any(|sink| reaches(*sink, *source)));
        if let Some((source, address)) = own {
            return Err(RunError::OwnSource {
                sink: plan.name(sink.node).to_owned(),
                to: format!("{host}:{port}"),
                listener: plan.name(plan.sources[source.index()].node).to_owned(),
                address: *address,
            });
        }
    }
    Ok(())
}

/// Whether a connection to `to` arrives at a listener of this machine that is bound to `listener`.
fn reaches(to: SocketAddr, listener: SocketAddr) -> bool {
    let (wanted, bound) = (connected(to.ip().to_canonical()), listener.ip().to_canonical());
    let family = match bound {
        IpAddr::V4(_) => wanted.is_ipv4(),
        // A listener at :: takes IPv4 connections too.
        IpAddr::V6(_) => true,
    };
    to.port() == listener.port() && (wanted == bound || bound.is_unspecified() && family && is_local(wanted))
}

/// The address that a connection to `ip` is made to: to nowhere in particular is to this machine.
fn connected(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// Whether an address is one of this machine's: only those can be bound.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_arrives_where_a_listener_is_bound() {
        let arrives = |to: &str, listener: &str| {
            let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
            reaches(address(to), address(listener))
        };
        for (to, listener) in [
            ("127.0.0.1:7", "127.0.0.1:7"),
            ("127.0.0.1:7", "0.0.0.0:7"),
            ("127.0.0.1:7", "[::]:7"),
            ("127.0.0.2:7", "0.0.0.0:7"),
            ("0.0.0.0:7", "127.0.0.1:7"),
            ("[::]:7", "[::1]:7"),
            ("[::1]:7", "[::]:7"),
            ("[::ffff:127.0.0.1]:7", "127.0.0.1:7"),
        ] {
            assert!(arrives(to, listener), "{to} at {listener}");
        }
        for (to, listener) in [
            ("127.0.0.1:8", "127.0.0.1:7"),
            ("127.0.0.2:7", "127.0.0.1:7"),
            ("[::1]:7", "127.0.0.1:7"),
            ("[::1]:7", "0.0.0.0:7"),
            // Documentation: on no machine.
            ("192.0.2.1:7", "0.0.0.0:7"),
        ] {
            assert!(!arrives(to, listener), "{to} at {listener}");
        }
    }
}
