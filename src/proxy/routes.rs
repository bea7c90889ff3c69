//! What this host's routes say of an address. The kernel is asked by the connect of a datagram socket,
//! which looks the way up and sends nothing (udp(7)).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, getsockname, sockopt};

use crate::fault::Fault;

/// Any would do: nothing is sent to it.
const PORT: u16 = 9;

/// Whether an address is the broadcast address of one of this host's networks.
///
/// # Errors
/// This host has no means to ask.
pub fn is_broadcast(ip: Ipv4Addr) -> Result<bool, Fault> {
    let address = SocketAddr::new(ip.into(), PORT);
    let socket = datagrams(AddressFamily::INET)?;
    match connect(&socket, &address) {
        // To those, and along routes that are set to `prohibit`: only the former can be allowed.
        Err(Errno::ACCESS) => {
            sockopt::set_socket_broadcast(&socket, true).map_err(Fault::Local)?;
            Ok(connect(&socket, &address).is_ok())
        }
        Err(error) => unknown(error),
        Ok(()) => Ok(false),
    }
}

/// Whether the way to an address leads to another host: where it is this one's, what is sent there
/// comes from that same address. `false` as well where there is no way, which the connect will tell.
///
/// # Errors
/// This host has no means to ask.
pub fn lead_away(address: SocketAddr) -> Result<bool, Fault> {
    let ip = address.ip();
    if ip.is_loopback() || ip.is_unspecified() {
        return Ok(false);
    }
    let family = match ip {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = datagrams(family)?;
    if let Err(error) = connect(&socket, &address) {
        return unknown(error);
    }
    let own = getsockname(&socket).map_err(Fault::Local)?;
    Ok(SocketAddr::try_from(own).is_ok_and(|own| own.ip() != ip))
}

fn datagrams(family: AddressFamily) -> Result<OwnedFd, Fault> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(family, SocketType::DGRAM, flags, None).map_err(Fault::Local)
}

/// The answer where the kernel gives none.
fn unknown(error: Errno) -> Result<bool, Fault> {
    match Fault::of(error) {
        want @ Fault::Local(_) => Err(want),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_hosts_addresses_lead_to_itself_and_none_of_them_is_a_broadcast_address() {
        for own in ["127.0.0.1:80", "127.0.0.9:80", "[::1]:80", "[::]:80"] {
            assert_eq!(lead_away(own.parse().expect("an address")), Ok(false));
        }
        assert_eq!(is_broadcast(Ipv4Addr::LOCALHOST), Ok(false));
        // The loopback network, 127.0.0.0/8, has one.
        assert_eq!(is_broadcast([127, 255, 255, 255].into()), Ok(true));
    }
}
