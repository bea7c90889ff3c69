//! A cluster in one thread: nodes as they are, over a log that commits what reaches it, with
//! leases, fences, sessions and statements as Raft and the clerk give them. Everything that comes
//! by chance comes from a seed: delays, lost answers, nodes that are cut off, killed, slow to
//! apply, groups that drain and come back.
//!
//! What Raft itself guarantees is simulated in the Raft crate; here it is taken as given.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tcpffee_raft::ids::{Index, LogTime, NodeId, NodeTime};
use tcpffee_raft::lease::LeaseWriter;
use tcpffee_raft::machine::{Applied, Event, StateMachine};
use tcpffee_raft::membership::{Member, Membership, Role};
use tcpffee_raft::message::LeaseGrant;
use tcpffee_raft::proposals::{Done, ProposalError};

use super::history::{History, Visit};
use super::rng::Rng;
use crate::clock::Millis;
use crate::config::{Balance, GroupId, NoQuorum};
use crate::groups::{Groups, Status};
use crate::stick::replicated::command::{Full, Op, StatedGroup, Statement, VERSION};
use crate::stick::replicated::node::{Identity, Node, Outside, Policy, Rounds, Saying};
use crate::stick::replicated::{Agreed, Listener, Replica, machine};
use crate::stick::tests::fixtures::{Cluster, PORT, Wanted, ip, up};
use crate::stick::{AfterFailure, Answer, Ask, Client, KeyRef, Route, Sticks, Ticket};

/// How long an entry outlives its last activity, in milliseconds.
pub const EXPIRATION_MS: u64 = 3_000;
const HIT_LEASE_MS: u64 = 1_500;
/// What a lease may last by another's clock.
const LEASE_BOUND_MS: u64 = HIT_LEASE_MS + HIT_LEASE_MS / 32 + 1;
const HEARTBEAT_MS: u64 = 50;
const TIME_ENTRY_MS: u64 = 150;
/// As the proxy has it.
const MAX_REROUTES: u8 = 4;
const SESSION_MS: u64 = 3_000;
/// One step of the world.
pub const STEP_MS: u64 = 5;
pub const GROUPS: u32 = 3;

/// What happens by chance, each in so many of a million steps.
#[derive(Clone, Copy, Debug)]
pub struct Odds {
    pub cut: u32,
    pub kill: u32,
    pub no_leader: u32,
    pub status: u32,
    pub slow: u32,
    pub connect_fails_percent: u64,
    /// Clients that leave before their target is connected.
    pub leaves_percent: u64,
    pub lost_answer_percent: u64,
    /// Clients that wait for a place with their group, some for longer than an entry lives.
    pub queues_percent: u64,
}

/// What a node has on its way out.
#[derive(Default)]
struct Post {
    now: AtomicU64,
    proposals: Mutex<VecDeque<(Bytes, u64, Done)>>,
    completed: Mutex<VecDeque<(Ticket, Route)>>,
    groups: Mutex<Arc<Groups>>,
}

impl Outside for Arc<Post> {
    fn now(&self) -> NodeTime {
        NodeTime(self.now.load(Ordering::Relaxed))
    }
    fn propose(&self, body: Bytes, version: u16, deadline: NodeTime, done: Done) {
        assert_eq!(version, VERSION);
        let mut proposals = self.proposals.lock().unwrap();
        proposals.push_back((body, deadline.0, done));
    }
    fn complete(&self, ticket: Ticket, route: Route) {
        self.completed.lock().unwrap().push_back((ticket, route));
    }
    fn with_groups(&self, look: &mut dyn FnMut(&Groups)) {
        look(&Arc::clone(&self.groups.lock().unwrap()));
    }
    fn note(&self, _: bool, _: String) {}
}

struct Deaf;

impl Listener for Deaf {
    fn agreed_changed(&mut self, _: &Arc<Agreed>) {}
    fn became_leader(&mut self) {}
    fn ceased_to_lead(&mut self) {}
    fn applied(&mut self, _: Index, _: LogTime) {}
}

