//! What a node tells of itself, for the statistics API and for tests.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::conflicts::Conflict;
use super::node::Node;
use crate::core::{PeerView, Role};
use crate::forming;
use crate::ids::{ClusterId, Incarnation, Index, LogTime, NodeId, NodeTime, Position, Term};
use crate::membership;
use crate::proposals::client;
use crate::store::files::Files;
use crate::transport::PeerStatus;

/// How one node of one Raft group stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its cluster; none before it belongs to one.
    pub cluster: Option<ClusterId>,
    /// How forming has come along.
    pub forming: forming::State,
    /// What it is.
    pub role: Role,
    /// The newest term that it knows.
    pub term: Term,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Up to where the log is committed, as far as it knows.
    pub commit: Index,
    /// Up to where its state machine has applied.
    pub applied: Index,
    /// Up to where its log is durable.
    pub persisted: Index,
    /// Where its log begins.
    pub first: Index,
    /// Where its log ends.
    pub last: Position,
    /// Bytes of its log in memory.
    pub log_bytes: usize,
    /// The cluster's time as it knows it.
    pub time: LogTime,
    /// The newest version of commands that all members understand.
    pub version: u16,
    /// The newest version of commands that each member states to understand; without those that
    /// have stated nothing.
    pub versions: BTreeMap<NodeId, u16>,
    /// The place of its newest snapshot.
    pub snapshot: Option<Index>,
    /// The bytes of that snapshot.
    pub snapshot_bytes: Option<u64>,
    /// Until when it holds a lease, by its own clock; none without.
    pub lease_until: Option<NodeTime>,
    /// Voters, ascending.
    pub voters: Vec<NodeId>,
    /// Other members, ascending.
    pub learners: Vec<NodeId>,
    /// As leader: the other members.
    pub members: Vec<PeerView>,
    /// Connections to the configured peers.
    pub peers: Vec<PeerStatus>,
    /// Peers and this node that do not take each other. While what must be the same on all nodes
    /// differs, a peer is of another cluster, or another claims this node's id, it must not serve.
    pub conflicts: BTreeMap<NodeId, Conflict>,
    /// Why it takes no part any more, or takes no snapshots.
    pub trouble: Option<Trouble>,
    /// Counts since the start.
    pub counters: Counters,
    /// Proposals of this node: counts since the start.
    pub proposals: client::Counters,
    /// Proposals of this node that wait to be sent.
    pub proposals_waiting: usize,
    /// Proposals, of any node, that wait here as with their leader.
    pub proposals_at_desk: usize,
}

/// Why a node takes no part any more, or lacks something.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    /// The log cannot be written: it neither leads, votes nor acknowledges until restarted.
    #[error(
        "the log cannot be written: {0}; this node leads, votes and acknowledges no more: mend the \
         disk, then restart it"
    )]
    Disk(String),
    /// Something that cannot be was seen: it does nothing more.
    #[error("halted at {at}: {what}")]
    Halted {
        /// Where in the log.
        at: Position,
        /// In words.
        what: String,
    },
    /// The cluster has dismissed it.
    #[error("the cluster has dismissed this node")]
    Dismissed,
    /// An order to go on with the log as this cluster was begun and not finished.
    #[error(
        "the order to go on with this node's log as cluster {0} did not finish: its old membership \
         is still in force; give it again (`tcpffee cluster form`)"
    )]
    Unfinished(ClusterId),
    /// The newest snapshot could not be written; it is tried again.
    #[error("no snapshot can be taken: {0}")]
    Snapshot(String),
}

/// Counts since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Turns of the driver's loop.
    pub turns: u64,
    /// Messages of Raft taken in.
    pub messages_received: u64,
    /// Messages of Raft handed to the transport.
    pub messages_sent: u64,
    /// Writes handed to the log's writer.
    pub writes: u64,
    /// Times that the log was synced.
    pub syncs: u64,
    /// Entries applied.
    pub entries_applied: u64,
    /// Commands of other nodes taken in.
    pub commands_received: u64,
    /// Local snapshots taken.
    pub snapshots_taken: u64,
    /// Local snapshots that failed.
    pub snapshots_failed: u64,
    /// Snapshots of a leader put in force.
    pub snapshots_restored: u64,
    /// Times that the role became leader.
    pub elections_won: u64,
    /// Messages of a leader that the full log had no room for.
    pub appends_dropped: u64,
}

impl<F: Files> Node<F> {
    /// Lets others see how it stands.
    pub(super) fn publish_status(&mut self) {
        if self.trouble == Some(Trouble::Dismissed) && !self.life.core.is_dismissed() {
            self.trouble = None;
        }
        let status = self.stands();
        self.status_at = self.now;
        self.status_due = None;
        let shared = self.status.lock();
        *shared.unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    fn stands(&self) -> Status {
        let core = &self.life.core;
        let (voters, learners) = core
            .membership()
            .members
            .iter()
            .partition::<Vec<_>, _>(|(_, member)| member.role == membership::Role::Voter);
        let ids = |members: Vec<(&NodeId, &membership::Member)>| {
            members.into_iter().map(|(id, _)| *id).collect()
        };
        Status {
            node: self.config.node,
            incarnation: core.incarnation(),
            cluster: self.joined,
            forming: self.forming.state(),
            role: core.role(),
            term: core.term(),
            leader: core.leader(),
            commit: core.commit(),
            applied: core.applied_index(),
            persisted: core.persisted_index(),
            first: core.first_index(),
            last: core.last(),
            log_bytes: core.log_bytes(),
            time: core.log_time(),
            version: core.version(),
            versions: core.membership().versions().collect(),
            snapshot: core.newest_snapshot(),
            snapshot_bytes: core.newest_snapshot_bytes(),
            lease_until: self.lease.reader().until(self.now),
            voters: ids(voters),
            learners: ids(learners),
            members: core.peers(),
            peers: self.transport.status(),
            conflicts: self.conflicts.list(),
            trouble: self.trouble.clone(),
            counters: self.counters,
            proposals: self.client.counters(),
            proposals_waiting: self.client.waiting(),
            proposals_at_desk: self.desk.len(),
        }
    }
}
