//! A connected session: relay, ends passed on in order, resets with their tail of data, time-outs.

use rustix::net::{Shutdown, shutdown, sockopt};

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::clock::Millis;
use crate::config::GroupId;

use super::End;
use super::arena::{SessionId, Subject};
use super::listener;
use super::relay::{Flow, Io, Step};
use super::session::{FirstEnd, Linger, Phase, Session, Survivor};
use super::side::{Side, Watch};
use super::worker::Worker;

/// After a reset: how long the other side may take nothing before it is reset with data left.
const RESET_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at the send queue of the side that is to be reset.
const LINGER_PAUSE_MS: (u64, u64) = (2, 100);
/// Keep-alive is set on the target's socket when the connection is this old: short ones, which
/// are most, save five system calls, and probes begin after a second at the earliest.
const KEEPALIVE_AFTER: Duration = Duration::from_millis(900);

/// What a relay turn leaves to do.
enum Verdict {
    Goes,
    GoesAgain,
    Orderly,
    ResetBy(Survivor),
}

impl Worker {
    /// Moves bytes both ways, within the budget of one turn.
    pub(super) fn relay(&mut self, id: SessionId) {
        let Some(session) = self.arena.get_mut(id) else {
            return;
        };
        let mut io = Io {
            buffer: &mut self.buffer,
            pipes: &mut self.pipes,
            buffered: &self.shared.buffered,
            met_bound: false,
        };
        let before = (session.inward.bytes, session.outward.bytes);
        let settled = (session.inward.flow, session.outward.flow);
        let verdict = session.relay_turn(&mut io, self.turn_bytes);
        if io.met_bound {
            self.shared.counters[self.index].buffer_pressure.add(1);
        }
        if session.count_bytes(before) {
            session.last_activity = self.now;
        }
        if session.is_dying() && session.dying_since.is_none() {
            session.dying_since = Some(self.now);
        }
        let needs_timer =
            settled != (session.inward.flow, session.outward.flow) || session.is_dying();
        match verdict {
            Verdict::Orderly => {
                let end = match session.first_end {
                    FirstEnd::Client => End::ClientFinished,
                    FirstEnd::Neither | FirstEnd::Target => End::TargetFinished,
                };
                return self.end(id, end);
            }
            Verdict::ResetBy(survivor) => return self.start_linger(id, survivor),
            Verdict::GoesAgain => self.queue(id),
            Verdict::Goes => {}
        }
        if !self.watch_writable(id) {
            return;
        }
        if needs_timer {
            self.arm_relay_timer(id);
        }
    }

    /// Watches for room to write on sides that have none; false where that ended the session.
    fn watch_writable(&mut self, id: SessionId) -> bool {
        let Some(session) = self.arena.get_mut(id) else {
            return false;
        };
        let watch = |side: &mut Side, subject| {
            side.writable
                || side.watched == Watch::Both
                || side.watch(&self.poll, subject, Watch::Both).is_ok()
        };
        let client = watch(&mut session.client, Subject::Client(id));
        let target = session
            .target
            .as_mut()
            .is_none_or(|target| watch(target, Subject::Target(id)));
        if !(client && target) {
            self.end(id, End::LocalError);
        }
        client && target
    }

    /// One side has reset the connection and all that it sent is handed on: the other side is
    /// reset as well, as soon as its kernel has got rid of the bytes.
    fn start_linger(&mut self, id: SessionId, survivor: Survivor) {
        let Some(session) = self.arena.get_mut(id) else {
            return;
        };
        let gone = match survivor {
            Survivor::Client => &mut session.outward,
            Survivor::Target => &mut session.inward,
        };
        gone.flow = Flow::Ended;
        let back = match survivor {
            Survivor::Client => &mut session.inward,
            Survivor::Target => &mut session.outward,
        };
        back.discard(&mut self.pipes, &self.shared.buffered);
        session.phase = Phase::Lingering(Linger {
            survivor,
            unsent: u32::MAX,
            progress: self.now,
            pause_ms: LINGER_PAUSE_MS.0,
        });
        self.linger(id);
    }

    /// Looks whether the survivor of a reset has got everything.
    pub(super) fn linger(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.arena.get_mut(id) else {
            return;
        };
        let Phase::Lingering(mut linger) = session.phase else {
            return;
        };
        let side = match linger.survivor {
            Survivor::Client => Some(&session.client),
            Survivor::Target => session.target.as_ref(),
        };
        let unsent = side.map_or(0, Side::unacknowledged_bytes);
        if unsent < linger.unsent {
            linger.unsent = unsent;
            linger.progress = now;
        }
        if unsent == 0 || now.since(linger.progress) >= RESET_PATIENCE {
            let end = session.reset_end(linger.survivor);
            return self.end(id, end);
        }
        let next = now + Duration::from_millis(linger.pause_ms);
        linger.pause_ms = (linger.pause_ms * 2).min(LINGER_PAUSE_MS.1);
        session.phase = Phase::Lingering(linger);
        if session
            .timer
            .deadline()
            .is_none_or(|armed| armed > next || armed <= now)
        {
            self.wheel.arm(&mut self.arena, id.slot, next);
        }
    }

