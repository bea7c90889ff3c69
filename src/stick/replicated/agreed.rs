//! What all replicas know from the log, but for the entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use tcpffee_raft::ids::{Index, NodeId};

use super::command::{Full, Statement, Verdict};
use crate::config::GroupId;
use crate::groups::Status;

/// Fences that are named at most; those beyond are named once the first have passed.
pub(super) const MAX_FENCES: usize = 1024;

/// What has been agreed on, as it was after one place in the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreed {
    /// The place in the log of the last change of anything here.
    pub index: Index,
    /// How long an entry outlives its last activity; 0 before anybody stated it.
    pub expiration_ms: u64,
    /// Most entries; 0 before anybody stated it.
    pub max_entries: u64,
    /// What becomes of a new key when there are that many.
    pub full: Full,
    /// Every group that somebody present states, and those gone that are not forgotten yet.
    pub groups: BTreeMap<GroupId, AgreedGroup>,
    /// The members of the cluster that have stated something.
    pub members: BTreeMap<NodeId, AgreedMember>,
    /// What the health checks make of the groups.
    pub verdicts: Vec<Verdict>,
    /// Changes that wait for [`super::command::Op::Passed`]: ascending, each once, the first
    /// 1,024 of them.
    pub fences: Vec<Index>,
}

impl Agreed {
    /// Whether keys that the group has are served.
    pub fn is_usable(&self, group: GroupId) -> bool {
        let group = self.groups.get(&group);
        group.is_some_and(|group| group.status.is_usable())
    }

    /// Whether the group takes new keys, should its being a backup not speak against it.
    pub fn takes_new(&self, group: GroupId) -> bool {
        self.groups.get(&group).is_some_and(|group| group.takes_new)
    }
}

/// One group as agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreedGroup {
    /// What it does for keys.
    pub status: Status,
    /// It is Up and every present member states it. Whether a backup is to be used is left to
    /// who proposes.
    pub takes_new: bool,
    /// Its share of new keys.
    pub weight: u32,
    /// Takes new keys only while no other group is Up.
    pub backup: bool,
    /// Why the status is what it is; empty while it is Up.
    pub reason: String,
}

/// A member of the cluster that has stated something.
#[derive(Clone, Debug, PartialEq)]
pub struct AgreedMember {
    /// Its process, by its latest statement.
    pub boot: u64,
    /// Whether it counts for the status of groups: it has stated, and was not absent since.
    pub present: bool,
    /// The place in the log at which its session was last ended; 0: never.
    pub session_ended_at: Index,
    /// Whether it may hold entries: from its statement, or a hold after a session's end, until
    /// the session ends.
    pub has_session: bool,
    /// What it states.
    pub statement: Arc<Statement>,
}
