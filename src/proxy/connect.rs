//! Connecting to targets: making the socket, and judging what became of it.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::config::UnixPath;
use crate::fault::{Fault, is_connected_to_itself};
use crate::sources;

use super::transparent;

/// What a connecting socket has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The handshake is under way.
    Pending,
    /// Connected; relay may begin.
    Connected,
    /// Was connected, and the target has reset it already; what it sent before can be read.
    ConnectedThenReset,
    /// Not to be had.
    Failed(Fault),
}

/// A connect that has begun.
#[derive(Debug)]
pub enum Started {
    /// The handshake is over already: on one host it is when connect(2) returns.
    Connected(OwnedFd),
    /// The handshake is under way.
    Pending(OwnedFd),
}

/// Where a connection to a target comes from, where that is not the kernel's to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An address of this host (`bind_source`).
    Own(IpAddr),
    /// The client's (`transparent`).
    Client(SocketAddr),
}

impl Source {
    fn ip(self) -> IpAddr {
        match self {
            Source::Own(address) => address,
            Source::Client(client) => client.ip(),
        }
    }

    fn bind(self, socket: &OwnedFd) -> Result<(), Fault> {
        match self {
            Source::Own(address) => sources::bind(socket, address),
            Source::Client(client) => transparent::bind(socket, client).map_err(Fault::Local),
        }
    }
}

/// Starts a non-blocking connect. With `data_follows` the handshake's last segment waits for the
/// client's bytes that are at hand and travels with them (TCP_QUICKACK off, tcp(7)): one segment
/// less for each connection. `source`: the address to connect from, where it is not the kernel's to
/// choose.
pub fn start(
    target: SocketAddr,
    source: Option<Source>,
    data_follows: bool,
) -> Result<Started, Fault> {
    let family = if target.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None);
    let socket = socket.map_err(Fault::of)?;
    sockopt::set_socket_oobinline(&socket, true).map_err(Fault::Local)?;
    if data_follows {
        sockopt::set_tcp_quickack(&socket, false).map_err(Fault::Local)?;
    }
    if let Some(source) = source {
        source.bind(&socket)?;
    }
    match (rustix::net::connect(&socket, &target), source) {
        (Ok(()) | Err(Errno::INPROGRESS | Errno::INTR), _) => {}
        (Err(error), Some(source)) => return Err(Fault::of_connect_from(source.ip(), error)),
        (Err(error), None) => return Err(Fault::of(error)),
    }
    if !is_established(&socket) {
        Ok(Started::Pending(socket))
    } else if is_connected_to_itself(&socket, target, source.is_some()) {
        Err(Fault::Target(Errno::CONNREFUSED))
    } else {
        Ok(Started::Connected(socket))
    }
}

/// Connects to a Unix socket, which takes no time: it is connected, or it is not. `None`: as many
/// connections wait to be accepted there as may (EAGAIN, connect(2)); it is to be tried again, as
/// TCP would send its SYN again.
pub fn start_unix(path: &UnixPath) -> Result<Option<OwnedFd>, Fault> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let socket = socket.map_err(Fault::of)?;
    // Urgent bytes are bytes of the stream here as well, where the kernel knows them.
    sockopt::set_socket_oobinline(&socket, true).map_err(Fault::Local)?;
    let address = SocketAddrUnix::new(path.path()).map_err(Fault::of)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(Fault::of(error)),
    }
}

fn is_established(socket: &OwnedFd) -> bool {
    rustix::net::getpeername(socket).is_ok()
}

/// Looks at a socket that is connecting. Asks for its error only while it is not established,
/// since asking consumes it. `is_bound`: its source was not the kernel's to choose.
pub fn progress(socket: &OwnedFd, target: SocketAddr, is_bound: bool) -> Progress {
    if is_established(socket) {
        return if is_connected_to_itself(socket, target, is_bound) {
            Progress::Failed(Fault::Target(Errno::CONNREFUSED))
        } else {
            Progress::Connected
        };
    }
    match sockopt::socket_error(socket) {
        Ok(Ok(())) => Progress::Pending,
        // Before it is established a reset reads as a refusal; "reset" means that it was.
        Ok(Err(Errno::CONNRESET | Errno::PIPE)) => Progress::ConnectedThenReset,
        Ok(Err(error)) | Err(error) => Progress::Failed(Fault::of(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    fn settled(target: SocketAddr) -> Progress {
        let socket = match start(target, None, false) {
            Ok(Started::Connected(_)) => return Progress::Connected,
            Ok(Started::Pending(socket)) => socket,
            Err(fault) => return Progress::Failed(fault),
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match progress(&socket, target, false) {
                Progress::Pending if Instant::now() < deadline => std::thread::yield_now(),
                settled => return settled,
            }
        }
    }

    #[test]
    fn a_listening_target_is_connected_and_a_missing_one_is_the_targets_fault() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let target = listener.local_addr().expect("address");
        assert_eq!(settled(target), Progress::Connected);
        drop(listener);
        assert_eq!(
            settled(target),
            Progress::Failed(Fault::Target(Errno::CONNREFUSED))
        );
    }

    #[test]
    fn a_socket_that_connected_to_itself_counts_as_refused() {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        let socket = socket.expect("socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("address");
        rustix::net::bind(&socket, &any).expect("bind");
        let own = rustix::net::getsockname(&socket).expect("name");
        let own = SocketAddr::try_from(own).expect("ip");
        rustix::net::connect(&socket, &own).expect("simultaneous open");
        assert_eq!(
            progress(&socket, own, true),
            Progress::Failed(Fault::Target(Errno::CONNREFUSED))
        );
    }
}