struct Host {
    id: NodeId,
    post: Arc<Post>,
    node: Arc<Node>,
    replica: Arc<Replica>,
    machine: Box<dyn StateMachine>,
    lease: LeaseWriter,
    rounds: Rounds,
    applied: u64,
    boot: u64,
    fixtures: Cluster,
    groups: Arc<Groups>,
    statuses: [Status; GROUPS as usize],
    said: Option<Saying>,
    duties: Option<Saying>,
    heard: u64,
    /// By the leader's reckoning.
    lease_until: u64,
    cut_until: u64,
    cut_since: Option<u64>,
    down_until: u64,
    slow_until: u64,
    sessions: BTreeMap<u64, Session>,
    /// Those that wait for a place with the group of their answer.
    queued: BTreeSet<u64>,
    /// Answers that are older than their stick, kept until the next one has come.
    kept: BTreeMap<u64, Answer>,
}

/// A connection.
enum Session {
    Waiting {
        key: u32,
        until: u64,
        tried: Vec<GroupId>,
        reroutes: u8,
    },
    Connecting {
        key: u32,
        answer: Answer,
        until: u64,
        fails: bool,
        tried: Vec<GroupId>,
        reroutes: u8,
    },
    Open {
        answer: Answer,
        until: u64,
        visit: usize,
    },
}

struct Entry {
    time: u64,
    body: Option<Bytes>,
}

/// A command on its way to the leader.
struct Flying {
    at: u64,
    from: usize,
    boot: u64,
    body: Bytes,
    deadline: u64,
    done: Option<Done>,
}

/// An answer on its way back.
struct Returning {
    at: u64,
    to: usize,
    boot: u64,
    result: Result<Bytes, ProposalError>,
    done: Done,
}

pub struct World {
    pub now: u64,
    pub rng: Rng,
    pub history: History,
    odds: Odds,
    hosts: Vec<Host>,
    log: Vec<Entry>,
    log_time: u64,
    last_entry: u64,
    leader: Option<usize>,
    leads_since: u64,
    no_leader_until: u64,
    flying: Vec<Flying>,
    returning: Vec<Returning>,
    /// Who proposed each entry.
    owners: BTreeMap<u64, (usize, u64, Done)>,
    next_token: u64,
    next_boot: u64,
    keys: u32,
    /// The key that came last.
    key: u32,
    /// Group statuses as the operators want them, told to each node apart.
    wanted: [Status; GROUPS as usize],
}

impl World {
    pub fn new(seed: u64, nodes: usize, keys: u32, odds: Odds) -> World {
        let mut world = World {
            now: 1_000_000,
            rng: Rng::new(seed),
            history: History::default(),
            odds,
            hosts: Vec::new(),
            log: Vec::new(),
            log_time: 0,
            last_entry: 0,
            leader: Some(0),
            leads_since: 0,
            no_leader_until: 0,
            flying: Vec::new(),
            returning: Vec::new(),
            owners: BTreeMap::new(),
            next_token: 1,
            next_boot: 1,
            keys,
            key: 0,
            wanted: [Status::Up; GROUPS as usize],
        };
        for number in 0..nodes {
            let host = world.host(number);
            world.hosts.push(host);
        }
        world
    }

    fn host(&mut self, number: usize) -> Host {
        let id = NodeId(number as u64 + 1);
        let fixtures = Cluster::new();
        let statuses = self.wanted;
        let groups = groups(&fixtures, statuses);
        let post = Arc::new(Post::default());
        post.now.store(self.now, Ordering::Relaxed);
        *post.groups.lock().unwrap() = Arc::clone(&groups);
        let replica = Replica::new(Arc::clone(&fixtures.registry));
        let lease = LeaseWriter::new(HIT_LEASE_MS);
        let boot = self.next_boot;
        self.next_boot += 1;
        let node = Node::new(
            Identity { node: id, boot },
            Arc::clone(&replica),
            Arc::clone(&fixtures.registry),
            lease.reader(),
            Policy {
                balance: Balance::LeastSticks,
                no_quorum: NoQuorum::Refuse,
                no_quorum_after_ms: 3_000,
                connect_timeout_ms: 5_000,
                max_entries: 1_000_000,
            },
            Box::new(Arc::clone(&post)),
        );
        Host {
            id,
            machine: machine(Arc::clone(&replica), id, Box::new(Deaf)),
            post,
            node,
            replica,
            lease,
            rounds: Rounds::default(),
            applied: 0,
            boot,
            fixtures,
            groups,
            statuses,
            said: None,
            duties: None,
            heard: self.now,
            lease_until: 0,
            cut_until: 0,
            cut_since: None,
            down_until: 0,
            slow_until: 0,
            sessions: BTreeMap::new(),
            queued: BTreeSet::new(),
            kept: BTreeMap::new(),
        }
    }

