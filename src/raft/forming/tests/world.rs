//! Nodes with their disks and the network between them, driven by one seed.
//!
//! The network does what the transport promises and nothing more: connections are made and lost
//! at any moment and noticed at each end at another, messages are delayed and dropped, and a node
//! that claims the id of one still taken for connected, in another life, is turned away.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

/// Numbers from a seed (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// What outlives a crash.
#[derive(Clone)]
pub struct Disk {
    pub store: StoreId,
    start: u64,
    pub form: Option<Form>,
    pub seed: Option<u64>,
}

pub struct Node {
    pub disk: Disk,
    pub peers: Vec<u64>,
    pub machine: Option<Forming>,
    /// A form on its way to the disk.
    pending: Option<Form>,
    now: u64,
}

/// A connection from one node to another: its messages go one way.
struct Link {
    from_life: Incarnation,
    to_life: Incarnation,
    from: End,
    to: End,
    queue: VecDeque<Message>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    /// It has not heard the other's hello.
    Greeting,
    Open,
    Closed,
}

pub struct World {
    pub dice: Dice,
    pub nodes: BTreeMap<NodeId, Node>,
    links: BTreeMap<(NodeId, NodeId), Link>,
    pub wipes: usize,
    /// Forms that were lost with a disk.
    pub wiped_forms: usize,
    /// Clusters of more than one voter that ever had a majority.
    pub held: BTreeSet<ClusterId>,
    pub steps: Vec<String>,
}

impl World {
    pub fn new(seed: u64, count: u64, seeds: &[u64]) -> World {
        let peers: Vec<u64> = (1..=count).collect();
        let mut world = World {
            dice: Dice(seed),
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            wipes: 0,
            wiped_forms: 0,
            held: BTreeSet::new(),
            steps: Vec::new(),
        };
        for &id in &peers {
            let node = Node {
                disk: Disk {
                    store: StoreId(u128::from(world.dice.next())),
                    start: 0,
                    form: None,
                    seed: seeds.contains(&id).then_some(id),
                },
                peers: peers.clone(),
                machine: None,
                pending: None,
                now: 0,
            };
            world.nodes.insert(n(id), node);
        }
        world
    }

    fn any_node(&mut self) -> NodeId {
        let at = self.dice.below(self.nodes.len());
        *self.nodes.keys().nth(at).unwrap()
    }

    fn any_link(&mut self) -> Option<(NodeId, NodeId)> {
        if self.links.is_empty() {
            return None;
        }
        let at = self.dice.below(self.links.len());
        self.links.keys().nth(at).copied()
    }

    /// One thing happens; disks are wiped `wipes` times at most.
    pub fn step(&mut self, wipes: usize) {
        match self.dice.below(100) {
            0..4 => {
                let id = self.any_node();
                self.crash(id);
                if self.wipes < wipes && self.dice.one_in(8) {
                    self.wipe(id);
                }
            }
            4..20 => {
                let id = self.any_node();
                self.boot(id);
            }
            20..40 => {
                let (from, to) = (self.any_node(), self.any_node());
                self.dial(from, to);
            }
            40..45 => {
                if let Some(link) = self.any_link() {
                    let at_from = self.dice.one_in(2);
                    self.close(link, at_from);
                }
            }
            45..75 => {
                if let Some(link) = self.any_link() {
                    self.greet(link);
                    self.deliver(link);
                }
            }
            75..90 => {
                let id = self.any_node();
                self.sync(id);
            }
            _ => {
                let id = self.any_node();
                self.tick(id);
            }
        }
        self.check();
    }

    fn life(&self, id: NodeId) -> Option<Incarnation> {
        self.nodes[&id].machine.as_ref().map(|machine| machine.life)
    }

    pub fn boot(&mut self, id: NodeId) {
        let (boot, draw) = (self.dice.next(), self.dice.next());
        let node = self.nodes.get_mut(&id).unwrap();
        if node.machine.is_some() {
            return;
        }
        node.disk.start += 1;
        let found = match &node.disk.form {
            None => Found::Blank {
                seed: node.disk.seed,
            },
            Some(form) => Found::Log {
                facts: log(form.cluster.0, 1, 1),
                form: Some(form.clone()),
            },
        };
        let start = Start {
            id,
            life: Incarnation {
                store: node.disk.store,
                start: node.disk.start,
                boot,
            },
            statement: list(&node.peers),
            found,
            draw: ClusterId(u128::from(draw)),
        };
        node.machine = Some(Forming::new(start, NodeTime(node.now)));
        self.steps.push(format!("{id:?} starts"));
        self.carry_out(id);
    }

