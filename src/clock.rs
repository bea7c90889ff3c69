//! Monotonic time in milliseconds.
//!
//! Everything that expires is counted in [`Millis`], so that tests can hand in any time they
//! like and a change of the wall clock never shortens a stick.

use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

/// A point in monotonic time, in milliseconds. Zero lies far before the start of the process, so
/// that "activity before the start" (restored entries) can be expressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// How far before the start of the process [`Millis`] zero lies: about 34 years.
const EPOCH_OFFSET_MS: u64 = 1 << 40;

impl Millis {
    /// Milliseconds from `earlier` to `self`, zero where `earlier` is later.
    pub fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Millis {
    type Output = Millis;
    fn add(self, by: Duration) -> Millis {
        Millis(
            self.0
                .saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Millis {
    type Output = Millis;
    fn sub(self, by: Duration) -> Millis {
        Millis(
            self.0
                .saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

/// The process's clock. Copies of one clock agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock {
            start: Instant::now(),
        }
    }

    /// The time now.
    pub fn now(&self) -> Millis {
        let elapsed_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Millis(EPOCH_OFFSET_MS.saturating_add(elapsed_ms))
    }
}