    /// Lets time pass.
    pub fn step(&mut self) {
        self.now += STEP_MS;
        self.chance();
        self.time();
        self.deliver();
        self.heartbeats();
        self.apply();
        self.answer();
        self.clerks();
        self.connections();
        self.arrivals();
    }

    /// No more faults; runs until everything that was cut or down is back.
    pub fn calm(&mut self) {
        self.odds = Odds {
            cut: 0,
            kill: 0,
            no_leader: 0,
            status: 0,
            slow: 0,
            connect_fails_percent: 0,
            leaves_percent: 0,
            lost_answer_percent: 0,
            queues_percent: 0,
        };
        for _ in 0..(10_000 / STEP_MS) {
            self.step();
        }
    }

    fn is_up(&self, host: usize) -> bool {
        self.now >= self.hosts[host].down_until
    }

    fn is_connected(&self, host: usize) -> bool {
        self.is_up(host) && self.now >= self.hosts[host].cut_until
    }

    fn chance(&mut self) {
        for host in 0..self.hosts.len() {
            let others = (0..self.hosts.len()).filter(|&other| other != host);
            let there = others.filter(|&other| self.is_connected(other)).count();
            let majority_stays = there > self.hosts.len() / 2;
            if self.is_connected(host) && majority_stays {
                if self.rng.chance_ppm(self.odds.cut) {
                    let lasts = self.rng.between(200, 12_000);
                    self.hosts[host].cut_until = self.now + lasts;
                    self.hosts[host].cut_since = Some(self.now);
                    self.history.lost(host, self.now, self.now + lasts);
                } else if self.rng.chance_ppm(self.odds.kill) {
                    self.kill(host);
                }
            }
            if self.rng.chance_ppm(self.odds.slow) {
                self.hosts[host].slow_until = self.now + self.rng.between(50, 2_500);
            }
            if self.hosts[host].cut_since.is_some() && self.is_connected(host) {
                self.hosts[host].cut_since = None;
            }
        }
        if self.rng.chance_ppm(self.odds.status) {
            let group = self.rng.below(u64::from(GROUPS)) as usize;
            let up = self.wanted.iter().filter(|status| **status == Status::Up);
            let to = *self
                .rng
                .pick(&[Status::Up, Status::Draining, Status::Disabled]);
            if to == Status::Up || up.count() > 1 || self.wanted[group] != Status::Up {
                self.wanted[group] = to;
            }
        }
        for host in &self.hosts {
            for (group, _) in host
                .statuses
                .iter()
                .enumerate()
                .filter(|(_, status)| **status == Status::Disabled)
            {
                self.history.disabled(GroupId(group as u32), self.now);
            }
        }
        // Files are reloaded on one node after the other.
        for host in 0..self.hosts.len() {
            if self.hosts[host].statuses != self.wanted
                && self.is_up(host)
                && self.rng.chance_ppm(20_000)
            {
                self.reload(host);
            }
        }
        let leads = self.leader.filter(|&leader| self.is_connected(leader));
        if leads.is_none() && self.leader.is_some() {
            // The others notice after an election.
            self.leader = None;
            self.no_leader_until = self.now + self.rng.between(300, 1_200);
        }
        if self.leader.is_some() && self.rng.chance_ppm(self.odds.no_leader) {
            self.leader = None;
            self.no_leader_until = self.now + self.rng.between(300, 6_000);
        }
        if self.leader.is_none() && self.now >= self.no_leader_until {
            let there: Vec<usize> = (0..self.hosts.len())
                .filter(|&host| self.is_connected(host))
                .collect();
            if there.len() > self.hosts.len() / 2 {
                let leader = *self.rng.pick(&there);
                self.leader = Some(leader);
                self.leads_since = self.now;
                for host in &mut self.hosts {
                    host.heard = self.now;
                    // A new leader counts every lease from its own election.
                    host.lease_until = self.now + LEASE_BOUND_MS;
                }
            }
        }
    }

