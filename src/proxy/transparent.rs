//! Transparent proxying: connections to targets that come from the client's own address
//! (`groups.N.transparent`), and listeners that take what is meant for other addresses
//! (`transparent_listen`).
//!
//! Both are one option of the socket, IP_TRANSPARENT (ip(7)). The rest is routing: packets for
//! addresses that are not this host's have to be delivered here, see docs/TRANSPARENT.md.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Config;
use crate::fault::Fault;
use crate::sys;

use super::routes;

/// A configuration asks for transparent proxying, and this process may not do it.
#[derive(Debug, thiserror::Error)]
pub enum TransparentError {
    /// A capability is missing.
    #[error(
        "{setting} = true needs the capability CAP_NET_ADMIN or CAP_NET_RAW, which this process \
         does not have; the service gets it by the drop-in \
         /usr/share/doc/tcpffee/examples/transparent.conf and a restart"
    )]
    Forbidden {
        /// The first setting that asks for it.
        setting: String,
    },
    /// Any other refusal of the system.
    #[error("{setting} = true: this system has no transparent sockets: {source}")]
    Unavailable {
        /// The first setting that asks for it.
        setting: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Whether this process may do what the configuration asks for, found out with a socket that is
/// never used. The capability is the same for IPv4 and IPv6.
pub fn check(config: &Config) -> Result<(), TransparentError> {
    let group = config.groups.iter().find(|group| group.transparent);
    let setting = match group {
        Some(group) => format!("groups.{}.transparent", group.id),
        None if config.transparent_listen => "transparent_listen".to_owned(),
        None => return Ok(()),
    };
    let probe = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
        .and_then(|socket| sys::set_transparent(&socket, false, true));
    probe.map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM) => TransparentError::Forbidden { setting },
        _ => TransparentError::Unavailable { setting, source },
    })
}

/// A client whose own address a target is to see.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its address and port.
    pub address: SocketAddr,
    /// A PROXY protocol header named it: no packet has come from there, so that anything may stand in
    /// it.
    pub is_named: bool,
}

impl Client {
    /// Its address as it is in the IP family of `target`, without a port; `None`: the families
    /// differ, or it is no single host's.
    pub fn in_family_of(self, target: SocketAddr) -> Option<SocketAddr> {
        let ip = self.address.ip().to_canonical();
        if !is_a_hosts(self.address) {
            return None;
        }
        match (ip, target, target.ip().to_canonical()) {
            (IpAddr::V4(_), SocketAddr::V4(_), _) => Some(SocketAddr::new(ip, 0)),
            // An IPv4 target written as an IPv6 address.
            (IpAddr::V4(v4), SocketAddr::V6(_), IpAddr::V4(_)) => {
                Some(SocketAddr::new(v4.to_ipv6_mapped().into(), 0))
            }
            (IpAddr::V6(_), SocketAddr::V6(_), IpAddr::V6(_)) => {
                let mut source = self.address; // with the scope of a link-local address
                source.set_port(0);
                Some(source)
            }
            _ => None,
        }
    }

    /// Where its connection to `target` comes from.
    ///
    /// # Errors
    /// A [`Fault::Source`] where no packet to the target can come from its address, or none of the
    /// target's would come back here. For an IPv4 loopback address towards another host connect(2)
    /// says so itself.
    pub fn source_towards(self, target: SocketAddr) -> Result<SocketAddr, Fault> {
        let ip = self.address.ip().to_canonical();
        let unseen = Fault::Source(ip, Errno::INVAL);
        let source = self.in_family_of(target).ok_or(unseen)?;
        let is_unseen = match ip {
            // The kernel would take the address of the interface instead.
            IpAddr::V4(v4) => self.is_named && routes::is_broadcast(v4)?,
            // The kernel sends what nobody will answer.
            IpAddr::V6(v6) if v6.is_loopback() || v6.is_unicast_link_local() => {
                routes::lead_away(target)?
            }
            IpAddr::V6(_) => false,
        };
        match is_unseen {
            true => Err(unseen),
            false => Ok(source),
        }
    }
}

/// Whether an address can be that of one host.
fn is_a_hosts(address: SocketAddr) -> bool {
    match (address.ip().to_canonical(), address) {
        // 0.0.0.0 would be taken for any address of this host's own.
        (IpAddr::V4(v4), _) => {
            !(v4.octets()[0] == 0 || v4.is_multicast() || v4 == Ipv4Addr::BROADCAST)
        }
        // A PROXY protocol header does not tell the link of a link-local address.
        (IpAddr::V6(v6), SocketAddr::V6(scoped)) if v6.is_unicast_link_local() => {
            scoped.scope_id() != 0
        }
        (IpAddr::V6(v6), _) => !(v6.is_unspecified() || v6.is_multicast()),
    }
}

/// Has a socket connect from `source`. The port is left to the connect, which takes any that is
/// free towards that one target (IP_BIND_ADDRESS_NO_PORT); the client's own would be taken already
/// where it connects to two ports that lead to one target, or uses its port again at once.
pub fn bind(socket: impl std::os::fd::AsFd, source: SocketAddr) -> Result<(), Errno> {
    sys::set_transparent(&socket, source.is_ipv6(), true).map_err(sys::errno_of)?;
    sys::bind_without_port(&socket, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_has_the_clients_address_in_the_targets_family_or_there_is_none() {
        for (client, target, expected) in [
            ("192.0.2.1:5", "198.51.100.1:80", Some("192.0.2.1:0")),
            (
                "[::ffff:192.0.2.1]:5",
                "198.51.100.1:80",
                Some("192.0.2.1:0"),
            ),
            (
                "192.0.2.1:5",
                "[::ffff:198.51.100.1]:80",
                Some("[::ffff:192.0.2.1]:0"),
            ),
            (
                "[2001:db8::1]:5",
                "[2001:db8::2]:80",
                Some("[2001:db8::1]:0"),
            ),
            ("[fe80::1%3]:5", "[fe80::2%3]:80", Some("[fe80::1%3]:0")),
            ("192.0.2.1:5", "[2001:db8::2]:80", None),
            ("[2001:db8::1]:5", "198.51.100.1:80", None),
            ("[2001:db8::1]:5", "[::ffff:198.51.100.1]:80", None),
            ("0.0.0.0:5", "198.51.100.1:80", None),
            ("[::ffff:0.0.0.0]:5", "198.51.100.1:80", None),
            ("0.1.2.3:5", "198.51.100.1:80", None),
            ("224.0.0.1:5", "198.51.100.1:80", None),
            ("255.255.255.255:5", "198.51.100.1:80", None),
            ("[::]:5", "[2001:db8::2]:80", None),
            ("[ff02::1]:5", "[2001:db8::2]:80", None),
            ("[fe80::1]:5", "[fe80::2%3]:80", None),
        ] {
            let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
            let named = Client {
                address: address(client),
                is_named: true,
            };
            assert_eq!(
                named.in_family_of(address(target)),
                expected.map(address),
                "{client} to {target}"
            );
        }
    }
}
