//! Connections between the nodes of one Raft group.
//!
//! Driven by the poll of whoever owns it; no threads, no waiting. One turn:
//!
//! 1. poll, at most until [`Transport::next_deadline`]; [`Transport::handle`] for each event;
//! 2. [`Transport::tick`] with the time;
//! 3. [`Transport::received`] until there is nothing more, and whatever follows from it:
//!    [`Transport::send`], [`Transport::propose`], [`Transport::answer`];
//! 4. [`Transport::flush`]: what has come up goes out, in one system call for each connection.
//!
//! Each node dials each other one once for messages and once for proposals, and accepts the same
//! from it. The dialling side sends; of proposals the answers come back the same way.
//!
//! **Bounds.** Reading stops while nobody asks for what was read: of each connection there is at
//! most one frame (4 MiB) and 64 KiB more in memory, twice that within Noise, and only as much as
//! has arrived. One message at a time is decoded: its bytes, and of an append 1 MiB more for its
//! entries and what the few memberships take that it may hold
//! ([`crate::message::MAX_APPEND_ENTRIES`], [`crate::message::MAX_APPEND_MEMBERSHIPS`]). One that
//! sends much is read 256 KiB a turn, in turns with the others. What waits to be sent is bounded by [`Limits::queue_bytes`] and [`Limits::snapshot_queue_bytes`] for each
//! connection; more is dropped and counted, since Raft repeats what matters. Open connections
//! are at most four for each configured peer; others are at most [`Limits::handshakes`], with
//! 10 KiB each and [`Limits::handshake_ms`] to say who they are, and a newcomer ends the oldest
//! of them.
//!
//! **Order.** Of one connection appends, answers and what else is neither urgent nor a snapshot
//! arrive in the order in which they were sent. Votes and heartbeats overtake them, all overtake
//! snapshots. What is lost with a connection is not sent again.
//!
//! **Lives.** All open connections with one peer are with one life of it. A later start of the
//! same store takes the place of the earlier; any other life is refused, on both sides and
//! loudly, while the first one is connected.

mod accepting; // strangers that knock
mod complaints; // faults that repeat
mod config; // what it is opened with
mod connection; // one socket
mod dialling; // peers that are called
mod ending; // connections that are over
mod outbox; // what waits to be sent
mod peer; // what outlasts a connection
mod received; // what it tells
mod receiving; // what has arrived
mod sending; // what is to be sent
mod slots; // connections by number
mod sockets; // options
mod status; // for statistics

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};

use crate::ids::{ClusterId, Incarnation, NodeId, NodeTime};
use crate::wire::Purpose;
use crate::wire::hello::{Agreement, Local, MAX_GROUP_BYTES};
use crate::wire::secrets::Secrets;

pub use config::{Limits, PeerAddress, TransportConfig};
pub use received::Received;
pub use sending::SendError;
pub use slots::ConnectionId;
pub use status::{Counters, LinkState, LinkStatus, PeerStatus, Totals};

use accepting::Listener;
use complaints::Complaints;
use connection::{Failure, READ_BYTES};
use peer::{PURPOSES, Peer, Random};
use slots::{LISTENERS, Slots};

/// Why a transport cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An address cannot be listened at.
    #[error("cannot listen at {address} for {purpose} of Raft group {group}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What for.
        purpose: Purpose,
        /// The Raft group.
        group: String,
        /// Why.
        error: io::Error,
    },
    /// The poll does not take its sockets.
    #[error("cannot watch the sockets of Raft group {group}: {error}")]
    Watch {
        /// The Raft group.
        group: String,
        /// Why.
        error: io::Error,
    },
    /// The group's name is too long.
    #[error("the name of a Raft group has {0} bytes, of at most {MAX_GROUP_BYTES}")]
    LongName(usize),
}

/// Connections between the nodes of one Raft group.
#[derive(Debug)]
pub struct Transport {
    local: Arc<Local>,
    limits: Limits,
    registry: Registry,
    token_base: usize,
    listeners: [Listener; LISTENERS],
    slots: Slots,
    peers: BTreeMap<NodeId, Peer>,
    /// What has come up, and is to be told before anything else.
    events: VecDeque<Received>,
    /// Connections with something to read, in turns.
    ready: VecDeque<usize>,
    /// Those of them that have had their share of this turn.
    resting: Vec<usize>,
    buffer: Box<[u8]>,
    complaints: Complaints,
    random: Random,
    totals: Totals,
    now: NodeTime,
}

