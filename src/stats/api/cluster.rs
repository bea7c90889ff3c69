//! `/api/v1/raft`: the Raft groups of this node.

use serde::Serialize;
use utoipa::ToSchema;

use super::ClusterNode;

/// The Raft groups of this node, and what it makes of them; all null for a lone node.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Raft {
    /// The one that agrees on the stick table.
    pub stick_table: Option<RaftGroup>,
    /// The one that agrees on the health checks.
    pub healthchecks: Option<RaftGroup>,
    /// How this node serves by the stick table that is agreed on.
    pub node: Option<ClusterNode>,
}

/// How one Raft group stands, as this node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RaftGroup {
    /// The cluster that this node belongs to; null before it belongs to one.
    pub cluster: Option<String>,
    /// How far forming the cluster has come, in words.
    pub forming: String,
    /// What this node is.
    pub role: RaftRole,
    /// The newest term that it knows.
    pub term: u64,
    /// The node that leads, as far as it knows.
    pub leader: Option<String>,
    /// Leaders that it has come to know, one after the other, since its start.
    pub leader_changes: u64,
    /// This node's life: its store, and how often that has been started.
    pub life: String,
    /// The index up to which the log is committed, as far as it knows.
    pub commit: u64,
    /// The index up to which this node has applied.
    pub applied: u64,
    /// The index up to which its log is durable.
    pub persisted: u64,
    /// The index of the log's first entry.
    pub first: u64,
    /// The index of its last entry.
    pub last: u64,
    /// Entries of the log.
    pub log_entries: u64,
    /// Bytes of the log in memory.
    pub log_bytes: u64,
    /// The cluster's time as this node knows it: seconds that the log counts.
    pub time_seconds: f64,
    /// The newest version of commands that all members understand.
    pub version: u16,
    /// The index that the newest snapshot stands for; null where there is none.
    pub snapshot: Option<u64>,
    /// The bytes of that snapshot.
    pub snapshot_bytes: Option<u64>,
    /// Whether this node may answer from its own table now.
    pub has_lease: bool,
    /// Whether this node takes part; where it does not, `trouble` says why.
    pub takes_part: bool,
    /// What keeps this node out, or what it lacks, in words; null where nothing does.
    pub trouble: Option<String>,
    /// Proposals of this node that wait to be sent.
    pub proposals_waiting: u64,
    /// Proposals of any node that wait here for the log, while this node leads.
    pub proposals_at_leader: u64,
    /// Counts since the start.
    pub counts: RaftCounts,
    /// Nodes that do not take each other; this node's own id where another claims it.
    pub conflicts: Vec<Conflict>,
    /// The cluster's nodes, this one included.
    pub members: Vec<Member>,
}

/// What a node is in a Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RaftRole {
    /// It leads.
    Leader,
    /// It follows and votes.
    Follower,
    /// It stands for election.
    Candidate,
    /// It follows and does not vote yet.
    Learner,
}

/// Counts of a Raft group since the start of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct RaftCounts {
    /// Elections that this node won.
    pub elections_won: u64,
    /// Messages of Raft taken in.
    pub messages_received: u64,
    /// Messages of Raft handed on to be sent.
    pub messages_sent: u64,
    /// Times that the log was synced.
    pub syncs: u64,
    /// Entries applied.
    pub entries_applied: u64,
    /// Messages of a leader that the full log had no room for.
    pub appends_dropped: u64,
    /// Snapshots of its own state that this node took.
    pub snapshots_taken: u64,
    /// Those that failed.
    pub snapshots_failed: u64,
    /// Snapshots of a leader that it put in force.
    pub snapshots_restored: u64,
    /// Commands that this node asked for.
    pub proposed: u64,
    /// Those of them that were answered.
    pub answered: u64,
    /// Copies of them sent beyond the first ones.
    pub sent_again: u64,
    /// Commands that got no answer: too late, not taken, or refused.
    pub unanswered: u64,
}

/// Two nodes that do not take each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Conflict {
    /// The node that it is about, a MAC address.
    pub node: String,
    /// Its host, where the configuration has one.
    pub host: Option<String>,
    /// Why, in words.
    pub reason: String,
}

/// One node of a Raft group. What only the leader knows is null elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Member {
    /// The node's id, a MAC address.
    pub node: String,
    /// Its host, where the configuration has one.
    pub host: Option<String>,
    /// Whether it is this node.
    pub own: bool,
    /// Whether it belongs to the cluster; false for a peer that is configured and does not (yet).
    pub belongs: bool,
    /// Whether it votes.
    pub votes: bool,
    /// Whether a connection to it is open; true for this node.
    pub connected: bool,
    /// The index up to which its log is known to agree.
    pub matched: Option<u64>,
    /// The index up to which it has applied.
    pub applied: Option<u64>,
    /// Entries that it lacks, counted from the leader's last one.
    pub lag: Option<u64>,
    /// How the leader sends it entries.
    pub flow: Option<RaftFlow>,
    /// Of a snapshot that it is being sent, the bytes that have arrived.
    pub snapshot_bytes: Option<u64>,
    /// Seconds since it was last heard.
    pub silent_seconds: Option<f64>,
    /// The life that it was last heard in.
    pub life: Option<String>,
    /// The newest version of commands that it understands; null before it has stated one.
    pub version: Option<u16>,
    /// The connections between it and this node; none for this node.
    pub links: Vec<Link>,
    /// Why this node and it do not take each other, in words; null where they do.
    pub conflict: Option<String>,
}

/// How a leader sends entries to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RaftFlow {
    /// One at a time, until it is known where the logs agree.
    Probe,
    /// As they come, without waiting for each to be acknowledged.
    Replicate,
    /// None: it is being sent a snapshot.
    Snapshot,
}

/// One connection between a peer and this node, or the lack of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Link {
    /// What for.
    pub purpose: LinkPurpose,
    /// Who dials.
    pub direction: LinkDirection,
    /// Where the peer is dialled; null for what it dials.
    pub address: Option<String>,
    /// Where it stands.
    pub state: LinkState,
    /// Seconds since it was opened; null while it is not open.
    pub open_seconds: Option<f64>,
    /// Why the last one ended or did not come about; null where none has.
    pub last_error: Option<String>,
    /// Bytes sent, over earlier connections too.
    pub sent_bytes: u64,
    /// Bytes received, likewise.
    pub received_bytes: u64,
    /// Messages that were not sent: no connection, no room, or lost with a connection.
    pub dropped_messages: u64,
}

/// What a connection between nodes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkPurpose {
    /// Messages of Raft.
    Logs,
    /// Commands for the leader, and its answers.
    Proposals,
}

/// Who dials a connection between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkDirection {
    /// This node.
    Outgoing,
    /// The peer.
    Incoming,
}

/// Where a connection between nodes stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// There is none.
    Down,
    /// It is being made.
    Connecting,
    /// It is there.
    Connected,
}