    fn kill(&mut self, number: usize) {
        let down = self.now + self.rng.between(100, 6_000);
        self.history.lost(number, self.now, down);
        let visits: Vec<usize> = self.hosts[number]
            .sessions
            .values()
            .filter_map(|session| match session {
                Session::Open { visit, .. } => Some(*visit),
                _ => None,
            })
            .collect();
        for visit in visits {
            self.history.ended(visit, self.now);
        }
        let mut fresh = self.host(number);
        fresh.down_until = down;
        // What is on its way to the old process is lost; what it has proposed may still be applied.
        let old = std::mem::replace(&mut self.hosts[number], fresh);
        self.hosts[number].lease_until = old.lease_until;
        self.hosts[number].heard = old.heard;
        if self.leader == Some(number) {
            self.leader = None;
            self.no_leader_until = self.now + self.rng.between(300, 1_200);
        }
    }

    fn reload(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        host.statuses = self.wanted;
        host.groups = groups(&host.fixtures, self.wanted);
        *host.post.groups.lock().unwrap() = Arc::clone(&host.groups);
    }

    fn time(&mut self) {
        if self.leader.is_some() && self.now > self.leads_since + 100 {
            self.log_time += STEP_MS;
            if self.now >= self.last_entry + TIME_ENTRY_MS {
                self.append(None);
            }
        }
        if self.log.is_empty() {
            self.append(None);
        }
    }

    fn append(&mut self, body: Option<Bytes>) -> u64 {
        self.last_entry = self.now;
        self.log.push(Entry {
            time: self.log_time,
            body,
        });
        self.log.len() as u64
    }

    /// What was proposed reaches the log, or does not.
    fn deliver(&mut self) {
        for (number, host) in self.hosts.iter().enumerate() {
            let mut proposals = host.post.proposals.lock().unwrap();
            for (body, deadline, done) in proposals.drain(..) {
                self.flying.push(Flying {
                    at: self.now + self.rng.below(10),
                    from: number,
                    boot: host.boot,
                    body,
                    deadline,
                    done: Some(done),
                });
            }
        }
        let mut flying = std::mem::take(&mut self.flying);
        let mut rest = Vec::new();
        for mut command in flying.drain(..) {
            let is_over = command.boot != self.hosts[command.from].boot;
            if self.now >= command.deadline {
                if let Some(done) = command.done.take().filter(|_| !is_over) {
                    done(Err(ProposalError::TimedOut));
                }
                continue;
            }
            let reaches = self.now >= command.at
                && self.leader.is_some()
                && (is_over || self.is_connected(command.from));
            if !reaches {
                rest.push(command);
                continue;
            }
            let index = self.append(Some(command.body));
            if let Some(done) = command.done.take() {
                self.owners
                    .insert(index, (command.from, command.boot, done));
            }
        }
        self.flying = rest;
    }

    fn heartbeats(&mut self) {
        if !self.now.is_multiple_of(HEARTBEAT_MS) {
            return;
        }
        let Some(_leader) = self.leader.filter(|_| self.now > self.leads_since + 100) else {
            return;
        };
        let commit = self.log.len() as u64;
        for number in 0..self.hosts.len() {
            if !self.is_connected(number) {
                continue;
            }
            let host = &mut self.hosts[number];
            host.heard = self.now;
            // The stamp is as old as the way to and fro.
            let stamp = self.now - self.rng.below(40);
            host.lease_until = host.lease_until.max(self.now + LEASE_BOUND_MS);
            if host.applied >= commit {
                host.lease.granted(LeaseGrant {
                    stamp: NodeTime(stamp),
                    time: LogTime(self.log_time),
                    commit: Index(commit),
                });
            }
        }
    }

    fn apply(&mut self) {
        for number in 0..self.hosts.len() {
            // What is committed may be known late, and be applied late.
            let is_slow = self.now < self.hosts[number].slow_until;
            // What is committed is news to followers after its answer, often enough.
            let is_late = self.leader != Some(number) && self.rng.percent(70);
            if !self.is_connected(number) || is_slow || is_late {
                continue;
            }
            self.catch_up(number);
        }
    }

    fn catch_up(&mut self, number: usize) {
        let membership = match self.hosts[number].applied {
            0 => self.membership(),
            _ => Membership::default(),
        };
        let host = &mut self.hosts[number];
        while (host.applied as usize) < self.log.len() {
            let index = host.applied + 1;
            let entry = &self.log[host.applied as usize];
            let event = match &entry.body {
                Some(body) => Event::Command {
                    version: VERSION,
                    body,
                },
                None if index == 1 => Event::Membership(&membership),
                None => Event::Time,
            };
            let applied = Applied {
                index: Index(index),
                time: LogTime(entry.time),
                event,
            };
            let mut answers = Vec::new();
            host.machine.apply(&[applied], &mut answers);
            host.applied = index;
            if let (Some(answer), true) = (answers.pop(), self.leader == Some(number))
                && let Some((to, boot, done)) = self.owners.remove(&index)
            {
                let lost = self.rng.percent(self.odds.lost_answer_percent);
                self.returning.push(Returning {
                    at: self.now + self.rng.below(10) + if lost { 500 } else { 0 },
                    to,
                    boot,
                    result: Ok(answer),
                    done,
                });
            }
        }
    }

