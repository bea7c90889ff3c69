//! One node: its disk, which outlives it, its clock, and the life that it has, if any.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tcpffee_raft::core::{Core, Role};
use tcpffee_raft::durable::{HardState, Write, WriteId};
use tcpffee_raft::entry::{ClientId, Entry};
use tcpffee_raft::ids::{Incarnation, Index, NodeId, NodeTime, Position, StoreId, Term};
use tcpffee_raft::membership::{Membership, Statement};
use tcpffee_raft::message::{LeaseGrant, SnapshotMeta};

use super::disk::{Disk, Image};
use super::machine::Machine;
use super::mirror::Mirror;
use super::queue::Event;
use super::rng::Rng;

/// A clock that runs a little wrong.
#[derive(Clone, Debug)]
pub struct Clock {
    since_us: u64,
    at_since_ms: u64,
    /// Of a million, how fast it runs.
    rate_ppm: u64,
    /// Which boot of the machine it counts from.
    pub boot: u64,
}

impl Clock {
    /// A clock that is wrong by at most `drift_ppm`.
    pub fn new(rng: &mut Rng, drift_ppm: u64) -> Clock {
        Clock {
            since_us: 0,
            at_since_ms: rng.below(100_000),
            rate_ppm: 1_000_000 - drift_ppm + rng.below(2 * drift_ppm + 1),
            boot: 0,
        }
    }

    /// The machine was booted: the clock begins anew.
    pub fn boots(&mut self, now_us: u64, rng: &mut Rng) {
        self.since_us = now_us;
        self.at_since_ms = rng.below(3_000);
        self.boot += 1;
    }

    /// What it shows.
    pub fn at(&self, now_us: u64) -> NodeTime {
        NodeTime(self.at_since_ms + (now_us - self.since_us) * self.rate_ppm / 1_000_000_000)
    }
}

/// What the state machine is to do next.
#[derive(Clone, Debug)]
pub enum Work {
    /// Take over a snapshot's state.
    Restore(Arc<SnapshotMeta>),
    /// Apply an entry.
    Apply(Entry),
}

/// What the disk is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskPhase {
    /// Nothing.
    Idle,
    /// It has been told to write.
    Writing,
    /// It has written up to here, and is told to make it durable.
    Syncing(WriteId),
}

/// A life: one process.
pub struct Life {
    /// The real core.
    pub core: Core,
    /// Which life it is.
    pub incarnation: Incarnation,
    /// The state machine.
    pub machine: Machine,
    /// What waits to be applied.
    pub work: VecDeque<Work>,
    /// Whether it has been told to.
    pub applying: bool,
    /// Whether an output waits to be carried out.
    pub drain_waits: bool,
    /// What waits for the disk.
    pub queue: VecDeque<Write>,
    /// What has been handed to the disk, and is not known to be durable.
    pub written: VecDeque<Write>,
    /// What the disk is at.
    pub disk: DiskPhase,
    /// The disk has failed.
    pub failed: bool,
    /// The log with all that the core has put out.
    pub log: Mirror,
    /// What is known to be committed.
    pub commit: Index,
    /// The hard state at the last look.
    pub state: HardState,
    /// What was applied at the last look.
    pub applied: Index,
    /// The memberships in the log.
    pub memberships: Vec<(Index, Arc<Membership>)>,
    /// Where the membership in force at the last look stands.
    pub membership_at: Index,
    /// The role at the last look.
    pub role: Role,
    /// Proposals that wait: the term, the client, its number.
    pub proposals: BTreeMap<Index, (Term, usize, ClientId, u64)>,
    /// The newest lease.
    pub lease: Option<LeaseGrant>,
    /// Where the newest snapshot known to the node ends.
    pub newest_snapshot: Position,
    /// A snapshot is being written.
    pub snapshot_under_way: bool,
    /// Pieces of snapshots are carried out one after the other: not before this.
    pub chunks_free_us: u64,
    /// A snapshot that is arriving.
    pub arriving: Option<Position>,
}

/// A node.
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its disk.
    pub disk: Disk,
    /// Its clock.
    pub clock: Clock,
    /// Counts lives and the gaps between them: odd while it lives.
    pub life: u64,
    /// The life, while there is one.
    pub live: Option<Life>,
    /// Stopped, until it is told to go on.
    pub paused: bool,
    /// What waits for a stopped node.
    pub deferred: Vec<Event>,
    /// What is durable, as far as the disk said; none after the disk was exchanged.
    pub durable: Option<Mirror>,
    /// The lives since that happened.
    pub boots: Vec<u64>,
    /// The old copy that was put back: each start is one from that copy, or its count of starts
    /// could pass the recorded one, and it would not be found out.
    pub copy: Option<Image>,
    /// What was durable each time its disk was lost, until it is a voter again.
    pub lost: Vec<Mirror>,
    /// What was written and not known to be durable when it went down.
    pub unsure: Vec<Write>,
    /// The store that it runs on.
    pub store: Option<StoreId>,
    /// The disk has lost what it promised: with which store it then went on, if it was an old
    /// copy. Until it is a voter again on another one.
    pub damaged: Option<Option<StoreId>>,
    /// While it is down, the memberships in its log.
    pub memberships: Vec<(Index, Arc<Membership>)>,
    /// What it acknowledged, by its lives.
    pub acknowledged: BTreeMap<u64, Index>,
    /// Copies of its disk.
    pub images: Vec<Image>,
    /// How much slower than usual its disk is.
    pub slowness: u64,
    /// What was committed when its clock first showed a time, in the last seconds.
    pub stamps: VecDeque<(NodeTime, Index)>,
    /// What its configuration states.
    pub statement: Option<Statement>,
    /// It was told that it is dismissed.
    pub dismissed: bool,
}

impl Node {
    /// A node that was never started.
    pub fn new(at: usize, disk: Disk, clock: Clock, statement: Option<Statement>) -> Node {
        Node {
            id: NodeId(at as u64 + 1),
            disk,
            clock,
            life: 0,
            live: None,
            paused: false,
            deferred: Vec::new(),
            durable: None,
            lost: Vec::new(),
            copy: None,
            boots: Vec::new(),
            unsure: Vec::new(),
            store: None,
            damaged: None,
            memberships: Vec::new(),
            acknowledged: BTreeMap::new(),
            images: Vec::new(),
            slowness: 1,
            stamps: VecDeque::new(),
            statement,
            dismissed: false,
        }
    }

    /// Whether it leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.live
            .as_ref()
            .is_some_and(|live| live.core.role() == Role::Leader)
    }

    /// Whether it could answer by itself at this moment.
    pub fn may_hit(&self, now_us: u64, hit_lease_ms: u64) -> Option<LeaseGrant> {
        let lease = self.live.as_ref()?.lease?;
        (self.clock.at(now_us) < lease.stamp.plus(hit_lease_ms)).then_some(lease)
    }

    /// Whether a membership knows it by a life that it began since its disk was lost.
    pub fn is_recorded_anew(&self, membership: &Membership) -> bool {
        let recorded = membership.members.get(&self.id).and_then(|it| it.life);
        recorded.is_some_and(|life| self.boots.contains(&life.incarnation.boot))
    }

    /// Its disk has lost what it promised.
    pub fn loses(&mut self) {
        self.store = None;
        self.boots.clear();
        self.lost.extend(self.durable.take());
    }

    /// Whether the entry is durable here, as far as the disk said.
    pub fn has_durably(&self, position: Position) -> bool {
        self.durable
            .as_ref()
            .is_some_and(|durable| durable.holds(position))
    }
}