    fn crash(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.machine.take().is_none() {
            return;
        }
        // What was on its way to the disk may have reached it.
        if let Some(form) = node.pending.take()
            && self.dice.one_in(2)
        {
            self.write(id, form);
        }
        self.steps.push(format!("{id:?} crashes"));
        for (&(from, to), link) in &mut self.links {
            if from == id {
                link.from = End::Closed;
            }
            if to == id {
                link.to = End::Closed;
            }
        }
        self.forget_links();
    }

    fn wipe(&mut self, id: NodeId) {
        let store = StoreId(u128::from(self.dice.next()));
        let node = self.nodes.get_mut(&id).unwrap();
        self.wiped_forms += usize::from(node.disk.form.is_some());
        node.disk = Disk {
            store,
            start: 0,
            form: None,
            seed: None,
        };
        self.wipes += 1;
        self.steps.push(format!("{id:?} is wiped"));
    }

    fn write(&mut self, id: NodeId, form: Form) {
        let disk = &mut self.nodes.get_mut(&id).unwrap().disk;
        assert!(disk.form.is_none(), "a store takes one form");
        self.steps
            .push(format!("{id:?} holds {:x}", form.cluster.0));
        disk.form = Some(form);
    }

    fn sync(&mut self, id: NodeId) {
        let Some(form) = self.nodes.get_mut(&id).unwrap().pending.take() else {
            return;
        };
        let cluster = form.cluster;
        self.write(id, form);
        let node = self.nodes.get_mut(&id).unwrap();
        node.machine.as_mut().unwrap().persisted(cluster);
        self.carry_out(id);
    }

    fn tick(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.now += REPEAT_MS;
        if let Some(machine) = &mut node.machine {
            machine.tick(NodeTime(node.now));
            self.carry_out(id);
        }
    }

    fn dial(&mut self, from: NodeId, to: NodeId) {
        let (Some(from_life), Some(to_life)) = (self.life(from), self.life(to)) else {
            return;
        };
        if from == to || self.links.contains_key(&(from, to)) {
            return;
        }
        let link = Link {
            from_life,
            to_life,
            from: End::Greeting,
            to: End::Greeting,
            queue: VecDeque::new(),
        };
        self.links.insert((from, to), link);
    }

    /// Whether `at` takes `peer` for connected in another life than this.
    fn is_taken(&self, at: NodeId, peer: NodeId, life: Incarnation) -> bool {
        let outgoing = self.links.get(&(at, peer));
        let incoming = self.links.get(&(peer, at));
        outgoing.is_some_and(|link| link.from == End::Open && link.to_life != life)
            || incoming.is_some_and(|link| link.to == End::Open && link.from_life != life)
    }

    /// The next step of a handshake: first who was dialled hears of the other, then the other.
    fn greet(&mut self, (from, to): (NodeId, NodeId)) {
        let link = &self.links[&(from, to)];
        let (at, peer, life) = match (link.from, link.to) {
            (_, End::Greeting) => (to, from, link.from_life),
            (End::Greeting, End::Open) => (from, to, link.to_life),
            _ => return,
        };
        if self.is_taken(at, peer, life) {
            self.close((from, to), true);
            self.close((from, to), false);
            return;
        }
        let link = self.links.get_mut(&(from, to)).unwrap();
        match at == to {
            true => link.to = End::Open,
            false => link.from = End::Open,
        }
        self.machine(at).peer_up(peer, life);
        self.carry_out(at);
    }

    fn machine(&mut self, id: NodeId) -> &mut Forming {
        self.nodes.get_mut(&id).unwrap().machine.as_mut().unwrap()
    }

