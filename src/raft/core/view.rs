//! What can be read of a core.

use std::sync::Arc;

use crate::durable::HardState;
use crate::entry::Entry;
use crate::ids::{Incarnation, Index, NodeId, NodeTime, Position, Term};
use crate::membership::Membership;
use crate::message::LeaseGrant;
use crate::progress::Flow;
use crate::settings::Settings;

use super::mutation::{self, Mutation};
use super::{Core, Role, State};

/// A leader's view of another member, for people to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerView {
    /// The member.
    pub id: NodeId,
    /// Up to where its log is known to agree, durably.
    pub matched: Index,
    /// Up to where it has applied.
    pub applied: Index,
    /// How entries are sent: `probe`, `replicate` or `snapshot`.
    pub flow: &'static str,
    /// Of a snapshot that is being sent, the bytes that have arrived.
    pub snapshot_bytes: Option<u64>,
    /// Milliseconds since it was last heard.
    pub silent_ms: Option<u64>,
    /// The life it was heard in.
    pub life: Option<Incarnation>,
}

impl Core {
    /// This node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Its life.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Times and bounds.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it is.
    pub fn role(&self) -> Role {
        match self.state {
            State::Follower if self.membership().is_voter(self.id) => Role::Follower,
            State::Follower => Role::Learner,
            State::PreCandidate { .. } => Role::PreCandidate,
            State::Candidate { .. } => Role::Candidate,
            State::Leader(_) => Role::Leader,
        }
    }

    /// The newest term that it knows.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Who leads, as far as it knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Up to where the log is committed, as far as it knows.
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// Up to where the state machine has applied.
    pub fn applied_index(&self) -> Index {
        self.applied
    }

    /// Up to where the log is durable here.
    pub fn persisted_index(&self) -> Index {
        self.disk.persisted
    }

    /// Where the log begins.
    pub fn first_index(&self) -> Index {
        self.log.first_index()
    }

    /// Where the log ends.
    pub fn last(&self) -> Position {
        self.log.last()
    }

    /// The term at a place in the log, or right before it.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term_at(index)
    }

    /// The entry at a place.
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.log.entry(index)
    }

    /// Bytes of the entries in memory.
    pub fn log_bytes(&self) -> usize {
        self.log.bytes()
    }

    /// The membership in force here.
    pub fn membership(&self) -> &Arc<Membership> {
        self.in_force().1
    }

    /// The membership in force here, with the entry that made it so.
    pub fn in_force(&self) -> (Index, &Arc<Membership>) {
        if mutation::is(Mutation::MembershipInForceLate)
            && let Some((index, membership)) = self
                .memberships
                .iter()
                .rfind(|(index, _)| *index <= self.commit)
        {
            return (*index, membership);
        }
        let (index, membership) = self
            .memberships
            .last()
            .expect("there is a membership at all times, if an empty one");
        (*index, membership)
    }

    /// What must not be forgotten.
    pub fn hard_state(&self) -> HardState {
        HardState {
            term: self.term,
            vote: self.vote,
            commit: self.commit,
        }
    }

    /// The lease in force; it may have run out by the clock.
    pub fn lease(&self) -> Option<LeaseGrant> {
        self.lease
    }

    /// The newest version of commands that all members understand.
    pub fn version(&self) -> u16 {
        self.membership().version()
    }

    /// Whether the cluster has dismissed this node.
    pub fn is_dismissed(&self) -> bool {
        self.dismissed
    }

    /// Whether it has stopped for good: halted, its store retired, or its disk failed.
    pub fn is_stopped(&self) -> bool {
        self.is_silent()
    }

    /// Whether it belongs to no cluster yet.
    pub fn is_blank(&self) -> bool {
        self.membership().members.is_empty()
    }

    /// Whether a snapshot is arriving.
    pub fn is_receiving(&self) -> bool {
        self.receiving.is_some()
    }

    /// Whether a node is a voter in the membership in force.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.membership().is_voter(id)
    }

    /// When [`Core::tick`] has something to do.
    pub fn next_deadline(&self) -> NodeTime {
        match &self.state {
            State::Leader(leading) => leading
                .news_due
                .map_or(leading.heartbeat_due, |due| due.min(leading.heartbeat_due)),
            _ => self.election_due,
        }
    }

    /// As leader: every other member.
    pub fn peers(&self) -> Vec<PeerView> {
        let State::Leader(leading) = &self.state else {
            return Vec::new();
        };
        leading
            .progress
            .iter()
            .map(|(id, progress)| PeerView {
                id: *id,
                matched: progress.matched,
                applied: progress.applied,
                flow: match progress.flow {
                    Flow::Probe { .. } => "probe",
                    Flow::Replicate { .. } => "replicate",
                    Flow::Snapshot { .. } => "snapshot",
                },
                snapshot_bytes: match progress.flow {
                    Flow::Snapshot { offset, .. } => Some(offset),
                    _ => None,
                },
                silent_ms: progress.heard.map(|heard| self.now.since(heard)),
                life: progress.life,
            })
            .collect()
    }
}
