//! Where a connection to a target is made to, once names are looked up.

use std::fmt::{Display, Formatter, Result};
use std::net::SocketAddr;

use crate::config::UnixPath;

/// What connect(2) is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An IP address and a port, by TCP.
    Ip(SocketAddr),
    /// A Unix socket of this host, as a stream.
    Unix(UnixPath),
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        Endpoint::Ip(address)
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Endpoint::Ip(address) => address.fmt(f),
            Endpoint::Unix(path) => path.fmt(f),
        }
    }
}
