//! Failed connects: the target's faults told from this host's own.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use rustix::io::Errno;

/// Whose fault a failed connect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The target's, or the way's to it: another group may do better.
    Target(Errno),
    /// This host's: no descriptor or memory. Says nothing about the target.
    Local(Errno),
    /// This host's: towards the target every port is in use of this source address (`bind_source`),
    /// or of the one that the kernel would choose. Says nothing about the target.
    NoPort(Option<IpAddr>),
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
            | Errno::ADDRINUSE
            | Errno::AGAIN => Fault::Local(error),
            Errno::ADDRNOTAVAIL => Fault::NoPort(None),
            // Among these are the answers of routes that are set to blackhole, unreachable or
            // prohibit, and of packet filters: the way to this target is closed, no other's.
            _ => Fault::Target(error),
        }
    }

    /// The same of a connect from an address that was not the kernel's to choose.
    pub fn of_connect_from(source: IpAddr, error: Errno) -> Fault {
        match error {
            Errno::ADDRNOTAVAIL => Fault::NoPort(Some(source)),
            // Such as from a loopback address to another host.
            Errno::INVAL => Fault::Source(source, error),
            // The socket is tied to the link of its address, and the target is on another one.
            Errno::NETUNREACH if is_link_local(source) => Fault::Source(source, error),
            _ => Fault::of(error),
        }
    }

    /// What the system said.
    pub fn errno(self) -> Errno {
        match self {
            Fault::Target(error) | Fault::Local(error) | Fault::Source(_, error) => error,
            Fault::NoPort(_) => Errno::ADDRNOTAVAIL,
        }
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
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
        let source = "192.0.2.1".parse().expect("an IP");
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(Fault::of(error), Fault::Local(error));
            assert_eq!(Fault::of_connect_from(source, error), Fault::Local(error));
        }
        let no_port = Errno::ADDRNOTAVAIL;
        assert_eq!(Fault::of(no_port), Fault::NoPort(None));
        assert_eq!(
            Fault::of_connect_from(source, no_port),
            Fault::NoPort(Some(source))
        );
        let unusable = Fault::Source(source, Errno::INVAL);
        assert_eq!(Fault::of_connect_from(source, Errno::INVAL), unusable);
        let out_of_reach = Errno::NETUNREACH;
        assert_eq!(
            Fault::of_connect_from(source, out_of_reach),
            Fault::Target(out_of_reach)
        );
        let of_a_link = "fe80::1".parse().expect("an IP");
        assert_eq!(
            Fault::of_connect_from(of_a_link, out_of_reach),
            Fault::Source(of_a_link, out_of_reach)
        );
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
