//! The proposing side.
//!
//! A command gets its number when it is first sent, and keeps it and the log time known then with
//! every copy: the log's sessions apply one of them. It is sent again when the connection to the
//! leader ends, when another node leads, when the leader says that it does not, and when nothing
//! comes for long. It counts as answered when its answer is here or its deadline has passed.

mod replies; // what becomes of copies
mod timing; // deadlines, and copies that are given up

use std::collections::VecDeque;

use bytes::Bytes;

use super::refusal::Code;
use super::{Done, ProposalError};
use crate::entry::{ClientId, Command};
use crate::ids::{LogTime, NodeId, NodeTime};
use crate::sessions;

/// The client's bounds; times in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Commands that wait to be sent because [`sessions::WINDOW`] are out.
    pub max_waiting: usize,
    /// Bytes of their bodies; and, of those that are out, bytes beyond the largest one.
    pub max_waiting_bytes: usize,
    /// Bytes of one command's body.
    pub max_command_bytes: usize,
    /// How long a leader that asks for patience, or does not know who leads, is left alone.
    pub pause_ms: u64,
    /// How long a command is out before it is sent again; doubled at each time, up to
    /// [`MAX_RESEND_FACTOR`] times as long. The leader recognises copies of what it is working
    /// on, so that little is lost by one too many.
    pub resend_ms: u64,
}

/// How much longer the wait before another copy becomes at most.
pub const MAX_RESEND_FACTOR: u64 = 8;

/// Where commands go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// This node leads.
    Here,
    /// That node leads.
    Peer(NodeId),
    /// Nobody leads, as far as known: they wait.
    Nowhere,
}

/// Whether copies are answered as fast as they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copies {
    /// None has been out for too long.
    InTime,
    /// Some are sent again: where they went, nobody may be who answers.
    Late,
}

/// What became of one copy of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// It was applied.
    Applied(Bytes),
    /// It was asked of a node that does not lead, or its entry was lost with its leader.
    NotLeader {
        /// Who leads instead, where known.
        leader: Option<NodeId>,
    },
    /// It was not taken.
    Refused(Code),
}

/// Counts since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Commands asked for.
    pub proposed: u64,
    /// Commands answered.
    pub answered: u64,
    /// Copies sent beyond the first ones.
    pub sent_again: u64,
    /// Commands that met their deadline.
    pub timed_out: u64,
    /// Commands not taken because too many waited.
    pub busy: u64,
    /// Commands that ended otherwise.
    pub refused: u64,
}

/// One life's commands.
pub struct Client {
    id: ClientId,
    limits: Limits,
    route: Route,
    /// Nothing is sent before.
    pause_until: NodeTime,
    /// When a node last named another as leader.
    redirected: Option<NodeTime>,
    /// The sequence of `out`'s first.
    first: u64,
    /// Numbered commands, from the oldest that has no answer on.
    out: VecDeque<Out>,
    /// Bytes of the bodies of those of them that have no answer.
    out_bytes: usize,
    /// Sequences to be sent, ascending; some may be answered by now.
    unsent: VecDeque<u64>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// No deadline lies before.
    earliest_deadline: NodeTime,
    /// Nothing is to be sent again before.
    earliest_resend: NodeTime,
    counters: Counters,
    /// Why nothing is taken any more.
    ended: Option<ProposalError>,
}

struct Waiting {
    body: Bytes,
    version: u16,
    deadline: NodeTime,
    done: Done,
}

struct Out {
    command: Command,
    deadline: NodeTime,
    /// None once it counts as answered.
    done: Option<Done>,
    copies: u32,
    /// When its newest copy is given up; none while it is among the unsent.
    resend_at: Option<NodeTime>,
}

const NEVER: NodeTime = NodeTime(u64::MAX);

impl Client {
    /// The client of one life.
    pub fn new(id: ClientId, limits: Limits) -> Client {
        Client {
            id,
            limits,
            route: Route::Nowhere,
            pause_until: NodeTime(0),
            redirected: None,
            first: 1,
            out: VecDeque::new(),
            out_bytes: 0,
            unsent: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            earliest_deadline: NEVER,
            earliest_resend: NEVER,
            counters: Counters::default(),
            ended: None,
        }
    }

    /// Takes a command; `done` hears what becomes of it, at once where there is no room.
    pub fn propose(&mut self, body: Bytes, version: u16, deadline: NodeTime, done: Done) {
        self.counters.proposed += 1;
        if let Some(why) = &self.ended {
            self.counters.refused += 1;
            return done(Err(why.clone()));
        }
        if body.len() > self.limits.max_command_bytes {
            self.counters.refused += 1;
            return done(Err(self.too_large(body.len())));
        }
        if self.waiting.len() >= self.limits.max_waiting
            || self.waiting_bytes + body.len() > self.limits.max_waiting_bytes
        {
            self.counters.busy += 1;
            return done(Err(ProposalError::Busy {
                waiting: self.waiting.len(),
                waiting_bytes: self.waiting_bytes,
            }));
        }
        self.earliest_deadline = self.earliest_deadline.min(deadline);
        self.waiting_bytes += body.len();
        self.waiting.push_back(Waiting {
            body,
            version,
            deadline,
            done,
        });
    }

