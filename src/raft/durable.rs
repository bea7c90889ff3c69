//! What must outlive a crash, and what a start finds of it.

use std::sync::Arc;

use crate::entry::Entry;
use crate::ids::{ClusterId, Incarnation, Index, NodeId, StoreId, Term};
use crate::message::SnapshotMeta;

/// Who a store belongs to. Written at its making and at each start, never by the core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// The store.
    pub store: StoreId,
    /// How often it was started.
    pub start: u64,
    /// The cluster; none before it was formed or joined.
    pub cluster: Option<ClusterId>,
}

impl Identity {
    /// The life that begins now, with `boot` drawn for it.
    pub fn incarnation(&self, boot: u64) -> Incarnation {
        Incarnation {
            store: self.store,
            start: self.start,
            boot,
        }
    }
}

/// What a node must never forget within a term.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HardState {
    /// The newest term that it has heard of.
    pub term: Term,
    /// Whom it gave its vote in that term.
    pub vote: Option<NodeId>,
    /// Up to where it knew the log to be committed: may lag, never lies.
    pub commit: Index,
}

/// Numbers writes in the order in which they become durable, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WriteId(pub u64);

/// What is to be made durable at once and in this order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Write {
    /// Its number.
    pub id: WriteId,
    /// The log begins anew after this snapshot, whose file is durable already: all entries on
    /// disk are void.
    pub reset: Option<Arc<SnapshotMeta>>,
    /// The newest hard state, where it changed.
    pub hard_state: Option<HardState>,
    /// Entries, without a gap. Whatever is on disk from the first one's place on is void.
    pub entries: Vec<Entry>,
}

/// What a start finds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// The newest hard state.
    pub hard_state: HardState,
    /// The newest whole snapshot.
    pub snapshot: Option<SnapshotMeta>,
    /// Entries without a gap. They may begin before the snapshot's end, never later than right
    /// after it.
    pub entries: Vec<Entry>,
}

impl Recovered {
    /// Whether there is nothing: a new or wiped store.
    pub fn is_blank(&self) -> bool {
        self.snapshot.is_none() && self.entries.is_empty()
    }
}
