//! `bind_source`: the addresses that connections to targets come from.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::config::Config;
use crate::fault::Fault;
use crate::sys;

/// The source addresses of a configuration, by family. Connections to a family without any come from
/// wherever the kernel chooses.
#[derive(Debug, Default)]
pub struct Sources {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    exhausted: Exhausted,
}

/// An address of `bind_source` cannot be connected from.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is not one of this host's.
    #[error(
        "bind_source: this host does not hold {source_ip}; add it (`ip address add`), or take it out"
    )]
    NotHere {
        /// The address.
        source_ip: IpAddr,
    },
    /// Any other refusal of the system.
    #[error("bind_source: cannot connect from {source_ip}: {error}")]
    Other {
        /// The address.
        source_ip: IpAddr,
        /// What the system said.
        error: io::Error,
    },
}

impl Sources {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Sources {
        let all = config
            .bind_source
            .iter()
            .flat_map(|range| range.addresses());
        let (v4, v6) = all.partition(IpAddr::is_ipv4);
        Sources {
            v4,
            v6,
            exhausted: Exhausted::default(),
        }
    }

    /// Those that can reach a target of this family, in the order of the file.
    pub fn towards(&self, target: SocketAddr) -> &[IpAddr] {
        match target {
            SocketAddr::V4(_) => &self.v4,
            SocketAddr::V6(_) => &self.v6,
        }
    }

    /// Connects to a target from the first of its sources that can, of which it is the turn of this
    /// one; `None`: from wherever the kernel chooses, for a target without any. One without a port
    /// left is passed over, and so is one that cannot be used; whatever else comes of a connect
    /// settles it.
    ///
    /// # Errors
    /// What has settled it. Where all were passed over: that one had no port left, else why the first
    /// cannot be used.
    pub fn connect<T>(
        &self,
        target: SocketAddr,
        turn: usize,
        mut connect: impl FnMut(Option<IpAddr>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let sources = self.towards(target);
        let tries = match self.exhausted.contains(target) {
            true => sources.len().min(1),
            false => sources.len(),
        };
        let mut passed_over: Option<Fault> = None;
        for at in 0..tries {
            let source = sources[turn.wrapping_add(at) % sources.len()];
            match connect(Some(source)) {
                Err(fault @ Fault::NoPort(_)) => passed_over = Some(fault),
                Err(fault @ Fault::Source(..)) => passed_over = passed_over.or(Some(fault)),
                settled => return settled,
            }
        }
        match passed_over {
            None => connect(None),
            Some(fault) => {
                if let Fault::NoPort(_) = fault {
                    self.exhausted.note(target, Instant::now());
                }
                Err(fault)
            }
        }
    }

    /// Binds each address once. With `freebind` this host need not hold them yet: those of a
    /// virtual IP on a standby are named, and passed over until it does.
    ///
    /// # Errors
    /// The first that cannot be bound.
    pub fn probe(&self, freebind: bool) -> Result<(), SourceError> {
        for &source_ip in self.v4.iter().chain(&self.v6) {
            match try_bind(source_ip) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() != Some(libc::EADDRNOTAVAIL) => {
                    return Err(SourceError::Other { source_ip, error });
                }
                Err(_) if freebind => log::warn!(
                    "bind_source: this host does not hold {source_ip} yet; no connection comes \
                     from there until it does (freebind)"
                ),
                Err(_) => return Err(SourceError::NotHere { source_ip }),
            }
        }
        Ok(())
    }

    /// Whether connections to an address come from wherever the kernel chooses although there are
    /// sources: they are all of the other IP family.
    pub fn leave_out(&self, target: SocketAddr) -> bool {
        self.towards(target).is_empty() && !(self.v4.is_empty() && self.v6.is_empty())
    }
}

/// Has a socket connect from a source. Its port is chosen once the target is known, so that each
/// target can have every port.
///
/// # Errors
/// The source cannot be used.
pub fn bind(socket: impl AsFd, source: IpAddr) -> Result<(), Fault> {
    sys::bind_without_port(socket, SocketAddr::new(source, 0))
        .map_err(|error| Fault::Source(source, error))
}

/// Targets towards which no source had a port, and when that was found. Each such search walks
/// through all ports of all sources (29,000 times 64 takes the kernel a tenth of a second and more),
/// so that it is not repeated for every client and every check that comes.
#[derive(Debug, Default)]
struct Exhausted {
    targets: Mutex<Vec<(SocketAddr, Instant)>>,
    /// How many they are, for those who only look: there are hardly ever any.
    count: AtomicUsize,
}

/// Targets that are remembered to be exhausted.
const MAX_EXHAUSTED: usize = 64;
/// How long they are. Until then one source is tried for each connection, instead of all.
const EXHAUSTED_FOR: Duration = Duration::from_millis(500);

