//! What waits to be sent over one connection: what is urgent first, snapshots last.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::ids::Term;
use crate::message::Message;
use crate::wire::frame::{FrameError, Kind, put_frame};
use crate::wire::proposal::{self, Answer, Propose};
use crate::wire::{Purpose, message};

use super::config::Limits;

/// Votes and heartbeats that may wait. They are small; a queue this long is of no use any more.
const MAX_URGENT: usize = 1024;

/// One thing to be sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    Message(Term, Message),
    Forming(Bytes),
    Proposals(Vec<Propose>),
    Answers(Vec<Answer>),
}

/// How long it can wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Urgency {
    Urgent,
    Normal,
    Bulk,
}

impl Outgoing {
    fn urgency(&self) -> Urgency {
        let Outgoing::Message(_, message) = self else {
            return Urgency::Normal;
        };
        match message {
            Message::PreVote { .. }
            | Message::PreVoteReply { .. }
            | Message::Vote { .. }
            | Message::VoteReply { .. }
            | Message::Heartbeat { .. }
            | Message::HeartbeatReply { .. }
            | Message::TimeoutNow => Urgency::Urgent,
            Message::SnapshotChunk { .. } => Urgency::Bulk,
            Message::Append { .. }
            | Message::Appended { .. }
            | Message::AppendRejected { .. }
            | Message::SnapshotProgress { .. }
            | Message::Refused(_) => Urgency::Normal,
        }
    }

    pub fn size_bytes(&self) -> usize {
        match self {
            Outgoing::Message(_, message) => message::size_bytes(message),
            Outgoing::Forming(bytes) => bytes.len(),
            Outgoing::Proposals(batch) => batch.iter().map(Propose::size_bytes).sum(),
            Outgoing::Answers(batch) => batch.iter().map(Answer::size_bytes).sum(),
        }
    }

    pub fn put(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        match self {
            Outgoing::Message(term, message) => message::put(out, *term, message),
            Outgoing::Forming(bytes) => {
                put_frame(out, Kind::Forming, |out| out.extend_from_slice(bytes))
            }
            Outgoing::Proposals(batch) => proposal::put_proposals(out, batch),
            Outgoing::Answers(batch) => proposal::put_answers(out, batch),
        }
    }

    /// Messages, proposals or answers in it.
    pub fn count(&self) -> u64 {
        match self {
            Outgoing::Message(..) | Outgoing::Forming(_) => 1,
            Outgoing::Proposals(batch) => batch.len() as u64,
            Outgoing::Answers(batch) => batch.len() as u64,
        }
    }

    /// The connection that it belongs on.
    pub fn purpose(&self) -> Purpose {
        match self {
            Outgoing::Message(..) | Outgoing::Forming(_) => Purpose::Logs,
            Outgoing::Proposals(_) | Outgoing::Answers(_) => Purpose::Proposals,
        }
    }
}

/// No room.
#[derive(Debug)]
pub(super) struct Full;

/// What waits.
#[derive(Debug)]
pub(super) struct Outbox {
    urgent: VecDeque<Outgoing>,
    normal: VecDeque<(usize, Outgoing)>,
    bulk: VecDeque<(usize, Outgoing)>,
    normal_bytes: usize,
    bulk_bytes: usize,
    max_normal_bytes: usize,
    max_bulk_bytes: usize,
}

impl Outbox {
    pub fn new(limits: &Limits) -> Outbox {
        Outbox {
            urgent: VecDeque::new(),
            normal: VecDeque::new(),
            bulk: VecDeque::new(),
            normal_bytes: 0,
            bulk_bytes: 0,
            max_normal_bytes: limits.queue_bytes,
            max_bulk_bytes: limits.snapshot_queue_bytes,
        }
    }

    /// Adds something at the end of its kind. An empty queue takes anything, however large.
    pub fn push(&mut self, outgoing: Outgoing) -> Result<(), Full> {
        let size = outgoing.size_bytes();
        match outgoing.urgency() {
            Urgency::Urgent if self.urgent.len() >= MAX_URGENT => return Err(Full),
            Urgency::Urgent => self.urgent.push_back(outgoing),
            Urgency::Normal => {
                if !fits(self.normal_bytes, size, self.max_normal_bytes) {
                    return Err(Full);
                }
                self.normal_bytes += size;
                self.normal.push_back((size, outgoing));
            }
            Urgency::Bulk => {
                if !fits(self.bulk_bytes, size, self.max_bulk_bytes) {
                    return Err(Full);
                }
                self.bulk_bytes += size;
                self.bulk.push_back((size, outgoing));
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.normal_bytes + self.bulk_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.normal.is_empty() && self.bulk.is_empty()
    }

    /// Hands out what is to be sent next, up to some `bytes`; of snapshots one piece, and only
    /// where nothing else waits.
    pub fn drain(&mut self, bytes: usize, mut put: impl FnMut(Outgoing)) {
        for outgoing in self.urgent.drain(..) {
            put(outgoing);
        }
        let mut taken = 0;
        while taken < bytes
            && let Some((size, outgoing)) = self.normal.pop_front()
        {
            self.normal_bytes -= size;
            taken += size;
            put(outgoing);
        }
        if taken == 0
            && let Some((size, outgoing)) = self.bulk.pop_front()
        {
            self.bulk_bytes -= size;
            put(outgoing);
        }
    }
}

fn fits(held: usize, more: usize, most: usize) -> bool {
    held == 0 || held + more <= most
}
