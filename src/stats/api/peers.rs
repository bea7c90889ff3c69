//! `/api/v1/peers`: the nodes of the cluster, one by one.

use serde::Serialize;
use utoipa::ToSchema;

use super::Member;

/// The nodes of the cluster; none for a lone node.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Peers {
    /// Those of the configuration and those that belong to the cluster, this node included, by id.
    pub peers: Vec<Peer>,
}

/// One node, as this node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Peer {
    /// Its id, a MAC address.
    pub node: String,
    /// Its host, where the configuration has one.
    pub host: Option<String>,
    /// Whether it is this node.
    pub own: bool,
    /// Whether this node's configuration names it.
    pub configured: bool,
    /// Whether a connection to it is open in any of the Raft groups; true for this node.
    pub connected: bool,
    /// The newest version of commands that it understands; null before it has stated one.
    pub version: Option<u16>,
    /// Why this node and it do not take each other, in words; null where they do.
    pub conflict: Option<String>,
    /// What it states counts for the status of groups: it has stated, and was not silent for long.
    pub present: bool,
    /// Whether it may hold entries of the stick table.
    pub has_session: bool,
    /// How it stands in the Raft group of the stick table.
    pub stick_table: Member,
    /// How it stands in the Raft group of the health checks.
    pub healthchecks: Member,
}
