//! Changes of the membership: one voter at a time, asked for or following what members state.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::entry::Payload;
use crate::ids::{Incarnation, Index, NodeId, Position};
use crate::membership::{MAX_MEMBERS, Member, Membership, RecordedLife, Role, Statement};
use crate::message::{Message, Refusal};
use crate::progress::Progress;

use super::mutation::{self, Mutation};
use super::{Core, CoreEvent, State};

/// A change of the membership.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    /// A node begins to receive the log.
    AddLearner {
        /// The node.
        node: NodeId,
        /// Whether it is made a voter once it has caught up.
        promote: bool,
    },
    /// A learner that has caught up becomes a voter.
    Promote(NodeId),
    /// A voter becomes a learner.
    Demote(NodeId),
    /// A member leaves.
    Remove(NodeId),
}

/// Why the membership was not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChangeError {
    /// Another node leads, or none.
    #[error("this node does not lead{}", .leader.map(|id| format!(", {id} does")).unwrap_or_default())]
    NotLeader {
        /// Who does, as far as known.
        leader: Option<NodeId>,
    },
    /// The leader has not committed anything in its term yet.
    #[error("the leader has not committed an entry of its term yet; try again")]
    NotReady,
    /// Another change is not committed yet.
    #[error("the change at index {0} is not committed yet; try again")]
    Pending(Index),
    /// The node is what it would become.
    #[error("{0} is that already")]
    NoChange(NodeId),
    /// The node is no member.
    #[error("{0} is no member")]
    NotAMember(NodeId),
    /// The learner lacks too much of the log.
    #[error("{0} has not caught up yet; try again")]
    NotCaughtUp(NodeId),
    /// Too few of the voters that would remain are there: the change might never be certain, and
    /// nothing after it.
    #[error("of the voters that would remain, {there} are heard and {needed} are needed")]
    TooFewVoters {
        /// Those that are heard, with a life on record.
        there: usize,
        /// A majority of those that would remain.
        needed: usize,
    },
    /// The cluster would have no voter.
    #[error("{0} is the last voter")]
    LastVoter(NodeId),
    /// The cluster would have too many members.
    #[error("a cluster has at most {MAX_MEMBERS} members")]
    Full,
}

impl Core {
    /// Changes the membership. It is in force at once and certain when it is committed.
    ///
    /// # Errors
    /// Where it may not be changed so, or not now.
    pub fn change_membership(&mut self, change: Change) -> Result<Position, ChangeError> {
        self.may_change()?;
        let mut next = self.membership().as_ref().clone();
        match change {
            Change::AddLearner { node, promote } => {
                let role = Role::Learner { promote };
                let full = next.members.len() >= MAX_MEMBERS;
                match next.members.get_mut(&node) {
                    Some(member) if member.role == Role::Voter || member.role == role => {
                        return Err(ChangeError::NoChange(node));
                    }
                    Some(member) => member.role = role,
                    None if full => return Err(ChangeError::Full),
                    None => {
                        let newcomer = Member {
                            role,
                            life: None,
                            statement: None,
                        };
                        next.members.insert(node, newcomer);
                    }
                }
            }
            Change::Promote(node) => {
                let caught_up = self.has_caught_up(node);
                let member = member_of(&mut next, node)?;
                if member.role == Role::Voter {
                    return Err(ChangeError::NoChange(node));
                }
                if !caught_up {
                    return Err(ChangeError::NotCaughtUp(node));
                }
                member.role = Role::Voter;
            }
            Change::Demote(node) => {
                let member = member_of(&mut next, node)?;
                if member.role != Role::Voter {
                    return Err(ChangeError::NoChange(node));
                }
                member.role = Role::Learner { promote: false };
            }
            Change::Remove(node) => {
                member_of(&mut next, node)?;
                next.members.remove(&node);
            }
        }
        if next.voters().next().is_none() {
            let (Change::AddLearner { node, .. }
            | Change::Promote(node)
            | Change::Demote(node)
            | Change::Remove(node)) = change;
            return Err(ChangeError::LastVoter(node));
        }
        if let Change::Demote(_) | Change::Remove(_) = change {
            self.keeps_majority(&next)?;
        }
        Ok(self.append_membership(next))
    }

