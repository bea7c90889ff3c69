//! What a connect that failed leads to: the next address of the target, another group where the key
//! may move, or the end of the session; and who is blamed for it.

use std::net::SocketAddr;
use std::sync::Arc;

use rustix::io::Errno;

use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::groups::TargetState;
use crate::logging::RateLimit;
use crate::stick::AfterFailure;

use super::End;
use super::arena::SessionId;
use super::opening::{LOCAL_FAILED, ask};
use super::session::Attempt;
use super::transparent::Client;
use super::upstream::Upstream;
use super::worker::Worker;

const GIVE_MORE: &str = "give more addresses (bind_source), or widen net.ipv4.ip_local_port_range";

static TARGET_FAILED: RateLimit = RateLimit::new();
static ADDRESS_FAILED: RateLimit = RateLimit::new();
static NO_PORT: RateLimit = RateLimit::new();

impl Worker {
    /// An address did not take the connection: the next one may.
    pub(super) fn address_failed(&mut self, id: SessionId, upstream: &Upstream<'_>, fault: Fault) {
        match self.next_address(id, upstream, fault) {
            Some(next) => {
                self.session(id).target = None;
                self.connect_to(id, upstream, next);
            }
            None => self.connect_failed(id, upstream, fault),
        }
    }

    /// The address of the target to be tried next, after this fault; `None`: there is none, or it
    /// would meet the same fault, or the time is over.
    pub(super) fn next_address(
        &mut self,
        id: SessionId,
        upstream: &Upstream<'_>,
        fault: Fault,
    ) -> Option<SocketAddr> {
        let (now, session) = (self.now, self.session(id));
        let attempt = session.attempt.as_mut()?;
        match fault {
            Fault::Target(error) => {
                attempt.refused.get_or_insert(error);
            }
            // Each address of the target has every port of this host's.
            Fault::NoPort(_) | Fault::Source(..) => {}
            Fault::Local(_) => return None,
        }
        let failed = attempt.address()?;
        // That this client cannot be seen there, or has no port left, says nothing of others.
        let is_clients =
            matches!(fault, Fault::NoPort(_) | Fault::Source(..)) && upstream.client.is_some();
        if !is_clients {
            upstream.target.pass_over(failed);
        }
        let next = upstream.next_after(failed)?;
        if attempt.addresses_left <= 1 || now >= attempt.deadline {
            return None;
        }
        attempt.addresses_left -= 1;
        attempt.endpoint = Endpoint::Ip(next);
        if let Some(left_out) = ADDRESS_FAILED.admit(now) {
            let (group, error) = (upstream.group.id, fault.errno());
            match fault {
                Fault::Target(_) => log::warn!(
                    "group {group} does not answer at {failed}: {error}; {next} is tried \
                     next{left_out}"
                ),
                Fault::Local(_) | Fault::NoPort(_) | Fault::Source(..) => log::warn!(
                    "this host cannot connect to {failed}, of group {group}: {error}; {next} is \
                     tried next{left_out}"
                ),
            }
        }
        Some(next)
    }

    /// No address of the target took the connection, the last one by this fault.
    pub(super) fn connect_failed(&mut self, id: SessionId, upstream: &Upstream<'_>, fault: Fault) {
        let session = self.session(id);
        session.target = None;
        let attempt = session.attempt.as_ref().expect("a connect has begun");
        let endpoint = attempt.endpoint.clone();
        // Where an address of the target refused, that another was out of reach does not count.
        let fault = match (fault, attempt.refused) {
            (Fault::NoPort(_) | Fault::Source(..), Some(refused)) => Fault::Target(refused),
            (fault, _) => fault,
        };
        match fault {
            Fault::Target(error) => self.target_failed(id, upstream, &endpoint, error),
            Fault::NoPort(_) => {
                self.say_no_port(upstream, &endpoint);
                self.end(id, End::NoPort);
            }
            Fault::Source(..) if upstream.client.is_some() => {
                let address = attempt.address();
                self.not_transparent(id, address.as_slice());
            }
            // Said already, of each address.
            Fault::Source(..) => self.end(id, End::LocalError),
            Fault::Local(error) => {
                self.say_local(upstream, &endpoint, error);
                self.end(id, End::LocalError);
            }
        }
    }

