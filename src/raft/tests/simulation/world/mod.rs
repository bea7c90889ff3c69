//! A cluster of real cores, simulated from one seed: nodes, disks, clocks, network, clients and
//! everything that goes wrong with them.
//!
//! Nothing here but the seed decides what happens: no clock, no thread, no address, no order of
//! a hash map. What must hold is checked after each step ([`history`], [`observe`]).

mod brief;
mod calm;
mod clients;
pub mod coverage;
mod disk;
mod faults;
pub mod history;
mod leases;
mod life;
mod machine;
mod members;
mod mirror;
mod network;
mod node;
mod observe;
mod outputs;
pub mod plan;
mod promises;
mod queue;
pub mod rng;
pub mod runs;
mod snapshots;
mod storage;
pub mod trace;

use std::collections::BTreeMap;

use tcpffee_raft::durable::HardState;
use tcpffee_raft::entry::{Entry, Payload};
use tcpffee_raft::ids::{Index, LogTime, NodeId, StoreId, Term};
use tcpffee_raft::membership::{Member, Membership, RecordedLife, Role, Statement};

use clients::Client;
use coverage::{Coverage, Seen};
use disk::Disk;
use history::{Checked, History, Violation, ensure};
use network::Network;
use node::{Clock, Node};
use plan::Plan;
use queue::{Event, Queue};
use rng::Rng;
use trace::Trace;

/// Which checks a world makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checks {
    /// All.
    All,
    /// Only what can be seen from outside; not what each disk and each message promises.
    Outcome,
}

/// A simulated cluster.
pub struct World {
    plan: Plan,
    checks: Checks,
    now_us: u64,
    rng: Rng,
    queue: Queue,
    nodes: Vec<Node>,
    network: Network,
    clients: Vec<Client>,
    history: History,
    coverage: Coverage,
    trace: Trace,
    calm_since_us: Option<u64>,
    rested_ms: Option<u64>,
    desired: Vec<NodeId>,
    /// Votes given, by term and candidate, with the store of the voter.
    votes: BTreeMap<(Term, NodeId), BTreeMap<NodeId, StoreId>>,
    /// More disks are lost than a membership survives: it need not become whole again.
    overwhelmed: bool,
}

/// Steps of a world: far more than any takes that does not go round in circles.
const MAX_STEPS: u64 = 300_000;

/// Entries of a log: likewise.
const MAX_ENTRIES: u64 = 15_000;

/// The version of commands that all nodes of the simulation understand.
const VERSION: u16 = 1;

impl World {
    /// The plan's world, before its first step.
    pub fn new(plan: Plan, mut rng: Rng, checks: Checks, trace: Trace) -> Result<World, Violation> {
        let all: Vec<NodeId> = (1..=plan.nodes() as u64).map(NodeId).collect();
        let founders = all[..plan.founders].to_vec();
        let mut nodes = Vec::new();
        for (at, id) in all.iter().enumerate() {
            let disk = Disk::new(*id, plan.segment_bytes, plan.skip_sync);
            let clock = Clock::new(&mut rng, plan.drift_ppm);
            let statement = plan.stated.then(|| Statement {
                peers: founders.clone(),
                version: VERSION,
            });
            nodes.push(Node::new(at, disk, clock, statement));
        }
        let mut world = World {
            checks,
            now_us: 0,
            queue: Queue::default(),
            network: Network::new(plan.nodes()),
            clients: Vec::new(),
            history: History::default(),
            coverage: Coverage::default(),
            trace,
            calm_since_us: None,
            rested_ms: None,
            desired: founders,
            votes: BTreeMap::new(),
            overwhelmed: false,
            nodes,
            rng,
            plan,
        };
        world.form()?;
        world.begin();
        Ok(world)
    }

    /// The founders' disks hold the cluster's first entry before their cores begin.
    fn form(&mut self) -> Checked {
        let mut members = BTreeMap::new();
        let mut lives = Vec::new();
        for at in 0..self.plan.founders {
            let life = self.nodes[at].disk.open(&mut self.rng);
            let (identity, _) = life.map_err(|error| Violation {
                invariant: "a store opens",
                detail: error,
            })?;
            self.nodes[at].store = Some(identity.store);
            lives.push(identity.incarnation(0));
        }
        for (node, life) in self.nodes.iter().zip(&lives) {
            let member = Member {
                role: Role::Voter,
                life: Some(RecordedLife {
                    incarnation: *life,
                    recorded_at: Index(1),
                }),
                statement: None,
            };
            members.insert(node.id, member);
        }
        let membership = Membership {
            members,
            retired: Vec::new(),
        };
        let entry = Entry {
            index: Index(1),
            term: Term(1),
            time: LogTime(0),
            payload: Payload::Membership(membership.into()),
        };
        let state = HardState {
            term: Term(1),
            vote: None,
            commit: Index(1),
        };
        for at in 0..self.plan.founders {
            let write = disk::founded(vec![entry.clone()], state);
            let node = &mut self.nodes[at];
            let done = node
                .disk
                .write(std::slice::from_ref(&write))
                .and_then(|()| node.disk.sync());
            done.map_err(|error| Violation {
                invariant: "a store takes writes",
                detail: error,
            })?;
            node.disk.crash(&mut self.rng, false);
        }
        self.history.logs(&entry, Term(0))?;
        let mut log = mirror::Mirror::default();
        log.take(&disk::founded(vec![entry.clone()], state));
        self.history.commits(Index(0), Index(1), Term(1), &log)?;
        Ok(())
    }

