//! The entries, and what else workers read while the log is applied.

pub(super) mod entry; // one entry
pub(super) mod mark; // a snapshot being read
pub(super) mod members; // which member each bit stands for
mod search; // for the API
pub(super) mod shard; // entries, and what finds them

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use crossbeam_utils::CachePadded;
use tcpffee_raft::ids::{Index, LogTime, NodeId};

use self::members::Members;
use self::shard::Shard;
use super::agreed::Agreed;
use crate::config::GroupId;
use crate::groups::GroupRegistry;
use crate::stick::counters::StickCounters;
use crate::stick::hash::{KeyHasher, SHARDS, shard_of};
use crate::stick::{ClientIp, Counts, Key, KeyRef};

/// One node's copy of the table, as far as the log has been applied. Read by workers at each
/// connection, written by the thread that applies. In shards, a mutex for each, held for one
/// entry, or for 4,096 at most.
#[derive(Debug)]
pub struct Replica {
    shards: Box<[CachePadded<Mutex<Shard>>]>,
    pub(super) hasher: KeyHasher,
    pub(super) counters: StickCounters,
    pub(super) members: Members,
    agreed: ArcSwap<Agreed>,
    applied: AtomicU64,
    time_ms: AtomicU64,
    counts: Mutex<Counts>,
    /// Bytes that a snapshot keeps of pages that have changed.
    pub(super) snapshot_bytes: Arc<AtomicU64>,
    /// The latest snapshot's number.
    pub(super) snapshots: AtomicU64,
}

/// An entry as a worker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The group.
    pub group: GroupId,
    /// The version: the index of its creation, reassignment or latest move.
    pub version: Index,
    /// When it expires; [`HELD`] while a node holds it.
    pub expires: LogTime,
    /// Nothing has been connected on it yet: whose connection made it, or who was given it as well
    /// where that one has given up. No other node may go by it without asking.
    pub made_by: Option<NodeId>,
    /// An operator has removed it; it is gone once every node knows.
    pub removed: bool,
}

/// When an entry expires that a node holds: not as long as that goes on.
pub const HELD: LogTime = LogTime(u64::MAX);

impl Replica {
    /// Empty, before the log's first entry. Groups have their counters from `registry`.
    pub fn new(registry: Arc<GroupRegistry>) -> Arc<Replica> {
        let hasher = KeyHasher::default();
        let shard = || CachePadded::new(Mutex::new(Shard::new(hasher.clone())));
        Arc::new(Replica {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            counters: StickCounters::new(registry),
            members: Members::new(),
            agreed: ArcSwap::default(),
            applied: AtomicU64::new(0),
            time_ms: AtomicU64::new(0),
            counts: Mutex::default(),
            snapshot_bytes: Arc::default(),
            snapshots: AtomicU64::new(0),
            hasher,
        })
    }

    /// The entry of exactly this key, valid by the log or not purged yet.
    pub fn look(&self, key: KeyRef<'_>) -> Option<Seen> {
        let ip_hash = self.hasher.ip(key.ip);
        let shard = self.lock(shard_of(ip_hash));
        let slot = shard.find(ip_hash, key)?;
        Some(shard.entry(slot).seen(&self.members))
    }

    /// The newest slice entry of an address that has not expired by the log, was not removed, and
    /// whose group is usable by the agreed statuses: what an ask for it would find, but that it
    /// may be provisional. Of each address the 256 newest are looked at, here and there.
    pub fn latest_of(&self, ip: ClientIp) -> Option<(Key, Seen)> {
        let agreed = self.agreed_ref();
        let time = self.time();
        let shard = self.lock(shard_of(self.hasher.ip(ip)));
        let slot = shard.latest(ip, |entry| {
            entry.is_valid(time) && agreed.is_usable(entry.group)
        })?;
        let entry = shard.entry(slot);
        Some((entry.owned_key(), entry.seen(&self.members)))
    }

    /// What is agreed on now.
    pub fn agreed(&self) -> Arc<Agreed> {
        self.agreed.load_full()
    }

    /// [`Replica::agreed`] for the moment, without counting a reference.
    pub fn agreed_ref(&self) -> Guard<Arc<Agreed>> {
        self.agreed.load()
    }

    /// The last place in the log that is applied here.
    pub fn applied(&self) -> Index {
        Index(self.applied.load(Ordering::Acquire))
    }

    /// The log's time there.
    pub fn time(&self) -> LogTime {
        LogTime(self.time_ms.load(Ordering::Acquire))
    }

    /// Entries, expired ones that were not purged yet included.
    pub fn entries(&self) -> u64 {
        self.counts().entries
    }

    /// What the log's commands have done since its beginning, but for `hits`, which nobody agrees
    /// on. `refusals` are new keys for which a full table had no place.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that a snapshot being read keeps of entries which have changed since it was taken.
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[shard];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows workers what is agreed on from now on.
    pub(super) fn publish(&self, agreed: Arc<Agreed>) {
        self.agreed.store(agreed);
    }

    /// Shows workers how far the log has been applied.
    pub(super) fn set_applied(&self, index: Index, time: LogTime, counts: Counts) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
        self.time_ms.store(time.0, Ordering::Release);
        self.applied.store(index.0, Ordering::Release);
    }
}
