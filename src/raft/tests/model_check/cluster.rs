//! The whole cluster as one state, and the steps from it to the next.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use tcpffee_raft::core::Role;
use tcpffee_raft::entry::{ClientId, Command, Entry};
use tcpffee_raft::ids::{Index, LogTime, NodeId, Term};
use tcpffee_raft::message::{Envelope, Message};

use crate::node::{Disk, NODES, Node, id_of, settings};

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A message arrives. It stays in flight: it may come again, and again.
    Deliver(Arc<Envelope>),
    /// A node's oldest write becomes durable.
    Persist(usize),
    /// A node's clock goes on by an election time-out: whoever heard no leader stands, a leader
    /// that heard no majority steps down.
    TimeOut(usize),
    /// A leader's clock goes on by a heartbeat.
    Beat(usize),
    /// A leader is given a command.
    Propose(usize),
    /// A leader is asked to hand over to another node.
    Transfer(usize, usize),
    /// A node crashes and starts again with what was durable.
    Crash(usize),
}

/// How often each kind of step has been taken; messages and writes are not counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Taken {
    /// Time-outs by node.
    pub time_outs: [u8; NODES],
    /// Heartbeats.
    pub beats: u8,
    /// Commands.
    pub proposals: u8,
    /// Hand-overs.
    pub transfers: u8,
    /// Crashes.
    pub crashes: u8,
}

/// Nodes, network, and what has been seen of them on the way here.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Cluster {
    /// The nodes.
    pub nodes: [Arc<Node>; NODES],
    /// Every message ever sent, in the order of a hash: a network that loses (what is never
    /// delivered), doubles and reorders as it likes.
    pub network: Vec<Arc<Envelope>>,
    /// The steps so far.
    pub taken: Taken,
    /// Whoever led a term.
    pub leaders: BTreeMap<Term, Vec<NodeId>>,
    /// Every entry that any node has ever held for committed, with the term of the leader that
    /// committed it.
    pub agreed: Vec<(Term, Entry)>,
}

impl Cluster {
    /// Three nodes that have just formed a cluster.
    pub fn formed(disk: Disk) -> Cluster {
        let mut cluster = Cluster {
            nodes: std::array::from_fn(|node| Arc::new(Node::formed(node, disk))),
            network: Vec::new(),
            taken: Taken::default(),
            leaders: BTreeMap::new(),
            agreed: Vec::new(),
        };
        for node in 0..NODES {
            cluster.settle(node);
        }
        cluster
    }

    /// The cluster after a step; none where the step changes nothing.
    pub fn after(&self, action: &Action) -> Option<Cluster> {
        let mut next = self.clone();
        let node = match action {
            Action::Deliver(envelope) => {
                let node = place_of(envelope.to);
                next.node(node).core.receive(Envelope::clone(envelope));
                node
            }
            Action::Persist(node) => {
                next.node(*node).persist();
                *node
            }
            Action::TimeOut(node) => {
                next.taken.time_outs[*node] += 1;
                next.node(*node).elapse(settings().election_max_ms);
                *node
            }
            Action::Beat(node) => {
                next.taken.beats += 1;
                next.node(*node).elapse(settings().heartbeat_ms);
                *node
            }
            Action::Propose(node) => {
                next.taken.proposals += 1;
                let command = command(next.taken.proposals);
                next.node(*node).core.propose(command).ok()?;
                *node
            }
            Action::Transfer(node, to) => {
                next.taken.transfers += 1;
                next.node(*node).core.transfer_leadership(id_of(*to)).ok()?;
                *node
            }
            Action::Crash(node) => {
                next.taken.crashes += 1;
                next.node(*node).crash();
                // What the connections of the dead process carried is gone with them.
                let dead = id_of(*node);
                next.network
                    .retain(|envelope| envelope.from != dead && envelope.to != dead);
                *node
            }
        };
        next.settle(node);
        // A message that changes nothing is as good as lost.
        let useless = matches!(action, Action::Deliver(_)) && next == *self;
        (!useless).then_some(next)
    }

    /// Takes a step that must change something.
    pub fn step(&mut self, action: &Action) {
        *self = self
            .after(action)
            .unwrap_or_else(|| panic!("{action:?} changes nothing"));
    }

    /// Delivers and writes whatever there is among these nodes until nothing changes any more.
    pub fn run_quietly(&mut self, among: &[usize]) {
        while let Some(next) = self.any_next(among) {
            *self = next;
        }
    }

    /// Does so until something holds.
    pub fn run_until(&mut self, among: &[usize], holds: impl Fn(&Cluster) -> bool) {
        while !holds(self) {
            *self = self.any_next(among).expect("the cluster gets there");
        }
    }

    /// The cluster after any one message or write among these nodes that changes something.
    fn any_next(&self, among: &[usize]) -> Option<Cluster> {
        if let Some(node) = among.iter().find(|node| self.nodes[**node].is_writing()) {
            return self.after(&Action::Persist(*node));
        }
        self.network.iter().find_map(|envelope| {
            let ends = [envelope.from, envelope.to].map(place_of);
            if ends.iter().any(|end| !among.contains(end)) {
                return None;
            }
            self.after(&Action::Deliver(Arc::clone(envelope)))
        })
    }

    /// Forgets what was sent and counted so far.
    pub fn forget(&mut self) {
        self.network.clear();
        self.taken = Taken::default();
    }

    /// The node that leads in the newest term.
    pub fn leader(&self) -> Option<usize> {
        (0..NODES)
            .filter(|node| self.nodes[*node].core.role() == Role::Leader)
            .max_by_key(|node| self.nodes[*node].core.term())
    }

    fn node(&mut self, node: usize) -> &mut Node {
        Arc::make_mut(&mut self.nodes[node])
    }

    /// Carries out what a core asks for, and notes what it shows.
    fn settle(&mut self, node: usize) {
        for envelope in self.node(node).settle() {
            self.send(envelope);
        }
        let core = &self.nodes[node].core;
        if core.role() == Role::Leader {
            let led = self.leaders.entry(core.term()).or_default();
            if !led.contains(&id_of(node)) {
                led.push(id_of(node));
                led.sort_unstable();
            }
        }
        let known = Index(self.agreed.len() as u64);
        if core.commit() > known {
            let news = core.entries(known.next(), core.commit());
            let term = core.term();
            self.agreed
                .extend(news.into_iter().map(|entry| (term, entry)));
        }
    }

    fn send(&mut self, envelope: Envelope) {
        let key = order(&envelope);
        let at = self
            .network
            .partition_point(|other| order(other) < key);
        let known = self.network[at..]
            .iter()
            .take_while(|other| order(other) == key)
            .any(|other| **other == envelope);
        if !known {
            self.network.insert(at, Arc::new(envelope));
        }
    }
}

/// The place of a node's id.
pub fn place_of(id: NodeId) -> usize {
    usize::try_from(id.0 - 1).expect("a small number")
}

/// Whether a message belongs to the heartbeats.
pub fn is_beat(message: &Message) -> bool {
    matches!(
        message,
        Message::Heartbeat { .. } | Message::HeartbeatReply { .. }
    )
}

/// `DefaultHasher::new` has no key of its own: the order is the same in every run.
fn order(envelope: &Envelope) -> u64 {
    let mut hasher = DefaultHasher::new();
    envelope.hash(&mut hasher);
    hasher.finish()
}

fn command(number: u8) -> Command {
    Command {
        client: ClientId {
            node: id_of(0),
            boot: 1,
        },
        sequence: u64::from(number),
        answered_below: 1,
        issued: LogTime(0),
        version: 0,
        body: Bytes::from(vec![number]),
    }
}
