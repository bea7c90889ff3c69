//! Who belongs to the cluster, what it states, and what it holds.

use std::sync::Arc;

use tcpffee_raft::ids::{Index, NodeId};
use tcpffee_raft::membership::{MAX_MEMBERS, Membership};

use super::agreement::Member;
use super::{Now, State};
use crate::stick::replicated::command::{Outcome, Statement};

impl State {
    /// A process states what its file says, and begins its session.
    pub(super) fn state(
        &mut self,
        now: Now,
        node: NodeId,
        boot: u64,
        statement: Statement,
    ) -> Outcome {
        if !self.agreement.told {
            self.admit(node, true);
        }
        let Some(member) = self.agreement.members.get(&node) else {
            return Outcome::Stale;
        };
        if member.statement.is_some() && member.boot != boot {
            self.end_of_session(now, node);
        }
        if let Some(member) = self.agreement.members.get_mut(&node) {
            member.boot = boot;
            member.present = true;
            member.has_session = true;
            let same = member.statement.as_deref() == Some(&statement);
            if !same {
                member.statement = Some(Arc::new(statement));
            }
        }
        self.reckon(now)
    }

    /// The leader has not heard the process for a while.
    pub(super) fn end_session(&mut self, now: Now, node: NodeId, boot: u64) -> Outcome {
        let member = self.agreement.members.get(&node);
        if !member.is_some_and(|member| member.statement.is_some() && member.boot == boot) {
            return Outcome::Stale;
        }
        self.end_of_session(now, node);
        self.reckon(now)
    }

    /// The leader has not heard the node for long.
    pub(super) fn absent(&mut self, now: Now, node: NodeId) -> Outcome {
        let Some(member) = self.agreement.members.get_mut(&node) else {
            return Outcome::Stale;
        };
        member.present = false;
        self.reckon(now)
    }

    /// Takes in who belongs to the cluster: who does not any more holds nothing, and what it
    /// stated is forgotten.
    pub(super) fn take_membership(&mut self, now: Now, membership: &Membership) {
        self.agreement.told = true;
        let mut left = 0;
        self.agreement.members.retain(|node, member| {
            let stays = membership.members.contains_key(node);
            if !stays {
                left |= 1 << member.slot;
            }
            stays
        });
        if left != 0 {
            let until = self.whole_life(now);
            self.entries.leave(left, until);
        }
        for &node in membership.members.keys() {
            self.admit(node, membership.is_voter(node));
        }
    }

    /// What the node holds expires from now on.
    fn end_of_session(&mut self, now: Now, node: NodeId) {
        let until = self.whole_life(now);
        let member = self.agreement.members.get_mut(&node);
        if let Some(member) = member.filter(|member| member.has_session) {
            member.has_session = false;
            member.session_ended_at = now.index;
            self.entries.end_holds(1 << member.slot, until);
        }
    }

    /// Makes the node a member, or the member a voter or none. There is a slot for each that a
    /// membership can have.
    fn admit(&mut self, node: NodeId, voter: bool) {
        let members = &mut self.agreement.members;
        if let Some(member) = members.get_mut(&node) {
            member.voter = voter;
            return;
        }
        let taken = members
            .values()
            .fold(0_u64, |taken, member| taken | 1 << member.slot);
        let slot = taken.trailing_ones();
        if slot as usize >= MAX_MEMBERS {
            return;
        }
        let slot = slot as u8;
        let member = Member {
            slot,
            voter,
            boot: 0,
            statement: None,
            present: false,
            session_ended_at: Index(0),
            has_session: false,
        };
        members.insert(node, member);
        self.entries.replica.members.set(slot, node);
    }
}
