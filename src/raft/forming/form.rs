//! What nodes that form a cluster tell each other: facts, and the form that one of them draws up.

use std::sync::Arc;

use crate::durable::Recovered;
use crate::entry::Payload;
use crate::ids::{ClusterId, Incarnation, Index, NodeId, Position, StoreId};
use crate::membership::{Membership, Role, Statement};

/// The place of the entry that a cluster begins with, unless it continues a log.
pub const GENESIS: Index = Index(1);

/// What a node states of itself to a peer. True of the life that states it and of no other.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Facts {
    /// What its configuration says.
    pub statement: Statement,
    /// What its store holds.
    pub holding: Holding,
}

/// What a store holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Holding {
    /// Nothing.
    Blank,
    /// No log; but there is a table of the time when the node ran alone.
    Seed {
        /// Entries of that table.
        entries: u64,
    },
    /// A form that is not durable yet: from here on the node takes no other.
    Taking(ClusterId),
    /// A log.
    Log(LogFacts),
}

impl Holding {
    /// Whether a form could still be taken.
    pub fn is_free(self) -> bool {
        matches!(self, Holding::Blank | Holding::Seed { .. })
    }

    /// The cluster that it belongs to, or is about to.
    pub fn cluster(self) -> Option<ClusterId> {
        match self {
            Holding::Blank | Holding::Seed { .. } => None,
            Holding::Taking(cluster) => Some(cluster),
            Holding::Log(log) => Some(log.cluster),
        }
    }
}

/// What is to be known of a log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LogFacts {
    /// Whose log it is.
    pub cluster: ClusterId,
    /// Its newest entry.
    pub last: Position,
    /// The leader that the node follows or is.
    pub leader: Option<NodeId>,
}

/// How a cluster begins: what is made durable before a node may vote in it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Form {
    /// The cluster's name.
    pub cluster: ClusterId,
    /// The first membership. Of each voter it names the life that had stated its facts.
    pub membership: Arc<Membership>,
    /// What the log begins with.
    pub beginning: Beginning,
}

/// What the log of a new cluster begins with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Beginning {
    /// The membership, as the entry at index 1 in term 1, committed. The same on every voter;
    /// the only beginning that is sent to others.
    Empty,
    /// A snapshot at index 1 in term 1, with the membership and the founder's table. The founder
    /// is the only voter.
    Seed,
    /// The log that the founder holds, all of it taken for committed, and the membership as the
    /// next entry, in a term above any that the founder knows. The founder is the only voter.
    Continued {
        /// The end of the log that it holds.
        after: Position,
    },
}

/// Why a node does not take a form.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Misfit {
    /// It is for other nodes.
    #[error("it is for other nodes than the configuration names")]
    OtherList,
    /// The node is no voter of it: a leader will send what it needs.
    #[error("it does not make this node a voter")]
    NoVoter,
    /// It was drawn up with another store: of before this disk was wiped.
    #[error("it names store {named} for this node, which has lost it since")]
    OtherStore {
        /// The store that it names.
        named: StoreId,
    },
    /// The store was restored from a copy: it may have forgotten what it took part in.
    #[error("it names start {named} of this node's store: the store is an older copy")]
    OlderCopy {
        /// The start that it names.
        named: u64,
    },
    /// The node belongs to another cluster.
    #[error("this node belongs to cluster {0}")]
    OtherCluster(ClusterId),
    /// It is not what any founder draws up.
    #[error("it contradicts itself")]
    Contradictory,
}

impl ClusterId {
    /// A new cluster's id, drawn at random.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn draw() -> Result<ClusterId, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(ClusterId(u128::from_le_bytes(bytes)))
    }
}

impl Form {
    /// The form that a store was begun with, where its log holds nothing else: a restarted node
    /// goes on passing it on. Where it holds more there has been a leader, so that a majority has
    /// the form, and leaders give the others what they need; and a log that is continued under
    /// another cluster id begins with another cluster's form.
    pub fn of_log(cluster: ClusterId, recovered: &Recovered) -> Option<Form> {
        let [first] = recovered.entries.as_slice() else {
            return None;
        };
        let Payload::Membership(membership) = &first.payload else {
            return None;
        };
        let form = Form {
            cluster,
            membership: Arc::clone(membership),
            beginning: Beginning::Empty,
        };
        (first.index == GENESIS && form.is_consistent()).then_some(form)
    }

    /// Whether a node may take this form that a peer has sent. Who sends it asks the same before.
    ///
    /// A later life of the store that is named may: it lost nothing, for it had promised nothing.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(&self, id: NodeId, life: &Incarnation, peers: &[NodeId]) -> Result<(), Misfit> {
        if !self.is_consistent() {
            return Err(Misfit::Contradictory);
        }
        if !self.membership.members.keys().eq(peers) {
            return Err(Misfit::OtherList);
        }
        let voter = self.membership.members.get(&id);
        let Some(voter) = voter.filter(|member| member.role == Role::Voter) else {
            return Err(Misfit::NoVoter);
        };
        let Some(recorded) = voter.life else {
            return Err(Misfit::Contradictory);
        };
        let named = recorded.incarnation;
        if named.store != life.store {
            return Err(Misfit::OtherStore { named: named.store });
        }
        if named != *life && named.start >= life.start {
            return Err(Misfit::OlderCopy { named: named.start });
        }
        Ok(())
    }

    /// Whether it is as founders draw up forms that are sent.
    fn is_consistent(&self) -> bool {
        let founded = |id| {
            let member = self.membership.members.get(&id);
            let life = member.and_then(|member| member.life);
            life.is_some_and(|life| life.recorded_at == GENESIS)
        };
        self.beginning == Beginning::Empty
            && self.membership.retired.is_empty()
            && self.membership.voters().next().is_some()
            && self.membership.voters().all(founded)
    }
}
