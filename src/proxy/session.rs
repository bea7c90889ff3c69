//! One proxied connection: plain data, no behaviour of its own beyond its parts'.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::clock::Millis;
use crate::config::GroupId;
use crate::endpoint::Endpoint;
use crate::groups::GroupCounters;
use crate::proxy_protocol::Tlvs;
use crate::stick::{Answer, ClientIp};

use super::End;
use super::generation::LocalGeneration;
use super::relay::Direction;
use super::side::Side;
use super::traffic::{GroupCell, PortCell};
use super::wheel::Link;

/// A client's connection, from accept to close.
#[derive(Debug)]
pub struct Session {
    /// Where it is on its way.
    pub phase: Phase,
    /// The client's socket.
    pub client: Side,
    /// The target's socket, once there is one.
    pub target: Option<Side>,
    /// Client to target.
    pub inward: Direction,
    /// Target to client.
    pub outward: Direction,
    /// The generation read at route (until then: at accept).
    pub generation: Rc<LocalGeneration>,
    /// The client's address and port: the connection's own, or those that a PROXY protocol header
    /// named.
    pub peer: SocketAddr,
    /// What such a header said besides, until the target is connected.
    pub proxied: Option<Box<Proxied>>,
    /// The listened port that it came to.
    pub port: u16,
    /// Where the worker counts its port.
    pub port_cell: &'static PortCell,
    /// Where the worker counts the group that it was last given to.
    pub group_cell: Option<&'static GroupCell>,
    /// The client whose connections it counts in, where those are bounded.
    pub counted_client: Option<ClientIp>,
    /// The group among whose places it has one, where those are bounded.
    pub place: Option<(GroupId, Arc<GroupCounters>)>,
    /// How long it has waited for places, but for the wait that goes on.
    pub queued: Duration,
    /// What makes its key besides the address.
    pub message_key: MessageKey,
    /// The table's answer, while this session counts in it.
    pub answer: Option<Answer>,
    /// How its target is tried, or was last.
    pub attempt: Option<Attempt>,
    /// Groups that could not be reached, in order.
    pub tried: Vec<GroupId>,
    /// Times that the table changed its mind before the target was connected.
    pub reroutes: u8,
    /// Keep-alive is set on the target's socket.
    pub has_keepalive: bool,
    /// It is in the worker's ready list.
    pub is_queued: bool,
    /// Which direction goes first in the next turn: they share its budget.
    pub outward_first: bool,
    /// The direction that ended first in order, for the reason at the end.
    pub first_end: FirstEnd,
    /// When it was accepted.
    pub accepted: Millis,
    /// When the target was connected.
    pub connected: Option<Millis>,
    /// When a byte last moved.
    pub last_activity: Millis,
    /// When one side was first known to be reset.
    pub dying_since: Option<Millis>,
    /// Its timer.
    pub timer: Link,
}

/// Which direction ended in order first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstEnd {
    /// Neither has.
    Neither,
    /// The client's.
    Client,
    /// The target's.
    Target,
}

/// What a PROXY protocol header said of a client, besides its address.
#[derive(Debug)]
pub struct Proxied {
    /// Where the client connected to.
    pub destination: SocketAddr,
    /// For the header to the target.
    pub tlvs: Tlvs,
}

/// The attempts to connect to one target.
#[derive(Debug)]
pub struct Attempt {
    /// Where it connects to, or is connected.
    pub endpoint: Endpoint,
    /// Addresses that have not failed yet, this one included.
    pub addresses_left: usize,
    /// When all of them are given up.
    pub deadline: Millis,
    /// Why the first of those that failed by their own fault did.
    pub refused: Option<Errno>,
    /// How the session ends where no other group takes it.
    pub end: End,
}

impl Attempt {
    /// The first of so many addresses.
    pub fn new(endpoint: Endpoint, addresses: usize, deadline: Millis) -> Attempt {
        Attempt {
            endpoint,
            addresses_left: addresses,
            deadline,
            refused: None,
            end: End::ConnectFailed,
        }
    }

    /// The address that it connects to; `None`: it is a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.endpoint {
            Endpoint::Ip(address) => Some(address),
            Endpoint::Unix(_) => None,
        }
    }
}

/// Where a session is on its way.
#[derive(Debug)]
pub enum Phase {
    /// The PROXY protocol header is not complete.
    ProxyHeader {
        /// When waiting ends.
        deadline: Millis,
    },
    /// The key slice is not complete; the time after which the key is the address alone.
    FirstMessage {
        /// When waiting ends.
        deadline: Millis,
    },
    /// The table's answer is to come.
    Waiting {
        /// When waiting ends.
        deadline: Millis,
        /// It is asked to move the key to another group.
        is_move: bool,
    },
    /// Its group has no place for it yet.
    Queued {
        /// When it began to wait.
        since: Millis,
        /// When waiting ends.
        deadline: Millis,
    },
    /// The connect is under way until this time.
    Connecting {
        /// When it is given up.
        deadline: Millis,
        /// When it began, finer than turns are.
        begun: Instant,
    },
    /// Bytes flow.
    Relaying,
    /// One side was reset and is gone; the other gets what is left, then its reset.
    Lingering(Linger),
}

/// Waiting for the kernel to deliver the last bytes before a reset.
#[derive(Clone, Copy, Debug)]
pub struct Linger {
    /// Whose send queue is waited for.
    pub survivor: Survivor,
    /// Bytes in it when last looked.
    pub unsent: u32,
    /// When it last got shorter.
    pub progress: Millis,
    /// Milliseconds to the next look.
    pub pause_ms: u64,
}

/// The side that is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivor {
    /// The client.
    Client,
    /// The target.
    Target,
}

/// What makes a key besides the client's address.
#[derive(Debug)]
pub enum MessageKey {
    /// The address is all.
    None,
    /// No slice is read on this port: the client's latest slice entry decides.
    Latest,
    /// The slice of the first message.
    Slice(Box<[u8]>),
}

impl Session {
    /// A session just accepted.
    pub fn new(
        client: OwnedFd,
        peer: SocketAddr,
        port: (u16, &'static PortCell),
        generation: Rc<LocalGeneration>,
        now: Millis,
    ) -> Session {
        Session {
            phase: Phase::Waiting {
                deadline: now,
                is_move: false,
            },
            client: Side::client(client),
            target: None,
            inward: Direction::default(),
            outward: Direction::default(),
            generation,
            peer,
            proxied: None,
            port: port.0,
            port_cell: port.1,
            group_cell: None,
            counted_client: None,
            place: None,
            queued: Duration::ZERO,
            message_key: MessageKey::None,
            answer: None,
            attempt: None,
            tried: Vec::new(),
            reroutes: 0,
            has_keepalive: false,
            is_queued: false,
            outward_first: false,
            first_end: FirstEnd::Neither,
            accepted: now,
            connected: None,
            last_activity: now,
            dying_since: None,
            timer: Link::IDLE,
        }
    }

    /// Whether `peer` is the client's address, by which the session was let in: no header is waited
    /// for that may name another.
    pub fn is_client_known(&self) -> bool {
        !matches!(self.phase, Phase::ProxyHeader { .. })
    }

    /// The client's address as keys use it.
    pub fn client_ip(&self) -> ClientIp {
        ClientIp::new(self.peer.ip(), self.generation.config.key_ipv6_prefix)
    }

    /// The slice of the key, where it has one.
    pub fn slice(&self) -> Option<&[u8]> {
        match &self.message_key {
            MessageKey::Slice(slice) => Some(slice),
            MessageKey::None | MessageKey::Latest => None,
        }
    }
}
