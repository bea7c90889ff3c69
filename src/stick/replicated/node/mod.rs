//! One node's decisions: what its connections are answered, and what it tells the log of them.
//!
//! ```text
//! route ─ a valid entry of the replica, under a lease ─▶ Group            (deciding)
//!       └ else ─▶ Wait ─▶ outbox ─▶ one batch, one command ─▶ log         (asking)
//!                 ticket ◀─ completed ◀──────── answer ◀──────┘
//! established, closed ─▶ record ─▶ Hold, Renew, Release in batches        (telling)
//! no answer for no_quorum_after ─▶ refuse, or alone by rendezvous         (alone)
//! ```
//!
//! The replica ([`super::Replica`]) is what the log says; a [`record`] is what this node's own
//! connections make of it. Whoever holds a shard of records may look at the replica, never the
//! other way round. Nothing here waits for Raft: what a worker calls returns at once.

mod alone; // without a leader
mod asking; // questions to the log, and their answers
mod deciding; // what a connection is answered at once
mod figures; // what can be read of a node
mod keeping; // what comes with time: renewals, put-off questions, whether anybody answers
mod mutation; // faults on purpose
mod outbox; // operations on their way into the log
mod quorum; // whether anybody answers
mod record; // what this node knows of its own connections' keys
mod saying; // what others have said through it
mod telling; // what the log is told of connections

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use crossbeam_utils::CachePadded;
use tcpffee_raft::ids::{NodeId, NodeTime};
use tcpffee_raft::lease::LeaseReader;
use tcpffee_raft::proposals::Done;

use crate::config::{Balance, NoQuorum};
use crate::groups::{GroupRegistry, Groups};
use crate::stick::balance::Balancer;
use crate::stick::hash::{KeyHasher, SHARDS, shard_of};
use crate::stick::{Answer, Key, KeyRef, Route, StickRef, Ticket};

use super::replica::Replica;
pub use figures::{NodeCounts, NodeFigures};
pub use keeping::{Rounds, TICK_MS};
pub use saying::Saying;

use figures::Latency;
use outbox::Outbox;
use quorum::Quorum;
use record::Shard;

/// What surrounds a node.
pub trait Outside: Send + Sync {
    /// The time of the node's clock, as leases count it.
    fn now(&self) -> NodeTime;
    /// Has a command proposed to the stick table's log; `done` hears what became of it, in any
    /// thread.
    fn propose(&self, body: Bytes, version: u16, deadline: NodeTime, done: Done);
    /// Hands the answer to a connection that waits.
    fn complete(&self, ticket: Ticket, route: Route);
    /// Shows the groups of the configuration in force.
    fn with_groups(&self, look: &mut dyn FnMut(&Groups));
    /// Something happened that people should know.
    fn note(&self, is_warning: bool, text: String);
}

/// What the node's file says about its decisions. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How a new key gets its group.
    pub balance: Balance,
    /// What happens while no leader answers.
    pub no_quorum: NoQuorum,
    /// How long without an answer before that.
    pub no_quorum_after_ms: u64,
    /// How long a connection may take to its target.
    pub connect_timeout_ms: u64,
    /// `stick_table_max_entries`: bounds what is given alone too.
    pub max_entries: usize,
}

/// Who a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// Its process, drawn at each start.
    pub boot: u64,
}