    fn membership(&self) -> Membership {
        let member = |host: &Host| {
            let member = Member {
                role: Role::Voter,
                life: None,
                statement: None,
            };
            (host.id, member)
        };
        Membership {
            members: self.hosts.iter().map(member).collect(),
            retired: Vec::new(),
        }
    }

    fn answer(&mut self) {
        // A leader that is new has no answers of entries before its time: they are asked again in
        // Raft; here they come from the machine of the first node that has them.
        if let Some(leader) = self.leader.filter(|_| self.now > self.leads_since + 100) {
            let applied = self.hosts[leader].applied;
            let late: Vec<u64> = self
                .owners
                .range(..=applied)
                .map(|(&index, _)| index)
                .collect();
            for index in late {
                if let Some((to, boot, done)) = self.owners.remove(&index)
                    && boot == self.hosts[to].boot
                {
                    done(Err(ProposalError::TimedOut));
                }
            }
        }
        let mut rest = Vec::new();
        for answer in std::mem::take(&mut self.returning) {
            if answer.boot != self.hosts[answer.to].boot {
                continue;
            }
            if self.now < answer.at || !self.is_connected(answer.to) {
                rest.push(answer);
                continue;
            }
            (answer.done)(answer.result);
        }
        self.returning.extend(rest);
    }

    /// What clerks do.
    fn clerks(&mut self) {
        for number in 0..self.hosts.len() {
            if !self.is_up(number) {
                continue;
            }
            let leads = self.leader == Some(number);
            let silent: Vec<(NodeId, u64)> = self
                .hosts
                .iter()
                .map(|host| (host.id, self.now - host.heard))
                .collect();
            let fence = self.fence();
            let host = &mut self.hosts[number];
            host.post.now.store(self.now, Ordering::Relaxed);
            if self.now.is_multiple_of(20) {
                host.node.tick(&mut host.rounds);
            }
            if !self.now.is_multiple_of(100) {
                continue;
            }
            let agreed = host.replica.agreed();
            let own = agreed.members.get(&host.id);
            let own = own.filter(|own| own.boot == host.boot && own.present);
            host.node.set_stated(own.is_some());
            let wanted = statement(host.statuses);
            if own.is_none_or(|own| *own.statement != wanted)
                && host.said.as_ref().is_none_or(Saying::is_over)
            {
                host.said = Some(host.node.say(vec![Op::State(wanted)]));
            }
            if !leads || host.duties.as_ref().is_some_and(|duties| !duties.is_over()) {
                continue;
            }
            let mut ops = Vec::new();
            for (&node, member) in &agreed.members {
                let silent = silent.iter().find(|(id, _)| *id == node);
                let silent_ms = silent.map_or(0, |(_, ms)| *ms);
                if node != host.id && member.has_session && silent_ms >= SESSION_MS {
                    let boot = member.boot;
                    ops.push(Op::EndSession { node, boot });
                }
            }
            let passed = agreed.fences.iter().rev().find(|index| fence >= index.0);
            ops.extend(passed.copied().map(Op::Passed));
            host.duties = (!ops.is_empty()).then(|| host.node.say(ops));
        }
    }

    /// Up to where every node has applied, or can answer nothing.
    fn fence(&self) -> u64 {
        if self.leader.is_none() || self.now <= self.leads_since + LEASE_BOUND_MS {
            return 0;
        }
        let bound = |host: &Host| match self.now > host.lease_until {
            true => u64::MAX,
            false => host.applied,
        };
        self.hosts.iter().map(bound).min().unwrap_or(0)
    }

    fn connections(&mut self) {
        for number in 0..self.hosts.len() {
            if !self.is_up(number) {
                continue;
            }
            let completed: Vec<_> = self.hosts[number]
                .post
                .completed
                .lock()
                .unwrap()
                .drain(..)
                .collect();
            for (ticket, route) in completed {
                self.completed(number, ticket, route);
            }
            let due: Vec<u64> = self.hosts[number]
                .sessions
                .iter()
                .filter(|(_, session)| self.now >= until(session))
                .map(|(&token, _)| token)
                .collect();
            for token in due {
                self.due(number, token);
            }
        }
    }

