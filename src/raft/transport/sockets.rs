//! Sockets with the options that the transport needs.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::config::Limits;
use crate::wire::Purpose;

/// Connections that the kernel keeps for a listener.
const BACKLOG: i32 = 128;

/// The kernel's buffer for what arrives with messages of Raft. A fixed size, for what fills it
/// stands before the next heartbeat: without it the kernel lets a snapshot pile up to many MB in
/// front of a reader that is slow. Allows 200 MB/s where a round trip takes 1 ms.
const RECEIVE_BUFFER_BYTES: usize = 256 * 1024;

/// The kernel takes no more to send while this much has not gone out, for the same reason.
const UNSENT_BYTES: u32 = 128 * 1024;

/// A listener at the address.
pub(super) fn listen(address: SocketAddr, purpose: Purpose) -> io::Result<TcpListener> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if purpose == Purpose::Logs {
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Begins to connect.
pub(super) fn dial(address: SocketAddr, limits: &Limits) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    tune(&stream, limits)?;
    Ok(stream)
}

/// Sets what a connection needs.
pub(super) fn tune(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    let dead = Duration::from_millis(limits.dead_peer_ms.max(1));
    socket.set_tcp_user_timeout(Some(dead))?;
    // Whole seconds, at least one (tcp(7)). Where TCP_USER_TIMEOUT is set it also ends the probes.
    let probe = Duration::from_secs((dead.as_secs() / 4).max(1));
    let keepalive = TcpKeepalive::new().with_time(probe).with_interval(probe);
    socket.set_tcp_keepalive(&keepalive.with_retries(3))
}

/// What became of a connect whose socket reports that it may be written.
pub(super) enum Connected {
    Yes,
    NotYet,
    Failed(io::Error),
}

pub(super) fn connected(stream: &TcpStream) -> Connected {
    match stream.take_error() {
        Ok(Some(error)) | Err(error) => return Connected::Failed(error),
        Ok(None) => {}
    }
    match (stream.peer_addr(), stream.local_addr()) {
        // Dialling a free port of one's own range can meet oneself (simultaneous open).
        (Ok(peer), Ok(local)) if peer == local => {
            Connected::Failed(io::ErrorKind::ConnectionRefused.into())
        }
        (Ok(_), _) => Connected::Yes,
        (Err(error), _) if error.kind() == io::ErrorKind::NotConnected => Connected::NotYet,
        (Err(error), _) => Connected::Failed(error),
    }
}
