//! Connecting to a target.

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;

use crate::fault::{Fault, is_connected_to_itself};

use super::{Failure, NotRun, Outcome};

/// Connects within `timeout`, sends the header, if there is one, and closes.
pub(super) fn run(address: SocketAddr, timeout: Duration, header: &[u8]) -> Result<(), Outcome> {
    let mut stream = connect(address, timeout)?;
    if !header.is_empty() {
        // That it took the connection is what was asked; it finds a header in it rather than an
        // error for its log. A fresh socket has room for so few bytes.
        let _ = stream.write_all(header);
    }
    Ok(())
}

/// Connects within `timeout`, or says what came of it.
pub(super) fn connect(address: SocketAddr, timeout: Duration) -> Result<TcpStream, Outcome> {
    let stream = TcpStream::connect_timeout(&address, timeout);
    not_itself(stream.map_err(|error| judge(&error, timeout))?, address)
}

/// A socket that connected to itself has met nobody.
pub(super) fn not_itself(stream: TcpStream, address: SocketAddr) -> Result<TcpStream, Outcome> {
    match is_connected_to_itself(&stream, address, false) {
        true => Err(Outcome::Failed(Failure::Refused)),
        false => Ok(stream),
    }
}

/// Whose fault a failed connect was.
pub(super) fn judge(error: &io::Error, timeout: Duration) -> Outcome {
    let Some(errno) = Errno::from_io_error(error) else {
        return match error.kind() {
            ErrorKind::TimedOut => Outcome::Failed(Failure::NoConnection(timeout)),
            // The standard library refuses what it is given, a time-out of zero for instance.
            _ => Outcome::NotRun(NotRun::Request(error.to_string())),
        };
    };
    match Fault::of(errno) {
        Fault::Local(errno) | Fault::Source(_, errno) => Outcome::NotRun(NotRun::Local(errno)),
        Fault::Target(Errno::CONNREFUSED) => Outcome::Failed(Failure::Refused),
        Fault::Target(Errno::TIMEDOUT) => Outcome::Failed(Failure::NoConnection(timeout)),
        Fault::Target(errno) => Outcome::Failed(Failure::Connect(errno)),
    }
}
