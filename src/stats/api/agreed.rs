//! The part of `/api/v1/raft` that tells how this node serves, and what is agreed on.

use serde::Serialize;
use utoipa::ToSchema;

use super::GroupStatus;

/// How a node of a cluster serves by the stick table that is agreed on.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ClusterNode {
    /// Whether it may answer from its own copy of the table now.
    pub has_lease: bool,
    /// Whether what this process states stands in the log: only then new clients are asked about.
    pub stated: bool,
    /// Whether no leader has answered for `no_quorum_after`: clients are served by `no_quorum`.
    pub quorum_lost: bool,
    /// What happens to new clients meanwhile.
    pub no_quorum: NoQuorum,
    /// `no_quorum_after` in seconds.
    pub no_quorum_after_seconds: f64,
    /// Why it may not serve anybody, in words; null where it may.
    pub barred: Option<String>,
    /// Operations that wait to be proposed.
    pub operations_waiting: u64,
    /// Batches of operations that have no answer yet.
    pub batches_out: u64,
    /// Keys of which it knows more than its copy of the table does.
    pub records: u64,
    /// Bytes that a snapshot being read keeps of entries which have changed since it was taken.
    pub snapshot_held_bytes: u64,
    /// Counts since the start.
    pub counts: NodeCounts,
    /// How long batches took from their proposal to their answer, since the start.
    pub commit_latency: Latency,
    /// Where this node's file differs from what is agreed on, a line for each point; of more than
    /// 100 the first, and how many more there are.
    pub differences: Vec<String>,
    /// What is agreed on.
    pub agreed: Agreed,
}

/// What `no_quorum` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoQuorum {
    /// New clients are given groups by rendezvous hash.
    Assign,
    /// Clients are reset.
    Refuse,
}

/// Counts of a node of a cluster since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct NodeCounts {
    /// Connections answered from its copy of the table.
    pub hits: u64,
    /// Connections that waited for an answer of the log.
    pub waits: u64,
    /// Questions put to the log.
    pub asks: u64,
    /// Connections refused, for whichever reason.
    pub refusals: u64,
    /// Keys given a group without a leader.
    pub alone: u64,
    /// Those of them that had been agreed otherwise meanwhile, and gave way.
    pub yielded: u64,
    /// Renewals acknowledged.
    pub renewals: u64,
    /// Entries held for open connections, acknowledged.
    pub holds: u64,
    /// Entries released, acknowledged.
    pub releases: u64,
    /// Entries that were gone when the log was told of them.
    pub lost: u64,
    /// Batches proposed.
    pub batches: u64,
    /// Operations in them.
    pub operations: u64,
    /// Batches that got no answer.
    pub failures: u64,
    /// Times that no leader answered any more.
    pub quorum_losses: u64,
}

/// How long something took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Latency {
    /// How often it was measured.
    pub count: u64,
    /// The median in seconds; null before the first time.
    pub p50_seconds: Option<f64>,
    /// What 99 of 100 did not exceed, in seconds.
    pub p99_seconds: Option<f64>,
}

/// What the cluster has agreed on, but for the stick entries.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Agreed {
    /// The index of its last change.
    pub index: u64,
    /// How long an entry outlives its last activity; 0 before anybody stated it.
    pub expiration_seconds: f64,
    /// Most entries; 0 before anybody stated it.
    pub max_entries: u64,
    /// What becomes of a new key in a full table: `refuse` or `evict`.
    pub full: String,
    /// Groups that are agreed on.
    pub groups_total: u64,
    /// Those of them that take new keys.
    pub groups_taking_new: u64,
    /// The groups: of more than 200 those first that take no new keys, and then by id.
    pub groups: Vec<AgreedGroup>,
    /// Groups beyond those.
    pub groups_left_out: u64,
    /// The nodes that have stated something.
    pub members: Vec<AgreedMember>,
    /// Changes that every node is to know of before keys are assigned anew by them.
    pub fences: u64,
}

/// A group as agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgreedGroup {
    /// N of `[groups.N]`.
    pub id: u32,
    /// What it does for keys.
    pub status: GroupStatus,
    /// Whether it takes new keys: it is Up, and every node that is present has it.
    pub takes_new: bool,
    /// Its share of new keys.
    pub weight: u32,
    /// Whether it takes new keys only while no other group is Up.
    pub backup: bool,
    /// Why the status is what it is; empty while it is Up.
    pub reason: String,
}

/// A node that has stated something in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgreedMember {
    /// Its id, a MAC address.
    pub node: String,
    /// Its host, where the configuration has one.
    pub host: Option<String>,
    /// Its process, by its latest statement: a number drawn at each start.
    pub boot: String,
    /// Whether what it states counts for the status of groups.
    pub present: bool,
    /// Whether it may hold entries.
    pub has_session: bool,
    /// The index at which its session was last ended; null where it never was.
    pub session_ended_at: Option<u64>,
}
