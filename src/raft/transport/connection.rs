//! One socket with its session, and what waits on both sides of it.

use std::io::{self, Read, Write};
use std::net::IpAddr;

use mio::net::TcpStream;

use crate::ids::{NodeId, NodeTime};
use crate::wire::Purpose;
use crate::wire::ended::Ended;
use crate::wire::session::Session;

use super::config::Limits;
use super::outbox::{Full, Outbox, Outgoing};
use super::status::Counters;

/// Written at once: what is more urgent waits behind it, where the kernel takes only a part.
const FILL_BYTES: usize = 128 * 1024;

/// Written to one connection in one turn; the rest has to wait for the next.
const TURN_WRITE_BYTES: usize = 1024 * 1024;

/// Read at once before a connection is open: strangers get little memory.
pub(super) const HANDSHAKE_READ_BYTES: usize = 4 * 1024;

/// Read at once afterwards.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// A buffer that has grown beyond this is given back once it is empty.
const KEPT_BYTES: usize = 2 * FILL_BYTES;

/// Who began it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// This node: it dialled the peer.
    Dialled(NodeId),
    /// Somebody at that address.
    Accepted(IpAddr),
}

/// Where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The kernel is connecting.
    Connecting { until: NodeTime },
    /// Both sides are saying who they are.
    Handshake { until: NodeTime },
    /// It carries what it is for.
    Open { since: NodeTime },
    /// The other side is being told that it is not taken. What still arrives is thrown away
    /// until it hangs up: closing at once would lose what it is told.
    Farewell { until: NodeTime },
}

/// What reading came to.
pub(super) enum Reading {
    /// Bytes at the beginning of the buffer.
    Some(usize),
    /// Nothing there now.
    Nothing,
    /// The other side has hung up.
    HungUp,
}

/// One socket with its session.
#[derive(Debug)]
pub(super) struct Connection {
    pub stream: TcpStream,
    pub session: Session,
    pub origin: Origin,
    pub phase: Phase,
    /// There may be something to read.
    pub readable: bool,
    /// The poll has said that the other side has hung up, or that the connection has failed: there
    /// is no other event that would tell it after what is still to be read.
    pub ending: bool,
    /// The kernel may take something.
    pub writable: bool,
    /// It stands among those that are to be looked at.
    pub queued: bool,
    /// Bytes read in this turn.
    pub turn_bytes: usize,
    pub counters: Counters,
    outbox: Outbox,
    /// As it is to travel; the part before `written` has gone.
    writing: Vec<u8>,
    written: usize,
}

impl Connection {
    pub fn new(
        stream: TcpStream,
        session: Session,
        origin: Origin,
        phase: Phase,
        limits: &Limits,
    ) -> Connection {
        Connection {
            stream,
            session,
            origin,
            phase,
            readable: false,
            ending: false,
            // A socket that is connected has room.
            writable: matches!(origin, Origin::Accepted(_)),
            queued: false,
            turn_bytes: 0,
            counters: Counters::default(),
            outbox: Outbox::new(limits),
            writing: Vec::new(),
            written: 0,
        }
    }

    pub fn purpose(&self) -> Purpose {
        self.session.purpose()
    }

    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Whom it was meant for; of one that came, who it says it is.
    pub fn peer(&self) -> Option<NodeId> {
        match self.origin {
            Origin::Dialled(peer) => Some(peer),
            Origin::Accepted(_) => self.session.peer().map(|hello| hello.id),
        }
    }

    pub fn until(&self) -> Option<NodeTime> {
        match self.phase {
            Phase::Connecting { until }
            | Phase::Handshake { until }
            | Phase::Farewell { until } => Some(until),
            Phase::Open { .. } => None,
        }
    }

    pub fn push(&mut self, outgoing: Outgoing) -> Result<(), Full> {
        let count = outgoing.count();
        let pushed = self.outbox.push(outgoing);
        if pushed.is_err() {
            self.counters.dropped_messages += count;
        }
        pushed
    }

    /// Whether the kernel may take something that is there.
    pub fn wants_to_write(&self) -> bool {
        self.writable
            && (self.session.has_out()
                || self.written < self.writing.len()
                || self.is_open() && !self.outbox.is_empty())
    }

    /// Reads into `buffer`. What comes after less than it holds is told by another event (epoll(7)),
    /// so that it need not be asked for.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Reading> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Ok(Reading::HungUp),
                Ok(bytes) => {
                    self.turn_bytes += bytes;
                    self.counters.received_bytes += bytes as u64;
                    self.readable = self.ending || bytes == buffer.len();
                    return Ok(Reading::Some(bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(Reading::Nothing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what waits, as far as the kernel and this turn allow: one system call, where it
    /// takes all.
    pub fn write(&mut self) -> Result<(), Failure> {
        self.take_handshake();
        let mut budget = TURN_WRITE_BYTES;
        while self.writable && budget > 0 {
            if self.written == self.writing.len() {
                self.fill()?;
                if self.writing.is_empty() {
                    break;
                }
            }
            match self.stream.write(&self.writing[self.written..]) {
                Ok(bytes) => {
                    self.written += bytes;
                    self.counters.sent_bytes += bytes as u64;
                    budget = budget.saturating_sub(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(Failure::Io(error)),
            }
        }
        Ok(())
    }

    fn take_handshake(&mut self) {
        let said = self.session.take_out();
        self.writing.extend_from_slice(&said);
    }

    /// Turns what waits into bytes.
    fn fill(&mut self) -> Result<(), Failure> {
        self.written = 0;
        self.writing.clear();
        if self.writing.capacity() > KEPT_BYTES {
            self.writing = Vec::new();
        }
        if !self.is_open() {
            return Ok(());
        }
        let Connection {
            outbox,
            session,
            writing,
            counters,
            ..
        } = self;
        let sealed = session.seal(writing, |frames| {
            outbox.drain(FILL_BYTES, |outgoing| match outgoing.put(frames) {
                Ok(()) => counters.sent_messages += outgoing.count(),
                Err(error) => {
                    counters.dropped_messages += outgoing.count();
                    log::error!("a message for a peer was dropped: {error}");
                }
            });
        });
        sealed.map_err(Failure::Ended)
    }

    /// Bytes that wait to be sent.
    #[cfg(test)]
    pub fn waiting_bytes(&self) -> usize {
        self.outbox.held_bytes() + self.writing.len() - self.written
    }

    /// What is lost when it is closed now.
    pub fn lose(&mut self) {
        let lost = &mut self.counters.dropped_messages;
        while !self.outbox.is_empty() {
            self.outbox
                .drain(usize::MAX, |outgoing| *lost += outgoing.count());
        }
    }
}

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Ended(#[from] Ended),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it was closed by the other side")]
    HungUp,
    #[error("connecting took longer than {0} ms")]
    ConnectTimeout(u64),
    #[error("the handshake took longer than {0} ms")]
    HandshakeTimeout(u64),
    #[error("more connections came than may be in the handshake at once")]
    CrowdedOut,
    #[error("a newer connection of the same node takes its place")]
    Replaced,
    #[error("this node's own settings have changed")]
    Renewed,
}
