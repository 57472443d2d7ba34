//! The addresses of connections, for dead letters.

use std::collections::{HashMap, VecDeque};

use crate::ids::ConnectionId;

/// Closed connections whose address is remembered for dead letters still to come.
const REMEMBERED_PEERS: usize = 4096;

/// The addresses of connections, kept a while after they close.
#[derive(Debug, Default)]
pub(super) struct Peers {
    names: HashMap<ConnectionId, String>,
    closed: VecDeque<ConnectionId>,
}

impl Peers {
    pub(super) fn open(&mut self, connection: ConnectionId, name: String) {
        self.names.insert(connection, name);
    }

    pub(super) fn close(&mut self, connection: ConnectionId) {
        self.closed.push_back(connection);
        if self.closed.len() > REMEMBERED_PEERS
            && let Some(oldest) = self.closed.pop_front()
        {
            self.names.remove(&oldest);
        }
    }

    pub(super) fn get(&self, connection: ConnectionId) -> Option<&str> {
        self.names.get(&connection).map(String::as_str)
    }
}
