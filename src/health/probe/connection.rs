//! The connection that a check is made over: to an address or a Unix socket, from `bind_source`
//! where it is given.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::config::UnixPath;
use crate::endpoint::Endpoint;
use crate::fault::{Fault, is_connected_to_itself};
use crate::sources::{self, Sources};

use super::{Failure, NotRun, Outcome};

/// A connected stream, whose calls end at a deadline.
#[derive(Debug)]
pub(super) struct Connection(OwnedFd);

impl Connection {
    /// Connects within `timeout`, or says what came of it; from where connections of clients come.
    /// `turn`: whose turn it is among the source addresses.
    pub fn open(
        endpoint: &Endpoint,
        timeout: Duration,
        sources: &Sources,
        turn: &AtomicUsize,
    ) -> Result<Connection, Outcome> {
        let connected = match endpoint {
            Endpoint::Unix(path) => to_unix(path, timeout),
            Endpoint::Ip(address) => {
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                sources.connect(*address, turn, |source| to_ip(*address, timeout, source))
            }
        };
        connected
            .map(Connection)
            .map_err(|fault| judge(fault, timeout))
    }

    /// Sends all, in one piece where there is room for it.
    ///
    /// # Errors
    /// TIMEDOUT: not all was taken by the deadline. Else what the system said.
    pub fn send(&self, mut bytes: &[u8], deadline: Instant) -> Result<(), Errno> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        while !bytes.is_empty() {
            match rustix::net::send(&self.0, bytes, flags) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::AGAIN) => wait(&self.0, PollFlags::OUT, deadline)?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for bytes and receives what there is of them; 0: the stream has ended.
    ///
    /// # Errors
    /// TIMEDOUT: nothing came by the deadline. Else what the system said.
    pub fn receive(&self, buffer: &mut [u8], deadline: Instant) -> Result<usize, Errno> {
        loop {
            // An answer is hardly ever there at once.
            wait(&self.0, PollFlags::IN, deadline)?;
            match rustix::net::recv(&self.0, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((count, _)) => return Ok(count),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits for one of these events, or for an error or end, which the next call returns.
fn wait(socket: &OwnedFd, events: PollFlags, deadline: Instant) -> Result<(), Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Errno::TIMEDOUT);
        }
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(socket, events)], Some(&left)) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Connects to an address from a source, or from where the kernel chooses.
fn to_ip(address: SocketAddr, timeout: Duration, source: Option<IpAddr>) -> Result<OwnedFd, Fault> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = stream(family, SocketFlags::NONBLOCK)?;
    sockopt::set_tcp_nodelay(&socket, true).map_err(Fault::Local)?;
    if let Some(source) = source {
        sources::bind(&socket, source)?;
    }
    match (connect_to_ip(&socket, address, timeout), source) {
        (Ok(()), _) => not_itself(socket, address, source.is_some()),
        (Err(error), Some(source)) => Err(Fault::of_connect_from(source, error)),
        (Err(error), None) => Err(Fault::of(error)),
    }
}

fn to_unix(path: &UnixPath, timeout: Duration) -> Result<OwnedFd, Fault> {
    let address = SocketAddrUnix::new(path.path()).map_err(Fault::of)?;
    let socket = stream(AddressFamily::UNIX, SocketFlags::empty())?;
    match connect_to_unix(&socket, &address, timeout) {
        Ok(()) => Ok(socket),
        // There was no room all the time.
        Err(Errno::AGAIN) => Err(Fault::Target(Errno::TIMEDOUT)),
        Err(error) => Err(Fault::of(error)),
    }
}

fn stream(family: AddressFamily, flags: SocketFlags) -> Result<OwnedFd, Fault> {
    let flags = flags | SocketFlags::CLOEXEC;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(Fault::of)
}

/// A connect to an address, of a socket that does not block. (A time-out of the socket's own would
/// end with those of a thousand others, at the kernel's coarse ticks.)
fn connect_to_ip(socket: &OwnedFd, address: SocketAddr, timeout: Duration) -> Result<(), Errno> {
    let deadline = Instant::now() + timeout;
    match rustix::net::connect(socket, &address) {
        Err(Errno::INPROGRESS | Errno::INTR) => {}
        settled => return settled,
    }
    wait(socket, PollFlags::OUT, deadline)?;
    match sockopt::socket_error(socket)? {
        // Before it is established a reset reads as a refusal.
        Err(Errno::CONNRESET | Errno::PIPE) => Ok(()),
        settled => settled,
    }
}

/// A connect to a Unix socket. It blocks while as many connections wait to be accepted there as may,
/// and nothing tells when there is room: SO_SNDTIMEO bounds it (socket(7)), and it ends with AGAIN.
fn connect_to_unix(
    socket: &OwnedFd,
    address: &SocketAddrUnix,
    timeout: Duration,
) -> Result<(), Errno> {
    let deadline = Instant::now() + timeout;
    let mut left = timeout;
    while !left.is_zero() {
        sockopt::set_socket_timeout(socket, Timeout::Send, Some(left))?;
        match rustix::net::connect(socket, address) {
            Err(Errno::INTR) => left = deadline.saturating_duration_since(Instant::now()),
            settled => return settled,
        }
    }
    Err(Errno::AGAIN)
}

/// A socket that connected to itself has met nobody.
pub(super) fn not_itself(
    socket: OwnedFd,
    address: SocketAddr,
    is_bound: bool,
) -> Result<OwnedFd, Fault> {
    match is_connected_to_itself(&socket, address, is_bound) {
        true => Err(Fault::Target(Errno::CONNREFUSED)),
        false => Ok(socket),
    }
}

/// What a failed connect says of the target, if anything.
pub(super) fn judge(fault: Fault, timeout: Duration) -> Outcome {
    match fault {
        Fault::NoPort(Some(source)) => Outcome::NotRun(NotRun::NoPort(source)),
        Fault::Local(_) | Fault::NoPort(None) => Outcome::NotRun(NotRun::Local(fault.errno())),
        Fault::Source(source, Errno::ADDRNOTAVAIL) => Outcome::NotRun(NotRun::NotHere(source)),
        Fault::Source(source, errno) => Outcome::NotRun(NotRun::Source(source, errno)),
        Fault::Target(Errno::CONNREFUSED) => Outcome::Failed(Failure::Refused),
        Fault::Target(Errno::TIMEDOUT) => Outcome::Failed(Failure::NoConnection(timeout)),
        Fault::Target(errno) => Outcome::Failed(Failure::Connect(errno)),
    }
}