    /// Everything that is to happen by itself.
    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            let at_us = self.rng.below(100_000);
            self.queue.put(at_us, Event::Start { node });
        }
        for client in 0..self.plan.clients {
            self.clients.push(Client::new(client, &mut self.rng));
            let at_us = self.rng.gap(200_000);
            self.queue.put(at_us, Event::ClientNext { client });
        }
        for (fault, mean_ms) in self.plan.faults.clone() {
            let at_us = 500_000 + self.rng.gap(mean_ms * 1000);
            self.queue.put(at_us, Event::Fault { fault, mean_ms });
        }
        self.queue.put(self.plan.chaos_ms * 1000, Event::Calm);
    }

    /// Runs until the world has come to rest after its faults.
    pub fn run(&mut self) -> Checked {
        while self.rested_ms.is_none() {
            let Some((at_us, event)) = self.queue.next() else {
                break;
            };
            self.now_us = at_us;
            ensure(
                self.trace.steps() < MAX_STEPS,
                "nodes do not storm each other with messages",
                || format!("{MAX_STEPS} steps in {} ms", at_us / 1000),
            )?;
            self.trace.step(at_us, self.mark(&event));
            self.step(event)?;
        }
        self.history.ends()?;
        if self.history.elections() > 1 {
            self.coverage.see(Seen::Elections);
        }
        if self.history.elections() > 8 {
            self.coverage.see(Seen::ManyElections);
        }
        Ok(())
    }

    fn step(&mut self, event: Event) -> Checked {
        if let Some(node) = event.process()
            && self.nodes[node].paused
        {
            self.nodes[node].deferred.push(event);
            return Ok(());
        }
        match event {
            Event::Tick { node, life } => self.ticks(node, life),
            Event::Deliver { life, envelope } => self.delivers(life, *envelope),
            Event::Drain { node, life } => match self.lives(node, life) {
                true => self.drain(node),
                false => Ok(()),
            },
            Event::DiskWrite { node, life } => self.disk_writes(node, life),
            Event::DiskSync { node, life } => self.disk_syncs(node, life),
            Event::DiskDone { node, life, write } => self.disk_done(node, life, write),
            Event::Apply { node, life } => self.applies(node, life),
            Event::ReadChunk { node, life, read } => self.reads_chunk(node, life, read),
            Event::StoreChunk { node, life, chunk } => self.stores_chunk(node, life, &chunk),
            Event::SnapshotDone {
                node,
                life,
                meta,
                state,
            } => self.snapshot_done(node, life, meta, &state),
            Event::Unreachable { node, life, peer } => match self.lives(node, life) {
                true => self.input(node, |core| core.unreachable(peer)),
                false => Ok(()),
            },
            Event::Start { node } => self.start(node),
            Event::Resume { node } => self.resume(node),
            Event::SetAside { node, life } => self.sets_aside(node, life),
            Event::Repair { node, life } => self.repair(node, life),
            Event::DiskRecovers { node } => {
                self.nodes[node].slowness = 1;
                Ok(())
            }
            Event::Mend { cut } => {
                self.network.mend(cut);
                Ok(())
            }
            Event::ClientNext { client } => self.client_next(client),
            Event::Request {
                client,
                node,
                command,
            } => self.request(client, node, *command),
            Event::Answer {
                client,
                sequence,
                answer,
            } => self.answered(client, sequence, answer),
            Event::ClientTimeout {
                client,
                sequence,
                attempt,
            } => self.client_timeout(client, sequence, attempt),
            Event::Fault { fault, mean_ms } => self.fault(fault, mean_ms),
            Event::Calm => self.calms(),
            Event::Look => self.looks(),
        }
    }

    /// What a step is, as a number for the digest of the run.
    fn mark(&self, event: &Event) -> u64 {
        let kind = event.kind();
        let Some(node) = event.process() else {
            return kind;
        };
        let Some(live) = &self.nodes[node].live else {
            return kind;
        };
        let state = live.core.hard_state();
        kind ^ (state.term.0 << 8)
            ^ (state.commit.0 << 24)
            ^ (live.core.last().index.0 << 40)
            ^ ((node as u64) << 60)
    }

    /// The node by its id.
    fn node_at(&self, id: NodeId) -> Option<usize> {
        let at = id.0.checked_sub(1)? as usize;
        (at < self.nodes.len()).then_some(at)
    }

    /// Whether that life of the node has not ended.
    fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].live.is_some()
    }

    /// Lets something happen after some microseconds.
    fn later(&mut self, after_us: u64, event: Event) {
        self.queue.put(self.now_us + after_us, event);
    }

    fn see(&mut self, seen: Seen) {
        self.coverage.see(seen);
    }

    fn say(&self, words: impl FnOnce() -> String) {
        self.trace.say(self.now_us, words);
    }

    /// What was seen.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Commands that were answered, and entries that were committed.
    pub fn amount(&self) -> (usize, u64) {
        (self.history.answered(), self.history.committed().0)
    }

    /// How long after the last fault the world came to rest.
    pub fn rested_ms(&self) -> u64 {
        self.rested_ms.unwrap_or(u64::MAX)
    }

    /// Whether a store is one that a committed membership retired.
    fn is_retired(&self, store: StoreId) -> bool {
        self.history.membership.is_retired(store)
    }
}
