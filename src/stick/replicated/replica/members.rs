//! Which member each bit of an entry stands for.

use std::sync::atomic::{AtomicU64, Ordering};

use tcpffee_raft::ids::NodeId;
use tcpffee_raft::membership::MAX_MEMBERS;

/// Nodes by the slots that the state gives to members, for workers to read. A slot gets another
/// node only once no entry has its bit.
#[derive(Debug)]
pub(in super::super) struct Members([AtomicU64; MAX_MEMBERS]);

impl Members {
    pub fn new() -> Members {
        Members(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub fn node(&self, slot: u8) -> NodeId {
        let node = self.0.get(usize::from(slot));
        NodeId(node.map_or(0, |node| node.load(Ordering::Acquire)))
    }

    pub fn set(&self, slot: u8, node: NodeId) {
        self.0[usize::from(slot)].store(node.0, Ordering::Release);
    }
}
