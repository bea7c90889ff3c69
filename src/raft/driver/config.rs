//! What a node is started with.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::conflicts::Conflict;
use crate::ids::{ClusterId, Incarnation, Index, NodeId, Position, StoreId, Term};
use crate::machine::{SnapshotSource, StateMachine};
use crate::membership::Statement;
use crate::settings::Settings;
use crate::store::{self, StoreError};
use crate::transport::{self, PeerAddress};
use crate::wire::hello::Agreement;
use crate::wire::secrets::Secrets;

/// What one node of one Raft group is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Raft group's name: peers must give the same one; also names the threads.
    pub group: String,
    /// The node.
    pub node: NodeId,
    /// Where it keeps log and snapshots; of this node and group alone.
    pub folder: PathBuf,
    /// Sizes of files.
    pub store: store::Limits,
    /// Times and bounds of the core.
    pub settings: Settings,
    /// Bounds on this node's own proposals.
    pub proposals: ProposalLimits,
    /// Bytes of entries after which another snapshot is taken.
    pub snapshot_after_bytes: usize,
    /// What the configuration states to the cluster.
    pub statement: Statement,
    /// Where peers are, and how they are spoken to.
    pub network: Network,
}

/// The default of [`Config::snapshot_after_bytes`].
pub const SNAPSHOT_AFTER_BYTES: usize = 64 * 1024 * 1024;

/// How peers are spoken to.
#[derive(Clone, Debug)]
pub struct Network {
    /// Where messages of Raft are listened for.
    pub listen_logs: SocketAddr,
    /// Where proposals are listened for.
    pub listen_proposals: SocketAddr,
    /// The other nodes; this one may be among them.
    pub peers: Vec<PeerAddress>,
    /// What must be the same on all nodes.
    pub agreement: Agreement,
    /// What all nodes share.
    pub secrets: Secrets,
    /// Bounds and times.
    pub limits: transport::Limits,
}

/// Bounds on a node's own proposals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProposalLimits {
    /// Commands that wait because [`crate::sessions::WINDOW`] are out.
    pub max_waiting: usize,
    /// Bytes of their bodies.
    pub max_waiting_bytes: usize,
}

impl Default for ProposalLimits {
    fn default() -> Self {
        ProposalLimits {
            max_waiting: 16 * 1024,
            max_waiting_bytes: 16 * 1024 * 1024,
        }
    }
}

/// Makes a state machine in the state before the log's first entry: at the start, and whenever
/// the node begins anew.
pub type MakeMachine = Box<dyn FnMut() -> Box<dyn StateMachine> + Send>;

/// Hears what has changed. Runs in the driver's thread: it must not wait.
pub type Notify = Box<dyn FnMut(Event) + Send>;

/// A lone node's state, from which a cluster may begin.
pub struct Seed {
    /// Entries in it, for people to compare.
    pub entries: u64,
    /// The state, as the state machine restores it.
    pub state: Box<dyn SnapshotSource>,
}

/// What has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// This node's role or term is another.
    Role {
        /// The role.
        role: crate::core::Role,
        /// The term.
        term: Term,
    },
    /// Another leader is known, or none.
    Leader(Option<NodeId>),
    /// The membership that stands in the log is another.
    Membership(Index),
    /// The node has begun to belong to a cluster.
    Joined(ClusterId),
    /// The cluster has dismissed this node.
    Dismissed,
    /// The cluster has dismissed the store: it was set aside, and the node begins anew.
    BegunAnew {
        /// The dismissed store.
        retired: StoreId,
        /// The life that begins.
        life: Incarnation,
    },
    /// A peer and this node do not take each other, until somebody puts it right. Told once, and
    /// again where the reason changes.
    Conflict {
        /// The peer, or this node where its own id is claimed.
        about: NodeId,
        /// Why.
        why: Conflict,
    },
    /// They take each other again, or nothing more was heard of it.
    ConflictOver(NodeId),
    /// The log cannot be written: the node takes no part any more.
    DiskFailed(String),
    /// Something that cannot be was seen: the node does nothing more.
    Halted {
        /// Where in the log.
        at: Position,
        /// In words.
        what: String,
    },
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder cannot be used.
    #[error("raft group {group}: {source}")]
    Store {
        /// The group.
        group: String,
        /// What is wrong.
        #[source]
        source: StoreError,
    },
    /// What it holds is of nobody knows which cluster.
    #[error(
        "raft group {group}: {folder} holds a log or a snapshot and does not say of which cluster: \
         with the folder moved away this node begins empty, and its cluster sends it everything"
    )]
    NoCluster {
        /// The group.
        group: String,
        /// Its folder.
        folder: PathBuf,
    },
    /// Whether an order was finished cannot be told.
    #[error("raft group {group}: cannot read {path}: {source}")]
    Order {
        /// The group.
        group: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A bound is beyond what a frame holds: what it lets in could never be sent.
    #[error("raft group {group}: {name} is {bytes}, of at most {most}")]
    TooLarge {
        /// The group.
        group: String,
        /// Which of [`Settings`].
        name: &'static str,
        /// What it is.
        bytes: usize,
        /// What it may be.
        most: usize,
    },
    /// Its newest snapshot cannot be restored.
    #[error("raft group {group}: snapshot {snapshot} cannot be restored: {error}")]
    Restore {
        /// The group.
        group: String,
        /// The snapshot.
        snapshot: Position,
        /// What is wrong.
        error: String,
    },
    /// Its sockets cannot be opened.
    #[error(transparent)]
    Network(#[from] transport::OpenError),
    /// The system gives no thread, or no event queue.
    #[error("raft group {group}: {doing}: {source}")]
    System {
        /// The group.
        group: String,
        /// What was attempted.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
