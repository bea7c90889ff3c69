//! From the table's answer to the connected target: which of its addresses is tried, where the
//! connection comes from, and what follows when it fails.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::clock::Millis;
use crate::config::{GroupId, UnixPath};
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::groups::Status;
use crate::logging::RateLimit;
use crate::stick::{AfterFailure, Answer};

use super::End;
use super::arena::SessionId;
use super::connect::{self, Progress, Source, Started};
use super::generation::LocalGeneration;
use super::opening::{LOCAL_FAILED, ask};
use super::session::{Attempt, Phase};
use super::side::{Side, Watch};
use super::traffic::CONNECT_BOUNDS_US;
use super::transparent;
use super::worker::Worker;

/// Between two tries of a Unix socket that has no room, in milliseconds: half as long as it has had
/// none, within these.
const CROWDED_PAUSE_MS: (u64, u64) = (2, 200);

/// Groups that one connection tries in a turn, where they refuse at once, one after the other.
const FAILED_IN_A_TURN: usize = 8;

const GIVE_MORE: &str = "give more addresses (bind_source), or widen net.ipv4.ip_local_port_range";

static TARGET_FAILED: RateLimit = RateLimit::new();
static ADDRESS_FAILED: RateLimit = RateLimit::new();
static NO_PORT: RateLimit = RateLimit::new();
static SOURCE_FAILED: RateLimit = RateLimit::new();

impl Worker {
    /// Takes a place with the group of an answer, and starts to connect to it.
    pub(super) fn connect(&mut self, id: SessionId, answer: Answer) {
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        let before = session.answer.replace(answer);
        session.attempt = None;
        let cell = self.cells.group(&self.shared.traffic, answer.group);
        session.count_in(cell);
        // Only now: with nobody left the table might have forgotten what it has just answered by.
        if let Some(before) = before {
            self.shared.sticks.abandoned(before.stick, self.now);
        }
        if !self.take_place(id) {
            return;
        }
        let failed = self.session(id).tried.len();
        match failed > 0 && failed.is_multiple_of(FAILED_IN_A_TURN) {
            // Others have their turn before the next of many groups is tried.
            true => self.connect_at(id, self.now, Instant::now()),
            false => self.start_connect(id),
        }
    }

