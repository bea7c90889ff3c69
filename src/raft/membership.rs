//! Who belongs to the cluster.
//!
//! A membership is one value that each entry of its kind carries whole; the newest one in a
//! node's log is in force there. What a step may change is checked in one place
//! ([`Membership::may_become`]): of the voters, one node at a time.

use std::collections::BTreeMap;

use crate::ids::{Incarnation, Index, NodeId, StoreId};

/// The members of a cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Membership {
    /// The members by id.
    pub members: BTreeMap<NodeId, Member>,
    /// Stores that no member may ever come back with, oldest first; at most [`MAX_RETIRED`].
    pub retired: Vec<StoreId>,
}

/// Retired stores that a membership remembers; beyond it the oldest is forgotten.
pub const MAX_RETIRED: usize = 256;

/// Nodes that a cluster may have.
pub const MAX_MEMBERS: usize = 64;

/// One member.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Member {
    /// Whether it votes.
    pub role: Role,
    /// The life it was last seen in; none before it was first heard.
    pub life: Option<RecordedLife>,
    /// What its configuration states; none before it was first heard.
    pub statement: Option<Statement>,
}

/// The life of a member as the log records it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RecordedLife {
    /// The life.
    pub incarnation: Incarnation,
    /// The entry that recorded it. What this life acknowledges counts from here on: whoever
    /// holds the acknowledged entries then also holds the record.
    pub recorded_at: Index,
}

/// What a member does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Votes, and counts for what is committed.
    Voter,
    /// Receives the log and counts for nothing.
    Learner {
        /// Whether it is made a voter once it has caught up.
        promote: bool,
    },
}

/// What a node states of itself to the leader, which writes it into the log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Statement {
    /// The ids of its configured peers, itself included, ascending.
    pub peers: Vec<NodeId>,
    /// The newest version of commands that it understands.
    pub version: u16,
}

impl Membership {
    /// The voters' ids.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members
            .iter()
            .filter(|(_, member)| member.role == Role::Voter)
            .map(|(id, _)| *id)
    }

    /// The newest version of commands that each member states to understand, as far as they have
    /// stated anything.
    pub fn versions(&self) -> impl Iterator<Item = (NodeId, u16)> + '_ {
        self.members
            .iter()
            .filter_map(|(id, member)| Some((*id, member.statement.as_ref()?.version)))
    }

    /// Whether the node is a voter.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.members
            .get(&id)
            .is_some_and(|member| member.role == Role::Voter)
    }

    /// Voters that make a majority.
    pub fn majority(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// Whether the store is one that no member may come back with.
    pub fn is_retired(&self, store: StoreId) -> bool {
        self.retired.contains(&store)
    }

    /// Notes that no member may come back with the store.
    pub fn retire(&mut self, store: StoreId) {
        if self.is_retired(store) {
            return;
        }
        if self.retired.len() == MAX_RETIRED {
            self.retired.remove(0);
        }
        self.retired.push(store);
    }

    /// The newest version of commands that every member understands, as far as they have stated
    /// it; 0 before any has.
    pub fn version(&self) -> u16 {
        self.members
            .values()
            .filter_map(|member| member.statement.as_ref())
            .map(|said| said.version)
            .min()
            .unwrap_or(0)
    }

    /// Nodes that are voters in one of both and not in the other.
    pub fn changed_voters(&self, next: &Membership) -> usize {
        let lost = self.voters().filter(|id| !next.is_voter(*id)).count();
        let gained = next.voters().filter(|id| !self.is_voter(*id)).count();
        lost + gained
    }

    /// Whether one step may lead to `next`: majorities before and after always share a node
    /// where at most one voter comes or goes (Ongaro's thesis, section 4.1), and a cluster keeps
    /// a voter.
    pub fn may_become(&self, next: &Membership) -> bool {
        self.changed_voters(next) <= 1
            && next.voters().next().is_some()
            && next.members.len() <= MAX_MEMBERS
    }

    /// What it counts in the bounds on bytes: its encoded size, roughly.
    pub fn size_bytes(&self) -> usize {
        const MEMBER: usize = 64;
        let statements: usize = self
            .members
            .values()
            .filter_map(|member| member.statement.as_ref())
            .map(|said| said.peers.len() * 8)
            .sum();
        self.members.len() * MEMBER + statements + self.retired.len() * 16
    }
}
