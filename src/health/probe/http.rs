//! Asking a target by HTTP: ureq speaks it, over a connection that is there already.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error, RequestBuilder};

use crate::config::{HttpCheck, HttpMethod, TargetAddr};

use super::connection::Connection;
use super::{Failure, MAX_BODY_BYTES, MAX_HEADER_BYTES, NotRun, Outcome};

/// One HTTP check of one target.
#[derive(Debug)]
pub(super) struct HttpProbe {
    config: Config,
    url: String,
    check: HttpCheck,
    timeout: Duration,
    /// Sent in front of each request.
    header: &'static [u8],
}

impl HttpProbe {
    /// Each run sends `header` in front of its request.
    pub fn new(
        check: &HttpCheck,
        host: &str,
        timeout: Duration,
        header: &'static [u8],
    ) -> HttpProbe {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEADER_BYTES)
            .max_idle_connections(0)
            // Whatever the environment says of proxies is meant for others.
            .proxy(None)
            .user_agent(concat!("tcpffee/", env!("CARGO_PKG_VERSION")))
            .build();
        let mut check = check.clone();
        set_default(&mut check, "Host", host);
        // One check, one connection: that new ones can be made is part of what is checked.
        set_default(&mut check, "Connection", "close");
        HttpProbe {
            config,
            // The `Host` header names the target; what the URL names is used for nothing.
            url: format!("http://localhost{}", check.target),
            check,
            timeout,
            header,
        }
    }

    /// Asks over a connection, until the deadline at most.
    pub fn ask(&self, connection: Connection, deadline: Instant) -> Outcome {
        let expected = self.check.status;
        match self.status(connection, deadline) {
            Ok(found) if found == expected => Outcome::Passed,
            Ok(found) => Outcome::Failed(Failure::Status { found, expected }),
            Err(error) => self.judge(error),
        }
    }

    /// Asks once, and returns the status of the answer.
    fn status(&self, connection: Connection, deadline: Instant) -> Result<u16, Error> {
        let transport = Conversation {
            connection,
            buffers: LazyBuffers::new(
                self.config.input_buffer_size(),
                self.config.output_buffer_size(),
            ),
            header: self.header,
        };
        // An agent for each run: the connection is handed to it whole, and ends with it.
        let handed = Handed(Mutex::new(Some(transport)));
        let agent = Agent::with_parts(self.config.clone(), handed, Nowhere);
        let prepared = Prepared {
            headers: &self.check.headers,
            timeout: deadline.saturating_duration_since(Instant::now()),
        };
        let url = &self.url;
        let body = self.check.body.as_deref();
        let mut answer = match (self.check.method, body) {
            (HttpMethod::Get, None) => prepared.finish(agent.get(url)).call(),
            (HttpMethod::Get, Some(body)) => {
                let request = prepared.finish(agent.get(url));
                request.force_send_body().send(body)
            }
            (HttpMethod::Post, None) => prepared.finish(agent.post(url)).send_empty(),
            (HttpMethod::Post, Some(body)) => prepared.finish(agent.post(url)).send(body),
        }?;
        let status = answer.status().as_u16();
        // The status decides. The body is read so that the server can send it in peace.
        let mut body = answer.body_mut().as_reader().take(MAX_BODY_BYTES);
        let _ = io::copy(&mut body, &mut io::sink());
        Ok(status)
    }

    fn judge(&self, error: Error) -> Outcome {
        let failure = match error {
            Error::Timeout(_) => Failure::NoAnswer(self.timeout),
            Error::LargeResponseHeader(..) => Failure::LargeHeaders,
            Error::Io(error) if is_lack_of_memory(&error) => {
                return Outcome::NotRun(NotRun::Request(error.to_string()));
            }
            Error::Io(error) => match error.kind() {
                ErrorKind::UnexpectedEof => Failure::Closed,
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Failure::Reset,
                _ => Failure::NotHttp(error.to_string()),
            },
            Error::Http(_) | Error::BadUri(_) | Error::BodyExceedsLimit(_) => {
                return Outcome::NotRun(NotRun::Request(error.to_string()));
            }
            other => Failure::NotHttp(other.to_string()),
        };
        Outcome::Failed(failure)
    }
}

/// What every request of a run has.
struct Prepared<'a> {
    headers: &'a BTreeMap<String, String>,
    timeout: Duration,
}

impl Prepared<'_> {
    fn finish<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        let config = request.config();
        let mut request = config.timeout_global(Some(self.timeout)).build();
        for (name, value) in self.headers {
            request = request.header(name, value.as_bytes());
        }
        request
    }
}

/// The host has none left for a socket that is connected already.
fn is_lack_of_memory(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOBUFS | Errno::NOMEM))
}

/// What stands in `Host`: the target as configured, without the port that goes without saying.
pub(super) fn host(target: &TargetAddr, port: Option<u16>) -> String {
    let (name, own) = match target {
        TargetAddr::Socket(SocketAddr::V4(address)) => (address.ip().to_string(), address.port()),
        TargetAddr::Socket(SocketAddr::V6(address)) => {
            (format!("[{}]", address.ip()), address.port())
        }
        TargetAddr::Name { host, port } => (host.clone(), *port),
        TargetAddr::Unix(_) => return "localhost".to_owned(),
    };
    match port.unwrap_or(own) {
        80 => name,
        port => format!("{name}:{port}"),
    }
}

/// Adds a header that the configuration does not have.
fn set_default(check: &mut HttpCheck, name: &str, value: &str) {
    let is_there = |given: &String| given.eq_ignore_ascii_case(name);
    if !check.headers.keys().any(is_there) {
        check.headers.insert(name.to_owned(), value.to_owned());
    }
}

/// Looks up nothing: the connection is there. (ureq's own resolver starts a thread for every look-up
/// that has a time-out.)
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// "Connects" an agent, once, to what has been handed over.
#[derive(Debug)]
struct Handed(Mutex<Option<Conversation>>);

impl Connector<()> for Handed {
    type Out = Conversation;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Conversation>, Error> {
        let mut handed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(handed.take())
    }
}

/// HTTP over a connection, with a header in front of all else, in one piece with what comes first.
#[derive(Debug)]
struct Conversation {
    connection: Connection,
    buffers: LazyBuffers,
    /// Still to be sent.
    header: &'static [u8],
}

impl Transport for Conversation {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let deadline = deadline(&timeout);
        let output = &self.buffers.output()[..amount];
        let sent = match std::mem::take(&mut self.header) {
            [] => self.connection.send(output, deadline),
            header => self.connection.send(&[header, output].concat(), deadline),
        };
        sent.map_err(|errno| told(errno, &timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let room = self.buffers.input_append_buf();
        let received = self.connection.receive(room, deadline(&timeout));
        let count = received.map_err(|errno| told(errno, &timeout))?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// It serves one request only.
    fn is_open(&mut self) -> bool {
        false
    }
}

/// When a time-out that ureq gives is over. Each request has one for the whole of it, so that no
/// call is without.
fn deadline(timeout: &NextTimeout) -> Instant {
    let after = *timeout.after;
    let now = Instant::now();
    now.checked_add(after).unwrap_or(now)
}

/// An error as ureq tells it.
fn told(errno: Errno, timeout: &NextTimeout) -> Error {
    match errno {
        Errno::TIMEDOUT => Error::Timeout(timeout.reason),
        errno => Error::Io(errno.into()),
    }
}
