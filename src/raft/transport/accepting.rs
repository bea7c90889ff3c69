//! Strangers that knock: how many are let in to say who they are.

use std::io;
use std::net::IpAddr;

use mio::Interest;
use mio::net::{TcpListener, TcpStream};

use crate::ids::NodeTime;
use crate::wire::session::Session;

use super::complaints::About;
use super::connection::{Connection, Failure, Origin, Phase};
use super::peer::PURPOSES;
use super::{Transport, sockets};

/// Connections accepted from one listener in one turn.
const TURN_ACCEPTS: usize = 16;

/// Where nothing can be accepted for lack of something of this node's own, it waits as long.
const OUT_OF_RESOURCES_MS: u64 = 100;

/// A listener.
#[derive(Debug)]
pub(super) struct Listener {
    pub socket: TcpListener,
    /// There may be somebody.
    pub readable: bool,
    /// Not before.
    pub accept_at: NodeTime,
}

impl Listener {
    pub fn new(socket: TcpListener) -> Listener {
        Listener {
            socket,
            readable: false,
            accept_at: NodeTime(0),
        }
    }
}

impl Transport {
    /// Accepts who has knocked, as far as a turn allows.
    pub(super) fn accept(&mut self) {
        for at in 0..self.listeners.len() {
            for _ in 0..TURN_ACCEPTS {
                let listener = &mut self.listeners[at];
                if !listener.readable || self.now < listener.accept_at {
                    break;
                }
                match listener.socket.accept() {
                    Ok((stream, address)) => self.admit(stream, address.ip(), at),
                    Err(error) => self.cannot_accept(at, &error),
                }
            }
        }
    }

    fn cannot_accept(&mut self, at: usize, error: &io::Error) {
        let listener = &mut self.listeners[at];
        match error.kind() {
            io::ErrorKind::WouldBlock => listener.readable = false,
            // It was gone before it was accepted; the next may be there.
            io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset => {}
            _ => {
                listener.accept_at = self.now.plus(OUT_OF_RESOURCES_MS);
                let purpose = PURPOSES[at];
                let group = self.local.group.clone();
                self.complain(
                    About::Stranger(purpose),
                    log::Level::Error,
                    &format!(
                        "cannot accept connections for {purpose} of Raft group {group}: {error}"
                    ),
                );
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, source: IpAddr, at: usize) {
        self.totals.accepted += 1;
        self.make_room(source);
        let session = Session::accept(self.local.clone(), PURPOSES[at]);
        let phase = Phase::Handshake {
            until: self.now.plus(self.limits.handshake_ms),
        };
        let origin = Origin::Accepted(source);
        let tuned = sockets::tune(&stream, &self.limits);
        let connection = Connection::new(stream, session, origin, phase, &self.limits);
        if tuned.and_then(|()| self.watch(connection)).is_err() {
            // The socket is closed; whoever it was tries again.
            self.totals.turned_away += 1;
        }
    }

    /// Gives a connection a number and watches it.
    pub(super) fn watch(&mut self, mut connection: Connection) -> io::Result<usize> {
        let slot = self.slots.reserve();
        let token = self.slots.token(slot, self.token_base);
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self
            .registry
            .register(&mut connection.stream, token, interest)
        {
            Ok(()) => {
                self.slots.put(slot, connection);
                Ok(slot)
            }
            Err(error) => {
                self.slots.release(slot);
                Err(error)
            }
        }
    }

    /// Incoming connections that are not open: when each ends, and from where it comes.
    pub(super) fn handshakes(&self) -> impl Iterator<Item = (NodeTime, usize, IpAddr)> {
        self.slots.iter().filter_map(|(slot, one)| {
            let Origin::Accepted(source) = one.origin else {
                return None;
            };
            Some((one.until()?, slot, source))
        })
    }

    /// The oldest that have not said who they are give way to newer ones: an honest node needs
    /// two round trips, so that only a flood of thousands within these could keep it out.
    fn make_room(&mut self, source: IpAddr) {
        let same = self.handshakes().filter(|(_, _, from)| *from == source);
        if same.count() >= self.limits.handshakes_per_source {
            let same = self.handshakes().filter(|(_, _, from)| *from == source);
            self.crowd_out(same.min());
        }
        if self.handshakes().count() >= self.limits.handshakes {
            self.crowd_out(self.handshakes().min());
        }
    }

    fn crowd_out(&mut self, oldest: Option<(NodeTime, usize, IpAddr)>) {
        if let Some((_, slot, _)) = oldest {
            self.totals.crowded_out += 1;
            self.end(slot, Failure::CrowdedOut);
        }
    }
}
