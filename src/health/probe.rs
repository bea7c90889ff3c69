//! One check of one target, blocking.

mod connection; // what a check is made over
mod http; // ask, and look at the status

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::config::{HealthCheck, ProxyHeader, TargetAddr};
use crate::endpoint::Endpoint;
use crate::proxy_protocol::{LOCAL_V1, LOCAL_V2};
use crate::sources::Sources;

use connection::Connection;
use http::HttpProbe;

/// Bytes of headers that an answer may have.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Bytes of an answer's body that are read; the rest is left.
pub const MAX_BODY_BYTES: u64 = 64 * 1024;

/// One check of one target, to be run again and again. Keeps no connection between runs.
#[derive(Debug)]
pub struct Probe {
    /// PROXY protocol header in front of it.
    pub send_proxy: Option<ProxyHeader>,
    timeout: Duration,
    kind: Kind,
    /// Whose turn it is among the source addresses.
    turn: AtomicUsize,
}

#[derive(Debug)]
enum Kind {
    /// That it takes the connection is all that is asked.
    Tcp,
    Http(Box<HttpProbe>),
}

/// The header of a connection that is the proxy's own.
fn header(send_proxy: Option<ProxyHeader>) -> &'static [u8] {
    match send_proxy {
        None => b"",
        Some(ProxyHeader::V1) => LOCAL_V1,
        Some(ProxyHeader::V2) => LOCAL_V2,
    }
}

/// What became of one check.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The target is as it should be.
    Passed,
    /// The target is not.
    Failed(Failure),
    /// This host could not ask: says nothing about the target.
    NotRun(NotRun),
}

/// What was wrong with a target.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// Nobody listens.
    #[error("connection refused")]
    Refused,
    /// The handshake was not over in time.
    #[error("no connection within {} s", to_the_millisecond(.0))]
    NoConnection(Duration),
    /// The way to the target is closed, or something of the kind.
    #[error("cannot connect: {0}")]
    Connect(Errno),
    /// The answer's status had not come in time.
    #[error("no answer within {} s", to_the_millisecond(.0))]
    NoAnswer(Duration),
    /// The connection was ended before the answer's status.
    #[error("closed the connection without an answer")]
    Closed,
    /// The connection was reset before the answer's status.
    #[error("reset the connection")]
    Reset,
    /// Another status than that of a healthy server.
    #[error("answered {found}, expected {expected}")]
    Status {
        /// What it answered.
        found: u16,
        /// What a healthy server answers.
        expected: u16,
    },
    /// More than [`MAX_HEADER_BYTES`].
    #[error("headers larger than {} KiB", MAX_HEADER_BYTES / 1024)]
    LargeHeaders,
    /// Something else than HTTP.
    #[error("the answer is not HTTP: {0}")]
    NotHttp(String),
}

/// Why this host could not ask.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotRun {
    /// No descriptor, port or memory.
    #[error("{0}")]
    Local(Errno),
    /// Every port of this address of `bind_source`, and of all others a moment ago, is in use.
    #[error("bind_source: no port of {0} is left for connections to the target")]
    NoPort(IpAddr),
    /// This address of `bind_source` is not one of this host's.
    #[error("bind_source: this host does not hold {0}")]
    NotHere(IpAddr),
    /// Connections to the target cannot come from this address of `bind_source`.
    #[error("bind_source: cannot connect from {0}: {1}")]
    Source(IpAddr, Errno),
    /// The request cannot be made.
    #[error("the request cannot be made: {0}")]
    Request(String),
}

/// Seconds, as they are read.
fn to_the_millisecond(duration: &Duration) -> f64 {
    (duration.as_secs_f64() * 1_000.0).round() / 1_000.0
}

impl NotRun {
    /// Whether this host may well reach the target at another of its addresses.
    fn is_of_address(&self) -> bool {
        match self {
            NotRun::Local(errno) => *errno == Errno::ADDRNOTAVAIL,
            NotRun::NoPort(_) | NotRun::NotHere(_) | NotRun::Source(..) => true,
            NotRun::Request(_) => false,
        }
    }
}

impl Probe {
    /// The check of a target. The target as configured gives the `Host` of requests; the check's
    /// own port, if it has one, takes the place of the target's there.
    /// With `send_proxy` each run begins with a PROXY protocol header for a connection of the
    /// proxy's own.
    pub fn new(check: &HealthCheck, target: &TargetAddr, send_proxy: Option<ProxyHeader>) -> Probe {
        let http = check.http.as_ref();
        Probe {
            send_proxy,
            timeout: check.timeout,
            turn: AtomicUsize::new(0),
            kind: match http {
                None => Kind::Tcp,
                Some(http) => {
                    let host = http::host(target, check.port);
                    let header = header(send_proxy);
                    Kind::Http(Box::new(HttpProbe::new(http, &host, check.timeout, header)))
                }
            },
        }
    }

    /// Checks the target at the first of its addresses that takes the connection, as connections of
    /// clients do; each address that may be tried has an even share of the time that is left. Blocks
    /// for the check's timeout at most, and returns with nothing left open. Each run comes from the next
    /// of the source addresses.
    pub fn run(&self, endpoints: &[Endpoint], sources: &Sources) -> Outcome {
        let begun = Instant::now();
        let mut failed = None;
        let mut not_run = NotRun::Request("no address".to_owned());
        for (at, endpoint) in endpoints.iter().enumerate() {
            let left = match at {
                0 => self.timeout,
                _ => self.timeout.saturating_sub(begun.elapsed()),
            };
            let others = u32::try_from(endpoints.len() - at).unwrap_or(u32::MAX);
            let share = left / others;
            if share.is_zero() {
                break;
            }
            match Connection::open(endpoint, share, sources, &self.turn) {
                Ok(connection) => return self.ask(connection, begun + self.timeout),
                Err(Outcome::NotRun(why)) => {
                    let is_of_address = why.is_of_address();
                    not_run = why;
                    // Of all else this host has as little for the others.
                    if !is_of_address {
                        return Outcome::NotRun(not_run);
                    }
                }
                Err(outcome) => failed = Some(outcome),
            }
        }
        // Where an address of the target refused, that another was out of reach does not count.
        failed.unwrap_or(Outcome::NotRun(not_run))
    }

    /// Finds out over a connection how its target is.
    fn ask(&self, connection: Connection, deadline: Instant) -> Outcome {
        match &self.kind {
            Kind::Tcp => {
                // It finds a header in the connection rather than an error for its log. A fresh
                // socket has room for so few bytes.
                let _ = connection.send(header(self.send_proxy), deadline);
                Outcome::Passed
            }
            Kind::Http(http) => http.ask(connection, deadline),
        }
    }
}
