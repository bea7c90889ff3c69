//! A connection's way up to the table's answer: accept, key, route.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::clock::Millis;
use crate::config::KeyType;
use crate::logging::RateLimit;
use crate::stick::{Ask, Client, KeyRef, Refusal, Route, Ticket};

use super::End;
use super::arena::{SessionId, Subject};
use super::generation::LocalGeneration;
use super::relay::Flow;
use super::session::{MessageKey, Phase, Session};
use super::side::Watch;
use super::worker::Worker;

/// Times that a connection asks again because its entry changed while it was being connected.
const MAX_REROUTES: u8 = 4;

pub(super) static LOCAL_FAILED: RateLimit = RateLimit::new();
static SLICE_LATE: RateLimit = RateLimit::new();

impl Worker {
    /// Takes in a client just accepted from a listener of `generation`. Returns whether its first
    /// bytes were there already, where `reads_early` let that be tried.
    pub(super) fn start_session(
        &mut self,
        socket: OwnedFd,
        peer: SocketAddr,
        port: u16,
        generation: Rc<LocalGeneration>,
        reads_early: bool,
    ) -> Option<bool> {
        let generation = self.generation_for(port, generation);
        let cell = self.cells.port(&self.shared.traffic, port);
        cell.accepted.add(1);
        let held = Rc::clone(&generation);
        let session = Session::new(socket, peer, (port, cell), held, self.now);
        let id = self.arena.insert(session);
        if generation.balancers.contains(peer.ip()) {
            if self.admit_balancer(id) {
                self.await_proxy_header(id);
            }
            return None;
        }
        if !self.admit_client(id) {
            return None;
        }
        if self.reads_slice(id) {
            self.await_first_message(id);
            return None;
        }
        let was_there = reads_early.then(|| self.read_early(id));
        self.route(id);
        was_there
    }

    /// Whether the first message of a client makes its key; where another port's does, says so.
    fn reads_slice(&mut self, id: SessionId) -> bool {
        let KeyType::IpWithFirstMessageSlice { .. } = self.shared.key_type else {
            return false;
        };
        let session = self.session(id);
        let ports = &session.generation.config.first_message_ports;
        let reads = ports
            .as_ref()
            .is_none_or(|ports| ports.contains(&session.port));
        if !reads {
            session.message_key = MessageKey::Latest;
        }
        reads
    }

    /// The client is known by its header: what came behind that is its first message.
    pub(super) fn client_is_known(&mut self, id: SessionId) {
        self.session(id).phase = Phase::Waiting {
            deadline: self.now,
            is_move: false,
        };
        if !self.admit_client(id) {
            return;
        }
        if !self.reads_slice(id) {
            return self.route(id);
        }
        self.await_first_message(id);
        if let Some(Phase::FirstMessage { .. }) = self.arena.get_mut(id).map(|held| &held.phase) {
            self.read_first_message(id);
        }
    }

    /// The generation that routes a client of `port`: the one in force, or `last`, the last one
    /// with targets for the port, where the port is closed by now.
    pub(super) fn generation_for(
        &mut self,
        port: u16,
        last: Rc<LocalGeneration>,
    ) -> Rc<LocalGeneration> {
        self.refresh_generation();
        if self.generation.listens_on(port) {
            Rc::clone(&self.generation)
        } else {
            last
        }
    }

    pub(super) fn session(&mut self, id: SessionId) -> &mut Session {
        self.arena
            .get_mut(id)
            .expect("the caller has just met it in the arena")
    }

    /// One turn of a session: whatever its phase can do now.
    pub(super) fn turn(&mut self, id: SessionId) {
        let Some(session) = self.arena.get_mut(id) else {
            return;
        };
        match session.phase {
            Phase::ProxyHeader { .. } => self.read_proxy_header(id),
            Phase::FirstMessage { .. } => self.read_first_message(id),
            Phase::Relaying => self.relay(id),
            Phase::Lingering(_) => self.linger(id),
            Phase::Waiting { .. } | Phase::Queued { .. } | Phase::Connecting { .. }
                if session.client.is_reset =>
            {
                self.end(id, End::ClientLeft);
            }
            // Only the target's own event may judge the connect, see `target_turn`.
            Phase::Waiting { .. } | Phase::Queued { .. } | Phase::Connecting { .. } => {}
        }
    }