    /// Sends commands this way from now on; what is out elsewhere is sent again.
    pub fn take_route(&mut self, route: Route) {
        if self.route != route {
            self.route = route;
            self.pause_until = NodeTime(0);
            self.send_all_again();
        }
    }

    /// Where commands go at present.
    pub fn route(&self) -> Route {
        self.route
    }

    /// The connection to the peer has ended, or begun anew: what was out there is sent again.
    pub fn disconnected(&mut self, peer: NodeId) {
        if self.route == Route::Peer(peer) {
            self.send_all_again();
        }
    }

    /// Appends what is to be sent along [`Client::route`] now. `time`: the cluster's time as it
    /// is known here.
    pub fn outgoing(&mut self, now: NodeTime, time: LogTime, commands: &mut Vec<Command>) {
        if self.route == Route::Nowhere || now < self.pause_until {
            return;
        }
        self.number(time);
        while let Some(sequence) = self.unsent.pop_front() {
            let answered_below = self.first;
            let resend_ms = self.limits.resend_ms;
            let Some(out) = self.out_mut(sequence) else {
                continue;
            };
            if out.done.is_none() {
                continue;
            }
            let factor = (1_u64 << out.copies.min(16)).min(MAX_RESEND_FACTOR);
            let resend_at = now.plus(resend_ms * factor);
            out.copies += 1;
            out.resend_at = Some(resend_at);
            out.command.answered_below = answered_below;
            commands.push(out.command.clone());
            self.counters.sent_again += u64::from(out.copies > 1);
            self.earliest_resend = self.earliest_resend.min(resend_at);
        }
    }

    /// Ends all, for this reason, and whatever comes later too.
    pub fn stop(&mut self, why: ProposalError) {
        for out in self.out.drain(..) {
            if let Some(done) = out.done {
                done(Err(why.clone()));
            }
        }
        for waiting in self.waiting.drain(..) {
            (waiting.done)(Err(why.clone()));
        }
        self.ended = Some(why);
        self.unsent.clear();
        self.out_bytes = 0;
        self.waiting_bytes = 0;
    }

    /// Commands that have been sent and wait for their answers.
    pub fn unanswered(&self) -> usize {
        self.out.iter().filter(|out| out.done.is_some()).count()
    }

    /// Commands that wait to be sent.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Counts since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || (!self.waiting.is_empty() && self.has_number())
    }

    fn has_number(&self) -> bool {
        (self.out.len() as u64) < sessions::WINDOW && self.out_bytes < self.limits.max_waiting_bytes
    }

    /// Numbers waiting commands as far as the window reaches.
    fn number(&mut self, time: LogTime) {
        while self.has_number() {
            let Some(waiting) = self.waiting.pop_front() else {
                return;
            };
            self.waiting_bytes -= waiting.body.len();
            self.out_bytes += waiting.body.len();
            let sequence = self.first + self.out.len() as u64;
            self.unsent.push_back(sequence);
            self.out.push_back(Out {
                command: Command {
                    client: self.id,
                    sequence,
                    answered_below: self.first,
                    issued: time,
                    version: waiting.version,
                    body: waiting.body,
                },
                deadline: waiting.deadline,
                done: Some(waiting.done),
                copies: 0,
                resend_at: None,
            });
        }
    }

    fn send_all_again(&mut self) {
        self.unsent.clear();
        for (sequence, out) in (self.first..).zip(&mut self.out) {
            if out.done.is_some() {
                out.resend_at = None;
                self.unsent.push_back(sequence);
            }
        }
        self.earliest_resend = NEVER;
    }

    fn finish(&mut self, sequence: u64, result: Result<Bytes, ProposalError>) {
        let Some(out) = self.out_mut(sequence) else {
            return;
        };
        let Some(done) = out.done.take() else {
            return;
        };
        // An answered command is never sent again, but may have to wait here for older ones.
        let body = std::mem::take(&mut out.command.body);
        self.out_bytes -= body.len();
        match result {
            Ok(_) => self.counters.answered += 1,
            Err(_) => self.counters.refused += 1,
        }
        self.forget_answered();
        done(result);
    }

    fn forget_answered(&mut self) {
        while self.out.front().is_some_and(|out| out.done.is_none()) {
            self.out.pop_front();
            self.first += 1;
        }
    }

    fn out_mut(&mut self, sequence: u64) -> Option<&mut Out> {
        let at = sequence.checked_sub(self.first)?;
        self.out.get_mut(usize::try_from(at).ok()?)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod together; // with sessions, over a bad network
