//! What the core asks of whoever runs it, and what it tells.

use std::sync::Arc;

use crate::durable::Write;
use crate::entry::Entry;
use crate::ids::{Index, NodeId, Position, StoreId, Term};
use crate::message::{Envelope, LeaseGrant, SnapshotMeta};

/// Everything that has come up since it was last asked. Each part may be carried out at its own
/// pace, in the order within the part; what must wait for the disk is kept back by the core
/// itself until [`super::Core::persisted`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Output {
    /// To be sent now. May be lost, doubled and reordered.
    pub messages: Vec<Envelope>,
    /// To be made durable, in order; each answered by [`super::Core::persisted`].
    pub writes: Vec<Write>,
    /// To be restored into the state machine before anything of `committed`; answered by
    /// [`super::Core::applied`] with its index. Its file is durable.
    pub restore: Option<Arc<SnapshotMeta>>,
    /// To be applied, in order; answered by [`super::Core::applied`] as it goes on.
    pub committed: Vec<Entry>,
    /// Pieces of the newest snapshot to be read from disk; each answered by
    /// [`super::Core::snapshot_chunk_read`].
    pub chunk_reads: Vec<ChunkRead>,
    /// Pieces of a snapshot that arrives, to be written; each answered by
    /// [`super::Core::snapshot_chunk_stored`].
    pub chunk_writes: Vec<ChunkWrite>,
    /// What has changed.
    pub events: Vec<CoreEvent>,
}

/// A piece of a snapshot that a follower needs next.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ChunkRead {
    /// Who needs it.
    pub to: NodeId,
    /// Of which snapshot.
    pub snapshot: Arc<SnapshotMeta>,
    /// From where on.
    pub offset: u64,
    /// How much at most; less only at the end.
    pub length: usize,
}

/// A piece of a snapshot that has arrived.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ChunkWrite {
    /// Of which snapshot. Another one than before replaces what was there of it.
    pub snapshot: Arc<SnapshotMeta>,
    /// Where it belongs: always the end of what is there, or 0 to begin anew.
    pub offset: u64,
    /// The piece.
    pub data: bytes::Bytes,
}

/// What has changed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CoreEvent {
    /// This node's role or term is another.
    Role {
        /// The role.
        role: Role,
        /// The term.
        term: Term,
    },
    /// Another leader is known, or none.
    Leader(Option<NodeId>),
    /// As leader, it has applied everything of earlier terms.
    LeaderReady(Term),
    /// The node may answer from its own state by this; `commit` has been applied.
    Lease(LeaseGrant),
    /// The membership that stands in the log is another.
    Membership(Index),
    /// The cluster has dismissed this node.
    Dismissed,
    /// The cluster has dismissed this store: the node must begin anew with an empty one.
    StoreRetired(StoreId),
    /// Entries up to here were never committed and are gone: proposals made there have failed.
    Truncated {
        /// The first place that was overwritten.
        from: Index,
    },
    /// The log is full: what the leader sends is dropped until a snapshot lets it be cut.
    LogFull,
    /// Another node claims this node's id.
    Impostor(NodeId),
    /// A log that contradicts what is committed here was shown: a defect or a damaged disk.
    /// The core does nothing more.
    Halted {
        /// What was seen.
        at: Position,
        /// In words.
        what: &'static str,
    },
}

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Follows, and may stand for election.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Follows, and may not stand for election: no voter, as far as its log tells.
    Learner,
}

/// Why a proposal was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads, or none.
    #[error("this node does not lead{}", .leader.map(|id| format!(", {id} does")).unwrap_or_default())]
    NotLeader {
        /// Who does, as far as known.
        leader: Option<NodeId>,
    },
    /// Too much is waiting to be committed.
    #[error("{outstanding_bytes} bytes are waiting to be committed, of at most {limit_bytes}")]
    Busy {
        /// Bytes that wait.
        outstanding_bytes: usize,
        /// Their bound.
        limit_bytes: usize,
    },
    /// The log is full until a snapshot lets it be cut.
    #[error("the log holds {log_bytes} bytes, of at most {limit_bytes}, until its next snapshot")]
    LogFull {
        /// Bytes it holds.
        log_bytes: usize,
        /// Their bound.
        limit_bytes: usize,
    },
    /// The command is too large.
    #[error("a command of {bytes} bytes, of at most {limit_bytes}")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// Their bound.
        limit_bytes: usize,
    },
    /// A member does not understand the command's version.
    #[error(
        "version {version} of commands is newer than version {understood} that all members understand"
    )]
    Version {
        /// The command's.
        version: u16,
        /// What all understand.
        understood: u16,
    },
    /// Leadership is being handed over.
    #[error("leadership is being handed over to {to}")]
    Transferring {
        /// To whom.
        to: NodeId,
    },
}

/// Why leadership was not handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransferError {
    /// This node has none to hand over.
    #[error("this node does not lead")]
    NotLeader,
    /// The other may not lead.
    #[error("{0} is no voter, or is this node itself")]
    NotEligible(NodeId),
}