    /// A change may begin once the leader has committed an entry of its term (without that, two
    /// leaders could change differently from the same start; thesis, section 4.1, as corrected)
    /// and no other is on its way.
    fn may_change(&self) -> Result<(), ChangeError> {
        let State::Leader(leading) = &self.state else {
            return Err(ChangeError::NotLeader {
                leader: self.leader,
            });
        };
        if self.commit < leading.first && !mutation::is(Mutation::ChangesBeforeOwnEntry) {
            return Err(ChangeError::NotReady);
        }
        let pending = self.memberships.windows(2).find(|pair| {
            let [(_, before), (index, after)] = pair else {
                return false;
            };
            *index > self.commit && before.changed_voters(after) > 0
        });
        match pending {
            Some(pair) if !mutation::is(Mutation::ChangesTwoAtOnce) => {
                Err(ChangeError::Pending(pair[1].0))
            }
            _ => Ok(()),
        }
    }

    /// Where a voter leaves, those that remain must be able to agree without it: one of them may
    /// have been lost, unnoticed as long as the leaver made up for it.
    fn keeps_majority(&self, next: &Membership) -> Result<(), ChangeError> {
        if self.membership().changed_voters(next) == 0 {
            return Ok(());
        }
        let is_there = |id: &NodeId| {
            *id == self.id
                || self.counts(*id)
                    && self.progress(*id).is_some_and(|progress| {
                        progress.heard_within(self.settings.election_min_ms, self.now)
                    })
        };
        let (there, needed) = (next.voters().filter(is_there).count(), next.majority());
        match there >= needed {
            true => Ok(()),
            false => Err(ChangeError::TooFewVoters { there, needed }),
        }
    }

    /// Whether a member has what the log held at the last heartbeat.
    fn has_caught_up(&self, id: NodeId) -> bool {
        let State::Leader(leading) = &self.state else {
            return false;
        };
        let recorded = self.membership().members.get(&id).and_then(|m| m.life);
        leading.progress.get(&id).is_some_and(|progress| {
            progress.matched >= leading.mark
                && progress.heard_within(self.settings.election_min_ms, self.now)
                && recorded.is_some_and(|life| {
                    progress.life == Some(life.incarnation) && progress.matched >= life.recorded_at
                })
        })
    }

    /// Logs a membership; it is in force at once.
    pub(super) fn append_membership(&mut self, next: Membership) -> Position {
        assert!(
            self.membership().may_become(&next),
            "voters come and go one at a time"
        );
        let next = Arc::new(next);
        let position = self.append(Payload::Membership(Arc::clone(&next)));
        self.memberships.push((position.index, next));
        self.membership_changed();
        self.advance_commit();
        position
    }

    /// Another membership is in force.
    pub(super) fn membership_changed(&mut self) {
        let (index, _) = self.in_force();
        self.event(CoreEvent::Membership(index));
        self.track_members();
        self.role_changed();
    }

    /// As leader, follows the progress of every other member and of nobody else.
    pub(super) fn track_members(&mut self) {
        let membership = Arc::clone(self.membership());
        let (id, now, next) = (self.id, self.now, self.log.last().index.next());
        let lease_until = now.plus(self.lease_bound_ms());
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        for (gone, progress) in &leading.progress {
            if !membership.members.contains_key(gone) {
                self.former_leases = self.former_leases.max(progress.lease_until);
            }
        }
        leading
            .progress
            .retain(|known, _| membership.members.contains_key(known));
        for member in membership.members.keys().filter(|member| **member != id) {
            leading
                .progress
                .entry(*member)
                .or_insert_with(|| Progress::new(next, now, lease_until));
        }
    }

    /// The membership in force, or an earlier one, has become certain.
    pub(super) fn on_membership_committed(&mut self) {
        let certain = Arc::clone(&self.memberships[0].1);
        if self.memberships.len() > 1 {
            return;
        }
        if certain.is_retired(self.incarnation.store) {
            self.fall_silent(CoreEvent::StoreRetired(self.incarnation.store));
            return;
        }
        if !certain.members.contains_key(&self.id) && !self.dismissed {
            self.dismissed = true;
            self.event(CoreEvent::Dismissed);
        }
        if matches!(self.state, State::Leader(_))
            && !certain.is_voter(self.id)
            && !mutation::is(Mutation::RemovedLeaderGoesOn)
        {
            self.send_appends();
            self.leave_to_successor();
        }
    }

    /// Takes up what this node itself states.
    pub(super) fn state_own(&mut self) {
        let id = self.id;
        let Some(statement) = self.statement.clone() else {
            return;
        };
        let on_record = self.membership().members.get(&id);
        if on_record.is_some_and(|member| member.statement.as_ref() != Some(&statement))
            && let State::Leader(leading) = &mut self.state
        {
            leading.statements.insert(id, statement);
        }
        self.record_news();
    }

