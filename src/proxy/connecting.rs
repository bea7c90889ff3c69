//! From the table's answer to the connected target: which of its addresses is tried, where the
//! connection comes from, and what follows when it fails.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

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
use super::session::Phase;
use super::side::{Side, Watch};
use super::traffic::CONNECT_BOUNDS_US;
use super::transparent;
use super::worker::Worker;

/// Between two tries of a Unix socket that has no room, in milliseconds: half as long as it has had
/// none, within these.
const CROWDED_PAUSE_MS: (u64, u64) = (2, 200);

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
        let cell = self.cells.group(&self.shared.traffic, answer.group);
        session.count_in(cell);
        // Only now: with nobody left the table might have forgotten what it has just answered by.
        if let Some(before) = before {
            self.shared.sticks.abandoned(before.stick, self.now);
        }
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
        let Some(target) = target.filter(|target| target.has_endpoint()) else {
            return self.end(id, End::NoTarget);
        };
        session.connect_deadline = now + session.generation.config.connect_timeout;
        if let Some(Endpoint::Unix(path)) = target.endpoint() {
            return self.connect_to_unix(id, path, Instant::now());
        }
        let client = group.and_then(|group| group.transparent.then_some(session.peer));
        let suits = |address| is_reachable_from(client, address);
        let Some(first) = target.first(suits) else {
            let addresses = target.addresses().to_vec();
            return self.not_transparent(id, &addresses);
        };
        session.addresses_left = target.addresses().iter().filter(|&&to| suits(to)).count();
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
            self.session(id).endpoint = Some(Endpoint::Ip(address));
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
        let left = session.connect_deadline.since(now);
        let share = u32::try_from(session.addresses_left).unwrap_or(u32::MAX);
        let deadline = now + left / share.max(1);
        session.phase = Phase::Connecting { deadline, begun };
        if self.watch_client(id) && self.watch_target(id, Watch::Both) {
            self.wheel.arm(&mut self.arena, id.slot, deadline);
        }
    }

    /// Connects to a target that is a Unix socket, which was tried first when it had `begun`.
    fn connect_to_unix(&mut self, id: SessionId, path: UnixPath, begun: Instant) {
        let started = connect::start_unix(&path);
        let (now, session) = (self.now, self.session(id));
        session.endpoint = Some(Endpoint::Unix(path));
        match started {
            Ok(Some(socket)) => {
                session.target = Some(Side::unix_target(socket));
                session.has_keepalive = true; // there is nothing to probe
                self.connected(id, begun);
            }
            Ok(None) => {
                let (least, most) = CROWDED_PAUSE_MS;
                let waited_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(most);
                let pause = Duration::from_millis((waited_ms / 2).clamp(least, most));
                let deadline = (now + pause).min(session.connect_deadline);
                session.phase = Phase::Connecting { deadline, begun };
                if self.watch_client(id) {
                    self.wheel.arm(&mut self.arena, id.slot, deadline);
                }
            }
            Err(fault) => self.connect_failed(id, fault),
        }
    }

    /// Its group is to see the client's own address, and none of its target's addresses can. Were it
    /// to see this host's instead, it would give the client this host's rights.
    fn not_transparent(&mut self, id: SessionId, addresses: &[SocketAddr]) {
        self.session(id).endpoint = addresses.first().copied().map(Endpoint::Ip);
        let shown: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        let targets = format!(", {}", shown.join(" and "));
        self.refuse_with(id, End::NotTransparent, &targets);
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
        let (answer, Some(Endpoint::Ip(failed))) = (session.answer?, session.endpoint.clone())
        else {
            return None;
        };
        let group = session.generation.groups.get(answer.group)?;
        let target = group.targets().get(&session.port)?;
        let client = group.transparent.then_some(session.peer);
        let next = target.next_after(failed, |address| is_reachable_from(client, address))?;
        if session.addresses_left <= 1 || now >= session.connect_deadline {
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
    pub(super) fn check_connect(&mut self, id: SessionId) {
        let session = self
            .arena
            .get_mut(id)
            .expect("the caller has just met it in the arena");
        let Phase::Connecting { begun, .. } = session.phase else {
            return;
        };
        let is_transparent = session.is_transparent();
        let (Some(target), Some(Endpoint::Ip(address))) = (&mut session.target, &session.endpoint)
        else {
            return;
        };
        let address = *address;
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
            if let (Status::Draining, Some(timeout)) = (group.status(), group.drain_timeout) {
                let check = now + timeout;
                self.next_drain_check =
                    Some(self.next_drain_check.map_or(check, |next| next.min(check)));
            }
        }
        let session = self.session(id);
        // In the generation by which its end is counted: the one in force may not have the group.
        if let Some(group) = session.generation.groups.get(answer.group) {
            group.counters.add_connections(worker, 1);
        }
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

    /// The time for the connect to an address is over, or a Unix socket is to be tried again.
    pub(super) fn connect_late(&mut self, id: SessionId) {
        let now = self.now;
        let session = self.session(id);
        if let (None, Some(Endpoint::Unix(path)), Phase::Connecting { begun, .. }) =
            (&session.target, &session.endpoint, &session.phase)
            && now < session.connect_deadline
        {
            let (path, begun) = (path.clone(), *begun);
            return self.connect_to_unix(id, path, begun);
        }
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
        let endpoint = session.endpoint.clone();
        let endpoint = endpoint.expect("a connect has a target");
        let error = match fault {
            Fault::Target(error) => error,
            Fault::Local(Errno::ADDRNOTAVAIL) => {
                let is_transparent = session.is_transparent();
                let sources = match &endpoint {
                    Endpoint::Ip(address) => session.generation.sources.towards(*address).len(),
                    Endpoint::Unix(_) => 0,
                };
                if let Some(left_out) = NO_PORT.admit(now) {
                    let from = match sources {
                        _ if is_transparent => format!("of {} (transparent)", session.peer.ip()),
                        0 => "of this host's address".to_owned(),
                        1 => "of bind_source's address".to_owned(),
                        count => format!("of all {count} addresses of bind_source"),
                    };
                    log::error!(
                        "no port is left for connections to {endpoint}: every one {from} is in use \
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
                        "this host cannot connect to {endpoint}{from}: {error}; no group is blamed \
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
}

/// Whether a connection can come to an address from the client's own, where it is to.
fn is_reachable_from(client: Option<SocketAddr>, address: SocketAddr) -> bool {
    client.is_none_or(|client| transparent::source(client, address).is_some())
}
