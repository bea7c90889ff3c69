//! Asking a target by HTTP.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};
use ureq::{Agent, Error, RequestBuilder};

use crate::config::{HttpCheck, HttpMethod, TargetAddr};

use super::{Failure, MAX_BODY_BYTES, MAX_HEADER_BYTES, NotRun, Outcome, tcp};

/// One HTTP check of one target.
#[derive(Debug)]
pub(super) struct HttpProbe {
    agent: Agent,
    check: HttpCheck,
    timeout: Duration,
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
            .timeout_global(Some(timeout))
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
        let connecting = Connecting {
            inner: TcpConnector::default(),
            timeout,
            header,
        };
        HttpProbe {
            agent: Agent::with_parts(config, connecting, InUrl),
            check,
            timeout,
        }
    }

    /// Asks within `timeout`, of which the connect may take `connect`.
    pub fn run(
        &self,
        address: SocketAddr,
        connect: Duration,
        timeout: Duration,
    ) -> Result<(), Outcome> {
        let found = self
            .ask(address, connect, timeout)
            .map_err(|error| self.judge(error))?;
        let expected = self.check.status;
        match found == expected {
            true => Ok(()),
            false => Err(Outcome::Failed(Failure::Status { found, expected })),
        }
    }

    /// Asks once, and returns the status of the answer.
    fn ask(&self, address: SocketAddr, connect: Duration, timeout: Duration) -> Result<u16, Error> {
        let prepared = Prepared {
            headers: &self.check.headers,
            connect,
            timeout,
        };
        let url = format!("http://{address}{}", self.check.target);
        let body = self.check.body.as_deref();
        let mut answer = match (self.check.method, body) {
            (HttpMethod::Get, None) => prepared.finish(self.agent.get(url)).call(),
            (HttpMethod::Get, Some(body)) => {
                let request = prepared.finish(self.agent.get(url));
                request.force_send_body().send(body)
            }
            (HttpMethod::Post, None) => prepared.finish(self.agent.post(url)).send_empty(),
            (HttpMethod::Post, Some(body)) => prepared.finish(self.agent.post(url)).send(body),
        }?;
        let status = answer.status().as_u16();
        // The status decides. The body is read so that the server can send it in peace.
        let mut body = answer.body_mut().as_reader().take(MAX_BODY_BYTES);
        let _ = io::copy(&mut body, &mut io::sink());
        Ok(status)
    }

    fn judge(&self, error: Error) -> Outcome {
        let failure = match error {
            Error::Other(other) => match other.downcast::<NoConnection>() {
                Ok(no_connection) => return no_connection.0,
                Err(other) => Failure::NotHttp(other.to_string()),
            },
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
    connect: Duration,
    timeout: Duration,
}

impl Prepared<'_> {
    fn finish<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        let config = request.config();
        let mut request = config
            .timeout_connect(Some(self.connect))
            .timeout_global(Some(self.timeout))
            .build();
        for (name, value) in self.headers {
            request = request.header(name, value.as_bytes());
        }
        request
    }
}

/// The host has none left for a socket that is connected already.
fn is_lack_of_memory(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(
        errno,
        Some(rustix::io::Errno::NOBUFS | rustix::io::Errno::NOMEM)
    )
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

/// Takes the address from the URL itself: names are looked up long before. (ureq's own resolver
/// starts a thread for every look-up that has a time-out.)
#[derive(Debug)]
struct InUrl;

impl Resolver for InUrl {
    fn resolve(&self, url: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let address = authority.parse().map_err(|_| Error::HostNotFound)?;
        let mut addresses = self.empty();
        addresses.push(address);
        Ok(addresses)
    }
}

/// ureq's connector, whose failures are told from those after it, and as the TCP check tells them.
#[derive(Debug)]
struct Connecting {
    inner: TcpConnector,
    timeout: Duration,
    header: &'static [u8],
}

impl Connector<()> for Connecting {
    type Out = Introduced<<TcpConnector as Connector<()>>::Out>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let connected = self.inner.connect(details, chained);
        let introduced = connected.map(|inner| {
            let header = self.header;
            inner.map(|inner| Introduced { inner, header })
        });
        introduced.map_err(|error| {
            let outcome = match error {
                Error::Io(error) => tcp::judge(&error, self.timeout),
                _ => Outcome::Failed(Failure::NoConnection(self.timeout)),
            };
            Error::Other(Box::new(NoConnection(outcome)))
        })
    }
}

/// A transport that sends a header in front of all else, in one piece with what comes first.
#[derive(Debug)]
struct Introduced<T> {
    inner: T,
    /// Still to be sent.
    header: &'static [u8],
}

impl<T: Transport> Transport for Introduced<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.header.is_empty() {
            return self.inner.transmit_output(amount, timeout);
        }
        let output = self.inner.buffers().output();
        let all = [std::mem::take(&mut self.header), &output[..amount]].concat();
        let room = output.len();
        for piece in all.chunks(room) {
            self.inner.buffers().output()[..piece.len()].copy_from_slice(piece);
            self.inner.transmit_output(piece.len(), timeout)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

/// What became of a connect, on its way through ureq.
#[derive(Debug, thiserror::Error)]
#[error("no connection")]
struct NoConnection(Outcome);
