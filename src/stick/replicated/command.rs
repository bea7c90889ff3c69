//! What nodes put into the log of the stick table, and what comes back.
//!
//! A node gathers what it has to say into a [`Batch`], which is one command of the log; the
//! [`Answer`] has one [`Outcome`] for each of its operations, in their order.

use tcpffee_raft::ids::{Index, LogTime, NodeId};

use crate::config::{GroupId, StickTableFull};
use crate::groups::Status;
use crate::stick::{ClientIp, Key};

/// The version of this language.
pub const VERSION: u16 = 1;

/// Operations of one node, applied one after the other at one place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Who says so.
    pub from: NodeId,
    /// Its process: drawn at each start. What an earlier process of the node says about what it
    /// holds counts no more.
    pub boot: u64,
    /// What.
    pub ops: Vec<Op>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A connection has no entry to go by. Answered with the entry that holds afterwards, or with
    /// why there is none.
    Assign {
        /// Who the client is.
        client: Wanted,
        /// The group where there is no valid entry on a usable one; none: then the answer is
        /// [`Outcome::NotUp`].
        group: Option<GroupId>,
    },
    /// The connection that made the entry could not reach its group: another one, where the entry
    /// still is provisional and nobody else was given it.
    Move {
        /// The entry's key.
        key: Key,
        /// The entry's version.
        version: Index,
        /// The other group.
        to: GroupId,
    },
    /// No connection of this node that was given the provisional entry got connected.
    GiveUp {
        /// The entry's key.
        key: Key,
        /// The entry's version.
        version: Index,
    },
    /// Connections of this node are open on the entry, and will be for a while: it does not expire
    /// before they are released or the node's session ends.
    Hold {
        /// The entry's key.
        key: Key,
        /// The entry's version.
        version: Index,
    },
    /// A connection of this node was active on the entry.
    Renew {
        /// The entry's key.
        key: Key,
        /// The entry's version.
        version: Index,
        /// The latest that the log's time may have been at its last activity.
        activity: LogTime,
    },
    /// The last connection that [`Op::Hold`] stood for has ended.
    Release {
        /// The entry's key.
        key: Key,
        /// The entry's version.
        version: Index,
        /// The latest that the log's time may have been at its last activity.
        activity: LogTime,
    },
    /// An operator wants the entry gone.
    Remove {
        /// The entry's key.
        key: Key,
    },
    /// What the node's file says. Begins the session of this process.
    State(Statement),
    /// The leader has not heard the process for a while: it holds nothing any more.
    EndSession {
        /// The node.
        node: NodeId,
        /// The process.
        boot: u64,
    },
    /// The leader has not heard the node for long: what it stated does not count until it states
    /// it again.
    Absent {
        /// The node.
        node: NodeId,
    },
    /// What the health checks make of the groups: all of those that are not Up.
    Verdicts(Vec<Verdict>),
    /// Every node has applied everything up to here, or answers nothing from its own copy that
    /// lacks it.
    Passed(Index),
}

impl Op {
    /// Bytes of the key that it names, at most as many as the log is asked to name for it.
    pub fn key_bytes(&self) -> usize {
        let slice = |key: &Key| key.slice.as_deref().map_or(0, <[u8]>::len);
        let own = match self {
            Op::Assign { client, .. } => match client {
                Wanted::Key(key) => slice(key),
                Wanted::LatestOf(_) => MAX_SLICE_BYTES,
            },
            Op::Move { key, .. }
            | Op::GiveUp { key, .. }
            | Op::Hold { key, .. }
            | Op::Renew { key, .. }
            | Op::Release { key, .. }
            | Op::Remove { key } => slice(key),
            _ => 0,
        };
        size_of::<ClientIp>() + own
    }
}

/// Bytes of a key's slice.
const MAX_SLICE_BYTES: usize = 4096;

/// Who a connection's client is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// This key.
    Key(Key),
    /// The newest valid slice entry of the address on a usable group, else the address alone.
    LatestOf(ClientIp),
}

/// What a node's file states, and what its operators have said since.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Statement {
    /// `expiration`, in milliseconds.
    pub expiration_ms: u64,
    /// `stick_table_max_entries`.
    pub max_entries: u64,
    /// `stick_table_full`.
    pub full: Full,
    /// The groups, ascending by id.
    pub groups: Vec<StatedGroup>,
}

/// [`StickTableFull`] with a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Full {
    /// New keys are refused.
    #[default]
    Refuse,
    /// Entries close to expiry give way.
    Evict,
}

impl From<StickTableFull> for Full {
    fn from(full: StickTableFull) -> Full {
        match full {
            StickTableFull::Refuse => Full::Refuse,
            StickTableFull::Evict => Full::Evict,
        }
    }
}

/// One group as a node states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatedGroup {
    /// The group.
    pub id: GroupId,
    /// What file and operator make of it.
    pub status: Status,
    /// Its share of new keys.
    pub weight: u32,
    /// Takes new keys only while no other group is Up.
    pub backup: bool,
}

/// What the health checks make of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The group.
    pub group: GroupId,
    /// Its status by them.
    pub status: Status,
    /// Why, for people; cut to [`MAX_REASON_BYTES`].
    pub reason: String,
}

impl Verdict {
    /// What the health checks make of a group, its reason cut to what travels.
    pub fn new(group: GroupId, status: Status, reason: &str) -> Verdict {
        let mut end = reason.len().min(MAX_REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Verdict {
            group,
            status,
            reason: reason[..end].to_owned(),
        }
    }
}

/// Bytes of a reason.
pub const MAX_REASON_BYTES: usize = 256;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The place in the log at which it was applied.
    pub index: Index,
    /// One for each operation.
    pub outcomes: Vec<Outcome>,
}

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The entry that holds now: of an `Assign`, or of a `Move` that was made.
    Entry(Given),
    /// It was done, or there was nothing to do.
    Done,
    /// There is no such entry under this version (any more), or it may not be moved.
    Stale,
    /// The group takes no new keys; the agreed statuses tell which do.
    NotUp,
    /// The table is full.
    Full,
    /// The entry's group serves no more, or the entry was removed, and some node may still answer
    /// by it: to be asked again once that has passed.
    Fenced,
}

/// An entry that was given to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The slice of its key: of one that [`Wanted::LatestOf`] asked for.
    pub slice: Option<Box<[u8]>>,
    /// The group.
    pub group: GroupId,
    /// The version: the index of its creation or reassignment.
    pub version: Index,
    /// When it expires at the earliest.
    pub expires: LogTime,
    /// Whether this very operation made it.
    pub created: bool,
    /// Whether nothing was connected on it yet.
    pub provisional: bool,
}