/// One node of a cluster: [`Sticks`](crate::stick::Sticks) agreed on.
pub struct Node {
    me: Weak<Node>,
    identity: Identity,
    replica: Arc<Replica>,
    registry: Arc<GroupRegistry>,
    lease: LeaseReader,
    outside: Box<dyn Outside>,
    policy: ArcSwap<Policy>,
    shards: Box<[CachePadded<Mutex<Shard>>]>,
    hasher: KeyHasher,
    balancer: Balancer,
    outbox: Outbox,
    quorum: Quorum,
    /// What this process states stands in the log: only then is it asked anything.
    is_stated: AtomicBool,
    /// Where in the log this process's session was last ended.
    session_ended: AtomicU64,
    /// Why this node may not serve.
    barred: ArcSwapOption<String>,
    /// Keys whose group was given alone, in the order they were.
    alone: Mutex<Vec<Key>>,
    counters: Counters,
    /// How long batches took from their proposal to their answer.
    latency: Latency,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections answered from the replica.
    pub hits: AtomicU64,
    /// Connections that waited for an answer of the log.
    pub waits: AtomicU64,
    /// Questions put to the log.
    pub asks: AtomicU64,
    /// Connections refused, for whichever reason.
    pub refusals: AtomicU64,
    /// Keys given a group without a leader.
    pub alone: AtomicU64,
    /// Those of them that had been agreed otherwise meanwhile, and gave way.
    pub yielded: AtomicU64,
    /// Renewals acknowledged.
    pub renewals: AtomicU64,
    /// Entries held by this node, acknowledged.
    pub holds: AtomicU64,
    /// Entries released, acknowledged.
    pub releases: AtomicU64,
    /// Entries that were gone when the log was told of them.
    pub lost: AtomicU64,
    /// Batches proposed.
    pub batches: AtomicU64,
    /// Operations in them.
    pub operations: AtomicU64,
    /// Batches that got no answer.
    pub failures: AtomicU64,
    /// Times that no leader answered any more.
    pub quorum_losses: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Node {
    /// A node of which nothing is known in the log yet.
    pub fn new(
        identity: Identity,
        replica: Arc<Replica>,
        registry: Arc<GroupRegistry>,
        lease: LeaseReader,
        policy: Policy,
        outside: Box<dyn Outside>,
    ) -> Arc<Node> {
        let hasher = KeyHasher::default();
        let shard = |number| CachePadded::new(Mutex::new(Shard::new(number, hasher.clone())));
        let now = outside.now();
        Arc::new_cyclic(|me| Node {
            me: Weak::clone(me),
            identity,
            replica,
            registry,
            lease,
            policy: ArcSwap::from_pointee(policy),
            shards: (0..SHARDS as u32).map(shard).collect(),
            hasher: hasher.clone(),
            balancer: Balancer::default(),
            outbox: Outbox::default(),
            quorum: Quorum::new(now),
            is_stated: AtomicBool::new(false),
            session_ended: AtomicU64::new(0),
            barred: ArcSwapOption::empty(),
            alone: Mutex::default(),
            counters: Counters::default(),
            latency: Latency::default(),
            outside,
        })
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the log says.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Operations that wait to be proposed, and batches without an answer.
    pub fn queue_lengths(&self) -> (usize, usize) {
        self.outbox.lengths()
    }

    /// Keys of which this node knows more than the replica does.
    pub fn records(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).len()).sum()
    }

    /// Whether no leader has answered for `no_quorum_after`.
    pub fn has_lost_quorum(&self) -> bool {
        self.quorum.is_lost()
    }

    /// How a new key gets its group.
    pub fn balance(&self) -> Balance {
        self.policy.load().balance
    }

    /// Another configuration is in force.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// Why this node may not serve from now on; `None`: it may.
    pub fn bar(&self, why: Option<String>) {
        self.barred.store(why.map(Arc::new));
    }

    /// Why it may not.
    pub fn barred(&self) -> Option<Arc<String>> {
        self.barred.load_full()
    }

    /// What this process states stands in the log, or does no more.
    pub fn set_stated(&self, is_stated: bool) {
        if self.is_stated.swap(is_stated, Ordering::AcqRel) != is_stated && is_stated {
            self.pump();
        }
    }

    fn shard(&self, ip_hash: u64) -> MutexGuard<'_, Shard> {
        locked(&self.shards[shard_of(ip_hash)])
    }

    fn shard_behind(&self, stick: StickRef) -> Option<MutexGuard<'_, Shard>> {
        Some(locked(self.shards.get(stick.shard as usize)?))
    }

    fn shard_of_key(&self, key: KeyRef<'_>) -> (u64, MutexGuard<'_, Shard>) {
        let ip_hash = self.hasher.ip(key.ip);
        (ip_hash, self.shard(ip_hash))
    }

    fn complete(&self, ticket: Ticket, route: Route) {
        if let Route::Refuse(_) = route {
            count(&self.counters.refusals);
        }
        self.outside.complete(ticket, route);
    }

    fn groups<T>(&self, look: impl FnOnce(&Groups) -> T) -> Option<T> {
        let (mut look, mut seen) = (Some(look), None);
        self.outside.with_groups(&mut |groups| {
            seen = look.take().map(|look| look(groups));
        });
        seen
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// Records that are looked at under one hold of a shard's lock.
const RECORDS_PER_HOLD: u32 = 4096;

/// Shows every slot of a shard, those without a record included, a bounded number under one hold
/// of its lock.
fn for_each_slot(shard: &Mutex<Shard>, mut visit: impl FnMut(&mut Shard, u32)) {
    let mut from = 0;
    loop {
        let mut shard = locked(shard);
        let upto = shard.slots().min(from + RECORDS_PER_HOLD);
        for slot in from..upto {
            visit(&mut shard, slot);
        }
        from = upto;
        if from >= shard.slots() {
            return;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer that a connection now has.
fn to(answer: Answer) -> Route {
    Route::Group(answer)
}
