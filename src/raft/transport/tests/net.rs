//! Several transports in one thread, over loopback addresses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::entry::{ClientId, Command};
use crate::ids::{Incarnation, Index, LogTime, NodeId, NodeTime, Term};
use crate::message::{Envelope, Message};
use crate::transport::{LinkState, PeerAddress, PeerStatus, Received, Transport, TransportConfig};
use crate::wire::Purpose;
use crate::wire::ended::Ended;
use crate::wire::hello::Agreement;
use crate::wire::proposal::Propose;
use crate::wire::secrets::Secrets;
use crate::wire::tests::talk::{self, Side};

pub const LOGS: Purpose = Purpose::Logs;

pub const TOKEN_BASE: usize = 10;

/// Nothing here takes as long, unless it never comes.
const DEADLINE: Duration = Duration::from_secs(30);

pub fn incarnation(id: u64, start: u64) -> Incarnation {
    Incarnation {
        start,
        boot: id * 1000 + start,
        ..talk::incarnation(id)
    }
}

/// A configuration for a node without peers.
pub fn config(id: u64) -> TransportConfig {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    TransportConfig {
        id: NodeId(id),
        group: "stick".into(),
        incarnation: incarnation(id, 1),
        cluster: talk::local(id).cluster,
        agreement: Agreement {
            hash: [9; 32],
            text: "key_type IP".into(),
        },
        secrets: Secrets::none(),
        listen_logs: any,
        listen_proposals: any,
        peers: Vec::new(),
        limits: Default::default(),
    }
}

pub struct Node {
    pub transport: Transport,
    pub received: Vec<Received>,
    /// Whether it takes what has arrived.
    pub takes: bool,
    poll: Poll,
    events: Events,
    start: Instant,
}

impl Node {
    pub fn open(config: TransportConfig) -> Node {
        let poll = Poll::new().expect("a poll");
        let transport = Transport::open(config, poll.registry(), TOKEN_BASE, NodeTime(1));
        Node {
            transport: transport.expect("a transport"),
            received: Vec::new(),
            takes: true,
            poll,
            events: Events::with_capacity(64),
            start: Instant::now(),
        }
    }

    pub fn id(&self) -> NodeId {
        self.transport.local.id
    }

    pub fn now(&self) -> NodeTime {
        NodeTime(1000 + self.start.elapsed().as_millis() as u64)
    }

    pub fn address(&self) -> PeerAddress {
        let at = |purpose| self.transport.local_address(purpose).expect("an address");
        PeerAddress {
            id: self.id(),
            logs: at(Purpose::Logs),
            proposals: at(Purpose::Proposals),
        }
    }

    /// One turn, as a driver makes it, except that it waits for nothing.
    pub fn turn(&mut self) {
        let poll = self.poll.poll(&mut self.events, Some(Duration::ZERO));
        poll.expect("it polls");
        let now = self.now();
        for event in &self.events {
            self.transport.handle(event, now);
        }
        self.transport.tick(now);
        while self.takes
            && let Some(received) = self.transport.received()
        {
            self.received.push(received);
        }
        self.transport.flush();
    }

    pub fn status(&self, peer: u64) -> PeerStatus {
        let status = self.transport.status();
        let mut found = status.into_iter().filter(|one| one.id == NodeId(peer));
        found.next().expect("a configured peer")
    }

    /// Whether all four connections with the peer are there.
    pub fn is_connected(&self, peer: u64) -> bool {
        let status = self.status(peer);
        let mut links = status.outgoing.iter().chain(&status.incoming);
        links.all(|link| matches!(link.state, LinkState::Connected { .. }))
    }

    pub fn send(&mut self, to: u64, message: Message) {
        self.transport.send(Envelope {
            from: self.id(),
            incarnation: self.transport.local.incarnation,
            to: NodeId(to),
            term: Term(1),
            message,
        });
    }

    /// What has been said about refused connections.
    pub fn refusals(&self) -> Vec<&Ended> {
        let refused = self.received.iter().filter_map(|one| match one {
            Received::Refused { ended, .. } => Some(ended),
            _ => None,
        });
        refused.collect()
    }

