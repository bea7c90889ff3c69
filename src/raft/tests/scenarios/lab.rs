//! A cluster of cores on a bench: nothing moves unless a test moves it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tcpffee_raft::core::{Change, ChunkWrite, Core, CoreEvent, ProposeError, Role, Start};
use tcpffee_raft::durable::{HardState, Write};
use tcpffee_raft::entry::{Entry, Payload};
use tcpffee_raft::ids::{Incarnation, Index, LogTime, NodeTime, Position, StoreId, Term};
use tcpffee_raft::membership::Statement;
use tcpffee_raft::message::{Envelope, Message, SnapshotMeta};
use tcpffee_raft::settings::Settings;

pub use crate::parts::{Disk, at, command, entry, id, settings};
use crate::parts::{first_life, founders, snapshot_bytes};

pub struct Node {
    /// None while it is down.
    core: Option<Core>,
    pub disk: Disk,
    life: Incarnation,
    writes: VecDeque<Write>,
    to_apply: VecDeque<Entry>,
    /// What the state machine has applied since it was restored from a snapshot.
    pub applied: Vec<Entry>,
    pub events: Vec<CoreEvent>,
    clock: NodeTime,
    /// Whether writes stay under way.
    pub disk_waits: bool,
    /// Whether committed entries stay unapplied.
    pub machine_waits: bool,
    statement: Option<Statement>,
}

/// How far the numbers of two lives of a node are apart: drawn at random, they would be about so.
const BETWEEN_BOOTS: u64 = 1 << 40;

/// The bench.
pub struct Lab {
    pub nodes: BTreeMap<u64, Node>,
    /// Messages on their way, oldest first.
    pub wire: VecDeque<Envelope>,
    cuts: BTreeSet<(u64, u64)>,
    settings: Settings,
}

impl Lab {
    /// A cluster of nodes 1 to `count` that was just formed.
    pub fn formed(count: u64) -> Lab {
        Lab::formed_with(count, settings())
    }

    /// Such a cluster with other times and bounds.
    pub fn formed_with(count: u64, settings: Settings) -> Lab {
        let ids: Vec<u64> = (1..=count).collect();
        let mut lab = Lab::empty();
        lab.settings = settings;
        lab.add_all(&ids, &ids.iter().map(|n| (*n, &[][..])).collect::<Vec<_>>());
        lab
    }

    /// Nodes that are voters by the entry at 1, with logs that go on from 2 by these terms.
    pub fn with_logs(voters: &[u64], logs: &[(u64, &[u64])]) -> Lab {
        let mut lab = Lab::empty();
        lab.add_all(voters, logs);
        lab
    }

    fn add_all(&mut self, voters: &[u64], logs: &[(u64, &[u64])]) {
        let genesis = Payload::Membership(Arc::new(founders(voters)));
        for (n, terms) in logs {
            let mut entries = vec![entry(1, 1, genesis.clone())];
            for (offset, term) in terms.iter().enumerate() {
                let text = format!("{offset}/{term}");
                let payload = Payload::Command(command(&text));
                entries.push(entry(offset as u64 + 2, *term, payload));
            }
            let disk = Disk {
                hard_state: HardState {
                    term: Term(terms.last().copied().unwrap_or(1)),
                    vote: None,
                    commit: Index(1),
                },
                entries,
                ..Disk::default()
            };
            self.add(*n, disk);
        }
    }

    pub fn empty() -> Lab {
        Lab {
            nodes: BTreeMap::new(),
            wire: VecDeque::new(),
            cuts: BTreeSet::new(),
            settings: settings(),
        }
    }

    pub fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// Starts a node on a disk, in its first life.
    pub fn add(&mut self, n: u64, disk: Disk) {
        let mut life = first_life(n);
        life.start = 0;
        life.boot = life.boot.wrapping_sub(BETWEEN_BOOTS);
        let node = Node {
            core: None,
            disk,
            life,
            writes: VecDeque::new(),
            to_apply: VecDeque::new(),
            applied: Vec::new(),
            events: Vec::new(),
            clock: NodeTime(1_000_000 * n),
            disk_waits: false,
            machine_waits: false,
            statement: None,
        };
        self.nodes.insert(n, node);
        self.restart(n);
    }