    /// One end notices that the connection is lost.
    fn close(&mut self, (from, to): (NodeId, NodeId), at_from: bool) {
        let Some(link) = self.links.get_mut(&(from, to)) else {
            return;
        };
        let (end, at, peer) = match at_from {
            true => (&mut link.from, from, to),
            false => (&mut link.to, to, from),
        };
        let was_open = *end == End::Open;
        *end = End::Closed;
        self.forget_links();
        let other = self.links.get(&(peer, at));
        let is_open = |link: &Link| match at_from {
            true => link.to == End::Open,
            false => link.from == End::Open,
        };
        if was_open && !other.is_some_and(is_open) {
            self.machine(at).peer_down(peer);
            self.carry_out(at);
        }
    }

    fn forget_links(&mut self) {
        let closed = End::Closed;
        self.links
            .retain(|_, link| (link.from, link.to) != (closed, closed));
    }

    fn deliver(&mut self, (from, to): (NodeId, NodeId)) {
        let Some(link) = self.links.get_mut(&(from, to)) else {
            return;
        };
        if link.to != End::Open {
            return;
        }
        let Some(message) = link.queue.pop_front() else {
            return;
        };
        let life = link.from_life;
        self.machine(to).receive(from, life, message);
        self.carry_out(to);
    }

    fn carry_out(&mut self, id: NodeId) {
        for effect in self.machine(id).effects() {
            match effect {
                Effect::Send { to, message } => {
                    let is_lost = self.dice.one_in(12);
                    if let Some(link) = self.links.get_mut(&(id, to))
                        && link.from == End::Open
                        && !is_lost
                    {
                        link.queue.push_back(message);
                    }
                }
                Effect::Persist(form) => self.nodes.get_mut(&id).unwrap().pending = Some(form),
                Effect::Begin(form) => {
                    let node = &self.nodes[&id];
                    assert_eq!(node.disk.form, Some(form), "begun before it was durable");
                }
                Effect::Refused { .. } => {}
            }
        }
    }

    /// Forms that a majority of their voters hold now, each on the store that the form names.
    pub fn majorities(&self) -> BTreeSet<ClusterId> {
        let forms = self
            .nodes
            .values()
            .filter_map(|node| node.disk.form.as_ref());
        let has_majority = |form: &&Form| {
            let holders = form.membership.members.iter().filter(|(id, member)| {
                let disk = &self.nodes[id].disk;
                let named = member.life.map(|life| life.incarnation.store);
                member.role == Role::Voter
                    && disk.form.as_ref().is_some_and(|held| held == *form)
                    && named == Some(disk.store)
            });
            holders.count() >= form.membership.majority()
        };
        forms
            .filter(has_majority)
            .map(|form| form.cluster)
            .collect()
    }

    fn check(&mut self) {
        let now = self.majorities();
        assert!(now.len() <= 1, "two clusters hold: {now:?}");
        // Wiping its only voter ends a cluster; wiping one of several must not.
        let is_alone = |cluster: &ClusterId| {
            let disks = self.nodes.values().map(|node| &node.disk);
            let mut forms = disks.filter_map(|disk| disk.form.as_ref());
            forms.any(|form| form.cluster == *cluster && form.beginning == Beginning::Seed)
        };
        let held: Vec<ClusterId> = now.into_iter().filter(|id| !is_alone(id)).collect();
        self.held.extend(held);
        if self.wipes <= 1 {
            assert!(self.held.len() <= 1, "two clusters held: {:?}", self.held);
        }
    }

    /// Everything is reachable, and nothing more goes wrong.
    pub fn heal(&mut self) {
        for _ in 0..40 {
            let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
            let dead: Vec<(NodeId, NodeId)> = self
                .links
                .iter()
                .filter(|(_, link)| link.from == End::Closed || link.to == End::Closed)
                .map(|(ends, _)| *ends)
                .collect();
            for link in dead {
                self.close(link, true);
                self.close(link, false);
            }
            for &id in &ids {
                self.boot(id);
                self.sync(id);
            }
            for &from in &ids {
                for &to in &ids {
                    self.dial(from, to);
                }
            }
            let links: Vec<(NodeId, NodeId)> = self.links.keys().copied().collect();
            for link in links {
                for _ in 0..4 {
                    if self.links.contains_key(&link) {
                        self.greet(link);
                    }
                    self.deliver(link);
                }
            }
            for &id in &ids {
                self.tick(id);
            }
            self.check();
        }
    }
}
