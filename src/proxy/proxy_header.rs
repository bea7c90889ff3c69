//! The PROXY protocol at both ends of a session: the header that names its client
//! (`accept_proxy_from`), and the one that tells its target of it (`groups.N.send_proxy`).

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, getsockname, recv};

use crate::config::ProxyHeader;
use crate::proxy_protocol::{self, Addresses, Header, MAX_HEADER_BYTES, Tlvs};

use super::End;
use super::arena::SessionId;
use super::relay::Flow;
use super::session::{Phase, Proxied};
use super::side::Watch;
use super::worker::Worker;

/// What a header gets to come whole, from accept on.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

impl Worker {
    /// Takes in a client of `accept_proxy_from`, whose header tends to be there already.
    pub(super) fn await_proxy_header(&mut self, id: SessionId) {
        let deadline = self.now + HEADER_TIMEOUT;
        let session = self.session(id);
        session.phase = Phase::ProxyHeader { deadline };
        session.client.readable = true;
        self.read_proxy_header(id);
        let waits = matches!(
            self.arena.get_mut(id).map(|session| &session.phase),
            Some(Phase::ProxyHeader { .. })
        );
        if waits && self.watch_client(id) {
            self.wheel.arm(&mut self.arena, id.slot, deadline);
        }
    }

    /// Reads up to the end of the header, and at most as much behind it as a header may be long.
    pub(super) fn read_proxy_header(&mut self, id: SessionId) {
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        while session.client.readable {
            let room = MAX_HEADER_BYTES.saturating_sub(session.inward.held_bytes().len());
            let buffer = &mut self.buffer[..room];
            match recv(&session.client.socket, buffer, RecvFlags::empty()) {
                Ok((0, _)) if session.inward.held_bytes().is_empty() => {
                    return self.end(id, End::ClientLeft);
                }
                Ok((0, _)) => return self.refuse_header(id, &"it ended within its header"),
                Ok((len, _)) => session
                    .inward
                    .hold(&self.buffer[..len], &self.shared.buffered),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    session.client.readable = false;
                    return;
                }
                Err(_) => return self.end(id, End::ClientLeft),
            }
            match proxy_protocol::read(session.inward.held_bytes()) {
                Ok(None) => {}
                Ok(Some((header, length))) => {
                    session.inward.take_front(length, &self.shared.buffered);
                    // What else there is to read is reported when the socket is watched.
                    session.client.readable = session.client.watched != Watch::Nothing;
                    self.take_header(id, header);
                    return self.client_is_known(id);
                }
                Err(malformed) => return self.refuse_header(id, &malformed),
            }
        }
    }

    /// From here on the client is whom the header names, if it names one.
    fn take_header(&mut self, id: SessionId, header: Header) {
        let Some(Addresses {
            source,
            destination,
        }) = header.addresses
        else {
            return;
        };
        let session = self.session(id);
        log::debug!(
            "{} is {source}, who connected to {destination}",
            session.peer
        );
        session.peer = source;
        session.proxied = Some(Box::new(Proxied {
            destination,
            tlvs: header.tlvs,
        }));
    }

    /// The header was not whole in time.
    pub(super) fn proxy_header_late(&mut self, id: SessionId) {
        self.refuse(id, End::ProxyHeaderTimeout);
    }

    fn refuse_header(&mut self, id: SessionId, why: &dyn std::fmt::Display) {
        self.refuse_with(id, End::ProxyHeaderInvalid, &format_args!(": {why}"));
    }

    /// Puts a header in front of what the client has sent so far, and of what it is found to have
    /// sent by now: both travel together. `proxied`: what the header said by which the client came.
    /// False where that ended the session.
    pub(super) fn introduce(
        &mut self,
        id: SessionId,
        version: ProxyHeader,
        proxied: Option<Box<Proxied>>,
    ) -> bool {
        let session = self.session(id);
        if session.inward.held_bytes().is_empty() && session.inward.flow == Flow::Open {
            self.read_early(id);
        }
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        let (destination, tlvs) = match proxied {
            Some(proxied) => (Some(proxied.destination), proxied.tlvs),
            None => (own_end(&session.client.socket), Tlvs::default()),
        };
        let Some(destination) = destination else {
            self.end(id, End::LocalError);
            return false;
        };
        let addresses = Addresses::new(session.peer, destination);
        let header = match version {
            ProxyHeader::V1 => proxy_protocol::v1(addresses),
            ProxyHeader::V2 => proxy_protocol::v2(addresses, &tlvs),
        };
        session.inward.put_in_front(header, &self.shared.buffered);
        true
    }
}

/// Where a client connected to.
fn own_end(socket: &OwnedFd) -> Option<SocketAddr> {
    let name = getsockname(socket).ok()?;
    SocketAddr::try_from(name).ok()
}