    pub fn messages(&self) -> impl Iterator<Item = &Envelope> {
        self.received.iter().filter_map(|one| match one {
            Received::Message(envelope) => Some(envelope),
            _ => None,
        })
    }
}

pub struct Net {
    pub nodes: Vec<Node>,
}

impl Net {
    /// Opens them and tells each of all.
    pub fn open(configs: Vec<TransportConfig>) -> Net {
        let mut net = Net {
            nodes: configs.into_iter().map(Node::open).collect(),
        };
        net.introduce();
        net
    }

    /// Nodes 1 to `count`, with all connections there.
    pub fn connected(count: u64, change: impl Fn(&mut TransportConfig)) -> Net {
        let configs = (1..=count).map(|id| {
            let mut config = config(id);
            change(&mut config);
            config
        });
        let mut net = Net::open(configs.collect());
        net.until_connected();
        net
    }

    pub fn introduce(&mut self) {
        let peers: Vec<PeerAddress> = self.nodes.iter().map(Node::address).collect();
        for node in &mut self.nodes {
            node.transport.set_peers(&peers);
        }
    }

    /// The node with that id.
    pub fn node(&mut self, id: u64) -> &mut Node {
        let mut nodes = self.nodes.iter_mut();
        nodes.find(|node| node.id() == NodeId(id)).expect("a node")
    }

    pub fn turn(&mut self) {
        self.nodes.iter_mut().for_each(Node::turn);
    }

    /// Turns until it is so.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Net) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
            self.turn();
            std::thread::yield_now();
        }
    }

    pub fn until_connected(&mut self) {
        self.until("all are connected", |net| {
            let ids: Vec<u64> = net.nodes.iter().map(|node| node.id().0).collect();
            net.nodes.iter().all(|node| {
                let others = ids.iter().filter(|id| NodeId(**id) != node.id());
                others.into_iter().all(|id| node.is_connected(*id))
            })
        });
    }
}

/// A message that bears a number.
pub fn numbered(number: u64) -> Message {
    Message::Appended {
        matched: Index(number),
    }
}

pub fn number_of(envelope: &Envelope) -> Option<u64> {
    match envelope.message {
        Message::Appended { matched } => Some(matched.0),
        _ => None,
    }
}

pub fn propose(id: u64, body: &[u8]) -> Propose {
    Propose {
        id,
        command: Command {
            client: ClientId {
                node: NodeId(1),
                boot: 7,
            },
            sequence: id,
            answered_below: 0,
            issued: LogTime(0),
            version: 1,
            body: body.to_vec().into(),
        },
    }
}

/// Somebody with a socket of his own who may know the protocol.
pub struct Stranger {
    pub stream: TcpStream,
    pub side: Option<Side>,
    pub hung_up: bool,
}

impl Stranger {
    pub fn knock(at: SocketAddr) -> Stranger {
        let stream = TcpStream::connect(at).expect("a listener");
        stream.set_nonblocking(true).expect("a socket");
        Stranger {
            stream,
            side: None,
            hung_up: false,
        }
    }

    /// Speaks the protocol as that side.
    pub fn speaking(at: SocketAddr, side: Side) -> Stranger {
        Stranger {
            side: Some(side),
            ..Stranger::knock(at)
        }
    }

    /// Says what it has to say and hears what there is.
    pub fn turn(&mut self) {
        if let Some(side) = &mut self.side {
            let said = side.say();
            self.shout(&said);
        }
        let mut buffer = [0; 4096];
        while !self.hung_up {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.hung_up = true,
                Ok(bytes) => {
                    if let Some(side) = &mut self.side {
                        side.hear(&buffer[..bytes], usize::MAX);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => self.hung_up = true,
            }
        }
    }

    /// Writes as much as the kernel takes; how much.
    pub fn shout(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() && !self.hung_up {
            match self.stream.write(&bytes[written..]) {
                Ok(more) => written += more,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => self.hung_up = true,
            }
        }
        written
    }

    pub fn is_open(&self) -> bool {
        self.side.as_ref().is_some_and(|side| side.open)
    }
}
