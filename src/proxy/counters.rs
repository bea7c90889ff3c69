//! What each worker counts. Every worker writes its own cache lines; readers add them up.

use std::sync::atomic::{AtomicU64, Ordering};

use super::End;

/// The counters of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Times that accepting paused for want of descriptors or memory.
    pub accept_pauses: Count,
    /// Connections whose key slice did not come in time: their key is the address alone.
    pub slice_timeouts: Count,
    /// Connects that failed by the target's fault.
    pub connect_failures: Count,
    /// Entries of new keys moved to another group: from one that could not be connected or cannot
    /// see the client (`transparent`), and from a full one.
    pub moves: Count,
    /// Turns that found the bound on held bytes reached.
    pub buffer_pressure: Count,
    ends: [Count; End::ALL.len()],
}

impl Counters {
    /// The count of connections that ended for this reason before a group was given to them; the
    /// others are counted with their group ([`GroupCell`](super::traffic::GroupCell)).
    pub fn ended(&self, end: End) -> &Count {
        &self.ends[end as usize]
    }
}

/// A number that only grows, written by one thread and read by any. Who has seen one grow sees
/// everything that its thread had counted before.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds; only the owning thread calls this, so no locked instruction is needed.
    pub fn add(&self, by: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed) + by, Ordering::Release);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_count_in_the_listed_order() {
        let counters = Counters::default();
        for (at, end) in End::ALL.into_iter().enumerate() {
            assert_eq!(end as usize, at);
            counters.ended(end).add(at as u64 + 1);
        }
        for (at, end) in End::ALL.into_iter().enumerate() {
            assert_eq!(counters.ended(end).get(), at as u64 + 1);
        }
    }
}
