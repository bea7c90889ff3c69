//! Where a group's connections go, and what became of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::config::{GroupId, TargetAddr};

/// One target of a group: as configured, and where it is in this generation. A name that
/// resolves anew makes a new generation.
#[derive(Clone, Debug)]
pub struct Target {
    /// As written in the portmap.
    pub configured: TargetAddr,
    /// What is counted of it, whatever the generation.
    pub state: Arc<TargetState>,
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
    pub fn new(state: Arc<TargetState>, address: Option<SocketAddr>) -> Target {
        Target {
            configured: state.configured.clone(),
            state,
            place: address.map_or(Place::Unresolved, Place::At),
        }
    }

    /// A target at a fixed address, counted by itself.
    pub fn fixed(group: GroupId, address: SocketAddr) -> Target {
        let state = TargetState::new(group, TargetAddr::Socket(address));
        Target::new(Arc::new(state), Some(address))
    }

    /// A target that is one of this proxy's own listeners: never connected to.
    pub fn own_listener(state: Arc<TargetState>) -> Target {
        Target {
            place: Place::OwnListener,
            ..Target::new(state, None)
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

/// What real traffic has found out about one target of a group.
#[derive(Debug)]
pub struct TargetState {
    /// The group.
    pub group: GroupId,
    /// The target, as written in the portmap.
    pub configured: TargetAddr,
    failed_connects: AtomicU64,
    is_reported: AtomicBool,
}

impl TargetState {
    /// Nothing has failed yet.
    pub fn new(group: GroupId, configured: TargetAddr) -> TargetState {
        TargetState {
            group,
            configured,
            failed_connects: AtomicU64::new(0),
            is_reported: AtomicBool::new(false),
        }
    }

    /// Counts a connect that the target did not take. True: the health checks are to be told;
    /// false: they have been, and have not looked at the target since.
    pub fn note_failed_connect(&self) -> bool {
        self.failed_connects.fetch_add(1, Ordering::Relaxed);
        !self.is_reported.swap(true, Ordering::AcqRel)
    }

    /// The next failed connect is to be told again.
    pub fn forget_report(&self) {
        self.is_reported.store(false, Ordering::Release);
    }

    /// Connects that failed since the start, or since the target came into the configuration.
    pub fn failed_connects(&self) -> u64 {
        self.failed_connects.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failed_connect_is_counted_and_told_once_until_it_was_looked_at() {
        let address = "127.0.0.1:80".parse().expect("it is an address");
        let target = TargetState::new(GroupId(1), TargetAddr::Socket(address));
        assert!(target.note_failed_connect());
        assert!(!target.note_failed_connect());
        target.forget_report();
        assert!(target.note_failed_connect());
        assert_eq!(target.failed_connects(), 3);
    }
}
