//! A connection's way up to its target: accept, key, route, connect.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::clock::Millis;
use crate::config::{GroupId, KeyType};
use crate::fault::Fault;
use crate::groups::Status;
use crate::logging::RateLimit;
use crate::stick::{AfterFailure, Answer, Ask, Client, KeyRef, Refusal, Route, Ticket};

use super::End;
use super::arena::{SessionId, Subject};
use super::connect::{self, Progress, Source, Started};
use super::generation::LocalGeneration;
use super::relay::Flow;
use super::session::{MessageKey, Phase, Session};
use super::side::{Nagle, Side, Watch};
use super::traffic::CONNECT_BOUNDS_US;
use super::transparent;
use super::worker::Worker;

/// Times that a connection asks again because its entry changed while it was being connected.
const MAX_REROUTES: u8 = 4;

static TARGET_FAILED: RateLimit = RateLimit::new();
static ADDRESS_FAILED: RateLimit = RateLimit::new();
static NO_PORT: RateLimit = RateLimit::new();
static SOURCE_FAILED: RateLimit = RateLimit::new();
static LOCAL_FAILED: RateLimit = RateLimit::new();
static REFUSED: RateLimit = RateLimit::new();
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
        let proxies = &generation.config.accept_proxy_from;
        if !proxies.is_empty() && proxies.iter().any(|network| network.contains(peer.ip())) {
            self.await_proxy_header(id);
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
    fn route(&mut self, id: SessionId) {
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
            Route::Wait(_) => self.await_answer(id),
            answered => self.follow(id, answered),
        }
    }

    fn await_answer(&mut self, id: SessionId) {
        let config = &self.generation.config;
        let deadline = self.now + config.no_quorum_after + config.connect_timeout;
        self.session(id).phase = Phase::Waiting { deadline };
        if self.watch_client(id) {
            self.wheel.arm(&mut self.arena, id.slot, deadline);
        }
    }

    /// The answer to a ticket has come. Where its connection is gone, or has given up, the
    /// table is told so.
    pub(super) fn answered(&mut self, id: SessionId, route: Route) {
        match self.arena.get_mut(id) {
            Some(Session {
                phase: Phase::Waiting { .. },
                tried,
                ..
            }) => {
                if !tried.is_empty() && matches!(route, Route::Group(_)) {
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
                    Refusal::Unreached => return self.end(id, End::ConnectFailed),
                };
                if let Some(left_out) = REFUSED.admit(self.now) {
                    let session = self.session(id);
                    let (peer, port) = (session.peer, session.port);
                    log::warn!(
                        "{peer} on port {port} is reset: {}{left_out}",
                        end.explanation()
                    );
                }
                self.end(id, end);
            }
        }
    }

    /// Takes a place with the group of an answer, and starts to connect to it.
    fn connect(&mut self, id: SessionId, answer: Answer) {
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        session.answer = Some(answer);
        let cell = self.cells.group(&self.shared.traffic, answer.group);
        session.count_in(cell);
        if self.take_place(id) {
            self.start_connect(id);
        }
    }

    /// Starts to connect a session that has its answer, and its place with the group.
    pub(super) fn start_connect(&mut self, id: SessionId) {
        let now = self.now;
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        let answer = session.answer.expect("a connect follows an answer");
        let group = session.generation.groups.get(answer.group);
        let target = group.and_then(|group| group.targets().get(&session.port));
        let Some((target, address)) = target.and_then(|to| Some((to, to.address()?))) else {
            self.end(id, End::NoTarget);
            return;
        };
        session.addresses_left = target.address_count();
        session.connect_deadline = now + session.generation.config.connect_timeout;
        self.connect_to(id, address);
    }

    /// Starts to connect to an address of the target; where that fails at once, to the next.
    fn connect_to(&mut self, id: SessionId, mut address: SocketAddr) {
        let begun = Instant::now();
        let session = self.session(id);
        let generation = Rc::clone(&session.generation);
        let group = session.answer.map(|answer| answer.group);
        let group = group.and_then(|group| generation.groups.get(group));
        let sends_header = group.is_some_and(|group| group.send_proxy.is_some());
        let client = group.and_then(|group| group.transparent.then_some(session.peer));
        let data_follows = sends_header || !session.inward.held_bytes().is_empty();
        let started = loop {
            self.session(id).target_address = Some(address);
            let opened = match client {
                None => self.open(address, data_follows, &generation),
                Some(client) => match transparent::source(client, address) {
                    Some(source) => {
                        connect::start(address, Some(Source::Client(source)), data_follows)
                    }
                    None => return self.not_transparent(id, address),
                },
            };
            match opened {
                Ok(started) => break started,
                Err(fault) => match self.next_address(id, fault) {
                    Some(next) => address = next,
                    None => return self.connect_failed(id, fault),
                },
            }
        };
        let (now, session) = (self.now, self.session(id));
        let (socket, is_connected) = match started {
            Started::Connected(socket) => (socket, true),
            Started::Pending(socket) => (socket, false),
        };
        session.target = Some(Side::new(socket, Nagle::Unsent));
        if is_connected {
            return self.connected(id, begun);
        }
        let left = session.connect_deadline.since(now);
        let share = u32::try_from(session.addresses_left).unwrap_or(u32::MAX);
        let deadline = now + left / share.max(1);
        session.phase = Phase::Connecting { deadline, begun };
        if self.watch_client(id) && self.watch_target(id, Watch::Both) {
            self.wheel.arm(&mut self.arena, id.slot, deadline);
        }
    }

    /// Its group is to see the client's own address, and cannot. Were it to see this host's
    /// instead, it would give the client this host's rights.
    fn not_transparent(&mut self, id: SessionId, target: SocketAddr) {
        let end = End::NotTransparent;
        if let Some(left_out) = REFUSED.admit(self.now) {
            let session = self.session(id);
            let (peer, port) = (session.peer, session.port);
            let why = end.explanation();
            log::warn!("{peer} on port {port} is reset: {why}, {target}{left_out}");
        }
        self.end(id, end);
    }

    /// Opens a socket that connects, from the next of the generation's source addresses, where it
    /// has some, that has a port left.
    fn open(
        &mut self,
        address: SocketAddr,
        data_follows: bool,
        generation: &LocalGeneration,
    ) -> Result<Started, Fault> {
        let sources = generation.sources.towards(address);
        let mut fault = None;
        for _ in sources {
            let source = sources[self.next_source % sources.len()];
            self.next_source = self.next_source.wrapping_add(1);
            match connect::start(address, Some(Source::Own(source)), data_follows) {
                Err(Fault::Local(Errno::ADDRNOTAVAIL)) => {
                    fault = Some(Fault::Local(Errno::ADDRNOTAVAIL));
                }
                Err(unusable @ Fault::Source(source, error)) => {
                    self.say_unusable(address, source, error);
                    fault = fault.or(Some(unusable));
                }
                settled => return settled,
            }
        }
        match fault {
            Some(fault) => Err(fault),
            None => connect::start(address, None, data_follows),
        }
    }

    /// The address of the target to be tried next, after this fault; `None`: there is none, or it
    /// was not the address's fault, or the time is over.
    fn next_address(&mut self, id: SessionId, fault: Fault) -> Option<SocketAddr> {
        let Fault::Target(error) = fault else {
            return None;
        };
        let now = self.now;
        let session = self.session(id);
        let (answer, failed) = (session.answer?, session.target_address?);
        let group = session.generation.groups.get(answer.group)?;
        let target = group.targets().get(&session.port)?;
        let tried = target.address_count() + 1 - session.addresses_left;
        let next = target.next_after(failed, tried)?;
        if now >= session.connect_deadline {
            return None;
        }
        session.addresses_left -= 1;
        if let Some(left_out) = ADDRESS_FAILED.admit(now) {
            log::warn!(
                "group {} does not answer at {failed}: {error}; {next} is tried next{left_out}",
                answer.group
            );
        }
        Some(next)
    }

    /// Looks what has become of a connect.
    fn check_connect(&mut self, id: SessionId) {
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        let Phase::Connecting { begun, .. } = session.phase else {
            return;
        };
        let is_transparent = session.is_transparent();
        let (Some(target), Some(address)) = (&mut session.target, session.target_address) else {
            return;
        };
        let is_bound = is_transparent || !session.generation.sources.towards(address).is_empty();
        match connect::progress(&target.socket, address, is_bound) {
            Progress::Pending => {}
            Progress::Connected => self.connected(id, begun),
            Progress::ConnectedThenReset => {
                target.is_reset = true;
                self.connected(id, begun);
            }
            Progress::Failed(fault) => self.address_failed(id, fault),
        }
    }

    /// An address did not take the connection: the next one may.
    fn address_failed(&mut self, id: SessionId, fault: Fault) {
        match self.next_address(id, fault) {
            Some(next) => {
                self.session(id).target = None;
                self.connect_to(id, next);
            }
            None => self.connect_failed(id, fault),
        }
    }

    /// The target is connected, by a connect that has `begun` then: asks the table once more, then
    /// lets bytes flow.
    fn connected(&mut self, id: SessionId, begun: Instant) {
        let (now, worker) = (self.now, self.index);
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        let answer = session.answer.expect("a connect follows an answer");
        if let Some(cell) = session.group_cell {
            cell.connect_time.note(CONNECT_BOUNDS_US, begun.elapsed());
        }
        let (port, routed) = (session.port, Rc::clone(&session.generation));
        // What was published while the connect was under way holds for it too.
        let in_force = self.generation_for(port, routed);
        let groups = &in_force.groups;
        if self
            .shared
            .sticks
            .established(answer.stick, groups, now)
            .is_err()
        {
            return self.reroute(id);
        }
        if let Some(group) = groups.get(answer.group) {
            group.counters.add_connections(worker, 1);
            if let (Status::Draining, Some(timeout)) = (group.status(), group.drain_timeout) {
                let check = now + timeout;
                self.next_drain_check =
                    Some(self.next_drain_check.map_or(check, |next| next.min(check)));
            }
        }
        let session = self.session(id);
        session.connected = Some(now);
        session.last_activity = now;
        session.phase = Phase::Relaying;
        let group = session.generation.groups.get(answer.group);
        if let Some(version) = group.and_then(|group| group.send_proxy)
            && !self.introduce(id, version)
        {
            return;
        }
        let session = self.session(id);
        let watches_target = session
            .target
            .as_ref()
            .is_some_and(|t| t.watched == Watch::Nothing);
        if !self.watch_client(id) || (watches_target && !self.watch_target(id, Watch::Reading)) {
            return;
        }
        self.arm_relay_timer(id);
        self.relay(id);
    }

    /// The entry changed while its connection was being made: asks again.
    pub(super) fn reroute(&mut self, id: SessionId) {
        self.release_place(id);
        let session = self.session(id);
        session.answer = None;
        session.target = None;
        session.reroutes += 1;
        if session.reroutes > MAX_REROUTES {
            let (peer, port) = (session.peer, session.port);
            if let Some(left_out) = REFUSED.admit(self.now) {
                let why = End::Unsettled.explanation();
                log::warn!("{peer} on port {port} is reset: {why}{left_out}");
            }
            return self.end(id, End::Unsettled);
        }
        self.route(id);
    }

    /// The time for the connect to an address is over.
    pub(super) fn connect_late(&mut self, id: SessionId) {
        self.address_failed(id, Fault::Target(Errno::TIMEDOUT));
    }

    fn connect_failed(&mut self, id: SessionId, fault: Fault) {
        self.release_place(id);
        let (worker, now) = (self.index as u32, self.now);
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        session.target = None;
        let answer = session.answer.expect("a connect follows an answer");
        let address = session.target_address.expect("a connect has a target");
        let error = match fault {
            Fault::Target(error) => error,
            Fault::Local(Errno::ADDRNOTAVAIL) => {
                let is_transparent = session.is_transparent();
                let sources = session.generation.sources.towards(address).len();
                if let Some(left_out) = NO_PORT.admit(now) {
                    let from = match sources {
                        _ if is_transparent => format!("of {} (transparent)", session.peer.ip()),
                        0 => "of this host's address".to_owned(),
                        1 => "of bind_source's address".to_owned(),
                        count => format!("of all {count} addresses of bind_source"),
                    };
                    log::error!(
                        "no port is left for connections to {address}: every one {from} is in use \
                         towards it; give more addresses (bind_source), or widen \
                         net.ipv4.ip_local_port_range; no group is blamed for it{left_out}"
                    );
                }
                return self.end(id, End::NoPort);
            }
            // Said already, of each address.
            Fault::Source(..) => return self.end(id, End::LocalError),
            Fault::Local(error) => {
                let from = match session.is_transparent() {
                    true => format!(" from {} (transparent)", session.peer.ip()),
                    false => String::new(),
                };
                if let Some(left_out) = LOCAL_FAILED.admit(now) {
                    log::error!(
                        "this host cannot connect to {address}{from}: {error}; no group is blamed \
                         for it{left_out}"
                    );
                }
                return self.end(id, End::LocalError);
            }
        };
        session.tried.push(answer.group);
        session.answer = None;
        let (port, generation) = (session.port, Rc::clone(&session.generation));
        let asked = ask(session, id, worker, now);
        let after = self
            .shared
            .sticks
            .connect_failed(&asked, answer, &session.tried);
        self.counters().connect_failures.add(1);
        self.report_failed(&generation, answer.group, port);
        if let Some(left_out) = TARGET_FAILED.admit(now) {
            log::warn!(
                "group {} does not answer at {address}: {error}{left_out}",
                answer.group
            );
        }
        match after {
            AfterFailure::Moved(answer) => {
                self.counters().moves.add(1);
                self.connect(id, answer);
            }
            AfterFailure::Wait(_) => self.await_answer(id),
            AfterFailure::Reset if error == Errno::TIMEDOUT => self.end(id, End::ConnectTimeout),
            AfterFailure::Reset => self.end(id, End::ConnectFailed),
        }
    }

    fn say_unusable(&self, address: SocketAddr, source: IpAddr, error: Errno) {
        if let Some(left_out) = SOURCE_FAILED.admit(self.now) {
            log::error!(
                "this host cannot connect to {address} from {source} (bind_source): {error}; no \
                 group is blamed for it{left_out}"
            );
        }
    }

    /// Counts a connect that a target did not take, and has its next health check come at once.
    fn report_failed(&self, generation: &LocalGeneration, group: GroupId, port: u16) {
        let group = generation.groups.get(group);
        let target = group.and_then(|group| group.targets().get(&port));
        let Some(state) = target.map(|target| &target.state) else {
            return;
        };
        // With the queue full the check comes when its interval is over.
        if state.note_failed_connect()
            && self
                .shared
                .failed_targets
                .try_send(Arc::clone(state))
                .is_err()
        {
            state.forget_report();
        }
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
    fn watch_target(&mut self, id: SessionId, watch: Watch) -> bool {
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

fn ask(session: &Session, id: SessionId, worker: u32, now: Millis) -> Ask<'_> {
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
        ticket: Ticket {
            worker,
            token: id.to_u64(),
        },
        now,
    }
}