    /// As leader, takes the next step towards the membership that should be.
    pub(super) fn steer(&mut self) {
        if self.may_change().is_err() || self.readmit() {
            return;
        }
        if let Some(change) = self.next_promotion().or_else(|| self.next_stated()) {
            // Refused where it is not possible yet; the next heartbeat tries again.
            let _ = self.change_membership(change);
        }
    }

    /// Makes a member that came with another store a learner with that one, its old one retired.
    fn readmit(&mut self) -> bool {
        let at = self.log.last().index.next();
        let State::Leader(leading) = &mut self.state else {
            return false;
        };
        let replaced: BTreeMap<NodeId, Incarnation> = std::mem::take(&mut leading.replaced);
        let mut next = self.membership().as_ref().clone();
        for (id, incarnation) in replaced {
            if next.is_retired(incarnation.store) {
                continue;
            }
            let Some(member) = next.members.get_mut(&id) else {
                continue;
            };
            let before = member.life;
            if before.is_some_and(|life| life.incarnation.store == incarnation.store) {
                continue;
            }
            let was_voter = member.role == Role::Voter;
            if was_voter {
                member.role = Role::Learner { promote: true };
            }
            member.life = Some(RecordedLife {
                incarnation,
                recorded_at: at,
            });
            if let Some(life) = before {
                next.retire(life.incarnation.store);
            }
            if next.voters().next().is_none() {
                return false;
            }
            self.append_membership(next);
            return true;
        }
        false
    }

    /// A learner to be made a voter now.
    fn next_promotion(&self) -> Option<Change> {
        self.membership()
            .members
            .iter()
            .filter(|(_, member)| member.role == Role::Learner { promote: true })
            .map(|(id, _)| *id)
            .find(|id| self.has_caught_up(*id))
            .map(Change::Promote)
    }

    /// The peers that a majority of the voters states, exactly alike.
    pub fn agreed_peers(&self) -> Option<&[NodeId]> {
        let membership = self.membership();
        let stated: Vec<&Statement> = membership
            .members
            .values()
            .filter(|member| member.role == Role::Voter)
            .filter_map(|member| member.statement.as_ref())
            .collect();
        stated
            .iter()
            .find(|list| {
                let alike = stated.iter().filter(|other| other.peers == list.peers);
                alike.count() >= membership.majority()
            })
            .map(|statement| statement.peers.as_slice())
            .filter(|peers| !peers.is_empty())
    }

    /// The next step towards the peers that a majority states: members that cannot be reached
    /// leave first, then newcomers become learners, and when all of them vote the others leave,
    /// the leader last.
    fn next_stated(&self) -> Option<Change> {
        let peers = self.agreed_peers()?;
        let members = &self.membership().members;
        let reachable = |id: &NodeId| {
            *id == self.id
                || self.progress(*id).is_some_and(|progress| {
                    progress.heard_within(2 * self.settings.election_max_ms, self.now)
                })
        };
        let leaving = |id: &&NodeId| !peers.contains(id);
        if let Some(lost) = members.keys().filter(leaving).find(|id| !reachable(id)) {
            return Some(Change::Remove(*lost));
        }
        let newcomer = peers.iter().find(|id| {
            let role = members.get(id).map(|member| member.role);
            matches!(role, None | Some(Role::Learner { promote: false }))
        });
        if let Some(node) = newcomer.copied() {
            return Some(Change::AddLearner {
                node,
                promote: true,
            });
        }
        if peers.iter().any(|id| !self.membership().is_voter(*id)) {
            return None;
        }
        let leaver = members
            .keys()
            .filter(leaving)
            .max_by_key(|id| **id != self.id)?;
        Some(Change::Remove(*leaver))
    }

    /// As leader, tells those who were members before a committed change that they are none.
    pub(super) fn dismiss(&mut self, former: &Membership) {
        let gone: Vec<NodeId> = former
            .members
            .keys()
            .filter(|id| !self.membership().members.contains_key(id))
            .copied()
            .collect();
        for id in gone {
            self.post(id, self.term, Message::Refused(Refusal::NotAMember));
        }
    }
}

fn member_of(membership: &mut Membership, id: NodeId) -> Result<&mut Member, ChangeError> {
    membership
        .members
        .get_mut(&id)
        .ok_or(ChangeError::NotAMember(id))
}
