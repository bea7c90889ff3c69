//! A follower's side of replication.

use crate::entry::Entry;
use crate::entry::Payload;
use crate::ids::{Index, LogTime, NodeId, Position};
use crate::message::{LeaseGrant, Message};

use super::mutation::{self, Mutation};
use super::{Core, CoreEvent, State};

impl Core {
    /// The leader of this term was heard. Answers false where that cannot be.
    pub(super) fn hear_leader(&mut self, from: NodeId) -> bool {
        if matches!(self.state, State::Leader(_)) {
            self.halt(self.log.last(), "another node leads in the same term");
            return false;
        }
        self.become_quiet_follower();
        self.follow_leader(Some(from));
        self.leader_heard = Some(self.now);
        self.dismissed = false;
        self.postpone_election();
        true
    }

    pub(super) fn on_append(
        &mut self,
        from: NodeId,
        previous: Position,
        commit: Index,
        entries: Vec<Entry>,
    ) {
        if !self.hear_leader(from) {
            return;
        }
        if previous.index < self.commit {
            // Sent long ago, or after a restart of this node: what is committed agrees.
            self.verified = self.verified.max(self.commit);
            self.acknowledge_durable();
            return;
        }
        let fits = self.log.holds(previous)
            || mutation::is(Mutation::IgnoresPreviousTerm)
                && self.log.term_at(previous.index).is_some();
        if !fits {
            let hint = self.log.may_agree_at(previous);
            let previous = previous.index;
            self.post(from, self.term, Message::AppendRejected { previous, hint });
            return;
        }
        let Some(last) = self.take_in(previous.index, entries) else {
            return;
        };
        self.verified = self.verified.max(last);
        self.commit_to(commit.min(last));
        self.acknowledge_durable();
    }

    /// Adds the entries that are not there, as long as the log is not full, and drops what
    /// contradicts them. Of entries that no leader can have sent nothing is taken in. Answers up to
    /// where the log then agrees with the leader's; nothing where it had room for none of them, so
    /// that the leader waits before it sends them again.
    fn take_in(&mut self, previous: Index, entries: Vec<Entry>) -> Option<Index> {
        let mut agrees = previous;
        let (mut members, mut grown) = (false, false);
        for entry in entries {
            let follows = entry.index == agrees.next() && entry.term <= self.term;
            if !follows || !self.log.may_take(&entry) {
                break;
            }
            let kept = !mutation::is(Mutation::TruncatesWhatAgrees) || entry.index <= self.commit;
            if kept && self.log.holds(entry.position()) {
                agrees = entry.index;
                continue;
            }
            // A leader stops at its own bound, which is half of this.
            if self.log.bytes() + entry.size_bytes() > 2 * self.settings.max_log_bytes {
                self.event(CoreEvent::LogFull);
                if !grown {
                    return None;
                }
                break;
            }
            if entry.index <= self.commit {
                self.halt(
                    entry.position(),
                    "the leader's log contradicts what is committed here",
                );
                return None;
            }
            if entry.index <= self.log.last().index {
                self.truncate(entry.index);
            }
            if let Payload::Membership(membership) = &entry.payload {
                self.memberships
                    .push((entry.index, std::sync::Arc::clone(membership)));
                members = true;
            }
            agrees = entry.index;
            grown = true;
            self.disk.appended(entry.index);
            self.log.append(entry);
        }
        if members {
            self.membership_changed();
        }
        Some(agrees)
    }

    /// Acknowledges where nothing that agrees waits for the disk; otherwise the disk's report
    /// will do it.
    fn acknowledge_durable(&mut self) {
        if self.verified <= self.disk.persisted || mutation::is(Mutation::AcknowledgesBeforeDurable)
        {
            self.acknowledge();
        }
    }

    /// Tells the leader up to where the log agrees with its own and is durable.
    pub(super) fn acknowledge(&mut self) {
        let Some(leader) = self.leader.filter(|leader| *leader != self.id) else {
            return;
        };
        if self.verified == Index(0) {
            return;
        }
        let matched = match mutation::is(Mutation::AcknowledgesBeforeDurable) {
            true => self.verified,
            false => self.verified.min(self.disk.persisted),
        };
        self.post(leader, self.term, Message::Appended { matched });
    }

    pub(super) fn on_heartbeat(
        &mut self,
        from: NodeId,
        round: u64,
        commit: Index,
        time: LogTime,
        lease: Option<LeaseGrant>,
    ) {
        if !self.hear_leader(from) {
            return;
        }
        self.known_time = self.known_time.max(time);
        let known = match mutation::is(Mutation::HeartbeatCommitsUnverified) {
            true => self.log.last().index,
            false => self.verified,
        };
        self.commit_to(commit.min(known));
        if let Some(lease) = lease {
            let stamp = self.read_stamp(lease.stamp);
            self.take_lease(LeaseGrant { stamp, ..lease });
        }
        let on_record = self
            .membership()
            .members
            .get(&self.id)
            .and_then(|member| member.statement.as_ref());
        let statement = self
            .statement
            .clone()
            .filter(|statement| on_record != Some(statement));
        let reply = Message::HeartbeatReply {
            round,
            stamp: self.stamp(),
            applied: self.applied,
            statement,
        };
        self.post(from, self.term, reply);
    }
}