    fn completed(&mut self, number: usize, ticket: Ticket, route: Route) {
        let session = self.hosts[number].sessions.remove(&ticket.token);
        match (session, route) {
            (
                Some(Session::Waiting {
                    key,
                    tried,
                    reroutes,
                    ..
                }),
                Route::Group(answer),
            ) => {
                self.connect(number, ticket.token, key, answer, (tried, reroutes));
            }
            (Some(Session::Waiting { .. }), _) => self.refused(number, ticket.token),
            (other, route) => {
                if let Some(session) = other {
                    self.hosts[number].sessions.insert(ticket.token, session);
                }
                if let Route::Group(answer) = route {
                    self.hosts[number].node.abandoned(answer.stick, Millis(0));
                }
            }
        }
    }

    fn connect(
        &mut self,
        number: usize,
        token: u64,
        key: u32,
        answer: Answer,
        (tried, reroutes): (Vec<GroupId>, u8),
    ) {
        let mut takes = self.rng.gap(20);
        let host = &mut self.hosts[number];
        match host.kept.remove(&token) {
            // Only now: with nobody left the log would be told to forget what it has just given.
            Some(before) => host.node.abandoned(before.stick, Millis(0)),
            None if self.rng.percent(self.odds.queues_percent) => {
                takes = self.rng.between(10, 2 * EXPIRATION_MS);
                host.queued.insert(token);
            }
            None => {}
        }
        let session = Session::Connecting {
            key,
            answer,
            until: self.now + takes,
            fails: self.rng.percent(self.odds.connect_fails_percent),
            tried,
            reroutes,
        };
        self.hosts[number].sessions.insert(token, session);
    }

    fn due(&mut self, number: usize, token: u64) {
        let now = self.now;
        let Some(session) = self.hosts[number].sessions.remove(&token) else {
            return;
        };
        let groups = Arc::clone(&self.hosts[number].groups);
        let was_queued = self.hosts[number].queued.remove(&token);
        let host = &self.hosts[number];
        match session {
            Session::Waiting { .. } => self.refused(number, token),
            Session::Open { answer, visit, .. } => {
                host.node.closed(answer.stick, Millis(0));
                // On a node that is cut off the cluster knows of no activity after that.
                self.history.ended(visit, host.cut_since.unwrap_or(now));
            }
            Session::Connecting { answer, .. } if self.rng.percent(self.odds.leaves_percent) => {
                self.hosts[number].node.abandoned(answer.stick, Millis(0));
            }
            Session::Connecting {
                key,
                answer,
                mut tried,
                reroutes,
                ..
            } if was_queued => {
                let node = Arc::clone(&self.hosts[number].node);
                if self.rng.percent(30) && node.is_movable(answer) {
                    // Another group has room, and its own has none still.
                    let mut passed_over = tried.clone();
                    passed_over.push(answer.group);
                    let asked = ask(key, token, &groups);
                    match node.connect_failed(&asked, answer, &passed_over) {
                        AfterFailure::Moved(answer) => {
                            self.connect(number, token, key, answer, (tried, reroutes));
                        }
                        AfterFailure::Reset => self.route(number, token, key, (tried, reroutes)),
                        AfterFailure::Wait(_) => {
                            let waiting = Session::Waiting {
                                key,
                                until: now + 8_000,
                                tried,
                                reroutes,
                            };
                            self.hosts[number].sessions.insert(token, waiting);
                        }
                    }
                } else if node.still_holds(answer.stick, &groups, Millis(0)) {
                    tried.clear();
                    let connecting = Session::Connecting {
                        key,
                        answer,
                        until: now,
                        fails: false,
                        tried,
                        reroutes,
                    };
                    self.hosts[number].sessions.insert(token, connecting);
                    self.due(number, token);
                } else {
                    // It has its place, and asks again.
                    self.hosts[number].kept.insert(token, answer);
                    self.route(number, token, key, (tried, reroutes));
                }
            }
            Session::Connecting {
                key,
                answer,
                fails,
                mut tried,
                reroutes,
                ..
            } if fails => {
                tried.push(answer.group);
                let after = host
                    .node
                    .connect_failed(&ask(key, token, &groups), answer, &tried);
                match after {
                    AfterFailure::Moved(answer) => {
                        self.connect(number, token, key, answer, (tried, reroutes));
                    }
                    AfterFailure::Reset => self.history.refused += 1,
                    AfterFailure::Wait(_) => {
                        let until = now + 8_000;
                        let waiting = Session::Waiting {
                            key,
                            until,
                            tried,
                            reroutes,
                        };
                        self.hosts[number].sessions.insert(token, waiting);
                    }
                }
            }
            Session::Connecting {
                key,
                answer,
                tried,
                reroutes,
                ..
            } => {
                if host
                    .node
                    .established(answer.stick, &groups, Millis(0))
                    .is_err()
                {
                    if reroutes == MAX_REROUTES {
                        self.history.unsettled += 1;
                        return;
                    }
                    return self.route(number, token, key, (tried, reroutes + 1));
                }
                let visit = self.history.began(Visit {
                    key,
                    group: answer.group,
                    node: number,
                    began: now,
                    ended: None,
                });
                // Mostly short; now and then longer than an entry lives.
                let long = self.rng.percent(10);
                let lasts = if long {
                    self.rng.between(1_000, 9_000)
                } else {
                    self.rng.gap(100)
                };
                let until = now + lasts;
                let open = Session::Open {
                    answer,
                    until,
                    visit,
                };
                self.hosts[number].sessions.insert(token, open);
            }
        }
    }

