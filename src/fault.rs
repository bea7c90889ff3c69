//! Failed connects: the target's faults told from this host's own.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use rustix::io::Errno;

/// Whose fault a failed connect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The target's, or the way's to it: another group may do better.
    Target(Errno),
    /// This host's: no descriptor, port or memory. Says nothing about the target.
    Local(Errno),
    /// This host's: the source address (`bind_source`, or the client's where the group is
    /// transparent) is not one of its own, or not one from which the target can be reached. Says
    /// nothing about the target.
    Source(IpAddr, Errno),
}

impl Fault {
    /// The one place where errors of `socket(2)` and `connect(2)` are classified.
    pub fn of(error: Errno) -> Fault {
        match error {
            Errno::MFILE
            | Errno::NFILE
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::ADDRNOTAVAIL
            | Errno::ADDRINUSE
            | Errno::AGAIN => Fault::Local(error),
            // Among these are the answers of routes that are set to blackhole, unreachable or
            // prohibit, and of packet filters: the way to this target is closed, no other's.
            _ => Fault::Target(error),
        }
    }
}

/// TCP allows a socket to connect to itself when its own ephemeral port is the target's and
/// nobody listens there (simultaneous open, RFC 9293 section 3.5).
/// `is_bound`: its source address was not the kernel's to choose.
pub fn is_connected_to_itself(socket: impl AsFd, target: SocketAddr, is_bound: bool) -> bool {
    const LOWEST_EPHEMERAL_PORT: u16 = 1024; // the lowest that ip_local_port_range may be set to
    target.port() >= LOWEST_EPHEMERAL_PORT
        && (is_bound || may_be_this_host(target))
        && rustix::net::getsockname(socket)
            .is_ok_and(|own| SocketAddr::try_from(own).is_ok_and(|own| own == target))
}

/// Whether the source address of a connection to the target could equal it. A cheap sieve: for
/// addresses that are neither loopback nor in doubt the full check runs.
fn may_be_this_host(target: SocketAddr) -> bool {
    match target {
        // The kernel picks 127.0.0.1 as the source towards loopback only for 127.0.0.1 itself.
        SocketAddr::V4(v4) if v4.ip().is_loopback() => v4.ip().octets() == [127, 0, 0, 1],
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_want_is_never_the_targets_fault() {
        for error in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::ADDRNOTAVAIL,
        ] {
            assert_eq!(Fault::of(error), Fault::Local(error));
        }
        for error in [
            Errno::ACCESS,
            Errno::INVAL,
            Errno::CONNREFUSED,
            Errno::TIMEDOUT,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
        ] {
            assert_eq!(Fault::of(error), Fault::Target(error));
        }
    }
}
