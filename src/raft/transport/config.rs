//! What a transport is opened with.

use std::net::SocketAddr;

use crate::ids::{ClusterId, Incarnation, NodeId};
use crate::wire::Purpose;
use crate::wire::hello::Agreement;
use crate::wire::secrets::Secrets;

/// What a transport is opened with.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// This node.
    pub id: NodeId,
    /// The Raft group's name, at most 64 bytes.
    pub group: String,
    /// This node's life.
    pub incarnation: Incarnation,
    /// Its cluster; none before it has joined one.
    pub cluster: Option<ClusterId>,
    /// What must be the same on all nodes.
    pub agreement: Agreement,
    /// What all nodes share.
    pub secrets: Secrets,
    /// Where messages of Raft are listened for. Port 0: any free one.
    pub listen_logs: SocketAddr,
    /// Where proposals are listened for.
    pub listen_proposals: SocketAddr,
    /// The other nodes; this one may be among them.
    pub peers: Vec<PeerAddress>,
    /// Bounds and times.
    pub limits: Limits,
}

/// Where a peer listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerAddress {
    /// The peer.
    pub id: NodeId,
    /// For messages of Raft.
    pub logs: SocketAddr,
    /// For proposals.
    pub proposals: SocketAddr,
}

impl PeerAddress {
    pub(super) fn of(&self, purpose: Purpose) -> SocketAddr {
        match purpose {
            Purpose::Logs => self.logs,
            Purpose::Proposals => self.proposals,
        }
    }
}

/// Bounds and times. Times are milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes that wait to be sent over one connection, snapshots aside; what comes on top is
    /// dropped and counted.
    pub queue_bytes: usize,
    /// Bytes of snapshots that wait to be sent over one connection; likewise.
    pub snapshot_queue_bytes: usize,
    /// Incoming connections that are not open yet; one more ends the oldest of them.
    pub handshakes: usize,
    /// The same for one source address.
    pub handshakes_per_source: usize,
    /// How long connecting may take, and then the handshake.
    pub handshake_ms: u64,
    /// Bytes that are read from one connection in one turn.
    pub turn_bytes: usize,
    /// The shortest wait before a peer is dialled again; doubles with each failure.
    pub redial_min_ms: u64,
    /// The longest.
    pub redial_max_ms: u64,
    /// A peer whose host answers nothing for as long is taken for dead.
    pub dead_peer_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            queue_bytes: 16 * 1024 * 1024,
            snapshot_queue_bytes: 4 * 1024 * 1024,
            handshakes: 64,
            handshakes_per_source: 16,
            handshake_ms: 5_000,
            turn_bytes: 256 * 1024,
            redial_min_ms: 50,
            redial_max_ms: 2_000,
            dead_peer_ms: 5_000,
        }
    }
}
