//! A leader's side of replication: proposals, sending, commitment, hand-over.

use std::collections::{BTreeMap, VecDeque};

use crate::entry::{Command, Entry, Payload};
use crate::ids::{Incarnation, Index, LogTime, NodeId, NodeTime, Position};
use crate::membership::Statement;
use crate::message::Message;
use crate::progress::{Flow, Progress};

use super::lives::Standing;
use super::mutation::{self, Mutation};
use super::{Core, ProposeError, State, TransferError};

/// What only a leader has.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Leading {
    /// Every other member.
    pub(super) progress: BTreeMap<NodeId, Progress>,
    /// When it was elected.
    pub(super) began: NodeTime,
    /// The first entry of its term.
    pub(super) first: Index,
    /// The newest heartbeat round.
    pub(super) round: u64,
    /// Rounds that no majority has answered, each with when it was sent.
    pub(super) rounds: VecDeque<(u64, NodeTime)>,
    pub(super) heartbeat_due: NodeTime,
    /// Until when news of a commit waits for entries to travel with; none where there is none.
    pub(super) news_due: Option<NodeTime>,
    /// Log time; none before everything of earlier terms is applied.
    pub(super) time: Option<LogTime>,
    /// When the last entry was appended.
    pub(super) entry_at: NodeTime,
    /// Bytes of commands that are not committed.
    pub(super) uncommitted_bytes: usize,
    pub(super) transfer: Option<Transfer>,
    /// Where the log ended at the last heartbeat: who has that has caught up.
    pub(super) mark: Index,
    /// Lives that were heard and are not on record.
    pub(super) to_record: BTreeMap<NodeId, Incarnation>,
    /// Statements that were heard and are not on record.
    pub(super) statements: BTreeMap<NodeId, Statement>,
    /// Members that came with another store.
    pub(super) replaced: BTreeMap<NodeId, Incarnation>,
}

/// A hand-over under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Transfer {
    to: NodeId,
    /// When it is given up.
    until: NodeTime,
}

/// Rounds without an answer that are remembered.
const MAX_ROUNDS: usize = 256;

impl Leading {
    pub(super) fn new(first: Index, now: NodeTime) -> Leading {
        Leading {
            progress: BTreeMap::new(),
            began: now,
            first,
            round: 0,
            rounds: VecDeque::new(),
            heartbeat_due: now,
            news_due: None,
            time: None,
            entry_at: now,
            uncommitted_bytes: 0,
            transfer: None,
            mark: first,
            to_record: BTreeMap::new(),
            statements: BTreeMap::new(),
            replaced: BTreeMap::new(),
        }
    }

    /// Opens a round of heartbeats.
    pub(super) fn begin_round(&mut self, now: NodeTime) {
        self.round += 1;
        if self.rounds.len() == MAX_ROUNDS {
            self.rounds.pop_front();
        }
        self.rounds.push_back((self.round, now));
    }
}

/// What an entry counts among proposals that wait.
pub(super) fn proposed_bytes(entry: &Entry) -> usize {
    match entry.payload {
        Payload::Command(_) => entry.size_bytes(),
        _ => 0,
    }
}

impl Core {
    /// Proposes a command. Where it then stands; its fate is known when that place is applied:
    /// the same term there means that it was taken, another that it was lost.
    ///
    /// # Errors
    /// Where this node does not lead, or a bound is reached; nothing has happened then.
    pub fn propose(&mut self, command: Command) -> Result<Position, ProposeError> {
        let understood = self.membership().version();
        let log_bytes = self.log.bytes();
        let settings = self.settings;
        let leader = self.leader;
        let State::Leader(leading) = &mut self.state else {
            return Err(ProposeError::NotLeader { leader });
        };
        if let Some(transfer) = leading.transfer
            && !mutation::is(Mutation::ProposesWhileHandingOver)
        {
            return Err(ProposeError::Transferring { to: transfer.to });
        }
        let bytes = command.body.len();
        if bytes > settings.max_command_bytes {
            return Err(ProposeError::TooLarge {
                bytes,
                limit_bytes: settings.max_command_bytes,
            });
        }
        if command.version > understood {
            return Err(ProposeError::Version {
                version: command.version,
                understood,
            });
        }
        if log_bytes + bytes > settings.max_log_bytes {
            return Err(ProposeError::LogFull {
                log_bytes,
                limit_bytes: settings.max_log_bytes,
            });
        }
        let outstanding_bytes = leading.uncommitted_bytes;
        if outstanding_bytes > 0 && outstanding_bytes + bytes > settings.max_uncommitted_bytes {
            return Err(ProposeError::Busy {
                outstanding_bytes,
                limit_bytes: settings.max_uncommitted_bytes,
            });
        }
        Ok(self.append(Payload::Command(command)))
    }

