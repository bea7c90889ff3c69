//! Where a group's connections go, and what became of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::config::{GroupId, TargetAddr, UnixPath};
use crate::endpoint::Endpoint;

/// One target of a group: as configured, and where it is in this generation. A name that
/// resolves anew makes a new generation.
#[derive(Clone, Debug)]
pub struct Target {
    /// As written in the portmap.
    pub configured: TargetAddr,
    /// What is counted of it, whatever the generation.
    pub state: Arc<TargetState>,
    location: Location,
}

#[derive(Clone, Debug)]
enum Location {
    At(SocketAddr),
    /// The addresses of a name that has several.
    AtOneOf(Arc<[SocketAddr]>),
    AtUnix(UnixPath),
    Unresolved,
    OwnListener,
}

impl Target {
    /// A target at any of these addresses; none: its name is not resolved yet.
    pub fn new(state: Arc<TargetState>, addresses: &[SocketAddr]) -> Target {
        Target {
            configured: state.configured.clone(),
            state,
            location: match addresses {
                [] => Location::Unresolved,
                [address] => Location::At(*address),
                several => Location::AtOneOf(Arc::from(several)),
            },
        }
    }

    /// A target that is a Unix socket.
    pub fn unix(state: Arc<TargetState>, path: UnixPath) -> Target {
        Target {
            location: Location::AtUnix(path),
            ..Target::new(state, &[])
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
            location: Location::OwnListener,
            ..Target::new(state, &[])
        }
    }

    /// Where to connect to first, if anywhere.
    pub fn endpoint(&self) -> Option<Endpoint> {
        match &self.location {
            Location::At(address) => Some(Endpoint::Ip(*address)),
            Location::AtOneOf(addresses) => {
                Some(Endpoint::Ip(addresses[self.preferred(addresses)]))
            }
            Location::AtUnix(path) => Some(Endpoint::Unix(path.clone())),
            Location::Unresolved | Location::OwnListener => None,
        }
    }

    /// Whether there is somewhere to connect to.
    pub fn has_endpoint(&self) -> bool {
        !matches!(self.location, Location::Unresolved | Location::OwnListener)
    }

    /// Of the addresses: the first to connect to among those that `suit`.
    pub fn first(&self, suits: impl Fn(SocketAddr) -> bool) -> Option<SocketAddr> {
        let addresses = self.addresses();
        let begin = match addresses.len() {
            0 => return None,
            _ => self.preferred(addresses),
        };
        let in_turn = addresses[begin..].iter().chain(&addresses[..begin]);
        in_turn.copied().find(|&address| suits(address))
    }

    /// Connections to come do not begin with `failed`, which did not take one.
    pub fn pass_over(&self, failed: SocketAddr) {
        let addresses = self.addresses();
        let preferred = &self.state.preferred;
        let seen = preferred.load(Ordering::Relaxed);
        if let Some(at) = addresses.iter().position(|&address| address == failed)
            && seen % addresses.len() == at
        {
            // Where another connection has moved it meanwhile, that stands.
            let (next, order) = ((at + 1) % addresses.len(), Ordering::Relaxed);
            let _ = preferred.compare_exchange(seen, next, order, order);
        }
    }

    /// Of the addresses: the one to connect to once `failed` has not taken the connection, among
    /// those that `suit`.
    pub fn next_after(
        &self,
        failed: SocketAddr,
        suits: impl Fn(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let addresses = self.addresses();
        let at = addresses.iter().position(|&address| address == failed)?;
        let in_turn = addresses[at + 1..].iter().chain(&addresses[..at]);
        in_turn.copied().find(|&address| suits(address))
    }

    /// The addresses, in the order of the look-up; none of a Unix socket.
    pub fn addresses(&self) -> &[SocketAddr] {
        match &self.location {
            Location::At(address) => std::slice::from_ref(address),
            Location::AtOneOf(addresses) => addresses,
            Location::AtUnix(_) | Location::Unresolved | Location::OwnListener => &[],
        }
    }

    fn preferred(&self, addresses: &[SocketAddr]) -> usize {
        self.state.preferred.load(Ordering::Relaxed) % addresses.len()
    }

    /// Whether it is one of this proxy's own listeners.
    pub fn is_own_listener(&self) -> bool {
        matches!(self.location, Location::OwnListener)
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
        let first = |target: &Target| target.first(|_| true);
        assert_eq!(first(&target), Some(a));
        let next_after = |failed| target.next_after(failed, |_| true);
        assert_eq!(next_after(a), Some(b));
        assert_eq!(
            first(&target),
            Some(a),
            "nobody has said that it is not to be"
        );
        target.pass_over(a);
        assert_eq!(first(&target), Some(b), "the next one begins there");
        // Another had begun at the first.
        target.pass_over(a);
        assert_eq!(first(&target), Some(b));
        assert_eq!(next_after(b), Some(c));
        target.pass_over(b);
        assert_eq!(next_after(c), Some(a));
        target.pass_over(c);
        assert_eq!(first(&target), Some(a));
        assert_eq!(target.endpoint(), Some(Endpoint::Ip(a)));
        let fixed = Target::fixed(GroupId(1), a);
        fixed.pass_over(a);
        assert_eq!(fixed.next_after(a, |_| true), None);
        assert_eq!(first(&fixed), Some(a));
        // With fewer addresses whatever was preferred is one of them still.
        target.pass_over(a);
        target.pass_over(b);
        let fewer = Target::new(state, &[a, b]);
        assert_eq!(first(&fewer), Some(a));
    }

    #[test]
    fn addresses_that_do_not_suit_are_passed_over() {
        let [a, b, c] = ["192.0.2.1:80", "[2001:db8::1]:80", "192.0.2.2:80"]
            .map(|text| text.parse().expect("it is an address"));
        let name = TargetAddr::Name {
            host: "a.test".to_owned(),
            port: 80,
        };
        let target = Target::new(Arc::new(TargetState::new(GroupId(1), name)), &[a, b, c]);
        let (v4, v6) = (SocketAddr::is_ipv4, SocketAddr::is_ipv6);
        assert_eq!(target.first(|address| v6(&address)), Some(b));
        assert_eq!(target.next_after(b, |address| v6(&address)), None);
        assert_eq!(target.next_after(a, |address| v4(&address)), Some(c));
        target.pass_over(a);
        assert_eq!(target.first(|address| v4(&address)), Some(c));
        assert_eq!(target.next_after(c, |address| v4(&address)), Some(a));
        assert_eq!(target.first(|_| false), None);
    }
}
