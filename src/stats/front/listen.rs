//! The socket that the statistics server listens on.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Clients that may wait to be let in.
const BACKLOG: i32 = 1_024;

/// `stats_bind_socket` cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("stats_bind_socket = \"{address}\": cannot listen there: {source}; {}", remedy(.source, *.address))]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

fn remedy(source: &io::Error, address: SocketAddr) -> String {
    match source.raw_os_error() {
        Some(libc::EADDRINUSE) => format!(
            "another program has the port (`ss -ltnp sport = :{}` names it): stop that one, or set \
             another stats_bind_socket",
            address.port()
        ),
        Some(libc::EADDRNOTAVAIL) => {
            "this host does not hold that address: set stats_bind_socket to one that it holds"
                .to_owned()
        }
        Some(libc::EACCES) => {
            "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE: set a higher \
             port in stats_bind_socket"
                .to_owned()
        }
        _ => "set another stats_bind_socket".to_owned(),
    }
}

/// Listens, without waiting.
///
/// # Errors
/// The address cannot be had.
pub fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    open(address).map_err(|source| ListenError { address, source })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    // After a restart, in spite of connections in TIME_WAIT; another listener is refused all the
    // same.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
