//! What statistics see of a node of a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tcpffee_raft::driver::Status;

use crate::stick::replicated::node::Node;

/// A node of a cluster.
pub struct ObservedCluster {
    /// This node's id.
    pub id: String,
    /// The stick table's node.
    pub node: Arc<Node>,
    /// The Raft group of the stick table.
    pub stick_table: ObservedRaft,
    /// The Raft group of the health checks.
    pub healthchecks: ObservedRaft,
    /// Where this node's file differs from what is agreed on, a line for each point.
    pub differences: Box<dyn Fn() -> Arc<Vec<String>> + Send + Sync>,
}

/// A Raft group of this node.
pub struct ObservedRaft {
    /// Tells how it stands.
    pub status: Box<dyn Fn() -> Status + Send + Sync>,
    /// Counts the leaders that this node has come to know.
    pub leaders: Arc<AtomicU64>,
}

impl ObservedRaft {
    /// Leaders that this node has come to know, one after the other, since its start.
    pub fn leader_changes(&self) -> u64 {
        self.leaders.load(Ordering::Relaxed)
    }
}