    /// Hands leadership to another voter once that has caught up. Given up after the longest
    /// election time-out; until then no proposal is taken.
    ///
    /// # Errors
    /// Where this node does not lead or the other may not.
    pub fn transfer_leadership(&mut self, to: NodeId) -> Result<(), TransferError> {
        let eligible = to != self.id && self.membership().is_voter(to);
        let until = self.now.plus(self.settings.election_max_ms);
        let State::Leader(leading) = &mut self.state else {
            return Err(TransferError::NotLeader);
        };
        if !eligible {
            return Err(TransferError::NotEligible(to));
        }
        leading.transfer = Some(Transfer { to, until });
        self.hand_over_if_ready();
        Ok(())
    }

    /// Time has passed for a leader.
    pub(super) fn lead(&mut self, elapsed_ms: u64) {
        self.advance_log_time(elapsed_ms);
        let patience = self.settings.election_min_ms;
        let now = self.now;
        let heard = self.majority_heard_within(patience);
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        if now.since(leading.began) >= patience
            && !heard
            && !mutation::is(Mutation::LeadsWithoutMajority)
        {
            self.step_down(None);
            return;
        }
        if leading
            .transfer
            .is_some_and(|transfer| now >= transfer.until)
        {
            leading.transfer = None;
        }
        let idle = now.since(leading.entry_at) >= self.settings.time_entry_ms;
        if idle && leading.time.is_some() && heard {
            self.append(Payload::Time);
        }
        let State::Leader(leading) = &self.state else {
            return;
        };
        if now >= leading.heartbeat_due {
            self.state_own();
            self.steer();
            self.retry_stalled();
            self.heartbeat();
        }
    }

    /// Adds an entry of the leader's own term.
    pub(super) fn append(&mut self, payload: Payload) -> Position {
        let last = self.log.last_time();
        let State::Leader(leading) = &mut self.state else {
            unreachable!("only a leader appends of itself");
        };
        let entry = Entry {
            index: self.log.last().index.next(),
            term: self.term,
            time: match leading.time {
                None if mutation::is(Mutation::TimeGoesBack) => LogTime(0),
                None => last,
                Some(time) => time.max(last),
            },
            payload,
        };
        leading.entry_at = self.now;
        leading.uncommitted_bytes += proposed_bytes(&entry);
        let position = entry.position();
        self.disk.appended(entry.index);
        self.log.append(entry);
        position
    }

    /// Takes in what a member says to its leader.
    pub(super) fn on_reply(&mut self, from: NodeId, life: Incarnation, message: Message) {
        if !self.hear(from, life) {
            return;
        }
        match message {
            Message::Appended { matched } => self.on_appended(from, matched),
            Message::AppendRejected { previous, hint } => {
                self.on_append_rejected(from, previous, hint);
            }
            Message::HeartbeatReply {
                round,
                stamp,
                applied,
                statement,
            } => self.on_heartbeat_reply(from, round, stamp, applied, statement),
            Message::SnapshotProgress { snapshot, offset } => {
                self.on_snapshot_progress(from, snapshot, offset);
            }
            _ => unreachable!("only replies are taken for replies"),
        }
        self.record_news();
    }

    fn on_appended(&mut self, from: NodeId, matched: Index) {
        if matched > self.log.last().index {
            self.halt(
                self.log.last(),
                "a follower acknowledges what was never sent",
            );
            return;
        }
        let now = self.now;
        let Some(progress) = self.progress_of(from) else {
            return;
        };
        if progress.agree(matched, now) {
            self.advance_commit();
            self.hand_over_if_ready();
        }
    }

