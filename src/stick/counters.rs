//! The registry's counters, at hand without its lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;

use crate::config::GroupId;
use crate::groups::{GroupCounters, GroupRegistry};

/// A copy of the registry's map. Groups are never taken out of the registry, so what is here
/// stays right.
#[derive(Debug)]
pub(super) struct StickCounters {
    registry: Arc<GroupRegistry>,
    known: ArcSwap<HashMap<GroupId, Arc<GroupCounters>>>,
}

impl StickCounters {
    pub fn new(registry: Arc<GroupRegistry>) -> StickCounters {
        StickCounters {
            registry,
            known: ArcSwap::default(),
        }
    }

    /// Counts this many entries more for the group.
    pub fn add(&self, group: GroupId, entries: u64) {
        self.with(group, |counters| {
            counters.sticks.fetch_add(entries, Ordering::Relaxed);
        });
    }

    /// Counts this many entries fewer for the group.
    pub fn subtract(&self, group: GroupId, entries: u64) {
        self.with(group, |counters| {
            let before = counters.sticks.fetch_sub(entries, Ordering::Relaxed);
            debug_assert!(before >= entries, "group {group} counted fewer sticks");
        });
    }

    fn with(&self, group: GroupId, change: impl FnOnce(&GroupCounters)) {
        if let Some(counters) = self.known.load().get(&group) {
            return change(counters);
        }
        let counters = self.registry.counters(group);
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.insert(group, Arc::clone(&counters));
            known
        });
        change(&counters);
    }
}
