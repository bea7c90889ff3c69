//! What a transport tells of itself, for statistics.

use std::net::SocketAddr;

use crate::ids::{Incarnation, NodeId, NodeTime};
use crate::wire::Purpose;

/// What has passed over connections, those of the past included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Bytes handed to the kernel.
    pub sent_bytes: u64,
    /// Messages, proposals or answers in them.
    pub sent_messages: u64,
    /// Those that were not sent: no connection, no room, or lost with a connection.
    pub dropped_messages: u64,
    /// Bytes that arrived.
    pub received_bytes: u64,
    /// Frames in them.
    pub received_messages: u64,
}

impl Counters {
    pub(super) fn add(&mut self, other: &Counters) {
        self.sent_bytes += other.sent_bytes;
        self.sent_messages += other.sent_messages;
        self.dropped_messages += other.dropped_messages;
        self.received_bytes += other.received_bytes;
        self.received_messages += other.received_messages;
    }
}

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// There is none. An outgoing one is tried again at `next_attempt`; incoming ones come from
    /// the other side.
    Down {
        /// When.
        next_attempt: Option<NodeTime>,
    },
    /// It is being made.
    Connecting,
    /// It is there.
    Connected {
        /// Since when.
        since: NodeTime,
        /// The life of the peer on the other side.
        incarnation: Incarnation,
    },
}

/// One direction and purpose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkStatus {
    /// What for.
    pub purpose: Purpose,
    /// Where it stands.
    pub state: LinkState,
    /// Why the last one ended or did not come about.
    pub last_error: Option<String>,
    /// What has passed.
    pub counters: Counters,
}

/// One peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// The peer.
    pub id: NodeId,
    /// Where it is dialled: for logs, for proposals.
    pub addresses: [SocketAddr; 2],
    /// Connections that this node dials: for logs, for proposals.
    pub outgoing: [LinkStatus; 2],
    /// Connections that the peer dials, likewise.
    pub incoming: [LinkStatus; 2],
}

/// What concerns no peer in particular.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Incoming connections that are not open yet.
    pub handshakes: usize,
    /// Incoming connections that came.
    pub accepted: u64,
    /// Those that were ended before they were open, for whatever reason.
    pub turned_away: u64,
    /// Those of them that were ended to make room for newer ones.
    pub crowded_out: u64,
}
