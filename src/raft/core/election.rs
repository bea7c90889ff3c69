//! Standing for election, voting, and what a term makes of a node.

use std::collections::BTreeMap;

use crate::entry::Payload;
use crate::ids::{Incarnation, Index, NodeId, Position, Term};
use crate::membership;
use crate::message::Message;

use super::lead::Leading;
use super::lives::Standing;
use super::mutation::{self, Mutation};
use super::{Core, CoreEvent, State};

/// How far a message's term may be ahead. No cluster ever elects so often while a node is away;
/// and whoever makes up terms must not be able to use all of them up at once.
const MAX_TERM_STEP: u64 = 1 << 32;

impl Core {
    /// Draws the time of the next election.
    pub(super) fn postpone_election(&mut self) {
        let Self { settings, dice, .. } = self;
        let wait = dice.between(settings.election_min_ms, settings.election_max_ms);
        self.election_due = self.now.plus(wait);
    }

    /// Nobody has led for a while: asks the others whether they would vote for this node.
    pub(super) fn stand(&mut self) {
        self.postpone_election();
        if matches!(self.state, State::Candidate { .. }) && !self.disk.term_is_durable() {
            // A slow disk: nobody has been asked yet.
            return;
        }
        self.follow_leader(None);
        if self.membership().members.is_empty() {
            return;
        }
        if !self.is_electable() {
            // Whoever leads answers a node that is no member any more, or whose store is retired.
            self.become_quiet_follower();
            self.ask_pre_votes();
            return;
        }
        self.state = State::PreCandidate {
            granted: BTreeMap::from([(self.id, true)]),
        };
        self.role_changed();
        // Whoever has heard the leader a moment later does not answer yet: to ask again costs
        // nobody anything, and waiting for another whole time-out costs everybody.
        let again = self.settings.heartbeat_ms;
        self.election_due = self.now.plus(self.dice.between(again, 2 * again));
        if mutation::is(Mutation::StandsWithoutPreVote) {
            self.campaign(false);
            return;
        }
        self.ask_pre_votes();
        self.tally();
    }

    fn ask_pre_votes(&mut self) {
        let last = self.log.last();
        let term = Term(self.term.0 + 1);
        self.ask_voters(term, &Message::PreVote { last });
    }

    fn ask_voters(&mut self, term: Term, message: &Message) {
        let voters: Vec<NodeId> = self.membership().voters().collect();
        for id in voters {
            if id != self.id {
                self.post(id, term, message.clone());
            }
        }
    }

    /// Stands for election in the next term.
    fn campaign(&mut self, transfer: bool) {
        self.take_term(Term(self.term.0 + 1), Some(self.id));
        self.verified = Index(0);
        self.follow_leader(None);
        self.postpone_election();
        self.state = State::Candidate {
            granted: BTreeMap::new(),
        };
        self.role_changed();
        let last = self.log.last();
        self.ask_voters(self.term, &Message::Vote { last, transfer });
    }

    /// The own vote counts once it cannot be forgotten.
    pub(super) fn count_own_vote(&mut self) {
        if !self.disk.term_is_durable() {
            return;
        }
        if let State::Candidate { granted } = &mut self.state {
            granted.insert(self.id, true);
            self.tally();
        }
    }

    /// Counts votes, or what stands for them before an election.
    fn tally(&mut self) {
        let (State::PreCandidate { granted } | State::Candidate { granted }) = &self.state else {
            return;
        };
        let membership = self.membership();
        let votes = |wanted: bool| {
            granted
                .iter()
                .filter(|(id, given)| **given == wanted && membership.is_voter(**id))
                .count()
        };
        let majority = membership.majority();
        let (won, lost) = (votes(true) >= majority, votes(false) >= majority);
        match (&self.state, won, lost) {
            (State::PreCandidate { .. }, true, _) => self.campaign(false),
            (State::Candidate { .. }, true, _) => self.begin_to_lead(),
            (_, _, true) => self.become_quiet_follower(),
            _ => {}
        }
    }

    /// Whether this node may stand for election: a voter, with the store that the log knows it by.
    /// One that stops being a voter by a change that is not certain yet still may: it can be the
    /// only one whose log is long enough (thesis, section 4.2.2). Its own vote then counts for
    /// nothing.
    pub(super) fn is_electable(&self) -> bool {
        let standing = self.standing(self.id, self.incarnation);
        if matches!(standing, Standing::Stale | Standing::Retired) {
            return false;
        }
        let looked_at = match mutation::is(Mutation::LeaverNeverStands) {
            true => self.memberships.len() - 1,
            false => 0,
        };
        self.memberships[looked_at..].iter().any(|(_, membership)| {
            membership.members.get(&self.id).is_some_and(|member| {
                member.role == membership::Role::Voter
                    && member.life.is_none_or(|life| {
                        let known = life.incarnation;
                        known.store == self.incarnation.store
                            && known.start <= self.incarnation.start
                    })
            })
        })
    }

    /// Brings the term up to date with a message's. Answers whether the message is to be heard.
    pub(super) fn settle_term(&mut self, from: NodeId, term: Term, message: &Message) -> bool {
        if term < self.term && !mutation::is(Mutation::HearsEarlierTerms) {
            self.answer_from_the_past(from, message);
            return false;
        }
        if term <= self.term {
            return true;
        }
        if term.0.saturating_sub(self.term.0) > MAX_TERM_STEP {
            return false;
        }
        match message {
            // They speak of a term that may never be.
            Message::PreVote { .. } | Message::PreVoteReply { granted: true } => true,
            // Whoever lost touch does not disturb a leader that others hear (thesis, 4.2.3).
            Message::Vote {
                transfer: false, ..
            } if self.leader_is_alive() => {
                self.refuse_stranger(from);
                false
            }
            Message::Append { .. } | Message::Heartbeat { .. } | Message::SnapshotChunk { .. } => {
                self.become_follower(term, Some(from));
                true
            }
            _ => {
                self.become_follower(term, None);
                true
            }
        }
    }

