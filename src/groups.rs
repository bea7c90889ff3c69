//! The server groups of one generation of the configuration: status, weight, targets, counters.
//!
//! A [`Group`] is rebuilt at each reload; its [`GroupCounters`] live as long as the process, so
//! that entries and connections made under one generation are counted in the next.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::clock::Millis;
use crate::config::{GroupConfig, GroupId, OnDisabled, TargetAddr};

/// What a group does for keys, from least to most severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Takes new keys.
    Up,
    /// Serves the keys it has, takes no new ones.
    Draining,
    /// Serves none; its keys are assigned anew at their next connection.
    Disabled,
}

impl Status {
    /// Whether keys that the group has are served.
    pub fn is_usable(self) -> bool {
        self != Status::Disabled
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Status::Up => "Up",
            Status::Draining => "Draining",
            Status::Disabled => "Disabled",
        })
    }
}

/// The groups of one generation, ascending by id.
#[derive(Debug, Default)]
pub struct Groups {
    list: Vec<Group>,
}

impl Groups {
    /// Groups from any order.
    pub fn new(mut list: Vec<Group>) -> Groups {
        list.sort_by_key(|group| group.id);
        Groups { list }
    }

    /// The group with this id, `None` where the configuration has none.
    pub fn get(&self, id: GroupId) -> Option<&Group> {
        self.list
            .binary_search_by_key(&id, |group| group.id)
            .ok()
            .map(|at| &self.list[at])
    }

    /// All groups, ascending by id.
    pub fn iter(&self) -> std::slice::Iter<'_, Group> {
        self.list.iter()
    }
}

/// One group of one generation.
#[derive(Debug)]
pub struct Group {
    /// As in `[groups.N]`.
    pub id: GroupId,
    /// Name for people.
    pub name: Option<String>,
    /// Share of new keys, at least 1.
    pub weight: u32,
    /// Takes new keys only while no other group is Up.
    pub backup: bool,
    /// What happens to open connections when it becomes Disabled.
    pub on_disabled: OnDisabled,
    /// How long connections may stay while it is Draining.
    pub drain_timeout: Option<Duration>,
    /// Counts that outlive the generation.
    pub counters: Arc<GroupCounters>,
    configured: Status,
    targets: BTreeMap<u16, Target>,
}

impl Group {
    /// A group as configured, with its targets by listened port.
    pub fn new(
        config: &GroupConfig,
        targets: BTreeMap<u16, Target>,
        counters: Arc<GroupCounters>,
    ) -> Group {
        let configured = match (config.disabled, config.drain) {
            (true, _) => Status::Disabled,
            (false, true) => Status::Draining,
            (false, false) => Status::Up,
        };
        Group {
            id: config.id,
            name: config.name.clone(),
            weight: config.weight,
            backup: config.backup,
            on_disabled: config.on_disabled,
            drain_timeout: config.drain_timeout,
            counters,
            configured,
            targets,
        }
    }

    /// What holds now.
    pub fn status(&self) -> Status {
        self.configured
    }

    /// Where connections on the listened `port` go; `None`: the group does not serve that port
    /// (not in its portmap, its name not resolved, or it would be this proxy itself).
    pub fn target(&self, port: u16) -> Option<SocketAddr> {
        self.targets.get(&port).and_then(Target::address)
    }

    /// All targets by listened port.
    pub fn targets(&self) -> &BTreeMap<u16, Target> {
        &self.targets
    }
}

/// Counts of one group that outlive a reload.
#[derive(Debug)]
pub struct GroupCounters {
    /// Stick entries that name the group.
    pub sticks: AtomicU64,
    /// In [`Millis`]; zero: it is not Draining.
    draining_since_ms: AtomicU64,
    connections: Box<[CachePadded<AtomicI64>]>,
}

impl GroupCounters {
    /// Counters for this many workers.
    pub fn new(workers: usize) -> GroupCounters {
        GroupCounters {
            sticks: AtomicU64::new(0),
            draining_since_ms: AtomicU64::new(0),
            connections: (0..workers)
                .map(|_| CachePadded::new(AtomicI64::new(0)))
                .collect(),
        }
    }

    /// When the group began to drain; `None` while it is not Draining.
    pub fn draining_since(&self) -> Option<Millis> {
        let since = self.draining_since_ms.load(Ordering::Relaxed);
        (since != 0).then_some(Millis(since))
    }

    /// Notes the status that holds from now on.
    pub fn note_status(&self, status: Status, now: Millis) {
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

/// The counters of every group seen since the start, by id.
#[derive(Debug)]
pub struct GroupRegistry {
    workers: usize,
    counters: Mutex<HashMap<GroupId, Arc<GroupCounters>>>,
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
        }
    }

    /// The counters of a group, made at first asking.
    pub fn counters(&self, id: GroupId) -> Arc<GroupCounters> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(GroupCounters::new(self.workers));
        Arc::clone(counters.entry(id).or_insert_with(made))
    }
}

/// One target of a group: as configured, and where it is in this generation. A name that
/// resolves anew makes a new generation.
#[derive(Clone, Debug)]
pub struct Target {
    /// As written in the portmap.
    pub configured: TargetAddr,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    At(SocketAddr),
    Unresolved,
    OwnListener,
}

impl Target {
    /// A target at an address; `None`: its name is not resolved yet.
    pub fn new(configured: TargetAddr, address: Option<SocketAddr>) -> Target {
        Target {
            configured,
            place: address.map_or(Place::Unresolved, Place::At),
        }
    }

    /// A target at a fixed address.
    pub fn fixed(address: SocketAddr) -> Target {
        Target::new(TargetAddr::Socket(address), Some(address))
    }

    /// A target that is one of this proxy's own listeners: never connected to.
    pub fn own_listener(configured: TargetAddr) -> Target {
        Target {
            configured,
            place: Place::OwnListener,
        }
    }

    /// The address to connect to, if there is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.place {
            Place::At(address) => Some(address),
            Place::Unresolved | Place::OwnListener => None,
        }
    }

    /// Whether it is one of this proxy's own listeners.
    pub fn is_own_listener(&self) -> bool {
        matches!(self.place, Place::OwnListener)
    }
}
