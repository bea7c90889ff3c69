//! What is counted of a group as long as the process lives, whatever the generation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_utils::CachePadded;

use super::places::Places;
use super::target::TargetState;
use super::{HealthStatus, Status};
use crate::clock::Millis;
use crate::config::{GroupId, TargetAddr};

/// Counts of one group that outlive a reload.
#[derive(Debug)]
pub struct GroupCounters {
    /// Stick entries that name the group.
    pub sticks: AtomicU64,
    /// Connections that it may have at once, and who waits for one.
    pub places: Places,
    /// What the cluster has agreed on, whatever this node's own file and checks say; Up for a lone
    /// node.
    pub agreed: HealthStatus,
    /// The weight that the cluster has agreed on; 0: this node's own counts.
    agreed_weight: AtomicU32,
    /// Whether the cluster takes it for a backup; counts where the weight does.
    agreed_backup: AtomicBool,
    /// In [`Millis`]; zero: it is not Draining.
    draining_since_ms: AtomicU64,
    /// In [`Millis`]; zero: it has not come back, or is out again.
    returned_ms: AtomicU64,
    connections: Box<[CachePadded<AtomicI64>]>,
}

impl GroupCounters {
    /// Counters for this many workers.
    pub fn new(workers: usize) -> GroupCounters {
        GroupCounters {
            sticks: AtomicU64::new(0),
            places: Places::default(),
            agreed: HealthStatus::up(),
            agreed_weight: AtomicU32::new(0),
            agreed_backup: AtomicBool::new(false),
            draining_since_ms: AtomicU64::new(0),
            returned_ms: AtomicU64::new(0),
            connections: (0..workers)
                .map(|_| CachePadded::new(AtomicI64::new(0)))
                .collect(),
        }
    }

    /// The weight, and whether it is a backup, that the cluster has agreed on; none where this node's
    /// own count.
    pub fn agreed_terms(&self) -> Option<(u32, bool)> {
        let weight = self.agreed_weight.load(Ordering::Relaxed);
        (weight > 0).then(|| (weight, self.agreed_backup.load(Ordering::Relaxed)))
    }

    /// What the cluster has agreed on from now on.
    pub fn agree_on_terms(&self, weight: u32, backup: bool) {
        self.agreed_backup.store(backup, Ordering::Relaxed);
        self.agreed_weight.store(weight, Ordering::Relaxed);
    }

    /// Stick entries that name the group.
    pub fn sticks(&self) -> u64 {
        self.sticks.load(Ordering::Relaxed)
    }

    /// When the group began to drain; `None` while it is not Draining.
    pub fn draining_since(&self) -> Option<Millis> {
        let since = self.draining_since_ms.load(Ordering::Relaxed);
        (since != 0).then_some(Millis(since))
    }

    /// When the group last came back, or came in; `None`: it has been there from the start, or is
    /// out.
    pub fn returned(&self) -> Option<Millis> {
        let at = self.returned_ms.load(Ordering::Relaxed);
        (at != 0).then_some(Millis(at))
    }

    /// Notes that it takes new keys again from now on, or for the first time.
    pub fn note_return(&self, now: Millis) {
        self.returned_ms.store(now.0.max(1), Ordering::Relaxed);
    }

    /// Notes the status that holds from now on.
    pub fn note_status(&self, status: Status, now: Millis) {
        if status != Status::Up {
            self.returned_ms.store(0, Ordering::Relaxed);
        }
        if status != Status::Draining {
            self.draining_since_ms.store(0, Ordering::Relaxed);
        } else if self.draining_since().is_none() {
            self.draining_since_ms.store(now.0, Ordering::Relaxed);
        }
    }

    /// Adds to the connections that `worker` has with the group. Each worker writes its own
    /// cache line.
    pub fn add_connections(&self, worker: usize, by: i64) {
        self.connections[worker].fetch_add(by, Ordering::Relaxed);
    }

    /// Open connections with the group, over all workers.
    pub fn connections(&self) -> u64 {
        let sum: i64 = self
            .connections
            .iter()
            .map(|cell| cell.load(Ordering::Relaxed))
            .sum();
        u64::try_from(sum).unwrap_or(0)
    }
}

/// The counters of every group seen since the start, by id, and of the targets in use.
#[derive(Debug)]
pub struct GroupRegistry {
    workers: usize,
    counters: Mutex<HashMap<GroupId, Arc<GroupCounters>>>,
    targets: Mutex<HashMap<(GroupId, TargetAddr), Arc<TargetState>>>,
}

impl GroupRegistry {
    /// Groups that are `gone` are not Draining any more: should they come back, they begin anew.
    pub fn forget_draining(&self, gone: impl Fn(GroupId) -> bool) {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        for counters in counters
            .iter()
            .filter(|(id, _)| gone(**id))
            .map(|(_, counters)| counters)
        {
            counters.draining_since_ms.store(0, Ordering::Relaxed);
        }
    }

    /// An empty registry for this many workers.
    pub fn new(workers: usize) -> GroupRegistry {
        GroupRegistry {
            workers,
            counters: Mutex::default(),
            targets: Mutex::default(),
        }
    }

    /// The counters of a group, made at first asking.
    pub fn counters(&self, id: GroupId) -> Arc<GroupCounters> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(GroupCounters::new(self.workers));
        Arc::clone(counters.entry(id).or_insert_with(made))
    }

    /// Open connections with a group, over all workers.
    pub fn connections(&self, id: GroupId) -> u64 {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters
            .get(&id)
            .map_or(0, |counters| counters.connections())
    }

    /// What is counted of one target of a group, made at first asking.
    pub fn target(&self, group: GroupId, configured: &TargetAddr) -> Arc<TargetState> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (group, configured.clone());
        let made = || Arc::new(TargetState::new(group, configured.clone()));
        Arc::clone(targets.entry(key).or_insert_with(made))
    }

    /// Forgets targets that no generation has any more.
    pub fn forget_unused_targets(&self) {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.retain(|_, state| Arc::strong_count(state) > 1);
    }
}
