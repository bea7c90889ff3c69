//! The few system calls that no safe wrapper offers.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

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
    let descriptor = socket.as_fd().as_raw_fd();
    let set = |level, option| {
        let hops = libc::c_int::from(hops);
        // SAFETY: the option is an int, which lives for the call.
        let result = unsafe {
            libc::setsockopt(
                descriptor,
                level,
                option,
                (&raw const hops).cast(),
                size_of_val(&hops) as libc::socklen_t,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // An IPv6 socket may have IPv4 connections.
    set(libc::IPPROTO_IP, libc::IP_MINTTL)?;
    match set(libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()), // an IPv4 socket
        done => done,
    }
}