    /// A target took no connection, for this reason.
    fn target_failed(
        &mut self,
        id: SessionId,
        upstream: &Upstream<'_>,
        endpoint: &Endpoint,
        error: Errno,
    ) {
        self.counters().connect_failures.add(1);
        self.report_failed(&upstream.target.state);
        if let Some(left_out) = TARGET_FAILED.admit(self.now) {
            let why = match (endpoint, error) {
                (Endpoint::Unix(_), Errno::TIMEDOUT) => {
                    "as many connections as may wait there to be accepted".to_owned()
                }
                _ => error.to_string(),
            };
            let group = upstream.group.id;
            log::warn!("group {group} does not answer at {endpoint}: {why}{left_out}");
        }
        let end = match error {
            Errno::TIMEDOUT => End::ConnectTimeout,
            _ => End::ConnectFailed,
        };
        if !self.moves_on(id, end) {
            self.end(id, end);
        }
    }

    /// Its group is to see the client's own address, and none of its target's addresses can. Were it
    /// to see this host's instead, it would give the client this host's rights.
    pub(super) fn not_transparent(&mut self, id: SessionId, addresses: &[SocketAddr]) {
        let (now, end) = (self.now, End::NotTransparent);
        let first = addresses.first().copied().map(Endpoint::Ip);
        self.session(id).attempt = first.map(|endpoint| Attempt::new(endpoint, 0, now));
        if self.moves_on(id, end) {
            return;
        }
        let shown: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        self.refuse_with(id, end, &format_args!(", {}", shown.join(" and ")));
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
                self.await_answer(id, true);
                true
            }
            AfterFailure::Reset => false,
        }
    }

    /// Every port towards a target is in use.
    fn say_no_port(&self, upstream: &Upstream<'_>, endpoint: &Endpoint) {
        let Some(left_out) = NO_PORT.admit(self.now) else {
            return;
        };
        let sources = match endpoint {
            Endpoint::Ip(address) => upstream.generation.sources.towards(*address).len(),
            Endpoint::Unix(_) => 0,
        };
        let (from, more) = match (upstream.client, sources) {
            (Some(client), _) => (
                format!("of {} (transparent)", client.address.ip()),
                "widen net.ipv4.ip_local_port_range",
            ),
            (None, 0) => ("of this host's address".to_owned(), GIVE_MORE),
            (None, 1) => ("of bind_source's address".to_owned(), GIVE_MORE),
            (None, count) => (
                format!("of all {count} addresses of bind_source"),
                GIVE_MORE,
            ),
        };
        log::error!(
            "no port is left for connections to {endpoint}: every port {from} is in use towards it; \
             {more}; no group is blamed for it{left_out}"
        );
    }

    /// This host lacks what a connection takes.
    fn say_local(&self, upstream: &Upstream<'_>, endpoint: &Endpoint, error: Errno) {
        let from = match upstream.client {
            Some(Client { address, .. }) => format!(" from {} (transparent)", address.ip()),
            None => String::new(),
        };
        if let Some(left_out) = LOCAL_FAILED.admit(self.now) {
            log::error!(
                "this host cannot connect to {endpoint}{from}: {error}; no group is blamed for \
                 it{left_out}"
            );
        }
    }

    /// Counts a connect that a target did not take, and has its next health check come at once.
    fn report_failed(&self, target: &Arc<TargetState>) {
        // With the queue full the check comes when its interval is over.
        if target.note_failed_connect()
            && self
                .shared
                .failed_targets
                .try_send(Arc::clone(target))
                .is_err()
        {
            target.forget_report();
        }
    }
}
