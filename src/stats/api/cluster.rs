//! `/api/v1/raft` and `/api/v1/peers`: how the nodes of the cluster stand.

use serde::Serialize;
use utoipa::ToSchema;

/// The Raft groups of this node; both null for a lone node.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Raft {
    /// The one that agrees on the stick table.
    pub stick_table: Option<RaftGroup>,
    /// The one that agrees on the health checks.
    pub healthchecks: Option<RaftGroup>,
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
    /// The index up to which the log is committed, as far as it knows.
    pub commit: u64,
    /// The index up to which this node has applied.
    pub applied: u64,
    /// The index of the log's first entry.
    pub first: u64,
    /// The index of its last entry.
    pub last: u64,
    /// Bytes of the log in memory.
    pub log_bytes: u64,
    /// Whether this node may answer from its own table now.
    pub has_lease: bool,
    /// What keeps this node out, in words; null where nothing does.
    pub trouble: Option<String>,
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

/// One node of a Raft group. What only the leader knows is null elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Member {
    /// The node's id, a MAC address.
    pub node: String,
    /// Whether it votes.
    pub votes: bool,
    /// Whether a connection to it is open; true for this node.
    pub connected: bool,
    /// The index up to which its log is known to agree.
    pub matched: Option<u64>,
    /// Entries that it lacks, counted from the leader's last one.
    pub lag: Option<u64>,
    /// Seconds since it was last heard.
    pub silent_seconds: Option<f64>,
    /// Why this node and it do not take each other, in words; null where they do.
    pub conflict: Option<String>,
}
