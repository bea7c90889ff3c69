//! Deadlines, and copies that are given up.

use super::{Client, Copies, NEVER, Route};
use crate::ids::NodeTime;
use crate::proposals::ProposalError;

impl Client {
    /// Lets deadlines pass, and what has been out for too long be sent again.
    pub fn tick(&mut self, now: NodeTime) -> Copies {
        if now >= self.earliest_deadline {
            self.end_late(now);
        }
        if now < self.earliest_resend {
            return Copies::InTime;
        }
        self.resend_late(now)
    }

    /// When [`Client::tick`] or [`Client::outgoing`] has something to do next.
    pub fn next_deadline(&self) -> NodeTime {
        let mut next = self.earliest_deadline.min(self.earliest_resend);
        if self.route != Route::Nowhere && self.has_unsent() {
            next = next.min(self.pause_until);
        }
        next
    }

    fn end_late(&mut self, now: NodeTime) {
        let mut earliest = NEVER;
        let mut late = Vec::new();
        for out in &mut self.out {
            if out.deadline > now {
                if out.done.is_some() {
                    earliest = earliest.min(out.deadline);
                }
            } else if let Some(done) = out.done.take() {
                self.out_bytes -= std::mem::take(&mut out.command.body).len();
                late.push(done);
            }
        }
        self.forget_answered();
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.deadline > now {
                earliest = earliest.min(waiting.deadline);
                self.waiting.push_back(waiting);
            } else {
                self.waiting_bytes -= waiting.body.len();
                late.push(waiting.done);
            }
        }
        self.earliest_deadline = earliest;
        self.counters.timed_out += late.len() as u64;
        for done in late {
            done(Err(ProposalError::TimedOut));
        }
    }

    fn resend_late(&mut self, now: NodeTime) -> Copies {
        let mut earliest = NEVER;
        let mut late = Vec::new();
        for (sequence, out) in (self.first..).zip(&self.out) {
            match out.resend_at {
                Some(at) if out.done.is_some() && at <= now => late.push(sequence),
                Some(at) if out.done.is_some() => earliest = earliest.min(at),
                _ => {}
            }
        }
        self.earliest_resend = earliest;
        if late.is_empty() {
            return Copies::InTime;
        }
        for sequence in late {
            self.again(sequence);
        }
        Copies::Late
    }
}
