//! Where a group's connections go, and what became of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

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

#[derive(Clone, Debug)]
enum Place {
    At(SocketAddr),
    /// The addresses of a name that has several.
    AtOneOf(Arc<[SocketAddr]>),
    Unresolved,
    OwnListener,
}

impl Target {
    /// A target at any of these addresses; none: its name is not resolved yet.
    pub fn new(state: Arc<TargetState>, addresses: &[SocketAddr]) -> Target {
        Target {
            configured: state.configured.clone(),
            state,
            place: match addresses {
                [] => Place::Unresolved,
                [address] => Place::At(*address),
                several => Place::AtOneOf(Arc::from(several)),
            },
        }
    }

    /// A target at a fixed address, counted by itself.
    pub fn fixed(group: GroupId, address: SocketAddr) -> Target {
        let state = TargetState::new(group, TargetAddr::Socket(address));
        Target::new(Arc::new(state), &[address])
    }

    /// A target that is one of this proxy's own listeners: never connected to.
    pub fn own_listener(state: Arc<TargetState>) -> Target {
        Target {
            place: Place::OwnListener,
            ..Target::new(state, &[])
        }
    }

    /// The address to connect to first, if there is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::At(address) => Some(*address),
            Place::AtOneOf(addresses) => {
                let preferred = self.state.preferred.load(Ordering::Relaxed);
                Some(addresses[preferred % addresses.len()])
            }
            Place::Unresolved | Place::OwnListener => None,
        }
    }

    /// The address to connect to after `failed` has not taken the connection, of which `tried` have
    /// not, this one included. Connections to come begin with it as well.
    pub fn next_after(&self, failed: SocketAddr, tried: usize) -> Option<SocketAddr> {
        let Place::AtOneOf(addresses) = &self.place else {
            return None;
        };
        let at = addresses.iter().position(|&address| address == failed)?;
        let next = (at + 1) % addresses.len();
        let preferred = &self.state.preferred;
        let seen = preferred.load(Ordering::Relaxed);
        if seen % addresses.len() == at {
            // Where another connection has moved it meanwhile, that stands.
            let order = Ordering::Relaxed;
            let _ = preferred.compare_exchange(seen, next, order, order);
        }
        (tried < addresses.len()).then(|| addresses[next])
    }

    /// How many addresses there are.
    pub fn address_count(&self) -> usize {
        match &self.place {
            Place::At(_) => 1,
            Place::AtOneOf(addresses) => addresses.len(),
            Place::Unresolved | Place::OwnListener => 0,
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
    /// Of the addresses of a name: which one is connected to first.
    preferred: AtomicUsize,
}

impl TargetState {
    /// Nothing has failed yet.
    pub fn new(group: GroupId, configured: TargetAddr) -> TargetState {
        TargetState {
            group,
            configured,
            failed_connects: AtomicU64::new(0),
            is_reported: AtomicBool::new(false),
            preferred: AtomicUsize::new(0),
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

    #[test]
    fn addresses_are_taken_in_turn_from_the_one_that_failed_last() {
        let [a, b, c] = ["192.0.2.1:80", "192.0.2.2:80", "[2001:db8::1]:80"]
            .map(|text| text.parse().expect("it is an address"));
        let name = TargetAddr::Name {
            host: "a.test".to_owned(),
            port: 80,
        };
        let state = Arc::new(TargetState::new(GroupId(1), name));
        let target = Target::new(Arc::clone(&state), &[a, b, c]);
        assert_eq!(target.address(), Some(a));
        assert_eq!(target.next_after(a, 1), Some(b));
        assert_eq!(target.address(), Some(b), "the next one begins there");
        assert_eq!(
            target.next_after(a, 1),
            Some(b),
            "another that had begun at the first"
        );
        assert_eq!(target.address(), Some(b), "moves nothing");
        assert_eq!(target.next_after(b, 2), Some(c));
        assert_eq!(target.next_after(c, 3), None, "all have been tried");
        assert_eq!(target.address(), Some(a));
        let fixed = Target::fixed(GroupId(1), a);
        assert_eq!(fixed.next_after(a, 1), None);
        // With fewer addresses whatever was preferred is one of them still.
        target.next_after(a, 1);
        target.next_after(b, 1);
        let fewer = Target::new(state, &[a, b]);
        assert_eq!(fewer.address(), Some(a));
    }
}