    /// Tells a node of an earlier term that there is a later one: a leader that only hears what
    /// it cannot understand would go on for ever.
    fn answer_from_the_past(&mut self, from: NodeId, message: &Message) {
        let answer = match message {
            Message::Append { .. } | Message::Heartbeat { .. } | Message::SnapshotChunk { .. } => {
                Message::AppendRejected {
                    previous: Index(0),
                    hint: Position::default(),
                }
            }
            Message::PreVote { .. } => Message::PreVoteReply { granted: false },
            Message::Vote { .. } => Message::VoteReply { granted: false },
            _ => return,
        };
        self.post(from, self.term, answer);
    }

    /// Whether this node leads, or has heard the leader within the shortest election time-out.
    fn leader_is_alive(&self) -> bool {
        let heard = self
            .leader_heard
            .is_some_and(|heard| self.now.since(heard) < self.settings.election_min_ms);
        (matches!(self.state, State::Leader(_)) || (self.leader.is_some() && heard))
            && !mutation::is(Mutation::VotesWhileLeaderLives)
    }

    pub(super) fn on_pre_vote(
        &mut self,
        from: NodeId,
        incarnation: Incarnation,
        term: Term,
        last: Position,
    ) {
        if self.refuse_stale_life(from, incarnation) {
            return;
        }
        if self.membership().members.is_empty() || self.leader_is_alive() {
            self.refuse_stranger(from);
            return;
        }
        let granted = term > self.term && last.up_to_date_with(self.log.last());
        let term = if granted { term } else { self.term };
        self.post(from, term, Message::PreVoteReply { granted });
    }

    pub(super) fn on_pre_vote_reply(
        &mut self,
        from: NodeId,
        incarnation: Incarnation,
        term: Term,
        given: bool,
    ) {
        if given && term.0 != self.term.0 + 1 {
            return;
        }
        let counts = self.vote_counts(from, incarnation);
        if let (State::PreCandidate { granted }, true) = (&mut self.state, counts) {
            granted.insert(from, given);
            self.tally();
        }
    }

    pub(super) fn on_vote(&mut self, from: NodeId, incarnation: Incarnation, last: Position) {
        // A node without a log cannot know what it has promised before.
        if self.membership().members.is_empty() || self.refuse_stale_life(from, incarnation) {
            return;
        }
        let free = match self.vote {
            _ if mutation::is(Mutation::VotesTwice) => true,
            Some(voted) => voted == from,
            None => self.leader.is_none(),
        };
        let granted = free && last.up_to_date_with(self.log.last());
        if granted {
            if self.vote.is_none() {
                self.take_term(self.term, Some(from));
            }
            self.postpone_election();
        }
        self.post(from, self.term, Message::VoteReply { granted });
    }

    pub(super) fn on_vote_reply(&mut self, from: NodeId, incarnation: Incarnation, given: bool) {
        let counts = self.vote_counts(from, incarnation);
        if let (State::Candidate { granted }, true) = (&mut self.state, counts) {
            granted.insert(from, given);
            self.tally();
        }
    }

    /// Whether a vote counts: a voter's, from a store that has forgotten nothing.
    fn vote_counts(&self, from: NodeId, incarnation: Incarnation) -> bool {
        let standing = self.standing(from, incarnation);
        self.membership().is_voter(from)
            && (matches!(
                standing,
                Standing::Recorded | Standing::Newer | Standing::Unrecorded
            ) || mutation::is(Mutation::OtherStoresVote))
    }

    /// The leader hands over to this node.
    pub(super) fn on_timeout_now(&mut self, from: NodeId) {
        if self.leader == Some(from) && self.is_electable() {
            self.campaign(true);
        }
    }

    fn begin_to_lead(&mut self) {
        assert!(
            self.disk.term_is_durable(),
            "nobody leads on a vote that it may forget"
        );
        let first = self.log.last().index.next();
        self.state = State::Leader(Box::new(Leading::new(first, self.now)));
        self.follow_leader(Some(self.id));
        self.role_changed();
        self.track_members();
        if !mutation::is(Mutation::NoEntryAtTermBegin) {
            self.append(Payload::Empty);
            self.record_own_life();
        }
        self.heartbeat();
        self.advance_commit();
    }

    /// Follows in a later term.
    pub(super) fn become_follower(&mut self, term: Term, leader: Option<NodeId>) {
        self.keep_log_time();
        self.take_term(term, None);
        self.verified = Index(0);
        self.state = State::Follower;
        self.role_changed();
        self.follow_leader(leader);
        self.postpone_election();
    }

    /// Leads no longer, in the same term.
    pub(super) fn step_down(&mut self, leader: Option<NodeId>) {
        self.keep_log_time();
        self.state = State::Follower;
        self.role_changed();
        self.follow_leader(leader);
        self.postpone_election();
    }

    /// Gives up standing for election.
    pub(super) fn become_quiet_follower(&mut self) {
        if !matches!(self.state, State::Follower) {
            self.state = State::Follower;
            self.role_changed();
        }
    }

    /// Notes who leads.
    pub(super) fn follow_leader(&mut self, leader: Option<NodeId>) {
        if self.leader != leader {
            self.leader = leader;
            self.event(CoreEvent::Leader(leader));
        }
    }

    pub(super) fn role_changed(&mut self) {
        let (role, term) = (self.role(), self.term);
        if self.told != (role, term) {
            self.told = (role, term);
            self.event(CoreEvent::Role { role, term });
        }
    }
}