    /// Connects not now, but at this time; `begun`: when it first tried.
    fn connect_at(&mut self, id: SessionId, deadline: Millis, begun: Instant) {
        self.session(id).phase = Phase::Connecting { deadline, begun };
        if self.watch_client(id) {
            self.wheel.arm(&mut self.arena, id.slot, deadline);
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
        let Some(target) = target.filter(|target| target.has_endpoint()) else {
            return self.end(id, End::NoTarget);
        };
        let deadline = now + session.generation.config.connect_timeout;
        if let Some(Endpoint::Unix(path)) = target.endpoint() {
            session.attempt = Some(Attempt::new(Endpoint::Unix(path.clone()), 1, deadline));
            return self.connect_to_unix(id, &path, Instant::now());
        }
        let client = group.and_then(|group| group.transparent.then_some(session.peer));
        let suits = |address| is_reachable_from(client, address);
        let Some(first) = target.first(suits) else {
            let addresses = target.addresses().to_vec();
            return self.not_transparent(id, &addresses);
        };
        let suitable = target.addresses().iter().filter(|&&to| suits(to)).count();
        session.attempt = Some(Attempt::new(Endpoint::Ip(first), suitable, deadline));
        self.connect_to(id, first);
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
            let opened = match client {
                None => self.open(address, data_follows, &generation),
                Some(client) => match transparent::source(client, address) {
                    Some(source) => {
                        connect::start(address, Some(Source::Client(source)), data_follows)
                    }
                    None => return self.not_transparent(id, &[address]),
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
        session.target = Some(Side::target(socket));
        if is_connected {
            return self.connected(id, begun);
        }
        let attempt = session.attempt.as_ref().expect("a connect has begun");
        let left = attempt.deadline.since(now);
        let share = u32::try_from(attempt.addresses_left).unwrap_or(u32::MAX);
        let deadline = now + left / share.max(1);
        session.phase = Phase::Connecting { deadline, begun };
        if self.watch_client(id) && self.watch_target(id, Watch::Both) {
            self.wheel.arm(&mut self.arena, id.slot, deadline);
        }
    }

    /// Connects to a target that is a Unix socket, which was tried first when it had `begun`.
    fn connect_to_unix(&mut self, id: SessionId, path: &UnixPath, begun: Instant) {
        let (now, session) = (self.now, self.session(id));
        match connect::start_unix(path) {
            Ok(Some(socket)) => {
                session.target = Some(Side::unix_target(socket));
                session.has_keepalive = true; // there is nothing to probe
                self.connected(id, begun);
            }
            Ok(None) => {
                let (least, most) = CROWDED_PAUSE_MS;
                let waited_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(most);
                let pause = Duration::from_millis((waited_ms / 2).clamp(least, most));
                let attempt = session.attempt.as_ref().expect("a connect has begun");
                let next = (now + pause).min(attempt.deadline);
                self.connect_at(id, next, begun);
            }
            Err(fault) => self.connect_failed(id, fault),
        }
    }

    /// Its group is to see the client's own address, and none of its target's addresses can. Were it
    /// to see this host's instead, it would give the client this host's rights.
    fn not_transparent(&mut self, id: SessionId, addresses: &[SocketAddr]) {
        let (now, end) = (self.now, End::NotTransparent);
        let first = addresses.first().copied().map(Endpoint::Ip);
        self.session(id).attempt = first.map(|endpoint| Attempt::new(endpoint, 0, now));
        if self.moves_on(id, end) {
            return;
        }
        let shown: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        self.refuse_with(id, end, &format_args!(", {}", shown.join(" and ")));
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
        for source in self.sources.towards(address, sources, self.now) {
            match connect::start(address, Some(Source::Own(source)), data_follows) {
                Err(Fault::Local(Errno::ADDRNOTAVAIL)) => {
                    fault = Some(Fault::Local(Errno::ADDRNOTAVAIL));
                }
                Err(unusable @ Fault::Source(source, error)) => {
                    say_unusable(address, source, error, self.now);
                    fault = fault.or(Some(unusable));
                }
                settled => return settled,
            }
        }
        match fault {
            Some(fault) => {
                if fault == Fault::Local(Errno::ADDRNOTAVAIL) {
                    let now = self.shared.clock.now(); // the search took its time
                    self.sources.note_exhausted(address, now);
                }
                Err(fault)
            }
            None => connect::start(address, None, data_follows),
        }
    }

    /// The address of the target to be tried next, after this fault; `None`: there is none, or it
    /// would meet the same fault, or the time is over.
    fn next_address(&mut self, id: SessionId, fault: Fault) -> Option<SocketAddr> {
        let (now, session) = (self.now, self.session(id));
        let (answer, attempt) = (session.answer?, session.attempt.as_mut()?);
        match fault {
            Fault::Target(error) => {
                attempt.refused.get_or_insert(error);
            }
            // Each address of the target has every port of this host's.
            Fault::Local(Errno::ADDRNOTAVAIL) | Fault::Source(..) => {}
            Fault::Local(_) => return None,
        }
        let failed = attempt.address()?;
        let group = session.generation.groups.get(answer.group)?;
        let target = group.targets().get(&session.port)?;
        let client = group.transparent.then_some(session.peer);
        let next = target.next_after(failed, |address| is_reachable_from(client, address))?;
        if attempt.addresses_left <= 1 || now >= attempt.deadline {
            return None;
        }
        attempt.addresses_left -= 1;
        attempt.endpoint = Endpoint::Ip(next);
        if let Some(left_out) = ADDRESS_FAILED.admit(now) {
            let group = answer.group;
            match fault {
                Fault::Target(error) => log::warn!(
                    "group {group} does not answer at {failed}: {error}; {next} is tried \
                     next{left_out}"
                ),
                Fault::Local(error) | Fault::Source(_, error) => log::warn!(
                    "this host cannot connect to {failed}, of group {group}: {error}; {next} is \
                     tried next{left_out}"
                ),
            }
        }
        Some(next)
    }

    /// Looks what has become of a connect.
    pub(super) fn check_connect(&mut self, id: SessionId) {
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        let Phase::Connecting { begun, .. } = session.phase else {
            return;
        };
        let is_transparent = session.is_transparent();
        let address = session.attempt.as_ref().and_then(Attempt::address);
        let (Some(target), Some(address)) = (&mut session.target, address) else {
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
        if let Some(group) = groups.get(answer.group)
            && let (Status::Draining, Some(timeout)) = (group.status(), group.drain_timeout)
        {
            let check = now + timeout;
            self.next_drain_check =
                Some(self.next_drain_check.map_or(check, |next| next.min(check)));
        }
        let session = self.session(id);
        // In the generation by which its end is counted: the one in force may not have the group.
        if let Some(group) = session.generation.groups.get(answer.group) {
            group.counters.add_connections(worker, 1);
        }
        session.connected = Some(now);
        session.last_activity = now;
        session.phase = Phase::Relaying;
        let proxied = session.proxied.take();
        let group = session.generation.groups.get(answer.group);
        if let Some(version) = group.and_then(|group| group.send_proxy)
            && !self.introduce(id, version, proxied)
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

    /// The time for the connect to an address is over, or a Unix socket is to be tried again, or it is
    /// the turn of another group.
    pub(super) fn connect_late(&mut self, id: SessionId) {
        let (now, session) = (self.now, self.session(id));
        let Some(attempt) = &session.attempt else {
            return self.start_connect(id);
        };
        if let (None, Endpoint::Unix(path)) = (&session.target, &attempt.endpoint)
            && let Phase::Connecting { begun, .. } = session.phase
            && now < attempt.deadline
        {
            let path = path.clone();
            return self.connect_to_unix(id, &path, begun);
        }
        self.address_failed(id, Fault::Target(Errno::TIMEDOUT));
    }

    fn connect_failed(&mut self, id: SessionId, fault: Fault) {
        let now = self.now;
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        session.target = None;
        let answer = session.answer.expect("a connect follows an answer");
        let attempt = session.attempt.as_ref().expect("a connect has begun");
        let endpoint = attempt.endpoint.clone();
        let is_transparent = session.is_transparent();
        // Where an address of the target refused, that another was out of reach does not count.
        let fault = match (fault, attempt.refused) {
            (Fault::Local(Errno::ADDRNOTAVAIL) | Fault::Source(..), Some(refused)) => {
                Fault::Target(refused)
            }
            (fault, _) => fault,
        };
        let error = match fault {
            Fault::Target(error) => error,
            Fault::Local(Errno::ADDRNOTAVAIL) => {
                self.say_no_port(id, &endpoint);
                return self.end(id, End::NoPort);
            }
            Fault::Source(..) if is_transparent => {
                let address = attempt.address();
                return self.not_transparent(id, address.as_slice());
            }
            // Said already, of each address.
            Fault::Source(..) => return self.end(id, End::LocalError),
            Fault::Local(error) => {
                let from = match is_transparent {
                    true => format!(" from {} (transparent)", session.peer.ip()),
                    false => String::new(),
                };
                if let Some(left_out) = LOCAL_FAILED.admit(now) {
                    log::error!(
                        "this host cannot connect to {endpoint}{from}: {error}; no group is blamed \
                         for it{left_out}"
                    );
                }
                return self.end(id, End::LocalError);
            }
        };
        let (port, generation) = (session.port, Rc::clone(&session.generation));
        self.counters().connect_failures.add(1);
        self.report_failed(&generation, answer.group, port);
        if let Some(left_out) = TARGET_FAILED.admit(now) {
            let why = match (&endpoint, error) {
                (Endpoint::Unix(_), Errno::TIMEDOUT) => {
                    "as many connections as may wait there to be accepted".to_owned()
                }
                _ => error.to_string(),
            };
            log::warn!(
                "group {} does not answer at {endpoint}: {why}{left_out}",
                answer.group
            );
        }
        let end = match error {
            Errno::TIMEDOUT => End::ConnectTimeout,
            _ => End::ConnectFailed,
        };
        if !self.moves_on(id, end) {
            self.end(id, end);
        }
    }

    /// The group that a session was given to cannot be reached: goes on to another, where its key may
    /// move. False: it has no other, and is to end for this reason.
    fn moves_on(&mut self, id: SessionId, end: End) -> bool {
        self.release_place(id);
        let (worker, now) = (self.index as u32, self.now);
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        session.target = None;
        if let Some(attempt) = &mut session.attempt {
            attempt.end = end;
        }
        let failed = session.answer.take().expect("a connect follows an answer");
        session.tried.push(failed.group);
        let asked = ask(session, id, worker, now);
        let sticks = &self.shared.sticks;
        match sticks.connect_failed(&asked, failed, &session.tried) {
            AfterFailure::Moved(answer) => {
                self.counters().moves.add(1);
                self.connect(id, answer);
                true
            }
            AfterFailure::Wait(_) => {
                self.await_answer(id);
                true
            }
            AfterFailure::Reset => false,
        }
    }

    /// Every port towards a target is in use.
    fn say_no_port(&mut self, id: SessionId, endpoint: &Endpoint) {
        let Some(left_out) = NO_PORT.admit(self.now) else {
            return;
        };
        let session = self.session(id);
        let sources = match endpoint {
            Endpoint::Ip(address) => session.generation.sources.towards(*address).len(),
            Endpoint::Unix(_) => 0,
        };
        let (from, more) = match sources {
            _ if session.is_transparent() => (
                format!("of {} (transparent)", session.peer.ip()),
                "widen net.ipv4.ip_local_port_range",
            ),
            0 => ("of this host's address".to_owned(), GIVE_MORE),
            1 => ("of bind_source's address".to_owned(), GIVE_MORE),
            count => (
                format!("of all {count} addresses of bind_source"),
                GIVE_MORE,
            ),
        };
        log::error!(
            "no port is left for connections to {endpoint}: every one {from} is in use towards it; \
             {more}; no group is blamed for it{left_out}"
        );
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
}

/// Whether a connection can come to an address from the client's own, where it is to.
fn is_reachable_from(client: Option<SocketAddr>, address: SocketAddr) -> bool {
    client.is_none_or(|client| transparent::source(client, address).is_some())
}

fn say_unusable(address: SocketAddr, source: IpAddr, error: Errno, now: Millis) {
    if let Some(left_out) = SOURCE_FAILED.admit(now) {
        log::error!(
            "this host cannot connect to {address} from {source} (bind_source): {error}; no group \
             is blamed for it{left_out}"
        );
    }
}