    /// The power goes: what was not durable is lost, messages already sent are not.
    pub fn crash(&mut self, n: u64) {
        let node = self.node(n);
        node.core = None;
        node.writes.clear();
        node.to_apply.clear();
        node.applied.clear();
    }

    /// The next life on the same disk.
    pub fn restart(&mut self, n: u64) {
        self.restart_with(n, self.settings);
    }

    /// The same with times and bounds of its own.
    pub fn restart_with(&mut self, n: u64, settings: Settings) {
        let node = self.node(n);
        node.life.start += 1;
        node.life.boot = node.life.boot.wrapping_add(BETWEEN_BOOTS);
        node.core = Some(Core::new(Start {
            id: id(n),
            incarnation: node.life,
            settings,
            seed: n,
            now: node.clock,
            statement: node.statement.clone(),
            recovered: node.disk.recovered(),
        }));
        self.take_output(n);
    }

    /// The machine reboots, and its clock begins anew `ms` before what it shows now.
    pub fn reboot(&mut self, n: u64, ms: u64) {
        self.crash(n);
        let node = self.node(n);
        node.clock = NodeTime(node.clock.0 - ms);
        self.restart(n);
    }

    /// The disk is lost; the node comes back with an empty one.
    pub fn wipe(&mut self, n: u64) {
        self.crash(n);
        let node = self.node(n);
        node.disk = Disk::default();
        node.life.store = StoreId(node.life.store.0 + 1000);
        node.life.start = 0;
        self.restart(n);
    }

    /// The disk is replaced by an older copy of itself.
    pub fn restore(&mut self, n: u64, disk: Disk, start: u64) {
        self.crash(n);
        let node = self.node(n);
        node.disk = disk;
        node.life.start = start;
        node.life.boot += 100;
        self.restart(n);
    }

    pub fn node(&mut self, n: u64) -> &mut Node {
        self.nodes.get_mut(&n).expect("a node of the bench")
    }

    pub fn core(&self, n: u64) -> &Core {
        self.nodes[&n].core.as_ref().expect("a node that is up")
    }

    /// Does something with a core and takes what it asks for.
    pub fn with<T>(&mut self, n: u64, act: impl FnOnce(&mut Core) -> T) -> T {
        let node = self.nodes.get_mut(&n).expect("a node of the bench");
        let core = node.core.as_mut().expect("a node that is up");
        let result = act(core);
        self.take_output(n);
        result
    }

    fn take_output(&mut self, n: u64) {
        let node = self.nodes.get_mut(&n).expect("a node of the bench");
        let Some(core) = node.core.as_mut() else {
            return;
        };
        let output = core.output();
        self.wire.extend(output.messages);
        node.writes.extend(output.writes);
        node.events.extend(output.events);
        if let Some(meta) = &output.restore {
            node.to_apply.clear();
            node.applied.clear();
            core.applied(meta.last.index);
        }
        node.to_apply.extend(output.committed);
        let mut chunks = Vec::new();
        for read in output.chunk_reads {
            let data = snapshot_bytes(&read.snapshot, read.offset, read.length);
            core.snapshot_chunk_read(read, data);
            chunks.push(());
        }
        for ChunkWrite {
            snapshot,
            offset,
            data,
        } in output.chunk_writes
        {
            let meta = SnapshotMeta::clone(&snapshot);
            let held = match &node.disk.partial {
                Some((partial, held)) if *partial == meta => *held,
                _ => 0,
            };
            let end = held.max(offset + data.len() as u64);
            node.disk.partial = Some((meta.clone(), end));
            if end == meta.size_bytes {
                node.disk.snapshot = Some(meta);
            }
            core.snapshot_chunk_stored(&snapshot, end);
            chunks.push(());
        }
        if !chunks.is_empty() {
            self.take_output(n);
        }
    }

    /// Completes the writes of a node, all of them.
    pub fn sync(&mut self, n: u64) {
        while let Some(write) = self.node(n).writes.pop_front() {
            let id = write.id;
            self.node(n).disk.write(write);
            self.with(n, |core| core.persisted(id));
        }
    }