    fn on_append_rejected(&mut self, from: NodeId, previous: Index, hint: Position) {
        let now = self.now;
        let base = self.log.base();
        let agree = self.log.may_agree_at(hint);
        // Nothing that is still in the log can agree: it takes a snapshot.
        let beyond = agree == base && (hint.index < base.index || hint.term < base.term);
        let Some(progress) = self.progress_of(from) else {
            return;
        };
        let current = match progress.flow {
            Flow::Probe { .. } => previous == progress.next.previous(),
            Flow::Replicate { .. } => previous > progress.matched,
            Flow::Snapshot { .. } => false,
        };
        if !current {
            return;
        }
        progress.probe(now);
        let next = if beyond {
            base.index
        } else {
            agree.index.next()
        };
        let next = match mutation::is(Mutation::HintOffByOne) {
            true => next.next(),
            false => next,
        };
        progress.next = progress.next.max(next);
    }

    /// Commits what a majority holds durably, if it is of this term: what earlier terms left is
    /// committed with it and never by counting (Raft paper, section 5.4.2).
    pub(super) fn advance_commit(&mut self) {
        let index = self.majority_of(|core, id| core.durable_with(id));
        if index > self.commit
            && (self.log.term_at(index) == Some(self.term)
                || mutation::is(Mutation::CommitsOldTermsByCounting))
        {
            self.commit_to(index);
        }
    }

    /// Up to where a voter holds this leader's log durably, as far as it may be counted.
    fn durable_with(&self, id: NodeId) -> Index {
        let Some(recorded) = self.membership().members.get(&id).and_then(|m| m.life) else {
            return Index(0);
        };
        let (life, matched) = if id == self.id {
            let own = match mutation::is(Mutation::CountsOwnBeforeDurable) {
                true => self.log.last().index,
                false => self.disk.persisted,
            };
            (Some(self.incarnation), own)
        } else {
            match self.progress(id) {
                Some(progress) => (progress.life, progress.matched),
                None => (None, Index(0)),
            }
        };
        if mutation::is(Mutation::OtherStoresAcknowledge)
            || mutation::is(Mutation::CountsUnrecordedLives)
                && life.is_some_and(|life| life.store == recorded.incarnation.store)
        {
            return matched;
        }
        if life == Some(recorded.incarnation) && matched >= recorded.recorded_at {
            matched
        } else {
            Index(0)
        }
    }

    /// The largest value that a majority of the voters reaches.
    pub(super) fn majority_of<T: Ord + Default>(&self, value: impl Fn(&Core, NodeId) -> T) -> T {
        let membership = self.membership();
        let mut values: Vec<T> = membership.voters().map(|id| value(self, id)).collect();
        if mutation::is(Mutation::LearnersCount) {
            values = membership
                .members
                .keys()
                .map(|id| value(self, *id))
                .collect();
        }
        values.sort_unstable_by(|a, b| b.cmp(a));
        values
            .into_iter()
            .nth(membership.majority() - 1)
            .unwrap_or_default()
    }

    /// Whether a majority, this leader included, was heard within the last `ms`.
    pub(super) fn majority_heard_within(&self, ms: u64) -> bool {
        self.majority_of(|core, id| {
            id == core.id
                || core.progress(id).is_some_and(|progress| {
                    let counts = progress.life.is_some_and(|life| {
                        matches!(
                            core.standing(id, life),
                            Standing::Recorded | Standing::Newer
                        )
                    });
                    counts && progress.heard_within(ms, core.now)
                })
        })
    }

    /// Asks the successor to stand for election once it holds the whole log.
    fn hand_over_if_ready(&mut self) {
        let last = self.log.last().index;
        let State::Leader(leading) = &self.state else {
            return;
        };
        let Some(Transfer { to, .. }) = leading.transfer else {
            return;
        };
        if leading.progress.get(&to).is_some_and(|p| p.matched == last) {
            self.post(to, self.term, Message::TimeoutNow);
        }
    }

    /// A leader that is no voter any more makes the most advanced one stand, and leads no longer.
    pub(super) fn leave_to_successor(&mut self) {
        let best = self
            .membership()
            .voters()
            .filter_map(|id| self.progress(id).map(|progress| (progress.matched, id)))
            .max();
        if let Some((_, to)) = best {
            self.post(to, self.term, Message::TimeoutNow);
        }
        self.step_down(None);
    }

    pub(super) fn progress(&self, id: NodeId) -> Option<&Progress> {
        match &self.state {
            State::Leader(leading) => leading.progress.get(&id),
            _ => None,
        }
    }

    pub(super) fn progress_of(&mut self, id: NodeId) -> Option<&mut Progress> {
        match &mut self.state {
            State::Leader(leading) => leading.progress.get_mut(&id),
            _ => None,
        }
    }
}