impl Transport {
    /// Listens at once; dials with the first tick. Tokens from `token_base` on are the
    /// transport's ([`Transport::owns`]).
    ///
    /// # Errors
    /// Where an address cannot be listened at.
    pub fn open(
        config: TransportConfig,
        registry: &Registry,
        token_base: usize,
        now: NodeTime,
    ) -> Result<Transport, OpenError> {
        let group = config.group;
        if group.len() > MAX_GROUP_BYTES {
            return Err(OpenError::LongName(group.len()));
        }
        let watch = |error| OpenError::Watch {
            group: group.clone(),
            error,
        };
        let listen = |purpose, address| {
            let socket = sockets::listen(address, purpose).map_err(|error| OpenError::Listen {
                address,
                purpose,
                group: group.clone(),
                error,
            })?;
            let token = Token(token_base + peer::place(purpose));
            watched(socket, registry, token).map_err(watch)
        };
        let exposed = [config.listen_logs, config.listen_proposals];
        let exposed = exposed.iter().find(|at| !at.ip().is_loopback());
        if let Some(address) = exposed.filter(|_| config.secrets.is_none()) {
            log::warn!(
                "Raft group {group} listens at {address} without a secret: whoever reaches it can \
                 speak for a peer; set peer_secret_file"
            );
        }
        let listeners = [
            Listener::new(listen(Purpose::Logs, config.listen_logs)?),
            Listener::new(listen(Purpose::Proposals, config.listen_proposals)?),
        ];
        let registry = registry.try_clone().map_err(watch)?;
        let mut transport = Transport {
            local: Arc::new(Local {
                id: config.id,
                incarnation: config.incarnation,
                group: group.clone(),
                cluster: config.cluster,
                agreement: config.agreement,
                secrets: config.secrets,
                peers: BTreeSet::new(),
            }),
            limits: config.limits,
            registry,
            token_base,
            listeners,
            slots: Slots::default(),
            peers: BTreeMap::new(),
            events: VecDeque::new(),
            ready: VecDeque::new(),
            resting: Vec::new(),
            buffer: vec![0; READ_BYTES].into(),
            complaints: Complaints::default(),
            random: Random::new(config.id, config.incarnation.boot),
            totals: Totals::default(),
            now,
        };
        transport.set_peers(&config.peers);
        Ok(transport)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where the operating system does not say.
    pub fn local_address(&self, purpose: Purpose) -> io::Result<SocketAddr> {
        self.listeners[peer::place(purpose)].socket.local_addr()
    }

    /// Whether an event with the token is for [`Transport::handle`].
    pub fn owns(&self, token: Token) -> bool {
        token.0 >= self.token_base
    }

    /// Other peers from now on, or other addresses of them. Connections with peers that stay
    /// where they were go on.
    pub fn set_peers(&mut self, peers: &[PeerAddress]) {
        let own = self.local.id;
        let wanted: BTreeMap<NodeId, PeerAddress> = peers
            .iter()
            .filter(|peer| peer.id != own)
            .map(|peer| (peer.id, *peer))
            .collect();
        // Whom it takes is changed first: what ends below is not to be taken again.
        Arc::make_mut(&mut self.local).peers = wanted.keys().copied().collect();
        let gone: Vec<NodeId> = self.peers.keys().copied().collect();
        for id in gone {
            match wanted.get(&id) {
                Some(address) => self.move_peer(id, *address),
                None => self.drop_peer(id),
            }
        }
        for (id, address) in wanted {
            let now = self.now;
            self.peers
                .entry(id)
                .or_insert_with(|| Peer::new(address, now));
        }
    }

    /// It belongs to this cluster from now on. All connections begin anew: what is on its way
    /// over them may be lost.
    pub fn set_cluster(&mut self, cluster: Option<ClusterId>) {
        self.renew(|local| local.cluster = cluster);
    }

    /// What must be the same on all nodes is this from now on. As [`Transport::set_cluster`].
    pub fn set_agreement(&mut self, agreement: Agreement) {
        self.renew(|local| local.agreement = agreement);
    }

    /// Its life is this from now on: it has begun anew with another store. As
    /// [`Transport::set_cluster`].
    pub fn set_incarnation(&mut self, incarnation: Incarnation) {
        self.renew(|local| local.incarnation = incarnation);
    }

    /// The secrets are these from now on. As [`Transport::set_cluster`].
    pub fn set_secrets(&mut self, secrets: Secrets) {
        if secrets.is_none() && !self.local.secrets.is_none() {
            log::warn!(
                "Raft group {}: from now on without a secret: whoever reaches it can speak for a \
                 peer; set peer_secret_file",
                self.local.group
            );
        }
        self.renew(|local| local.secrets = secrets);
    }

    fn renew(&mut self, change: impl FnOnce(&mut Local)) {
        let mut local = Local::clone(&self.local);
        change(&mut local);
        if local == *self.local {
            return;
        }
        self.local = Arc::new(local);
        for slot in self.slots.numbers() {
            self.last_words(slot);
            self.end(slot, Failure::Renewed);
        }
        let now = self.now;
        for peer in self.peers.values_mut() {
            peer.outgoing.iter_mut().for_each(|link| link.renew(now));
        }
    }

    /// An event of the poll.
    pub fn handle(&mut self, event: &Event, now: NodeTime) {
        self.now = self.now.max(now);
        let Some(number) = event.token().0.checked_sub(self.token_base) else {
            return;
        };
        if let Some(listener) = self.listeners.get_mut(number) {
            listener.readable = true;
            return;
        }
        let Some(slot) = self.slots.find(ConnectionId(number - LISTENERS)) else {
            return;
        };
        if let Some(connection) = self.slots.get_mut(slot) {
            let failed = event.is_error();
            connection.ending |= event.is_read_closed() || failed;
            connection.readable |= event.is_readable() || connection.ending;
            connection.writable |= event.is_writable() || failed;
        }
        self.on_event(slot);
    }

    /// Begins a turn: accepts, dials, ends what has taken too long.
    pub fn tick(&mut self, now: NodeTime) {
        self.now = self.now.max(now);
        self.wake_resting();
        self.end_overdue();
        self.accept();
        self.dial();
    }

    /// When [`Transport::tick`] is to be called at the latest; a time that has passed: at once.
    pub fn next_deadline(&self) -> Option<NodeTime> {
        let busy = !self.events.is_empty()
            || !self.ready.is_empty()
            || !self.resting.is_empty()
            || self.slots.iter().any(|(_, one)| one.wants_to_write());
        if busy {
            return Some(NodeTime(0));
        }
        let connections = self.slots.iter().filter_map(|(_, one)| one.until());
        let links = self.peers.values().flat_map(|peer| &peer.outgoing);
        let dials = links.filter(|link| link.slot.is_none());
        let listeners = self.listeners.iter().filter(|one| one.readable);
        connections
            .chain(dials.map(|link| link.dial_at))
            .chain(listeners.map(|one| one.accept_at))
            .min()
    }

    /// Each peer's connections.
    pub fn status(&self) -> Vec<PeerStatus> {
        self.peers
            .values()
            .map(|peer| self.peer_status(peer))
            .collect()
    }

    /// What concerns no peer in particular.
    pub fn totals(&self) -> Totals {
        Totals {
            handshakes: self.handshakes().count(),
            ..self.totals
        }
    }

    fn peer_status(&self, peer: &Peer) -> PeerStatus {
        let status = |links: &[peer::Link; 2], at: usize, dialled: bool| {
            let link = &links[at];
            let connection = link.slot.and_then(|slot| self.slots.get(slot));
            let mut counters = link.counters;
            if let Some(connection) = connection {
                counters.add(&connection.counters);
            }
            let known = connection.and_then(|one| Some((one.phase, one.session.peer()?)));
            let state = match (known, connection) {
                (Some((connection::Phase::Open { since }, hello)), _) => LinkState::Connected {
                    since,
                    incarnation: hello.incarnation,
                },
                (_, Some(_)) => LinkState::Connecting,
                (_, None) => LinkState::Down {
                    next_attempt: dialled.then_some(link.dial_at),
                },
            };
            LinkStatus {
                purpose: PURPOSES[at],
                state,
                last_error: link.last_error.clone(),
                counters,
            }
        };
        PeerStatus {
            id: peer.address.id,
            addresses: [peer.address.logs, peer.address.proposals],
            outgoing: [0, 1].map(|at| status(&peer.outgoing, at, true)),
            incoming: [0, 1].map(|at| status(&peer.incoming, at, false)),
        }
    }
}

fn watched(mut socket: TcpListener, registry: &Registry, token: Token) -> io::Result<TcpListener> {
    registry.register(&mut socket, token, Interest::READABLE)?;
    Ok(socket)
}
