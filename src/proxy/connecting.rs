//! From the table's answer to the connected target: which of its addresses is tried, and where the
//! connection comes from. What follows when it fails is in `failover`.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::clock::Millis;
use crate::config::UnixPath;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::groups::Status;
use crate::logging::RateLimit;
use crate::sources::Sources;
use crate::stick::Answer;

use super::End;
use super::arena::SessionId;
use super::connect::{self, Progress, Source, Started};
use super::session::{Attempt, Phase};
use super::side::{Side, Watch};
use super::traffic::CONNECT_BOUNDS_US;
use super::upstream::Upstream;
use super::worker::Worker;

/// Between two tries of a Unix socket that has no room, in milliseconds: half as long as it has had
/// none, within these.
const CROWDED_PAUSE_MS: (u64, u64) = (2, 200);

/// Groups that one connection tries in a turn, where they refuse at once, one after the other.
const FAILED_IN_A_TURN: usize = 8;

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
        let (now, session) = (self.now, self.session(id));
        let generation = Rc::clone(&session.generation);
        let upstream = Upstream::of(session, &generation);
        let Some(upstream) = upstream.filter(|upstream| upstream.target.has_endpoint()) else {
            return self.end(id, End::NoTarget);
        };
        let deadline = now + generation.config.connect_timeout;
        if let Some(Endpoint::Unix(path)) = upstream.target.endpoint() {
            session.attempt = Some(Attempt::new(Endpoint::Unix(path.clone()), 1, deadline));
            return self.connect_to_unix(id, &upstream, &path, Instant::now());
        }
        let Some((first, addresses)) = upstream.first() else {
            return self.not_transparent(id, upstream.target.addresses());
        };
        session.attempt = Some(Attempt::new(Endpoint::Ip(first), addresses, deadline));
        self.connect_to(id, &upstream, first);
    }

    /// Starts to connect to an address of the target; where that fails at once, to the next.
    pub(super) fn connect_to(
        &mut self,
        id: SessionId,
        upstream: &Upstream<'_>,
        mut address: SocketAddr,
    ) {
        let begun = Instant::now();
        let sends_header = upstream.group.send_proxy.is_some();
        let data_follows = sends_header || !self.session(id).inward.held_bytes().is_empty();
        let started = loop {
            let opened = match upstream.client_source(address) {
                Ok(None) => self.open(address, data_follows, &upstream.generation.sources),
                Ok(client) => connect::start(address, client, data_follows),
                Err(fault) => Err(fault),
            };
            match opened {
                Ok(started) => break started,
                Err(fault) => match self.next_address(id, upstream, fault) {
                    Some(next) => address = next,
                    None => return self.connect_failed(id, upstream, fault),
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
    fn connect_to_unix(
        &mut self,
        id: SessionId,
        upstream: &Upstream<'_>,
        path: &UnixPath,
        begun: Instant,
    ) {
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
            Err(fault) => self.connect_failed(id, upstream, fault),
        }
    }

    /// Opens a socket that connects to an address, from the next of the sources that can.
    fn open(
        &mut self,
        address: SocketAddr,
        data_follows: bool,
        sources: &Sources,
    ) -> Result<Started, Fault> {
        let (turn, now) = (self.source_turn, self.now);
        self.source_turn = turn.wrapping_add(1);
        sources.connect(address, turn, |source| {
            let opened = connect::start(address, source.map(Source::Own), data_follows);
            if let Err(Fault::Source(source, error)) = opened {
                say_unusable(address, source, error, now);
            }
            opened
        })
    }

    /// Looks what has become of a connect.
    pub(super) fn check_connect(&mut self, id: SessionId) {
        let session = self.session(id);
        let Phase::Connecting { begun, .. } = session.phase else {
            return;
        };
        let generation = Rc::clone(&session.generation);
        let Some(upstream) = Upstream::of(session, &generation) else {
            return self.end(id, End::NoTarget);
        };
        let address = session.attempt.as_ref().and_then(Attempt::address);
        let (Some(target), Some(address)) = (&mut session.target, address) else {
            return;
        };
        match connect::progress(&target.socket, address, upstream.is_bound(address)) {
            Progress::Pending => {}
            Progress::Connected => self.connected(id, begun),
            Progress::ConnectedThenReset => {
                target.is_reset = true;
                self.connected(id, begun);
            }
            Progress::Failed(fault) => self.address_failed(id, &upstream, fault),
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
        session.connected = Some(now);
        session.last_activity = now;
        session.phase = Phase::Relaying;
        let proxied = session.proxied.take();
        // In the generation by which its end is counted: the one in force may not have the group.
        let group = session.generation.groups.get(answer.group);
        if let Some(group) = group {
            group.counters.add_connections(worker, 1);
        }
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
        let generation = Rc::clone(&session.generation);
        let Some(upstream) = Upstream::of(session, &generation) else {
            return self.end(id, End::NoTarget);
        };
        if let (None, Endpoint::Unix(path)) = (&session.target, &attempt.endpoint)
            && let Phase::Connecting { begun, .. } = session.phase
            && now < attempt.deadline
        {
            let path = path.clone();
            return self.connect_to_unix(id, &upstream, &path, begun);
        }
        self.address_failed(id, &upstream, Fault::Target(Errno::TIMEDOUT));
    }
}

fn say_unusable(address: SocketAddr, source: IpAddr, error: Errno, now: Millis) {
    if let Some(left_out) = SOURCE_FAILED.admit(now) {
        log::error!(
            "this host cannot connect to {address} from {source} (bind_source): {error}; no group \
             is blamed for it{left_out}"
        );
    }
}