    fn route(&mut self, number: usize, token: u64, key: u32, tries: (Vec<GroupId>, u8)) {
        let host = &self.hosts[number];
        let groups = Arc::clone(&host.groups);
        let place = host.kept.get(&token).map(|answer| answer.group);
        let asked = Ask {
            place,
            ..ask(key, token, &groups)
        };
        match host.node.route(&asked) {
            Route::Group(answer) => self.connect(number, token, key, answer, tries),
            Route::Refuse(_) => self.refused(number, token),
            Route::Wait(_) => {
                let until = self.now + 8_000;
                let (tried, reroutes) = tries;
                let waiting = Session::Waiting {
                    key,
                    until,
                    tried,
                    reroutes,
                };
                self.hosts[number].sessions.insert(token, waiting);
            }
        }
    }

    /// A connection ends without a group.
    fn refused(&mut self, number: usize, token: u64) {
        self.history.refused += 1;
        let host = &mut self.hosts[number];
        if let Some(kept) = host.kept.remove(&token) {
            host.node.abandoned(kept.stick, Millis(0));
        }
    }

    /// Bursts of connections of one key to different nodes.
    fn arrivals(&mut self) {
        if !self.rng.percent(15) {
            return;
        }
        // Now and then the same key again.
        if !self.rng.percent(20) {
            self.key = self.rng.below(u64::from(self.keys)) as u32;
        }
        let key = self.key;
        for _ in 0..self.rng.between(1, 3) {
            let number = self.rng.below(self.hosts.len() as u64) as usize;
            if self.is_up(number) {
                let token = self.next_token;
                self.next_token += 1;
                self.route(number, token, key, (Vec::new(), 0));
            }
        }
    }
}

fn until(session: &Session) -> u64 {
    match session {
        Session::Waiting { until, .. }
        | Session::Connecting { until, .. }
        | Session::Open { until, .. } => *until,
    }
}

fn ask(key: u32, token: u64, groups: &Groups) -> Ask<'_> {
    Ask {
        client: Client::Key(KeyRef {
            ip: ip(key),
            slice: None,
        }),
        port: PORT,
        groups,
        place: None,
        ticket: Ticket { worker: 0, token },
        now: Millis(0),
    }
}

fn groups(fixtures: &Cluster, statuses: [Status; GROUPS as usize]) -> Arc<Groups> {
    let wanted = statuses.iter().enumerate();
    let wanted = wanted.map(|(id, &status)| -> Wanted { up(id as u32).status(status) });
    Arc::new(fixtures.groups(wanted))
}

fn statement(statuses: [Status; GROUPS as usize]) -> Statement {
    let groups = statuses.iter().enumerate();
    Statement {
        expiration_ms: EXPIRATION_MS,
        max_entries: 1_000_000,
        full: Full::Refuse,
        groups: groups
            .map(|(id, &status)| StatedGroup {
                id: GroupId(id as u32),
                status,
                weight: 1,
                backup: false,
            })
            .collect(),
    }
}
