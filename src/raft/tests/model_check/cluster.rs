//! The whole cluster as one state, and the steps from it to the next.

use std::collections::BTreeMap;

use bytes::Bytes;
use tcpffee_raft::core::Role;
use tcpffee_raft::entry::{ClientId, Command, Entry};
use tcpffee_raft::ids::{LogTime, NodeId, Term};
use tcpffee_raft::message::Envelope;

use crate::node::{Disk, NODES, Node, id_of, settings};
use crate::print::Printed;

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A message arrives. It stays in flight: it may come again, and again.
    Deliver(Printed<Envelope>),
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
    pub nodes: [Printed<Node>; NODES],
    /// Every message ever sent, in the order of their prints: a network that loses (what is never
    /// delivered), doubles and reorders as it likes.
    pub network: Vec<Printed<Envelope>>,
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
        let node = |node| Node::formed(node, disk);
        let mut cluster = Cluster {
            nodes: std::array::from_fn(|at| Printed::new(node(at))),
            network: Vec::new(),
            taken: Taken::default(),
            leaders: BTreeMap::new(),
            agreed: Vec::new(),
        };
        for at in 0..NODES {
            cluster.settle(at, node(at));
        }
        cluster
    }

    /// The cluster after a step; none where the step changes nothing.
    pub fn after(&self, action: &Action) -> Option<Cluster> {
        let mut taken = self.taken;
        let node = |at: usize| (at, Node::clone(&self.nodes[at]));
        let (at, node) = match action {
            Action::Deliver(envelope) => {
                let (at, mut node) = node(place_of(envelope.to));
                node.core.receive(Envelope::clone(envelope));
                (at, node)
            }
            Action::Persist(at) => {
                let (at, mut node) = node(*at);
                node.persist();
                (at, node)
            }
            Action::TimeOut(at) => {
                taken.time_outs[*at] += 1;
                let (at, mut node) = node(*at);
                node.elapse(settings().election_max_ms);
                (at, node)
            }
            Action::Beat(at) => {
                taken.beats += 1;
                let (at, mut node) = node(*at);
                node.elapse(settings().heartbeat_ms);
                (at, node)
            }
            Action::Propose(at) => {
                taken.proposals += 1;
                let (at, mut node) = node(*at);
                node.core.propose(command(taken.proposals)).ok()?;
                (at, node)
            }
            Action::Transfer(at, to) => {
                taken.transfers += 1;
                let (at, mut node) = node(*at);
                node.core.transfer_leadership(id_of(*to)).ok()?;
                (at, node)
            }
            Action::Crash(at) => {
                taken.crashes += 1;
                let (at, mut node) = node(*at);
                node.crash();
                (at, node)
            }
        };
        let mut next = self.clone();
        next.taken = taken;
        if let Action::Crash(at) = action {
            // What the connections of the dead process carried is gone with them.
            let dead = id_of(*at);
            next.network
                .retain(|envelope| envelope.from != dead && envelope.to != dead);
        }
        next.settle(at, node);
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

    /// Delivers, once each, and writes whatever there is among these nodes until nothing is left.
    pub fn run_quietly(&mut self, among: &[usize]) {
        while self.run_one(among) {}
    }

    /// Does so until something holds.
    pub fn run_until(&mut self, among: &[usize], holds: impl Fn(&Cluster) -> bool) {
        while !holds(self) {
            assert!(self.run_one(among), "the cluster gets there");
        }
    }

    /// One message or write among these nodes. Answers whether there was any.
    fn run_one(&mut self, among: &[usize]) -> bool {
        if let Some(node) = among.iter().find(|node| self.nodes[**node].is_writing()) {
            self.step(&Action::Persist(*node));
            return true;
        }
        let place = self.network.iter().position(|envelope| {
            let ends = [envelope.from, envelope.to].map(place_of);
            ends.iter().all(|end| among.contains(end))
        });
        let Some(place) = place else {
            return false;
        };
        let envelope = self.network.remove(place);
        if let Some(next) = self.after(&Action::Deliver(envelope)) {
            *self = next;
        }
        true
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

    /// Carries out what a core asks for, and notes what it shows.
    fn settle(&mut self, at: usize, mut node: Node) {
        for envelope in node.settle() {
            self.send(Printed::new(envelope));
        }
        let (core, term) = (&node.core, node.core.term());
        if core.role() == Role::Leader {
            let led = self.leaders.entry(term).or_default();
            if !led.contains(&core.id()) {
                led.push(core.id());
                led.sort_unstable();
            }
        }
        let known = self.agreed.len();
        if core.commit().0 > known as u64 {
            let news = node.log_to(core.commit()).into_iter().skip(known);
            self.agreed.extend(news.map(|entry| (term, entry)));
        }
        self.nodes[at] = Printed::new(node);
    }

    fn send(&mut self, envelope: Printed<Envelope>) {
        let place = self
            .network
            .binary_search_by_key(&envelope.print(), Printed::print);
        if let Err(place) = place {
            self.network.insert(place, envelope);
        }
    }
}

/// The place of a node's id.
pub fn place_of(id: NodeId) -> usize {
    usize::try_from(id.0 - 1).expect("a small number")
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
