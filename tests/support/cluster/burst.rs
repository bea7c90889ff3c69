//! Several connections of one key at once.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::Chronicle;
use super::history::{Answer, Outcome};

/// Longest name that is read.
const NAME_BYTES: usize = 64;

/// A connection and what came of it; open where a group answered.
#[derive(Debug)]
pub struct Call {
    /// What is known of it so far.
    pub answer: Answer,
    stream: Option<TcpStream>,
}

impl Call {
    /// Whether it is open still: the server says nothing more, so whatever is there is the end.
    pub fn is_open(&self) -> bool {
        let Some(stream) = &self.stream else {
            return false;
        };
        let peeked = stream.peek(&mut [0]);
        matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Closes it. Until just before it was open, if it was.
    pub fn close(mut self, chronicle: &Chronicle) -> Answer {
        let now = chronicle.now();
        if self.is_open() {
            self.answer.active_until = now;
        }
        self.stream = None;
        self.answer
    }
}

/// Connects from a key's address to all these nodes at once and waits for their answers, at most
/// for `patience`.
pub fn burst(
    key: u32,
    from: Ipv4Addr,
    targets: &[(usize, SocketAddr)],
    chronicle: &Chronicle,
    patience: Duration,
) -> Vec<Call> {
    let mut waiting: Vec<Waiting> = targets
        .iter()
        .map(|(node, to)| Waiting::connect(key, *node, from, *to, chronicle))
        .collect();
    let deadline = chronicle.now() + patience;
    while waiting.iter().any(Waiting::is_waiting) {
        let left = deadline.saturating_sub(chronicle.now());
        if left.is_zero() {
            break;
        }
        wait_for_any(&waiting, left);
        for one in waiting.iter_mut().filter(|one| one.is_waiting()) {
            one.read(chronicle);
        }
    }
    let calls = waiting.into_iter().map(|one| one.give_up(chronicle));
    calls.collect()
}

/// A connection without an answer yet.
struct Waiting {
    answer: Answer,
    stream: Option<TcpStream>,
    name: Vec<u8>,
    outcome: Option<Outcome>,
}

impl Waiting {
    fn connect(
        key: u32,
        node: usize,
        from: Ipv4Addr,
        to: SocketAddr,
        chronicle: &Chronicle,
    ) -> Waiting {
        let asked = chronicle.now();
        let mut waiting = Waiting {
            answer: Answer {
                key,
                node,
                asked,
                answered: asked,
                active_until: asked,
                outcome: Outcome::TimedOut,
            },
            stream: None,
            name: Vec::new(),
            outcome: None,
        };
        match connect(from, to) {
            Ok(stream) => waiting.stream = Some(stream),
            Err(error) => waiting.fail(&error, chronicle),
        }
        waiting
    }

    fn is_waiting(&self) -> bool {
        self.outcome.is_none()
    }

    fn read(&mut self, chronicle: &Chronicle) {
        let mut bytes = [0; NAME_BYTES];
        let stream = self.stream.as_mut().expect("it is open while it waits");
        match stream.read(&mut bytes) {
            Ok(0) => self.end(Outcome::Ended, chronicle),
            Ok(count) => {
                self.name.extend_from_slice(&bytes[..count]);
                if let Some(name) = self.name.strip_suffix(b"\n") {
                    let group = group_of(name);
                    self.end(Outcome::Group(group), chronicle);
                }
            }
            Err(error) => self.fail(&error, chronicle),
        }
    }

    fn fail(&mut self, error: &io::Error, chronicle: &Chronicle) {
        match error.kind() {
            // Not connected yet is told like that too.
            ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected => {}
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                self.end(Outcome::Reset, chronicle);
            }
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable => self.end(Outcome::Refused, chronicle),
            ErrorKind::TimedOut => self.end(Outcome::TimedOut, chronicle),
            _ => panic!("{:?}: {error}", self.answer),
        }
    }

    fn end(&mut self, outcome: Outcome, chronicle: &Chronicle) {
        self.outcome = Some(outcome);
        self.answer.outcome = outcome;
        self.answer.answered = chronicle.now();
        self.answer.active_until = self.answer.answered;
        if !matches!(outcome, Outcome::Group(_)) {
            self.stream = None;
        }
    }

    fn give_up(mut self, chronicle: &Chronicle) -> Call {
        if self.is_waiting() {
            self.end(Outcome::TimedOut, chronicle);
        }
        Call {
            answer: self.answer,
            stream: self.stream,
        }
    }
}

fn wait_for_any(waiting: &[Waiting], left: Duration) {
    let open = waiting.iter().filter(|one| one.is_waiting());
    let mut polled: Vec<PollFd<'_>> = open
        .filter_map(|one| one.stream.as_ref())
        .map(|stream| PollFd::new(stream, PollFlags::IN))
        .collect();
    let limit = Timespec::try_from(left).expect("seconds");
    match poll(&mut polled, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => panic!("waiting for answers: {error}"),
    }
}

fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// Servers are named by their group's number.
fn group_of(name: &[u8]) -> u32 {
    let name = String::from_utf8_lossy(name);
    name.parse()
        .unwrap_or_else(|error| panic!("a server called {name}: {error}"))
}
