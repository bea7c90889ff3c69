//! The entries, and what else workers read while the log is applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tcpffee_raft::ids::{Index, LogTime, NodeId};

use super::agreed::Agreed;
use crate::config::GroupId;
use crate::groups::GroupRegistry;
use crate::stick::{ClientIp, Counts, Cursor, EntryView, Key, KeyRef, Search};

/// One node's copy of the table, as far as the log has been applied. Read by workers at each
/// connection, written by the thread that applies. In shards, a mutex for each, held for one
/// entry, or for 4,096 at most.
#[derive(Debug)]
pub struct Replica {
    agreed: ArcSwap<Agreed>,
    applied: AtomicU64,
}

/// An entry as a worker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The group.
    pub group: GroupId,
    /// The version: the index of its creation or reassignment.
    pub version: Index,
    /// When it expires; `LogTime(u64::MAX)` while a node holds it.
    pub expires: LogTime,
    /// Nothing has been connected on it yet: whose connection made it. No other node may go by
    /// it without asking.
    pub made_by: Option<NodeId>,
    /// An operator has removed it; it is gone once every node knows.
    pub removed: bool,
}

impl Replica {
    /// Empty, before the log's first entry. Groups have their counters from `registry`.
    pub fn new(_registry: Arc<GroupRegistry>) -> Arc<Replica> {
        Arc::new(Replica {
            agreed: ArcSwap::default(),
            applied: AtomicU64::new(0),
        })
    }

    /// The entry of exactly this key, valid by the log or not purged yet.
    pub fn look(&self, _key: KeyRef<'_>) -> Option<Seen> {
        None
    }

    /// The newest slice entry of an address that has not expired by the log, was not removed, and
    /// whose group is usable by the agreed statuses.
    pub fn latest_of(&self, _ip: ClientIp) -> Option<(Key, Seen)> {
        None
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
        LogTime(0)
    }

    /// Entries, expired ones that were not purged yet included.
    pub fn entries(&self) -> u64 {
        0
    }

    /// What the log's commands have done so far, but for `hits`, which nobody agrees on.
    pub fn counts(&self) -> Counts {
        Counts::default()
    }

    /// Bytes that a snapshot being read keeps of entries which have changed since it was taken.
    pub fn snapshot_bytes(&self) -> u64 {
        0
    }

    /// The entry of exactly this key, as the API shows it: `connections` is the number of nodes
    /// that hold it.
    pub fn get(&self, _key: KeyRef<'_>) -> Option<EntryView> {
        None
    }

    /// [`crate::stick::Table::page`] of the replica.
    pub fn page(&self, _from: Cursor, _limit: usize) -> (Vec<EntryView>, Option<Cursor>) {
        (Vec::new(), None)
    }

    /// [`crate::stick::Table::search`] of the replica; time left is by the log's latest time.
    pub fn search(
        &self,
        _from: Cursor,
        _search: Search,
        _wanted: impl Fn(KeyRef<'_>, GroupId) -> bool,
    ) -> (Vec<EntryView>, Option<Cursor>) {
        (Vec::new(), None)
    }

    /// [`crate::stick::Table::search_address`] of the replica.
    pub fn search_address(
        &self,
        _ip: ClientIp,
        _from: Option<Cursor>,
        _search: Search,
        _wanted: impl Fn(KeyRef<'_>, GroupId) -> bool,
    ) -> (Vec<EntryView>, Option<Cursor>) {
        (Vec::new(), None)
    }

    /// [`crate::stick::Table::last_remaining`] of the replica.
    pub fn last_remaining(
        &self,
        _groups: &BTreeSet<GroupId>,
        _most_slots: usize,
    ) -> BTreeMap<GroupId, Duration> {
        BTreeMap::new()
    }
}
