//! What becomes of copies.

use super::{Client, Reply, Route, Waiting};
use crate::ids::{NodeId, NodeTime};
use crate::proposals::ProposalError;
use crate::proposals::refusal::Code;
use crate::sessions::Refusal;

impl Client {
    /// Takes in what became of a copy, from where it had been sent.
    pub fn replied(&mut self, from: Route, sequence: u64, reply: Reply, now: NodeTime) {
        match reply {
            Reply::Applied(answer) => self.finish(sequence, Ok(answer)),
            // What an earlier route says about the way says nothing new: all has been sent again.
            Reply::NotLeader { .. } | Reply::Refused(Code::Later) if from != self.route => {}
            Reply::NotLeader { leader } => self.redirect(sequence, leader, now),
            Reply::Refused(Code::Session(Refusal::Expired)) if self.copies(sequence) == 1 => {
                self.number_anew(sequence);
            }
            Reply::Refused(Code::Later) => self.later(sequence, now),
            Reply::Refused(code) => match self.ending(sequence, code) {
                Some(error) => self.finish(sequence, Err(error)),
                None => self.alone_later(sequence, now),
            },
        }
    }

    /// How a refusal ends the command; none where it is to be asked again, because the refusal
    /// passes or because another copy may have come into the log: only the deadline, or that
    /// copy's answer, ends it then.
    fn ending(&mut self, sequence: u64, code: Code) -> Option<ProposalError> {
        let (copies, version, bytes) = self.out_mut(sequence).map(|out| {
            let command = &out.command;
            (out.copies, command.version, command.body.len())
        })?;
        match code {
            Code::Session(refusal) if !refusal.is_passing() => {
                Some(ProposalError::Refused(refusal))
            }
            Code::Version if copies == 1 => Some(ProposalError::Version { version }),
            Code::TooLarge if copies == 1 => Some(self.too_large(bytes)),
            Code::Session(_) | Code::Version | Code::TooLarge | Code::Later => None,
        }
    }

    fn copies(&mut self, sequence: u64) -> u32 {
        self.out_mut(sequence).map_or(0, |out| out.copies)
    }

    /// The only copy was refused for its age: what this node took for the cluster's time was
    /// old, as it may be when it has just come back. Nothing was applied: it gets another number
    /// and the time that is known by now.
    fn number_anew(&mut self, sequence: u64) {
        let Some(out) = self.out_mut(sequence) else {
            return;
        };
        let Some(done) = out.done.take() else {
            return;
        };
        let bytes = out.command.body.len();
        let waiting = Waiting {
            body: out.command.body.clone(),
            version: out.command.version,
            deadline: out.deadline,
            done,
        };
        self.out_bytes -= bytes;
        self.waiting_bytes += bytes;
        self.waiting.push_front(waiting);
        self.forget_answered();
    }

    pub(super) fn too_large(&self, bytes: usize) -> ProposalError {
        ProposalError::TooLarge {
            bytes,
            limit_bytes: self.limits.max_command_bytes,
        }
    }

    fn redirect(&mut self, sequence: u64, leader: Option<NodeId>, now: NodeTime) {
        let hint = match leader {
            Some(id) if id == self.id.node => Route::Here,
            Some(id) => Route::Peer(id),
            None => Route::Nowhere,
        };
        if hint == Route::Nowhere || hint == self.route {
            return self.later(sequence, now);
        }
        self.take_route(hint);
        // Nodes that each name the other are asked in turn, but not without end at once.
        let pause_ms = self.limits.pause_ms;
        if self
            .redirected
            .replace(now)
            .is_some_and(|last| now.since(last) < pause_ms)
        {
            self.pause_until = now.plus(pause_ms);
        }
    }

    /// Sends this command again after a pause; it says nothing about others.
    fn alone_later(&mut self, sequence: u64, now: NodeTime) {
        let at = now.plus(self.limits.pause_ms);
        let Some(out) = self.out_mut(sequence) else {
            return;
        };
        if let Some(resend_at) = &mut out.resend_at {
            *resend_at = at.min(*resend_at);
            self.earliest_resend = self.earliest_resend.min(at);
        }
    }

    /// Sends the command again, and nothing before, after a pause.
    fn later(&mut self, sequence: u64, now: NodeTime) {
        self.pause_until = now.plus(self.limits.pause_ms);
        self.again(sequence);
    }

    pub(super) fn again(&mut self, sequence: u64) {
        let Some(out) = self.out_mut(sequence) else {
            return;
        };
        if out.done.is_some() && out.resend_at.take().is_some() {
            let at = self.unsent.partition_point(|other| *other < sequence);
            self.unsent.insert(at, sequence);
        }
    }
}
