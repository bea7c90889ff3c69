//! The proxy's own listeners as targets: connecting to one of them would be connecting in a circle.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Config;

/// The addresses at which this proxy itself answers.
#[derive(Debug)]
pub struct OwnListeners {
    listening: Vec<SocketAddr>,
    /// `[::]` leaves IPv4 to others.
    v6only: bool,
    host: Vec<IpAddr>,
}

impl OwnListeners {
    /// Those of a configuration, with the addresses that this host has now.
    pub fn of(config: &Config) -> OwnListeners {
        let host = interface_addresses().unwrap_or_else(|error| {
            log::warn!("cannot list this host's addresses: {error}");
            Vec::new()
        });
        let v6only = config.is_v6only();
        OwnListeners {
            listening: config.listen_addresses(),
            v6only,
            host,
        }
    }

    /// Whether connecting to `target` would reach one of them.
    pub fn contains(&self, target: SocketAddr) -> bool {
        let ip = target.ip().to_canonical();
        let is_own = ip.is_loopback() || ip.is_unspecified() || self.host.contains(&ip);
        self.listening
            .iter()
            .filter(|listening| listening.port() == target.port())
            .any(|listening| {
                let bound = listening.ip().to_canonical();
                let takes_family = bound.is_ipv4() == ip.is_ipv4()
                    || (listening.is_ipv6() && ip.is_ipv4() && !self.v6only);
                // Connecting to the unspecified address reaches this host itself.
                bound == ip
                    || (is_own && takes_family && (bound.is_unspecified() || ip.is_unspecified()))
            })
    }
}

/// The addresses of all interfaces of this host.
fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs writes a pointer to a list that it allocates.
    if unsafe { libc::getifaddrs(&raw mut list) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut addresses = Vec::new();
    let mut at = list;
    while !at.is_null() {
        // SAFETY: `at` is a node of the list, which lives until freeifaddrs below.
        let node = unsafe { &*at };
        // SAFETY: ifa_addr is null or points to a socket address of its family.
        addresses.extend(unsafe { address_of(node.ifa_addr) });
        at = node.ifa_next;
    }
    // SAFETY: the list came from getifaddrs and is not used afterwards.
    unsafe { libc::freeifaddrs(list) };
    Ok(addresses)
}

/// The IP address in a socket address, `None` for other families.
///
/// # Safety
/// `address` is null or points to a socket address whose size fits its family.
unsafe fn address_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: not null; every socket address begins with its family.
    match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in.
            let v4 = unsafe { &*address.cast::<libc::sockaddr_in>() };
            Some(IpAddr::V4(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes())))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a sockaddr_in6.
            let v6 = unsafe { &*address.cast::<libc::sockaddr_in6>() };
            Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_listeners_are_known_by_address_and_by_wildcard() {
        let own = OwnListeners {
            listening: vec![
                "0.0.0.0:80".parse().unwrap(),
                "192.0.2.1:81".parse().unwrap(),
            ],
            v6only: true,
            host: vec!["198.51.100.7".parse().unwrap()],
        };
        for (target, expected) in [
            ("127.0.0.1:80", true),
            ("127.9.9.9:80", true),
            ("198.51.100.7:80", true),
            ("198.51.100.8:80", false),
            ("127.0.0.1:82", false),
            ("192.0.2.1:81", true),
            ("127.0.0.1:81", false),
            ("0.0.0.0:81", true),
            ("[::ffff:127.0.0.1]:80", true),
        ] {
            assert_eq!(own.contains(target.parse().unwrap()), expected, "{target}");
        }
    }

    #[test]
    fn an_ipv6_wildcard_answers_ipv4_only_where_it_is_dual_stack() {
        for v6only in [true, false] {
            let listening = vec!["[::]:80".parse().unwrap()];
            let own = OwnListeners {
                listening,
                v6only,
                host: Vec::new(),
            };
            assert_eq!(own.contains("127.0.0.1:80".parse().unwrap()), !v6only);
            assert!(own.contains("[::1]:80".parse().unwrap()));
        }
    }
}
