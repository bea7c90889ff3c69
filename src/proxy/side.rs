//! One socket of a session, and what is known of it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Poll};
use rustix::io::Errno;
use rustix::net::sockopt;

use crate::sys;

use super::arena::Subject;

/// One socket of a session and what the event loop knows of it.
#[derive(Debug)]
pub struct Side {
    /// The socket.
    pub socket: OwnedFd,
    /// There may be something to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The end of its stream has arrived, behind what is still to be read.
    pub end_in_sight: bool,
    /// An urgent byte is in the queue: a short read proves nothing.
    pub urgent: bool,
    /// The peer has reset the connection; what arrived before can still be read.
    pub is_reset: bool,
    /// The kernel gave the peer up: it answered no keep-alive, or took nothing for too long.
    pub is_lost: bool,
    /// Whether small segments wait for earlier ones to be acknowledged (Nagle's algorithm).
    nagle: Nagle,
    /// It is a Unix socket: a read may come back short although there is more (before and behind
    /// what the peer sent descriptors with), it knows no reset of the proxy's, and nobody has to
    /// be probed.
    pub is_unix: bool,
    /// What the event loop reports of it.
    pub watched: Watch,
}

/// Nagle's algorithm never delays what a connection sends first. So TCP_NODELAY is set on a
/// target's socket before the second send, and most short connections never need it: one system
/// call less. A client's socket inherits it from its listener, and a Unix socket knows no delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nagle {
    /// Nothing has been sent.
    Unsent,
    /// Something has been sent.
    On,
    /// TCP_NODELAY is set.
    Off,
}

/// What the event loop reports of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Nothing yet.
    Nothing,
    /// Bytes, end of stream, errors.
    Reading,
    /// Room to write as well.
    Both,
}

impl Side {
    /// A client's socket, as its listener made it.
    pub fn client(socket: OwnedFd) -> Side {
        Side::new(socket, Nagle::Off, false)
    }

    /// A socket that connects to a target by TCP.
    pub fn target(socket: OwnedFd) -> Side {
        Side::new(socket, Nagle::Unsent, false)
    }

    /// A Unix socket connected to its target.
    pub fn unix_target(socket: OwnedFd) -> Side {
        Side::new(socket, Nagle::Off, true)
    }

    /// A socket that is not watched yet: what there is to read is reported when it is.
    fn new(socket: OwnedFd, nagle: Nagle, is_unix: bool) -> Side {
        Side {
            socket,
            nagle,
            is_unix,
            readable: false,
            writable: true,
            end_in_sight: false,
            urgent: false,
            is_reset: false,
            is_lost: false,
            watched: Watch::Nothing,
        }
    }

    /// To be called before each send.
    pub fn send_without_delay(&mut self) {
        self.nagle = match self.nagle {
            Nagle::Off => return,
            Nagle::Unsent => Nagle::On,
            Nagle::On => {
                // It fails only on a dead socket, and then the send tells.
                let _ = sockopt::set_tcp_nodelay(&self.socket, true);
                Nagle::Off
            }
        };
    }

    /// Bytes sent whose receiver has not acknowledged them: what a reset would destroy.
    pub fn unacknowledged_bytes(&self) -> u32 {
        match self.is_reset || self.is_unix {
            true => 0,
            false => sys::unsent_bytes(&self.socket).unwrap_or(0),
        }
    }

    /// Notes an error that a read or write has met, and consumed.
    pub fn fail(&mut self, error: Errno) {
        self.is_reset = true;
        // Where a way was reported closed meanwhile, the kernel gives that for its reason.
        self.is_lost |= matches!(
            error,
            Errno::TIMEDOUT | Errno::HOSTUNREACH | Errno::NETUNREACH
        );
    }

    /// Notes what the event loop reported.
    pub fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed();
        self.writable |= event.is_writable();
        self.end_in_sight |= event.is_read_closed();
        self.urgent |= event.is_priority();
        if event.is_error() {
            // Reads and writes are tried until they meet the error themselves.
            self.is_reset = true;
            self.readable = true;
            self.writable = true;
        }
    }

    /// Has the event loop report this socket, edge-triggered. What is ready already is reported
    /// at once, so nothing is lost by asking late.
    pub fn watch(&mut self, poll: &Poll, subject: Subject, watch: Watch) -> io::Result<()> {
        let reading = Interest::READABLE | Interest::PRIORITY;
        let interest = match watch {
            Watch::Nothing => return Ok(()),
            Watch::Reading => reading,
            Watch::Both => reading | Interest::WRITABLE,
        };
        let fd = self.socket.as_raw_fd();
        let (source, token) = (&mut SourceFd(&fd), subject.token());
        match std::mem::replace(&mut self.watched, watch) {
            Watch::Nothing => poll.registry().register(source, token, interest),
            Watch::Reading | Watch::Both => poll.registry().reregister(source, token, interest),
        }
    }
}
