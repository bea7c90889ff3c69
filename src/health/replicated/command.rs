//! What nodes put into the log of the health checks, and what comes back.

use std::collections::BTreeSet;

use tcpffee_raft::ids::{Index, NodeId};
use tcpffee_raft::membership::MAX_MEMBERS;

use crate::health::streak::State;

use super::agreed::CheckKey;

/// The version of this language.
pub const VERSION: u16 = 1;

/// Checks that one command speaks of; who has more says so in several.
pub const MAX_CHECKS: usize = 32 * 1024;

/// Checks that one node may have: what a configuration holds at most.
pub const MAX_CHECKS_OF_NODE: usize = 4096 * 64;

/// Nodes that one command names.
pub const MAX_NODES: usize = MAX_MEMBERS;

/// One command of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A node's process has these checks and sees this of them; what the node said before counts no
    /// more. Begins the process's session.
    Declare {
        /// Who says so.
        from: NodeId,
        /// Its process: drawn at each start.
        boot: u64,
        /// Each once, at most [`MAX_CHECKS`]; further ones come by [`Command::Observe`].
        checks: Vec<(CheckKey, State)>,
    },
    /// A node sees something else now, or has other checks. Nothing where the session is not the one
    /// of this process, or was ended because the node was silent.
    Observe {
        /// Who says so.
        from: NodeId,
        /// Its process.
        boot: u64,
        /// What has changed, at most [`MAX_CHECKS`]; `None`: it has the check no more.
        changes: Vec<(CheckKey, Option<State>)>,
    },
    /// These nodes were heard by the leader lately, itself included. Ends the sessions of all
    /// others.
    Alive {
        /// The nodes.
        nodes: BTreeSet<NodeId>,
    },
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The place in the log at which it was applied.
    pub index: Index,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a command, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Done,
    /// It is no member that speaks, or its session has ended: it is to declare itself.
    NoSession,
    /// The node has more than [`MAX_CHECKS_OF_NODE`].
    TooMany,
    /// The bytes are no command of a version that is known.
    Malformed,
}
