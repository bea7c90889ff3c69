//! The one clock of a test, and what was done to the cluster by it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::history::{Fault, NEVER, Outage};

/// What was done so far.
#[derive(Debug)]
pub struct Chronicle {
    start: Instant,
    faults: Mutex<Vec<Fault>>,
    outages: Mutex<Vec<Outage>>,
}

impl Chronicle {
    /// The clock begins.
    pub fn begin() -> Chronicle {
        Chronicle {
            start: Instant::now(),
            faults: Mutex::default(),
            outages: Mutex::default(),
        }
    }

    /// Since it began.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The node is about to be taken away.
    pub fn fault_begins(&self, node: usize) {
        let from = self.now();
        lock(&self.faults).push(Fault {
            node,
            from,
            until: NEVER,
        });
    }

    /// The node is back with all others.
    pub fn fault_ends(&self, node: usize) {
        let now = self.now();
        let mut faults = lock(&self.faults);
        let open = faults.iter_mut().filter(|fault| fault.node == node);
        open.filter(|fault| fault.until == NEVER)
            .for_each(|fault| fault.until = now);
    }

    /// The group is about to be disabled or taken out.
    pub fn outage_begins(&self, group: u32) {
        let from = self.now();
        lock(&self.outages).push(Outage {
            group,
            from,
            until: NEVER,
        });
    }

    /// The group is usable again on all nodes.
    pub fn outage_ends(&self, group: u32) {
        let now = self.now();
        let mut outages = lock(&self.outages);
        let open = outages.iter_mut().filter(|outage| outage.group == group);
        open.filter(|outage| outage.until == NEVER)
            .for_each(|outage| outage.until = now);
    }

    /// When nodes were away.
    pub fn faults(&self) -> Vec<Fault> {
        lock(&self.faults).clone()
    }

    /// When groups were out.
    pub fn outages(&self) -> Vec<Outage> {
        lock(&self.outages).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