impl Exhausted {
    fn contains(&self, target: SocketAddr) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && self.contains_at(target, Instant::now())
    }

    fn contains_at(&self, target: SocketAddr, now: Instant) -> bool {
        let targets = self.remembered(now);
        targets.iter().any(|&(address, _)| address == target)
    }

    fn note(&self, target: SocketAddr, now: Instant) {
        let mut targets = self.remembered(now);
        let is_known = targets.iter().any(|&(address, _)| address == target);
        if !is_known && targets.len() < MAX_EXHAUSTED {
            targets.push((target, now));
            self.count.store(targets.len(), Ordering::Relaxed);
        }
    }

    /// Those that are remembered still.
    fn remembered(&self, now: Instant) -> MutexGuard<'_, Vec<(SocketAddr, Instant)>> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.retain(|&(_, found)| now.saturating_duration_since(found) < EXHAUSTED_FOR);
        self.count.store(targets.len(), Ordering::Relaxed);
        targets
    }
}

fn try_bind(source: IpAddr) -> io::Result<()> {
    let family = match source {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    Ok(sys::bind_without_port(&socket, SocketAddr::new(source, 0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    const THREE: [&str; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];

    fn sources() -> (Sources, [IpAddr; 3]) {
        let list = THREE.map(|ip| ip.parse().expect("an IP"));
        let v4 = list.to_vec();
        let sources = Sources {
            v4,
            ..Sources::default()
        };
        (sources, list)
    }

    fn target(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// The sources that one connection tried, and what came of it, with these outcomes in turn.
    fn tried(
        sources: &Sources,
        target: SocketAddr,
        turn: usize,
        mut outcome: impl FnMut(IpAddr) -> Result<(), Fault>,
    ) -> (Vec<IpAddr>, Result<(), Fault>) {
        let mut tried = Vec::new();
        let settled = sources.connect(target, turn, |source| {
            let source = source.expect("the target has sources");
            tried.push(source);
            outcome(source)
        });
        (tried, settled)
    }

    #[test]
    fn sources_take_turns_and_the_next_one_is_tried_where_one_cannot() {
        let (sources, [a, b, c]) = sources();
        let target = target("198.51.100.1:80");
        let no_port = |source| Fault::NoPort(Some(source));
        let unusable = |source| Fault::Source(source, Errno::INVAL);
        let refused = Fault::Target(Errno::CONNREFUSED);
        assert_eq!(tried(&sources, target, 0, |_| Ok(())), (vec![a], Ok(())));
        assert_eq!(tried(&sources, target, 4, |_| Ok(())), (vec![b], Ok(())));
        let only_c = |fault: fn(IpAddr) -> Fault| {
            move |source| match source == c {
                true => Ok(()),
                false => Err(fault(source)),
            }
        };
        let all = vec![a, b, c];
        assert_eq!(
            tried(&sources, target, 0, only_c(no_port)),
            (all.clone(), Ok(()))
        );
        assert_eq!(
            tried(&sources, target, 0, only_c(unusable)),
            (all.clone(), Ok(()))
        );
        // What is the target's fault no other source changes, nor does it this host's want.
        for fault in [refused, Fault::Local(Errno::MFILE)] {
            let outcome = tried(&sources, target, 2, |_| Err(fault));
            assert_eq!(outcome, (vec![c], Err(fault)));
        }
        let outcome = tried(&sources, target, 0, |source| Err(unusable(source)));
        assert_eq!(outcome, (all.clone(), Err(unusable(a))));
        let outcome = tried(&sources, target, 0, |source| match source == b {
            true => Err(no_port(source)),
            false => Err(unusable(source)),
        });
        assert_eq!(outcome, (all, Err(no_port(b))));
    }

    #[test]
    fn targets_of_another_family_have_no_source() {
        let (sources, _) = sources();
        let settled = sources.connect(target("[2001:db8::1]:80"), 0, |source| Ok(source.is_none()));
        assert_eq!(settled, Ok(true));
    }

    #[test]
    fn where_none_has_a_port_one_is_tried_until_half_a_second_has_passed() {
        let (sources, [a, b, c]) = sources();
        let (one, other) = (target("198.51.100.1:80"), target("198.51.100.1:81"));
        let begun = Instant::now();
        let (first, _) = tried(&sources, one, 0, |source| Err(Fault::NoPort(Some(source))));
        assert_eq!(first, [a, b, c]);
        let (again, settled) = tried(&sources, one, 1, |source| Err(Fault::NoPort(Some(source))));
        let (elsewhere, _) = tried(&sources, other, 1, |_| Err(Fault::Source(a, Errno::INVAL)));
        // The machine may have been elsewhere for so long.
        if begun.elapsed() < EXHAUSTED_FOR {
            assert_eq!((again, settled), (vec![b], Err(Fault::NoPort(Some(b)))));
        }
        assert_eq!(elsewhere, [b, c, a], "another target has ports of its own");

        let (exhausted, found) = (Exhausted::default(), Instant::now());
        exhausted.note(one, found);
        let later = |ms| found + Duration::from_millis(ms);
        exhausted.note(one, later(400)); // it is not remembered for longer by that
        assert!(exhausted.contains_at(one, later(499)));
        assert!(!exhausted.contains_at(other, later(499)));
        assert!(!exhausted.contains_at(one, later(500)));
        assert_eq!(exhausted.count.load(Ordering::Relaxed), 0);
        for port in 1..=200 {
            exhausted.note(SocketAddr::new(a, port), found);
        }
        assert_eq!(exhausted.remembered(found).len(), MAX_EXHAUSTED);
    }
}
