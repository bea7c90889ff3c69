//! The few system calls that no safe wrapper offers.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// Bytes in the socket's send queue that the peer has not acknowledged yet (`SIOCOUTQ`, tcp(7)).
pub fn unsent_bytes(socket: impl AsFd) -> io::Result<u32> {
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (the same number as SIOCOUTQ) writes one int to the pointer, which is
    // valid for the call.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(count.unsigned_abs())
    }
}

/// Has a TCP socket take segments only that have at least so many hops left (IP_MINTTL, and
/// IPV6_MINHOPCOUNT for IPv6; RFC 5082); others are dropped without an answer. A listener does not
/// ask it of the ends of handshakes under way (but where SYN cookies are sent), and its connections
/// inherit it. 0 takes it back.
pub fn require_hops_left(socket: impl AsFd, hops: u8) -> io::Result<()> {
    const IPV6_MINHOPCOUNT: libc::c_int = 73; // linux/in6.h; libc has no name for it
    let set = |level, option| set_int(&socket, level, option, libc::c_int::from(hops));
    // An IPv6 socket may have IPv4 connections.
    set(libc::IPPROTO_IP, libc::IP_MINTTL)?;
    match set(libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()), // an IPv4 socket
        done => done,
    }
}

/// Lets a socket have addresses that are not this host's: connect from them, or take connections
/// that were meant for them (IP_TRANSPARENT, ip(7); IPV6_TRANSPARENT). To set it needs
/// CAP_NET_ADMIN or CAP_NET_RAW, to take it back nothing.
pub fn set_transparent(socket: impl AsFd, is_ipv6: bool, on: bool) -> io::Result<()> {
    let (level, option) = match is_ipv6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
        false => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
    };
    set_int(socket, level, option, libc::c_int::from(on))
}

/// Binds a socket to an address whose port is 0 without taking a port (IP_BIND_ADDRESS_NO_PORT, ip(7);
/// for IPv6 too): connect(2) chooses one that is free towards its target, whatever is in use towards
/// others.
pub fn bind_without_port(socket: impl AsFd, address: SocketAddr) -> Result<(), Errno> {
    let socket = socket.as_fd();
    set_int(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1).map_err(errno_of)?;
    rustix::net::bind(socket, &address)
}

/// The number of an error that a system call gave.
pub fn errno_of(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn set_int(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the option is an int, which lives for the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
