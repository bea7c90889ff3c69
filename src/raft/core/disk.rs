//! What is being made durable, and what waits for it.
//!
//! Writes are numbered and become durable in order. Everything that comes up between two calls
//! of [`Core::output`] is one write.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::durable::{HardState, Write, WriteId};
use crate::ids::{Index, NodeId, Term};
use crate::message::{Envelope, SnapshotMeta};

use super::mutation::{self, Mutation};
use super::{Core, CoreEvent, State};

/// The disk as the core sees it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Disk {
    /// Up to where the log as it now is in memory is durable.
    pub(super) persisted: Index,
    /// Whether the disk has failed: nothing is promised any more.
    pub(super) failed: bool,
    /// The number of the newest write.
    newest: WriteId,
    /// The newest write that is durable.
    durable: WriteId,
    /// Writes under way, each with the place up to which the log will then be durable.
    under_way: VecDeque<(WriteId, Index)>,
    /// The write that makes the present term and vote durable.
    term_write: WriteId,
    /// Not yet part of any write:
    term_changed: bool,
    entries_from: Option<Index>,
    reset: Option<Arc<SnapshotMeta>>,
    /// Messages that wait for the term to be durable, each with its write.
    held: VecDeque<(WriteId, Envelope)>,
}

impl Disk {
    pub(super) fn new(persisted: Index) -> Disk {
        Disk {
            persisted,
            failed: false,
            newest: WriteId(0),
            durable: WriteId(0),
            under_way: VecDeque::new(),
            term_write: WriteId(0),
            term_changed: false,
            entries_from: None,
            reset: None,
            held: VecDeque::new(),
        }
    }

    /// Whether the present term and vote outlive a crash.
    pub(super) fn term_is_durable(&self) -> bool {
        !self.term_changed && self.term_write <= self.durable
    }

    /// Keeps a message back until they do.
    pub(super) fn hold(&mut self, envelope: Envelope) {
        let write = if self.term_changed {
            WriteId(self.newest.0 + 1)
        } else {
            self.term_write
        };
        self.held.push_back((write, envelope));
    }

    /// The term or the vote is another.
    pub(super) fn term_changed(&mut self) {
        self.term_changed = true;
    }

    /// The log has an entry more at its end.
    pub(super) fn appended(&mut self, index: Index) {
        self.entries_from = Some(self.entries_from.map_or(index, |from| from.min(index)));
    }

    /// The log ends before `from`: what is durable or under way from there on is void.
    pub(super) fn truncated(&mut self, from: Index) {
        let kept = from.previous();
        self.persisted = self.persisted.min(kept);
        for (_, last) in &mut self.under_way {
            *last = (*last).min(kept);
        }
    }

    /// The log begins anew behind a snapshot.
    pub(super) fn reset(&mut self, meta: Arc<SnapshotMeta>) {
        self.truncated(Index(1));
        self.entries_from = None;
        self.reset = Some(meta);
    }

    /// Notes that a write is durable. Answers the messages that waited for it.
    fn complete(&mut self, write: WriteId) -> Vec<Envelope> {
        self.durable = self.durable.max(write);
        while let Some((id, last)) = self.under_way.front() {
            if *id > write {
                break;
            }
            self.persisted = self.persisted.max(*last);
            self.under_way.pop_front();
        }
        let mut free = Vec::new();
        while self.held.front().is_some_and(|(id, _)| *id <= write) {
            free.extend(self.held.pop_front().map(|(_, envelope)| envelope));
        }
        free
    }
}

impl Core {
    /// This write and all before it are durable.
    pub fn persisted(&mut self, write: WriteId) {
        if self.disk.failed {
            return;
        }
        let messages = self.disk.complete(write);
        if self.halted {
            return;
        }
        self.out.messages.extend(messages);
        match &self.state {
            State::Candidate { .. } => self.count_own_vote(),
            State::Leader(_) => self.advance_commit(),
            _ => self.acknowledge(),
        }
        self.hand_out();
    }

    /// The disk has failed: this node leads, votes and acknowledges no more.
    pub fn write_failed(&mut self) {
        if matches!(self.state, State::Leader(_)) {
            self.step_down(None);
        }
        self.disk.failed = true;
        self.disk.held.clear();
        self.out.messages.clear();
    }

    /// Makes one write of what has come up.
    pub(super) fn write_out(&mut self) {
        let disk = &mut self.disk;
        if disk.failed {
            return;
        }
        let reset = disk.reset.take();
        let entries = disk.entries_from.take().map_or_else(Vec::new, |from| {
            self.log.slice(from, self.log.last().index, usize::MAX)
        });
        if reset.is_none() && entries.is_empty() && !disk.term_changed {
            return;
        }
        disk.newest = WriteId(disk.newest.0 + 1);
        if std::mem::take(&mut disk.term_changed) {
            disk.term_write = disk.newest;
        }
        disk.under_way
            .push_back((disk.newest, self.log.last().index));
        self.out.writes.push(Write {
            id: disk.newest,
            reset,
            hard_state: Some(HardState {
                term: self.term,
                vote: self.vote,
                // Only what is durable already: torn, this write may leave what it was to
                // replace behind, and that is not what was committed.
                commit: self.commit.min(disk.persisted),
            }),
            entries,
        });
    }

    /// Takes on a term, and in it a vote or none.
    pub(super) fn take_term(&mut self, term: Term, vote: Option<NodeId>) {
        debug_assert!(term > self.term || (term == self.term && self.vote.is_none()));
        self.term = term;
        self.vote = vote;
        self.disk.term_changed();
    }

    /// Drops uncommitted entries that the leader does not have.
    pub(super) fn truncate(&mut self, from: Index) {
        assert!(from > self.commit, "what is committed stays");
        assert!(
            !matches!(self.state, State::Leader(_)),
            "a leader only adds to its log"
        );
        // Nothing that agrees with this term's leader is ever replaced, but by one that contradicts
        // itself.
        self.verified = self.verified.min(from.previous());
        self.log.truncate(from);
        self.disk.truncated(from);
        let in_force = self.memberships.len();
        if !mutation::is(Mutation::TruncationKeepsMembership) {
            self.memberships.retain(|(index, _)| *index < from);
        }
        if self.memberships.len() != in_force {
            self.membership_changed();
        }
        self.event(CoreEvent::Truncated { from });
    }
}
