//! The service manager's datagram socket, by its address.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// What a message may wait where the service manager is busy and its queue is full.
const SEND_LIMIT: Duration = Duration::from_secs(2);

/// Where messages go.
#[derive(Debug)]
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    address: SocketAddr,
    shown: OsString,
}

impl NotifySocket {
    /// An address as `NOTIFY_SOCKET` has it: a path from the root, or `@` and an abstract name.
    /// Whether anybody listens there is seen with the first message.
    pub fn open(address: &OsStr) -> io::Result<NotifySocket> {
        let shown = address.to_owned();
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => {
                let text = "neither a path from the root nor an abstract name (`@...`)";
                return Err(io::Error::new(ErrorKind::InvalidInput, text));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_LIMIT))?;
        Ok(NotifySocket {
            socket,
            address,
            shown,
        })
    }

    /// Sends one datagram; waits for [`SEND_LIMIT`] at most.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to_addr(bytes, &self.address) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Display for NotifySocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shown.display())
    }
}
