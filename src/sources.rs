//! `bind_source`: the addresses that connections to targets come from.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::config::Config;
use crate::sys;

/// The source addresses of a configuration, by family. Connections to a family without any come from
/// wherever the kernel chooses.
#[derive(Debug, Default)]
pub struct Sources {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

/// An address of `bind_source` cannot be connected from.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is not one of this host's.
    #[error(
        "bind_source: this host does not hold {source_ip}; add it (`ip address add`), or take it out"
    )]
    NotHere {
        /// The address.
        source_ip: IpAddr,
    },
    /// Any other refusal of the system.
    #[error("bind_source: cannot connect from {source_ip}: {error}")]
    Other {
        /// The address.
        source_ip: IpAddr,
        /// What the system said.
        error: io::Error,
    },
}

impl Sources {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Sources {
        let all = config
            .bind_source
            .iter()
            .flat_map(|range| range.addresses());
        let (v4, v6) = all.partition(IpAddr::is_ipv4);
        Sources { v4, v6 }
    }

    /// Those that can reach a target of this family, in the order of the file.
    pub fn towards(&self, target: SocketAddr) -> &[IpAddr] {
        match target {
            SocketAddr::V4(_) => &self.v4,
            SocketAddr::V6(_) => &self.v6,
        }
    }

    /// Binds each address once.
    ///
    /// # Errors
    /// The first that cannot be bound.
    pub fn probe(&self) -> Result<(), SourceError> {
        for &source_ip in self.v4.iter().chain(&self.v6) {
            try_bind(source_ip).map_err(|error| match error.raw_os_error() {
                Some(libc::EADDRNOTAVAIL) => SourceError::NotHere { source_ip },
                _ => SourceError::Other { source_ip, error },
            })?;
        }
        Ok(())
    }
}

fn try_bind(source: IpAddr) -> io::Result<()> {
    let family = match source {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    Ok(sys::bind_without_port(&socket, SocketAddr::new(source, 0))?)
}
