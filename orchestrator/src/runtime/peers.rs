//! The addresses of clients, which dead letters name.

use std::collections::{HashMap, VecDeque};

use crate::ids::ConnectionId;

/// The number of closed connections whose addresses are kept for later dead letters.
const REMEMBERED_PEERS: usize = 4096;

/// The addresses of clients. They are kept for a while after the connection has closed.
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