    /// Of the writes under way only the hard states reach the disk.
    pub fn tear(&mut self, n: u64) {
        let node = self.node(n);
        for write in node.writes.drain(..) {
            node.disk.hard_state = write.hard_state.unwrap_or(node.disk.hard_state);
        }
    }

    /// Applies what is committed at a node.
    pub fn apply(&mut self, n: u64) {
        while let Some(entry) = self.node(n).to_apply.pop_front() {
            let index = entry.index;
            self.node(n).applied.push(entry);
            self.with(n, |core| core.applied(index));
        }
    }

    /// Delivers the oldest message on its way, or loses it where the way is cut. False where
    /// none is.
    pub fn deliver_one(&mut self) -> bool {
        let Some(envelope) = self.wire.pop_front() else {
            return false;
        };
        let (from, to) = (envelope.from.0, envelope.to.0);
        let up = self.nodes.get(&to).is_some_and(|node| node.core.is_some());
        if up && !self.cuts.contains(&(from, to)) {
            self.with(to, |core| core.receive(envelope));
        }
        true
    }

    /// Lets everything that is on its way arrive, be written and applied.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut moved = self.deliver_one();
            for n in self.ids() {
                let node = &self.nodes[&n];
                if node.core.is_none() {
                    continue;
                }
                if !node.disk_waits && !node.writes.is_empty() {
                    self.sync(n);
                    moved = true;
                }
                let node = &self.nodes[&n];
                if !node.machine_waits && !node.to_apply.is_empty() {
                    self.apply(n);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
        panic!("the cluster never comes to rest");
    }

    /// Delivers what is on its way now, and completes the writes of that moment.
    pub fn settle_some(&mut self) {
        for _ in 0..self.wire.len() {
            self.deliver_one();
        }
        for n in self.ids() {
            if self.core_is_up(n) && !self.nodes[&n].disk_waits {
                self.sync(n);
            }
        }
    }

    /// Makes a node the leader of a term by the votes of others, and nothing else happens.
    pub fn elect_by_votes(&mut self, n: u64, term: u64, voters: &[u64]) {
        self.say(
            voters[0],
            n,
            term - 1,
            Message::VoteReply { granted: false },
        );
        self.time_out(n);
        for voter in voters {
            self.say(*voter, n, term, Message::PreVoteReply { granted: true });
        }
        self.sync(n);
        for voter in voters {
            self.say(*voter, n, term, Message::VoteReply { granted: true });
        }
        // The members' lives are those on record.
        for voter in voters {
            let reply = Message::HeartbeatReply {
                round: 0,
                stamp: NodeTime(0),
                applied: Index(0),
                statement: None,
            };
            self.say(*voter, n, term, reply);
        }
        self.wire.clear();
    }

    /// Time passes for one node alone; what it says stays on its way.
    pub fn tick(&mut self, n: u64, ms: u64) {
        let node = self.node(n);
        node.clock = node.clock.plus(ms);
        let clock = node.clock;
        if node.core.is_some() {
            self.with(n, |core| core.tick(clock));
        }
    }

    /// Time passes for all, in steps of 10 ms, and everything settles in between.
    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(10) {
            for n in self.ids() {
                self.tick(n, 10);
            }
            self.settle();
        }
    }

    /// Runs until something holds, for at most a minute.
    pub fn run_until(&mut self, what: &str, holds: impl Fn(&Lab) -> bool) {
        for _ in 0..6000 {
            if holds(self) {
                return;
            }
            self.run(10);
        }
        panic!("it never came to pass that {what}");
    }

    /// A node's election time-out passes, and it stands for election.
    pub fn time_out(&mut self, n: u64) {
        let wait = self.core(n).next_deadline().since(self.nodes[&n].clock);
        self.tick(n, wait);
    }

    /// A node stands for election and everything settles.
    pub fn elect(&mut self, n: u64) {
        // The others have not heard a leader for long enough to listen.
        let patience = self.settings.election_min_ms;
        for other in self.ids() {
            self.node(other).clock = self.nodes[&other].clock.plus(patience);
            let clock = self.nodes[&other].clock;
            if self.core_is_up(other) && self.core(other).next_deadline() > clock {
                self.with(other, |core| core.tick(clock));
            }
        }
        self.time_out(n);
        self.settle();
        assert_eq!(self.core(n).role(), Role::Leader, "node {n} was to lead");
    }