    /// One turn after an event of the target's socket. A connecting socket is replaced only here
    /// and by time: were it replaced on a client's event, an event of its own in the same batch
    /// would be taken for its successor's.
    pub(super) fn target_turn(&mut self, id: SessionId) {
        match self.arena.get_mut(id).map(|session| &session.phase) {
            Some(Phase::Connecting { .. }) => self.check_connect(id),
            _ => self.turn(id),
        }
    }

    /// Reads what the client has sent already, if anything.
    pub(super) fn read_early(&mut self, id: SessionId) -> bool {
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        if self.shared.buffered.is_full() {
            return false;
        }
        match recv(
            &session.client.socket,
            &mut self.buffer[..],
            RecvFlags::empty(),
        ) {
            Ok((len, _)) if len > 0 => {
                session
                    .inward
                    .hold(&self.buffer[..len], &self.shared.buffered);
                true
            }
            // The relay meets the end of stream or the error again.
            Ok(_) => true,
            Err(Errno::AGAIN) => {
                session.client.readable = false;
                false
            }
            Err(_) => {
                session.client.is_reset = true;
                session.inward.flow = Flow::Resetting;
                true
            }
        }
    }

    fn await_first_message(&mut self, id: SessionId) {
        let deadline = self.now + self.generation.config.first_message_timeout;
        self.session(id).phase = Phase::FirstMessage { deadline };
        if !self.watch_client(id) {
            return;
        }
        self.wheel.arm(&mut self.arena, id.slot, deadline);
    }

    /// Reads up to the end of the key slice; routes when it is whole or the stream has ended.
    fn read_first_message(&mut self, id: SessionId) {
        let KeyType::IpWithFirstMessageSlice { start, end } = self.shared.key_type else {
            unreachable!("sessions wait for a slice only where the key has one")
        };
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        let mut is_over = false;
        while session.client.readable && !is_over {
            let missing = end.saturating_sub(session.inward.held_bytes().len());
            if missing == 0 {
                break;
            }
            match recv(
                &session.client.socket,
                &mut self.buffer[..missing],
                RecvFlags::empty(),
            ) {
                Ok((0, _)) => is_over = true,
                Ok((len, _)) => session
                    .inward
                    .hold(&self.buffer[..len], &self.shared.buffered),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => session.client.readable = false,
                Err(_) => {
                    self.end(id, End::ClientLeft);
                    return;
                }
            }
        }
        let held = session.inward.held_bytes();
        if held.len() < end && !is_over {
            return;
        }
        let slice = &held[start.min(held.len())..end.min(held.len())];
        session.message_key = MessageKey::Slice(slice.into());
        self.route(id);
    }

    /// The key slice did not come in time: the key is the address alone.
    pub(super) fn first_message_late(&mut self, id: SessionId) {
        self.counters().slice_timeouts.add(1);
        if let Some(left_out) = SLICE_LATE.admit(self.now) {
            let peer = self.session(id).peer;
            log::info!(
                "{peer} sent no key slice within first_message_timeout; its key is its address \
                 alone{left_out}"
            );
        }
        self.route(id);
    }

    /// Asks the table where a connection goes.
    pub(super) fn route(&mut self, id: SessionId) {
        let session = self.session(id);
        let (port, last) = (session.port, Rc::clone(&session.generation));
        let generation = self.generation_for(port, last);
        let now = self.now;
        let worker = self.index as u32;
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        session.generation = generation;
        let route = self.shared.sticks.route(&ask(session, id, worker, now));
        match route {
            Route::Wait(_) => self.await_answer(id, false),
            answered => self.follow(id, answered),
        }
    }