    /// A session's timer has fired.
    pub(super) fn timer(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.arena.get_mut(id) else {
            return;
        };
        match session.phase {
            Phase::ProxyHeader { deadline } if deadline <= now => self.proxy_header_late(id),
            Phase::FirstMessage { deadline } if deadline <= now => self.first_message_late(id),
            Phase::Waiting { deadline, .. } if deadline <= now => self.end(id, End::Unanswered),
            Phase::Connecting { deadline, .. } if deadline <= now => self.connect_late(id),
            Phase::Queued { deadline, .. } if deadline <= now => self.queued_too_long(id),
            Phase::ProxyHeader { deadline }
            | Phase::FirstMessage { deadline }
            | Phase::Waiting { deadline, .. }
            | Phase::Queued { deadline, .. }
            | Phase::Connecting { deadline, .. } => {
                self.wheel.arm(&mut self.arena, id.slot, deadline);
            }
            Phase::Relaying => self.relay_timer(id),
            Phase::Lingering(_) => self.linger(id),
        }
    }

    fn relay_timer(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.arena.get_mut(id) else {
            return;
        };
        if !session.has_keepalive && session.keepalive_due() <= now {
            session.set_keepalive();
        }
        match session.timeout() {
            Some((deadline, end)) if deadline <= now => self.end(id, end),
            _ => self.arm_relay_timer(id),
        }
    }

    /// Arms the timer of a connected session for the next thing that time does to it.
    pub(super) fn arm_relay_timer(&mut self, id: SessionId) {
        let Some(session) = self.arena.get_mut(id) else {
            return;
        };
        let keepalive = (!session.has_keepalive).then(|| session.keepalive_due());
        let timeout = session.timeout().map(|(deadline, _)| deadline);
        let Some(next) = [keepalive, timeout].into_iter().flatten().min() else {
            return;
        };
        if session.timer.deadline().is_none_or(|armed| armed > next) {
            self.wheel.arm(&mut self.arena, id.slot, next);
        }
    }

    /// Ends a session: sockets closed as the reason demands, and everything that it counted in
    /// given back.
    pub(super) fn end(&mut self, id: SessionId, end: End) {
        let Some(session) = self.arena.get_mut(id) else {
            return;
        };
        if !matches!(end, End::ClientFinished | End::TargetFinished) {
            reset_at_close(&session.client.socket);
            if let Some(target) = &session.target {
                reset_at_close(&target.socket);
            }
        }
        session
            .inward
            .discard(&mut self.pipes, &self.shared.buffered);
        session
            .outward
            .discard(&mut self.pipes, &self.shared.buffered);
        self.wheel.cancel(&mut self.arena, id.slot);
        // Before anything is closed: who has seen the end may have come back at once.
        self.release_client(id);
        self.release_place(id);
        let Some(session) = self.arena.remove(id) else {
            return;
        };
        self.settle_with_table(&session);
        self.count_end(&session, end);
        session.log(end, self.now);
        drop(session); // its sockets are closed before their room is given to another
        self.shared.admission.leave();
    }

    fn settle_with_table(&self, session: &Session) {
        let Some(answer) = session.answer else { return };
        if session.connected.is_none() {
            return self.shared.sticks.abandoned(answer.stick, self.now);
        }
        self.shared.sticks.closed(answer.stick, self.now);
        if let Some(group) = session.generation.groups.get(answer.group) {
            group.counters.add_connections(self.index, -1);
        }
    }
}