    /// A node's clock.
    pub fn now(&self, n: u64) -> NodeTime {
        self.nodes[&n].clock
    }

    /// Entries handed out to be applied that are not.
    pub fn waiting_to_be_applied(&self, n: u64) -> usize {
        self.nodes[&n].to_apply.len()
    }

    pub fn core_is_up(&self, n: u64) -> bool {
        self.nodes[&n].core.is_some()
    }

    /// The leader of the newest term.
    pub fn leader(&self) -> Option<u64> {
        self.ids()
            .into_iter()
            .filter(|n| self.core_is_up(*n) && self.core(*n).role() == Role::Leader)
            .max_by_key(|n| self.core(*n).term())
    }

    pub fn propose(&mut self, n: u64, text: &str) -> Result<Position, ProposeError> {
        self.with(n, |core| core.propose(command(text)))
    }

    pub fn change(&mut self, n: u64, change: Change) {
        self.with(n, |core| core.change_membership(change))
            .expect("a change that may be made");
    }

    /// What a node says arrives nowhere, and nothing arrives there.
    pub fn isolate(&mut self, n: u64) {
        for other in self.ids() {
            self.cut(n, other);
            self.cut(other, n);
        }
    }

    /// What one says does not arrive at another.
    pub fn cut(&mut self, from: u64, to: u64) {
        self.cuts.insert((from, to));
    }

    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// The terms of a node's log, from its first entry on.
    pub fn terms(&self, n: u64) -> Vec<u64> {
        let core = self.core(n);
        (core.first_index().0..=core.last().index.0)
            .filter_map(|index| core.term_at(Index(index)))
            .map(|term| term.0)
            .collect()
    }

    /// The commands that a node has applied.
    pub fn applied(&self, n: u64) -> Vec<String> {
        self.nodes[&n]
            .applied
            .iter()
            .filter_map(|entry| match &entry.payload {
                Payload::Command(command) => {
                    Some(String::from_utf8_lossy(&command.body).into_owned())
                }
                _ => None,
            })
            .collect()
    }

    /// Takes a snapshot of a node as far as it has applied.
    pub fn snapshot(&mut self, n: u64, size_bytes: u64) {
        let core = self.core(n);
        let index = core.applied_index();
        let time = core.entry(index).map_or(LogTime(0), |entry| entry.time);
        let (membership_index, membership) = core.in_force();
        assert!(membership_index <= index);
        let meta = SnapshotMeta {
            last: Position {
                term: core.term_at(index).expect("applied entries are there"),
                index,
            },
            time,
            membership: Arc::clone(membership),
            membership_index,
            size_bytes,
            checksum: 0,
        };
        let node = self.node(n);
        node.disk.snapshot = Some(meta.clone());
        self.with(n, |core| core.snapshot_taken(Arc::new(meta)));
        let first = self.core(n).first_index();
        self.node(n)
            .disk
            .entries
            .retain(|entry| entry.index >= first.previous());
    }

    /// What a node's configuration states, now and after its restarts.
    pub fn state(&mut self, n: u64, peers: &[u64]) {
        let statement = Statement {
            peers: peers.iter().map(|n| id(*n)).collect(),
            version: 1,
        };
        self.node(n).statement = Some(statement.clone());
        self.with(n, |core| core.state(statement));
    }

    /// Has a node hear a message that was made up.
    pub fn say(&mut self, from: u64, to: u64, term: u64, message: Message) {
        let incarnation = self
            .nodes
            .get(&from)
            .map_or(first_life(from), |node| node.life);
        let envelope = Envelope {
            from: id(from),
            incarnation,
            to: id(to),
            term: Term(term),
            message,
        };
        self.with(to, |core| core.receive(envelope));
    }

    /// What a node has said to another and has not arrived yet.
    pub fn said(&self, from: u64, to: u64) -> Vec<&Message> {
        self.wire
            .iter()
            .filter(|envelope| envelope.from == id(from) && envelope.to == id(to))
            .map(|envelope| &envelope.message)
            .collect()
    }

    pub fn has_event(&self, n: u64, wanted: impl Fn(&CoreEvent) -> bool) -> bool {
        self.nodes[&n].events.iter().any(wanted)
    }
}
