//! `bind_source`: the addresses that connections to targets come from.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::clock::Millis;
use crate::config::Config;
use crate::sys;

/// The source addresses of a configuration, by family. Connections to a family without any come from
/// wherever the kernel chooses.
#[derive(Debug, Default)]
pub struct Sources {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

/// Which source a worker's next connection comes from: each in turn, so that their ports wear evenly.
#[derive(Debug)]
pub struct Turns {
    next: usize,
    /// Targets towards which no source had a port, and when that was found. Each such search walks
    /// through all ports of all sources (29,000 times 64 takes the kernel a tenth of a second and
    /// more), so that it is not repeated for every client that comes.
    exhausted: Vec<(SocketAddr, Millis)>,
}

/// Targets that are remembered to be exhausted.
const MAX_EXHAUSTED: usize = 64;
/// How long they are. Until then one source is tried for each connection, instead of all.
const EXHAUSTED_FOR: Duration = Duration::from_millis(500);

impl Turns {
    /// Begins at this one of any sources.
    pub fn from(next: usize) -> Turns {
        Turns {
            next,
            exhausted: Vec::new(),
        }
    }

    /// The sources to be tried for a connection, in this order.
    pub fn towards<'s>(
        &mut self,
        target: SocketAddr,
        sources: &'s [IpAddr],
        now: Millis,
    ) -> impl Iterator<Item = IpAddr> + 's {
        self.exhausted
            .retain(|&(_, found)| now.since(found) < EXHAUSTED_FOR);
        let is_exhausted = self.exhausted.iter().any(|&(address, _)| address == target);
        let tries = sources.len().min(if is_exhausted { 1 } else { usize::MAX });
        let begin = self.next;
        self.next = self.next.wrapping_add(1);
        (0..tries).map(move |at| sources[begin.wrapping_add(at) % sources.len()])
    }

    /// None of them had a port left.
    pub fn note_exhausted(&mut self, target: SocketAddr, now: Millis) {
        let is_known = self.exhausted.iter().any(|&(address, _)| address == target);
        if !is_known && self.exhausted.len() < MAX_EXHAUSTED {
            self.exhausted.push((target, now));
        }
    }
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
        Sources { v4, v6 }
    }

    /// Those that can reach a target of this family, in the order of the file.
    pub fn towards(&self, target: SocketAddr) -> &[IpAddr] {
        match target {
            SocketAddr::V4(_) => &self.v4,
            SocketAddr::V6(_) => &self.v6,
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

    #[test]
    fn sources_take_turns_and_where_none_has_a_port_one_is_tried_for_a_while() {
        let sources = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|ip| ip.parse().expect("an IP"));
        let [target, other] =
            ["198.51.100.1:80", "198.51.100.1:81"].map(|text| text.parse().expect("an address"));
        let [a, b, c] = sources;
        let mut turns = Turns::from(0);
        let tried = |turns: &mut Turns, target, now| {
            turns
                .towards(target, &sources, Millis(now))
                .collect::<Vec<_>>()
        };
        assert_eq!(tried(&mut turns, target, 1), [a, b, c]);
        assert_eq!(tried(&mut turns, target, 1), [b, c, a]);
        turns.note_exhausted(target, Millis(5));
        assert_eq!(tried(&mut turns, target, 50), [c]);
        assert_eq!(tried(&mut turns, other, 50), [a, b, c]);
        assert_eq!(tried(&mut turns, target, 504), [b]);
        assert_eq!(tried(&mut turns, target, 505), [c, a, b]);
        for port in 1..=200 {
            turns.note_exhausted(SocketAddr::new(a, port), Millis(505));
        }
        assert_eq!(turns.exhausted.len(), MAX_EXHAUSTED);
    }
}
