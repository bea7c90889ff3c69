//! Leases: how long a node may answer from its own copy of the state.
//!
//! A node's messages to the leader carry the node's own clock, `stamp`. The leader echoes it with
//! its log time `t` and commit index `c` once a majority has confirmed that it still led after
//! the stamp came. From then on, once `c` is applied here, whatever was agreed before the stamp
//! is in this node's state; what was agreed later it may not know. So it may answer by itself
//! only for a bounded time, [`crate::settings::Settings::hit_lease_ms`] after the stamp, and only
//! what nobody else may have given to another meanwhile: an entry that expires late enough. The
//! leader's log time may have run faster than this node's clock; 1 % is allowed for.
//!
//! Everything is compared with the reader's own clock at the moment of the question: a process
//! that was stopped and goes on finds its lease run out.

use std::sync::Arc;

use crossbeam_utils::atomic::AtomicCell;

use crate::driver::boot_time;
use crate::ids::{LogTime, NodeTime};
use crate::message::LeaseGrant;

/// What a node may rely on at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    /// This node's clock: the leader led at some moment after it.
    stamp: NodeTime,
    /// The log time at that moment.
    time: LogTime,
    /// The last moment of the lease; before `stamp` where there is none.
    until: NodeTime,
}

const NONE: Held = Held {
    stamp: NodeTime(1),
    time: LogTime(0),
    until: NodeTime(0),
};

/// Asks for the lease. Cheap to clone, and to ask from many threads at once: a sequence lock, of
/// which readers write nothing, unless the lease (or another value under the same one of
/// crossbeam's locks) is being set at that moment; then they wait for the few instructions that
/// this takes.
#[derive(Clone, Debug)]
pub struct LeaseReader {
    held: Arc<AtomicCell<Held>>,
}

/// Sets the lease; the driver has it.
#[derive(Debug)]
pub struct LeaseWriter {
    held: Arc<AtomicCell<Held>>,
    hit_lease_ms: u64,
}

impl LeaseWriter {
    /// Without a lease, as a node begins. `hit_lease_ms`: how long one lasts.
    pub fn new(hit_lease_ms: u64) -> LeaseWriter {
        LeaseWriter {
            held: Arc::new(AtomicCell::new(NONE)),
            hit_lease_ms,
        }
    }

    /// A reader of it.
    pub fn reader(&self) -> LeaseReader {
        LeaseReader {
            held: Arc::clone(&self.held),
        }
    }

    /// Takes in a grant whose commit index has been applied here.
    pub fn granted(&self, grant: LeaseGrant) {
        self.held.store(Held {
            stamp: grant.stamp,
            time: grant.time,
            until: grant.stamp.plus(self.hit_lease_ms),
        });
    }

    /// Ends it before its time: this node's state is not what was agreed on any more.
    pub fn end(&self) {
        self.held.store(NONE);
    }
}

impl LeaseReader {
    /// Whether the node may answer at `now` by an entry of its own state that expires at
    /// `entry_expires`, where entries live for `expiration_ms`: under a lease, and with at least
    /// half of that left by the latest that the log's time may be.
    pub fn may_hit(&self, now: NodeTime, entry_expires: LogTime, expiration_ms: u64) -> bool {
        let held = self.held.load();
        if now > held.until || now < held.stamp {
            return false;
        }
        let latest = held.time.0 + with_drift(now.since(held.stamp));
        let left = entry_expires.0.saturating_sub(latest);
        left.saturating_mul(2) >= expiration_ms && left > 0
    }

    /// [`LeaseReader::may_hit`] now.
    pub fn may_hit_now(&self, entry_expires: LogTime, expiration_ms: u64) -> bool {
        self.may_hit(boot_time(), entry_expires, expiration_ms)
    }

    /// The latest that the log's time may be at `now`, whether there still is a lease or not;
    /// the end of all times before the first one.
    pub fn latest_time(&self, now: NodeTime) -> LogTime {
        let held = self.held.load();
        if held == NONE || now < held.stamp {
            return LogTime(u64::MAX);
        }
        LogTime(
            held.time
                .0
                .saturating_add(with_drift(now.since(held.stamp))),
        )
    }

    /// Until when there is a lease at `now`; none without.
    pub fn until(&self, now: NodeTime) -> Option<NodeTime> {
        let held = self.held.load();
        (now >= held.stamp && now <= held.until).then_some(held.until)
    }
}

/// What a faster clock may have counted meanwhile: 1.01 times as much, rounded up.
fn with_drift(ms: u64) -> u64 {
    ms + ms.div_ceil(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Index;

    fn granted() -> (LeaseWriter, LeaseReader) {
        let writer = LeaseWriter::new(1500);
        let reader = writer.reader();
        writer.granted(LeaseGrant {
            stamp: NodeTime(10_000),
            time: LogTime(500),
            commit: Index(1),
        });
        (writer, reader)
    }

    #[test]
    fn without_a_lease_nothing_is_answered() {
        let reader = LeaseWriter::new(1500).reader();
        for now in [0, 1, 5000] {
            assert!(!reader.may_hit(NodeTime(now), LogTime(u64::MAX), 0));
            assert_eq!(reader.until(NodeTime(now)), None);
        }
    }

    #[test]
    fn a_lease_ends_its_time_after_the_stamp_and_not_after_its_coming() {
        let (writer, reader) = granted();
        assert!(reader.may_hit(NodeTime(11_500), LogTime(1 << 40), 1000));
        assert!(!reader.may_hit(NodeTime(11_501), LogTime(1 << 40), 1000));
        assert!(!reader.may_hit(NodeTime(9_999), LogTime(1 << 40), 1000));
        assert_eq!(reader.until(NodeTime(11_500)), Some(NodeTime(11_500)));
        writer.end();
        assert!(!reader.may_hit(NodeTime(10_000), LogTime(1 << 40), 1000));
    }

    #[test]
    fn the_log_s_time_is_never_taken_for_earlier_than_it_may_be() {
        let (writer, reader) = granted();
        assert_eq!(reader.latest_time(NodeTime(10_000)), LogTime(500));
        assert_eq!(reader.latest_time(NodeTime(11_000)), LogTime(1510));
        // It goes on to be a bound after the lease has run out.
        assert_eq!(reader.latest_time(NodeTime(20_000)), LogTime(10_600));
        assert_eq!(reader.latest_time(NodeTime(1)), LogTime(u64::MAX));
        writer.end();
        assert_eq!(reader.latest_time(NodeTime(11_000)), LogTime(u64::MAX));
    }

    #[test]
    fn an_entry_with_less_than_half_of_its_life_left_is_asked_for() {
        let (_writer, reader) = granted();
        // 1000 ms after the stamp the log's time is 1510 at the latest.
        let now = NodeTime(11_000);
        assert!(reader.may_hit(now, LogTime(1510 + 5000), 10_000));
        assert!(!reader.may_hit(now, LogTime(1510 + 4999), 10_000));
        assert!(!reader.may_hit(now, LogTime(0), 10_000));
    }
}
