//! Repeated faults: the first at once, then one line in a while, with a count.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Millis;

/// Decides which occurrence of a fault is logged. One for each kind of fault, in a `static` or
/// beside what it concerns; any thread may ask, without a lock.
///
/// ```
/// # use tcpffee::{clock::Clock, logging::RateLimit};
/// static REFUSED: RateLimit = RateLimit::new();
/// # let clock = Clock::start();
/// if let Some(left_out) = REFUSED.admit(clock.now()) {
///     log::warn!("a client was refused{left_out}");
/// }
/// ```
#[derive(Debug)]
pub struct RateLimit {
    every_ms: u64,
    /// When a line was last admitted, in [`Millis`]; zero: never.
    last_ms: AtomicU64,
    left_out: AtomicU64,
}

impl RateLimit {
    /// At most one line in 10 seconds.
    pub const fn new() -> RateLimit {
        RateLimit::every(Duration::from_secs(10))
    }

    /// At most one line in `interval`, counted in whole milliseconds.
    pub const fn every(interval: Duration) -> RateLimit {
        RateLimit {
            // No cast can lose here: 584 million years fit.
            every_ms: interval.as_millis() as u64,
            last_ms: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// An occurrence at `now`: `Some` when it is to be logged, with the number left out since
    /// the line before.
    pub fn admit(&self, now: Millis) -> Option<LeftOut> {
        if self.turn(now) {
            return Some(LeftOut(self.left_out.swap(0, Ordering::Relaxed)));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Whether the interval has passed; true for one caller only.
    fn turn(&self, now: Millis) -> bool {
        let last = self.last_ms.load(Ordering::Relaxed);
        let due = last == 0 || now.0 >= last.saturating_add(self.every_ms);
        let order = Ordering::Relaxed;
        due && self
            .last_ms
            .compare_exchange(last, now.0.max(1), order, order)
            .is_ok()
    }
}

impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit::new()
    }
}

/// How many occurrences were not logged; displays as nothing when it is zero, so that it can
/// stand at the end of any message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut(pub u64);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " (and {count} more of these since the last such line)"),
        }
    }
}