/// Makes close(2) send a reset, whatever is queued (SO_LINGER with no time, socket(7)).
fn reset_at_close(socket: &OwnedFd) {
    // Where the socket is dead already there is nobody left to reset.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

impl Session {
    /// Pumps both directions, at most about `turn_bytes` together, and draws the conclusion.
    fn relay_turn(&mut self, io: &mut Io<'_>, turn_bytes: usize) -> Verdict {
        let Some(target) = &mut self.target else {
            return Verdict::Goes;
        };
        let client = &mut self.client;
        let mut budget = turn_bytes;
        let outward_first = self.outward_first;
        self.outward_first = !outward_first;
        let early = outward_first.then(|| self.outward.pump(target, client, io, &mut budget));
        let mut inward = self.inward.pump(client, target, io, &mut budget);
        let mut outward =
            early.unwrap_or_else(|| self.outward.pump(target, client, io, &mut budget));
        if inward == Step::ReceiverReset {
            // The target has gone; what it sent before is still to be delivered.
            outward = self.outward.pump(target, client, io, &mut budget);
        }
        if outward == Step::ReceiverReset {
            // The client has gone; what it sent before is still to be delivered.
            inward = self.inward.pump(client, target, io, &mut budget);
        }
        if inward == Step::Reset || (client.is_reset && inward.is_over()) {
            return Verdict::ResetBy(Survivor::Target);
        }
        if outward == Step::Reset || (target.is_reset && outward.is_over()) {
            return Verdict::ResetBy(Survivor::Client);
        }
        self.pass_on_ends(inward, outward)
    }

    /// Tells receivers of ends of streams that are due.
    fn pass_on_ends(&mut self, inward: Step, outward: Step) -> Verdict {
        if inward == Step::Finished {
            self.inward.flow = Flow::Ended;
            self.note_end(FirstEnd::Client);
        }
        if outward == Step::Finished {
            self.outward.flow = Flow::Ended;
            self.note_end(FirstEnd::Target);
        }
        if self.inward.flow == Flow::Ended && self.outward.flow == Flow::Ended {
            return Verdict::Orderly; // closing both sends the ends of streams that are due
        }
        let mut is_reset = false;
        if let (Step::Finished, Some(target)) = (inward, &mut self.target) {
            is_reset |= !target.end_stream();
        }
        if outward == Step::Finished {
            is_reset |= !self.client.end_stream();
        }
        if is_reset || inward == Step::Exhausted || outward == Step::Exhausted {
            return Verdict::GoesAgain;
        }
        Verdict::Goes
    }

    fn note_end(&mut self, end: FirstEnd) {
        if self.first_end == FirstEnd::Neither {
            self.first_end = end;
        }
    }

    /// A side is known to be reset, and the other has not got everything yet.
    fn is_dying(&self) -> bool {
        self.client.is_reset || self.target.as_ref().is_some_and(|target| target.is_reset)
    }

    /// What the end is called when the side that is not the survivor has gone.
    fn reset_end(&self, survivor: Survivor) -> End {
        let target_is_lost = || self.target.as_ref().is_some_and(|target| target.is_lost);
        match survivor {
            Survivor::Target if self.client.is_lost => End::ClientLost,
            Survivor::Target => End::ClientReset,
            Survivor::Client if target_is_lost() => End::TargetLost,
            Survivor::Client => End::TargetReset,
        }
    }

    fn keepalive_due(&self) -> Millis {
        self.connected.unwrap_or(self.accepted) + KEEPALIVE_AFTER
    }

    fn set_keepalive(&mut self) {
        self.has_keepalive = true;
        if let Some(target) = &self.target {
            // A socket that is dead already needs no probes.
            let _ = listener::set_keepalive(&target.socket, self.generation.config.tcp_keepalive);
        }
    }

    /// When silence ends this connection, and what it is called then.
    fn timeout(&self) -> Option<(Millis, End)> {
        let config = &self.generation.config;
        let since = self.last_activity;
        let is_half_closed = self.inward.flow == Flow::Ended || self.outward.flow == Flow::Ended;
        let dying = self.dying_since.map(|dying| {
            let survivor = if self.client.is_reset {
                Survivor::Target
            } else {
                Survivor::Client
            };
            (since.max(dying) + RESET_PATIENCE, self.reset_end(survivor))
        });
        let half =
            is_half_closed.then(|| (since + config.half_closed_timeout, End::HalfClosedTimeout));
        let idle = config
            .idle_timeout
            .map(|idle| (since + idle, End::IdleTimeout));
        [dying, half, idle]
            .into_iter()
            .flatten()
            .min_by_key(|(deadline, _)| *deadline)
    }

    /// The group that it is with, or that it could not reach last.
    fn group(&self) -> Option<GroupId> {
        self.answer
            .map(|answer| answer.group)
            .or_else(|| self.tried.last().copied())
    }

    fn log(&self, end: End, now: Millis) {
        const TARGET: &str = "tcpffee::session";
        if !log::log_enabled!(target: TARGET, log::Level::Info) {
            return;
        }
        let key = crate::stick::KeyRef {
            ip: self.client_ip(),
            slice: self.slice(),
        };
        let connect_ms = self.connected.map(|at| at.since(self.accepted).as_millis());
        log::info!(
            target: TARGET,
            "client={} key={key} port={} group={} target={} in={} out={} queued_ms={} \
             connect_ms={} duration_ms={} end={end}",
            self.peer,
            self.port,
            OrDash(self.group()),
            OrDash(self.attempt.as_ref().map(|attempt| &attempt.endpoint)),
            self.inward.bytes,
            self.outward.bytes,
            self.queued.as_millis(),
            OrDash(connect_ms),
            now.since(self.accepted).as_millis(),
        );
    }
}

struct OrDash<T>(Option<T>);

impl<T: std::fmt::Display> std::fmt::Display for OrDash<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

impl Step {
    /// Nothing more comes from the sender.
    fn is_over(self) -> bool {
        matches!(self, Step::Ended | Step::Finished | Step::ReceiverReset)
    }
}

impl Side {
    /// Sends the end of stream; false where the peer turns out to have reset the connection.
    fn end_stream(&mut self) -> bool {
        let is_sent = shutdown(&self.socket, Shutdown::Write).is_ok();
        if !is_sent {
            self.is_reset = true;
            self.readable = true;
        }
        is_sent
    }
}
