//! One client's connection: reading a head, waiting for the answer, writing it, within its times.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::head::{self, Head, MAX_HEAD_BYTES, MAX_LINE_BYTES, Parsed};
use crate::stats::answer::Answer;

/// What a client may take to send a whole head: from the accept, or from its first byte.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// What the answer may take to be made.
const MADE_LIMIT: Duration = Duration::from_secs(10);
/// What a client may take to read a whole answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection stays open for the next request.
const IDLE_LIMIT: Duration = Duration::from_secs(5);
/// How long what comes behind a refused request is read and dropped, so that the refusal is not
/// lost to a reset.
const LINGER_LIMIT: Duration = Duration::from_secs(1);
/// How much of it.
const LINGER_BYTES: usize = 64 * 1_024;
/// Requests over one connection.
const MAX_REQUESTS: u32 = 1_000;

/// A client.
pub struct Client {
    /// Tells it from others in the same slot.
    pub serial: u64,
    /// Where it comes from.
    pub address: IpAddr,
    /// Since when it is in its phase.
    pub since: Instant,
    /// When it is given up.
    pub deadline: Instant,
    stream: TcpStream,
    phase: Phase,
    head: Vec<u8>,
    /// Bytes of the head when it was parsed last.
    parsed: usize,
    served: u32,
}

enum Phase {
    /// Its request is not there as a whole.
    Reading,
    /// Its request waits for the answer.
    Waiting { is_head: bool, keeps_alive: bool },
    /// It is sent its answer.
    Writing {
        answer: Vec<u8>,
        written: usize,
        then: Then,
    },
    /// Its side is read until it ends, and dropped.
    Lingering { left: usize },
}

/// What comes after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The next request.
    Read,
    /// The end.
    Close,
    /// The end, when what was sent behind the request has been read.
    Linger,
}

/// Where a client's turn has led.
pub enum Turn {
    /// It waits: for its client, or for its answer.
    Wait,
    /// A request is there.
    Request(Head),
    /// It is over.
    Closed,
}

/// How far a client that may have to give way has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It has delivered no whole request.
    Asking,
    /// It has not taken its whole answer.
    Taking,
    /// It waits for its answer.
    Waiting,
}

impl Client {
    /// A client that has just been let in.
    pub fn new(stream: TcpStream, address: IpAddr, serial: u64, now: Instant) -> Client {
        Client {
            serial,
            address,
            since: now,
            deadline: now + HEAD_LIMIT,
            stream,
            phase: Phase::Reading,
            head: Vec::new(),
            parsed: 0,
            served: 0,
        }
    }

    /// Its socket.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// How far it has come.
    pub fn standing(&self) -> Standing {
        match self.phase {
            Phase::Reading | Phase::Lingering { .. } => Standing::Asking,
            Phase::Writing { .. } => Standing::Taking,
            Phase::Waiting { .. } => Standing::Waiting,
        }
    }

    /// Bytes of its answer that are held for it.
    pub fn held_bytes(&self) -> usize {
        match &self.phase {
            Phase::Writing { answer, .. } => answer.len(),
            _ => 0,
        }
    }

    /// Does what its socket permits.
    pub fn advance(&mut self, own_name: &str, now: Instant) -> Turn {
        loop {
            let is_done = match &mut self.phase {
                Phase::Waiting { .. } => return Turn::Wait,
                Phase::Reading => match self.read(own_name, now) {
                    Reading::More => return Turn::Wait,
                    Reading::Ended => return Turn::Closed,
                    Reading::Request(head) => return Turn::Request(head),
                    Reading::Refused => true,
                },
                Phase::Writing { .. } => match self.write(now) {
                    Some(is_open) => is_open,
                    None => return Turn::Wait,
                },
                Phase::Lingering { .. } => match self.linger() {
                    Some(is_open) => is_open,
                    None => return Turn::Wait,
                },
            };
            if !is_done {
                return Turn::Closed;
            }
        }
    }

    /// Gives it the answer that it waits for: whole as it came from the backend.
    pub fn answer(&mut self, wire: Vec<u8>, now: Instant) {
        let Phase::Waiting { keeps_alive, .. } = self.phase else {
            return;
        };
        self.served += 1;
        let then = match keeps_alive && self.served < MAX_REQUESTS {
            true if self.head.is_empty() => Then::Read,
            false if self.head.is_empty() => Then::Close,
            // Something was sent behind the request: pipelining is not served.
            _ => Then::Linger,
        };
        self.send(with_connection(wire, then), then, now);
    }