    /// Waits for the table's answer to a ticket; `is_move`: it is to be another group than before.
    pub(super) fn await_answer(&mut self, id: SessionId, is_move: bool) {
        let config = &self.generation.config;
        let deadline = self.now + config.no_quorum_after + config.connect_timeout;
        self.session(id).phase = Phase::Waiting { deadline, is_move };
        if self.watch_client(id) {
            self.wheel.arm(&mut self.arena, id.slot, deadline);
        }
    }

    /// The answer to a ticket has come. Where its connection is gone, or has given up, the
    /// table is told so.
    pub(super) fn answered(&mut self, id: SessionId, route: Route) {
        match self.arena.get_mut(id) {
            Some(Session {
                phase: Phase::Waiting { is_move, .. },
                ..
            }) => {
                if *is_move && matches!(route, Route::Group(_)) {
                    self.counters().moves.add(1);
                }
                self.follow(id, route);
            }
            _ => {
                if let Route::Group(answer) = route {
                    self.shared.sticks.abandoned(answer.stick, self.now);
                }
            }
        }
    }

    fn follow(&mut self, id: SessionId, route: Route) {
        match route {
            Route::Group(answer) => self.connect(id, answer),
            Route::Wait(_) => {}
            Route::Refuse(refusal) => {
                let end = match refusal {
                    Refusal::NoGroup => End::NoGroup,
                    Refusal::NoTarget => End::NoTarget,
                    Refusal::TableFull => End::TableFull,
                    Refusal::NoQuorum => End::NoQuorum,
                    Refusal::Barred => End::Barred,
                    Refusal::Unreached => {
                        return match self.session(id).attempt.as_ref().map(|tried| tried.end) {
                            // Failed connects have been told of already.
                            Some(End::NotTransparent) => self.refuse(id, End::NotTransparent),
                            Some(end) => self.end(id, end),
                            // It was to leave a full group's queue, and its key is not new any more.
                            None => self.reroute(id),
                        };
                    }
                };
                self.refuse(id, end);
            }
        }
    }

    /// The entry changed while its connection was being made: asks again.
    pub(super) fn reroute(&mut self, id: SessionId) {
        let session = self.session(id);
        session.answer = None;
        session.target = None;
        session.reroutes += 1;
        if session.reroutes > MAX_REROUTES {
            return self.refuse(id, End::Unsettled);
        }
        self.route(id);
    }

    /// Has the event loop report the client's socket; false where that ended the session.
    pub(super) fn watch_client(&mut self, id: SessionId) -> bool {
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        let side = &mut session.client;
        let watched = side.watched != Watch::Nothing
            || side
                .watch(&self.poll, Subject::Client(id), Watch::Reading)
                .is_ok();
        watched || self.cannot_watch(id)
    }

    /// Has the event loop report the target's socket; false where that ended the session.
    pub(super) fn watch_target(&mut self, id: SessionId, watch: Watch) -> bool {
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        let side = session.target.as_mut().expect("the connect has begun");
        side.watch(&self.poll, Subject::Target(id), watch).is_ok() || self.cannot_watch(id)
    }

    fn cannot_watch(&mut self, id: SessionId) -> bool {
        if let Some(left_out) = LOCAL_FAILED.admit(self.now) {
            log::error!("this host has no memory to watch a connection{left_out}");
        }
        self.end(id, End::LocalError);
        false
    }
}

pub(super) fn ask(session: &Session, id: SessionId, worker: u32, now: Millis) -> Ask<'_> {
    let ip = session.client_ip();
    let client = match &session.message_key {
        MessageKey::None => Client::Key(KeyRef { ip, slice: None }),
        MessageKey::Slice(slice) => Client::Key(KeyRef {
            ip,
            slice: Some(slice),
        }),
        MessageKey::Latest => Client::LatestOf(ip),
    };
    Ask {
        client,
        port: session.port,
        groups: &session.generation.groups,
        place: session.place.as_ref().map(|(group, _)| *group),
        ticket: Ticket {
            worker,
            token: id.to_u64(),
        },
        now,
    }
}
