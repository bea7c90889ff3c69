//! Listening sockets: how they are bound, what accepted sockets inherit from them, and how one
//! ends without losing a client.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use crate::sys;

/// How sockets are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindOptions {
    /// Bind addresses that this host does not hold.
    pub freebind: bool,
    /// IPv6 sockets leave IPv4 to the IPv4 sockets.
    pub v6only: bool,
}

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has the port.
    #[error(
        "cannot listen on {address}: the port is taken by another program \
         (`ss -ltnp sport = :{}` names it); stop that one or change `ports` or `bind_addr`",
        address.port()
    )]
    Taken {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// The address is not one of this host's.
    #[error(
        "cannot listen on {address}: this host does not hold that address; \
         set `freebind = true` if it will later, or change `bind_addr`"
    )]
    NotHere {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// Ports under 1,024 need a privilege.
    #[error(
        "cannot listen on {address}: permission denied; ports below \
         net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE"
    )]
    Forbidden {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// Any other refusal of the system.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// What was to be bound.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl ListenError {
    fn new(address: SocketAddr, source: io::Error) -> ListenError {
        match source.raw_os_error() {
            Some(libc::EADDRINUSE) => ListenError::Taken { address },
            Some(libc::EADDRNOTAVAIL) => ListenError::NotHere { address },
            Some(libc::EACCES) => ListenError::Forbidden { address },
            _ => ListenError::Other { address, source },
        }
    }
}

/// Binds one socket for each worker at `address`, not listening yet.
///
/// With `claim` the first one is bound without SO_REUSEPORT, which fails where anybody listens on
/// the port, and only then opened to its siblings: the probe is the real thing. Without it the
/// port must be this process's own already.
pub fn bind_all(
    address: SocketAddr,
    workers: usize,
    options: BindOptions,
    claim: bool,
) -> Result<Vec<OwnedFd>, ListenError> {
    (0..workers)
        .map(|worker| bind_one(address, options, claim && worker == 0))
        .collect::<io::Result<_>>()
        .map_err(|source| ListenError::new(address, source))
}

fn bind_one(address: SocketAddr, options: BindOptions, claim: bool) -> io::Result<OwnedFd> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(!claim)?;
    if address.is_ipv6() {
        socket.set_only_v6(options.v6only)?;
    }
    if options.freebind {
        match address.ip() {
            IpAddr::V4(_) => socket.set_freebind_v4(true)?,
            IpAddr::V6(_) => socket.set_freebind_v6(true)?,
        }
    }
    socket.set_tcp_nodelay(true)?; // inherited by accepted sockets, as is the next
    socket.set_out_of_band_inline(true)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

/// Starts to listen, or changes the backlog of a socket that does.
pub fn listen(socket: &OwnedFd, address: SocketAddr, backlog: u32) -> Result<(), ListenError> {
    SockRef::from(socket)
        .listen(i32::try_from(backlog).unwrap_or(i32::MAX))
        .map_err(|source| ListenError::new(address, source))
}

/// `tcp_keepalive = N`: the first probe after N, then every N/4, three probes, and unacknowledged
/// data given up after 2N (TCP_USER_TIMEOUT). Set on a listener, accepted sockets inherit it.
pub fn set_keepalive(socket: &OwnedFd, after: Duration) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, after)?;
    sockopt::set_tcp_keepintvl(socket, (after / 4).max(Duration::from_secs(1)))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    let give_up_ms = u32::try_from((after * 2).as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, give_up_ms)?;
    Ok(())
}

/// Lets no new handshake begin on a listener, while those under way finish. The client's kernel
/// repeats its SYN, and meets the remaining listeners of the port, or a refusal, once this one is
/// closed.
///
/// A socket filter does it. Linux 6.18 lets only processes with CAP_NET_ADMIN have one on a TCP
/// socket; for others every SYN comes from too far away ([`sys::require_hops_left`]), which leaves
/// clients on the same link whose kernel sends with the greatest TTL of 255: these may still come
/// in, and be reset when the listener is closed in the same moment.
pub fn refuse_new_handshakes(socket: &OwnedFd) -> io::Result<()> {
    match drop_syns(socket) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            sys::require_hops_left(socket, u8::MAX)
        }
        done => done,
    }
}

/// Takes back from a connection what it inherited from a listener that refuses new handshakes, and
/// that would keep its own segments away.
pub fn release_from_refusal(socket: &OwnedFd) -> io::Result<()> {
    sys::require_hops_left(socket, 0)
}

/// A filter that drops segments with SYN and without ACK.
fn drop_syns(socket: &OwnedFd) -> io::Result<()> {
    const FLAGS_OFFSET: u32 = 13; // in the TCP header, RFC 9293 section 3.1
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_OFFSET),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
    use std::os::fd::AsFd;

    const OPTIONS: BindOptions = BindOptions {
        freebind: false,
        v6only: true,
    };

    fn free_address() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        listener.local_addr().expect("address")
    }

    #[test]
    fn a_port_that_another_socket_holds_is_reported_as_taken() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let address = holder.local_addr().expect("address");
        let error = bind_all(address, 2, OPTIONS, true).expect_err("taken");
        assert!(matches!(error, ListenError::Taken { .. }), "{error}");
    }

    #[test]
    fn a_claimed_port_is_shared_by_the_workers_and_by_nobody_who_claims_it_too() {
        let address = free_address();
        let sockets = bind_all(address, 3, OPTIONS, true).expect("bind");
        assert_eq!(sockets.len(), 3);
        for socket in &sockets {
            listen(socket, address, 16).expect("listen");
        }
        bind_all(address, 1, OPTIONS, true).expect_err("claimed already");
        bind_all(address, 1, OPTIONS, false).expect("own port");
    }

    #[test]
    fn an_ending_listener_finishes_what_is_queued_and_begins_nothing() {
        let address = free_address();
        let socket = bind_all(address, 1, OPTIONS, true).expect("bind").remove(0);
        listen(&socket, address, 16).expect("listen");
        let queued = TcpStream::connect(address).expect("queued");
        refuse_new_handshakes(&socket).expect("filter");
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(300));
        assert_eq!(
            late.expect_err("no handshake").kind(),
            io::ErrorKind::TimedOut
        );
        let accepted = rustix::net::accept(socket.as_fd()).expect("the queued one");
        drop((queued, accepted));
    }

    #[test]
    fn without_a_filter_an_ending_listener_does_the_same() {
        for address in [free_address(), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
            let socket = bind_all(address, 1, OPTIONS, true).expect("bind").remove(0);
            listen(&socket, address, 16).expect("listen");
            let bound = rustix::net::getsockname(&socket).expect("bound");
            let address = SocketAddr::try_from(bound).expect("an IP address");
            let mut queued = TcpStream::connect(address).expect("queued");
            sys::require_hops_left(&socket, u8::MAX).expect("no capability is needed");
            let late = TcpStream::connect_timeout(&address, Duration::from_millis(300));
            assert_eq!(
                late.expect_err("no handshake").kind(),
                io::ErrorKind::TimedOut
            );
            let accepted = rustix::net::accept(socket.as_fd()).expect("the queued one");
            // One whose handshake ended later has inherited it.
            sys::require_hops_left(&accepted, u8::MAX).expect("no capability is needed");
            release_from_refusal(&accepted).expect("no capability is needed");
            queued.write_all(b"x").expect("sent");
            let mut byte = [0];
            TcpStream::from(accepted)
                .read_exact(&mut byte)
                .expect("received");
        }
    }
}
