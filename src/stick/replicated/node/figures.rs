//! What can be read of a node, for statistics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::histogram::{self, Histogram};

use super::{Node, Policy};

/// Bounds of the buckets of how long a batch takes from its proposal to its answer: from within one
/// machine to beyond an election.
const LATENCY_BOUNDS_US: &[u64] = &[
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Durations as several threads count them.
#[derive(Debug)]
pub(super) struct Latency {
    counts: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_us: AtomicU64::new(0),
        }
    }
}

impl Latency {
    pub fn note(&self, took: Duration) {
        let us = histogram::in_us(took);
        self.counts[histogram::bucket(LATENCY_BOUNDS_US, us)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    fn so_far(&self) -> Histogram {
        let mut histogram = Histogram::new(LATENCY_BOUNDS_US);
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        histogram.add(counts, self.sum_us.load(Ordering::Relaxed));
        histogram
    }
}

/// A node's figures at one moment: how it is now, and counts since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFigures {
    /// Whether it may answer from its own copy of the table.
    pub has_lease: bool,
    /// Whether what this process states stands in the log.
    pub is_stated: bool,
    /// Whether no leader has answered for `no_quorum_after`.
    pub has_lost_quorum: bool,
    /// Why it may not serve.
    pub barred: Option<String>,
    /// What its file says about its decisions.
    pub policy: Policy,
    /// Operations that wait to be proposed.
    pub operations_waiting: u64,
    /// Batches without an answer.
    pub batches_out: u64,
    /// Keys of which it knows more than its copy of the table does.
    pub records: u64,
    /// Bytes that a snapshot being read keeps of entries which have changed since.
    pub snapshot_held_bytes: u64,
    /// Counts.
    pub counts: NodeCounts,
    /// How long batches took from their proposal to their answer.
    pub latency: Histogram,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// [`super::Counters`] at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct NodeCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl super::Counters {
            fn so_far(&self) -> NodeCounts {
                NodeCounts {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

counts! {
    /// Connections answered from its copy of the table.
    hits,
    /// Connections that waited for an answer of the log.
    waits,
    /// Questions put to the log.
    asks,
    /// Connections refused, for whichever reason.
    refusals,
    /// Keys given a group without a leader.
    alone,
    /// Those of them that had been agreed otherwise meanwhile, and gave way.
    yielded,
    /// Renewals acknowledged.
    renewals,
    /// Entries held by this node, acknowledged.
    holds,
    /// Entries released, acknowledged.
    releases,
    /// Entries that were gone when the log was told of them.
    lost,
    /// Batches proposed.
    batches,
    /// Operations in them.
    operations,
    /// Batches that got no answer.
    failures,
    /// Times that no leader answered any more.
    quorum_losses,
}

impl Node {
    /// How long batches took from their proposal to their answer.
    pub fn latency(&self) -> Histogram {
        self.latency.so_far()
    }

    /// Its figures at this moment.
    pub fn figures(&self) -> NodeFigures {
        let (operations, batches) = self.queue_lengths();
        let now = self.outside.now();
        NodeFigures {
            has_lease: self.lease.until(now).is_some(),
            is_stated: self.is_stated.load(Ordering::Acquire),
            has_lost_quorum: self.has_lost_quorum(),
            barred: self
                .barred()
                .filter(|_| self.is_barred(now))
                .map(|why| why.to_string()),
            policy: **self.policy.load(),
            operations_waiting: operations as u64,
            batches_out: batches as u64,
            records: self.records() as u64,
            snapshot_held_bytes: self.replica.snapshot_bytes(),
            counts: self.counters.so_far(),
            latency: self.latency(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_counts_in_its_bucket_from_any_thread() {
        let latency = Latency::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| latency.note(Duration::from_micros(700)));
            }
        });
        latency.note(Duration::from_secs(60));
        let so_far = latency.so_far();
        assert_eq!(so_far.count(), 5);
        assert!((so_far.sum_seconds() - 60.002_8).abs() < 1e-9);
        let upto_1_ms = so_far.cumulative().find(|&(bound, _)| bound == 0.001);
        assert_eq!(upto_1_ms, Some((0.001, 4)));
    }
}