    /// Refuses it the answer that it waits for; its connection ends with that.
    pub fn refuse(&mut self, answer: Answer, now: Instant) {
        if let Phase::Waiting { is_head, .. } = self.phase {
            let wire = answer.finished(false).to_wire(is_head);
            self.send(with_connection(wire, Then::Linger), Then::Linger, now);
        }
    }

    fn enter(&mut self, phase: Phase, limit: Duration, now: Instant) {
        self.phase = phase;
        self.since = now;
        self.deadline = now + limit;
    }

    fn send(&mut self, answer: Vec<u8>, then: Then, now: Instant) {
        let phase = Phase::Writing {
            answer,
            written: 0,
            then,
        };
        self.enter(phase, ANSWER_LIMIT, now);
    }

    fn read(&mut self, own_name: &str, now: Instant) -> Reading {
        let mut buffer = [0; MAX_HEAD_BYTES];
        loop {
            let room = MAX_HEAD_BYTES.saturating_sub(self.head.len()).max(1);
            match self.stream.read(&mut buffer[..room]) {
                Ok(0) => return Reading::Ended,
                Ok(count) => {
                    if self.head.is_empty() && self.served > 0 {
                        self.enter(Phase::Reading, HEAD_LIMIT, now);
                    }
                    self.head.extend_from_slice(&buffer[..count]);
                    if !self.is_worth_parsing(count) {
                        continue;
                    }
                    self.parsed = self.head.len();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Reading::More,
                Err(_) => return Reading::Ended,
            }
            match head::parse(&self.head, own_name) {
                Parsed::Partial => {}
                Parsed::Whole(head) => {
                    self.head.drain(..head.length);
                    self.parsed = 0;
                    let (is_head, keeps_alive) = (head.is_head, head.keeps_alive);
                    let phase = Phase::Waiting {
                        is_head,
                        keeps_alive,
                    };
                    self.enter(phase, MADE_LIMIT, now);
                    return Reading::Request(head);
                }
                Parsed::Refused(answer) => {
                    let is_head = self.head.starts_with(b"HEAD ");
                    let wire = answer.finished(false).to_wire(is_head);
                    self.send(with_connection(wire, Then::Linger), Then::Linger, now);
                    return Reading::Refused;
                }
            }
        }
    }

    /// Whether the last `count` bytes may have made a difference to the head. Parsed for each byte
    /// that drips in, a large one would cost the square of its size.
    fn is_worth_parsing(&self, count: usize) -> bool {
        let length = self.head.len();
        let before = length - count;
        let has_passed = |bound: usize| before < bound && bound <= length;
        self.head[before..].contains(&b'\n')
            || length >= self.parsed * 2
            || has_passed(MAX_LINE_BYTES + 1)
            || has_passed(MAX_HEAD_BYTES)
    }

    /// Whether its connection stays open once the answer has been written; `None` until then.
    fn write(&mut self, now: Instant) -> Option<bool> {
        let Phase::Writing {
            answer,
            written,
            then,
        } = &mut self.phase
        else {
            return Some(true);
        };
        while *written < answer.len() {
            match self.stream.write(&answer[*written..]) {
                Ok(0) => return Some(false),
                Ok(count) => *written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => return Some(false),
            }
        }
        match *then {
            Then::Read => self.enter(Phase::Reading, IDLE_LIMIT, now),
            Then::Close => return Some(false),
            Then::Linger => {
                let _ = self.stream.shutdown(Shutdown::Write);
                let left = LINGER_BYTES;
                self.enter(Phase::Lingering { left }, LINGER_LIMIT, now);
            }
        }
        Some(true)
    }

    /// False at the end of the client's side; `None` until then.
    fn linger(&mut self) -> Option<bool> {
        let Phase::Lingering { left } = &mut self.phase else {
            return Some(true);
        };
        let mut buffer = [0; MAX_HEAD_BYTES];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(count) if count > 0 && count < *left => *left -= count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                _ => return Some(false),
            }
        }
    }
}

/// How reading a head went.
enum Reading {
    More,
    Ended,
    Request(Head),
    Refused,
}

/// Says behind the status line whether the connection goes on.
fn with_connection(mut wire: Vec<u8>, then: Then) -> Vec<u8> {
    let header: &[u8] = match then {
        Then::Read => b"Connection: keep-alive\r\n",
        Then::Close | Then::Linger => b"Connection: close\r\n",
    };
    if let Some(end) = wire.windows(2).position(|pair| pair == b"\r\n") {
        wire.splice(end + 2..end + 2, header.iter().copied());
    }
    wire
}
