//! What a group does for keys, and why.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a group does for keys, from least to most severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// Takes new keys.
    Up = 0,
    /// Serves the keys it has, takes no new ones.
    Draining = 1,
    /// Serves none; its keys are assigned anew at their next connection.
    Disabled = 2,
}

impl Status {
    /// Whether keys that the group has are served.
    pub fn is_usable(self) -> bool {
        self != Status::Disabled
    }

    pub(super) fn of(byte: u8) -> Status {
        match byte {
            0 => Status::Up,
            1 => Status::Draining,
            _ => Status::Disabled,
        }
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

/// What the health checks make of one group: written by the checks, read by every worker at
/// each route.
#[derive(Debug)]
pub struct HealthStatus {
    /// A copy of the one in `because`, to be read without a lock.
    status: AtomicU8,
    because: Mutex<(Status, Arc<str>)>,
}

impl HealthStatus {
    /// A status with the reason for it.
    pub fn new(status: Status, reason: &str) -> HealthStatus {
        HealthStatus {
            status: AtomicU8::new(status as u8),
            because: Mutex::new((status, Arc::from(reason))),
        }
    }

    /// Nothing speaks against the group.
    pub fn up() -> HealthStatus {
        HealthStatus::new(Status::Up, "")
    }

    /// What holds now.
    pub fn status(&self) -> Status {
        Status::of(self.status.load(Ordering::Acquire))
    }

    /// What holds now, and why; the reason is empty while it is Up.
    pub fn with_reason(&self) -> (Status, Arc<str>) {
        let because = self.because();
        (because.0, Arc::clone(&because.1))
    }

    /// What holds from now on.
    pub fn set(&self, status: Status, reason: &str) {
        let mut because = self.because();
        *because = (status, Arc::from(reason));
        self.status.store(status as u8, Ordering::Release);
    }

    fn because(&self) -> MutexGuard<'_, (Status, Arc<str>)> {
        self.because.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
