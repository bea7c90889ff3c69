//! Peers and this node that do not take each other, until somebody puts it right.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::config::Event;
use super::node::Node;
use crate::ids::{ClusterId, NodeId, NodeTime};
use crate::store::files::Files;
use crate::store::identity_path;
use crate::wire::ended::Ended;
use crate::wire::reason::Reason;

/// Why a peer and this node do not take each other.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Conflict {
    /// What must be the same on all nodes is not.
    #[error("what must be the same on all nodes differs: here {ours}, there {theirs}")]
    Agreement {
        /// This node's, in words.
        ours: String,
        /// The peer's, in words.
        theirs: String,
    },
    /// Another live node claims this node's id.
    #[error("another live node claims the id of this node: give one of them another id")]
    Impostor,
    /// Two live nodes claim the peer's id.
    #[error("two live nodes claim the id of this peer: give one of them another id")]
    TwoOfIt,
    /// Both belong to a cluster, and not to the same one.
    #[error(
        "the peer belongs to cluster {theirs}, and {identity} says that this node belongs to \
         {ours}: neither takes anything from the other. On the node that is wrong stop tcpffee, \
         move the folder of that file away and start it again: it begins empty and its cluster \
         sends it everything; where both are to stay, see `tcpffee cluster form`"
    )]
    Cluster {
        /// This node's.
        ours: ClusterId,
        /// The file that says so.
        identity: PathBuf,
        /// The peer's.
        theirs: ClusterId,
    },
    /// The secrets differ, or one side has none.
    #[error("the peer secrets differ: compare peer_secret_file on both")]
    Secret,
    /// There is no version of the protocol that both speak.
    #[error("the peer speaks versions {lowest} to {newest} of the protocol: upgrade the older one")]
    Version {
        /// The oldest that the peer speaks.
        lowest: u8,
        /// The newest.
        newest: u8,
    },
    /// The peer's configuration does not name this node.
    #[error("the peer does not name this node among its peers")]
    NotAPeer,
}

/// The conflicts of which something was heard lately.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    /// By peer, or under this node's id where that is what it is about; with when it was heard of.
    known: BTreeMap<NodeId, (Conflict, NodeTime)>,
}

impl Conflicts {
    /// For others.
    pub(super) fn list(&self) -> BTreeMap<NodeId, Conflict> {
        let known = self.known.iter();
        known.map(|(id, (why, _))| (*id, why.clone())).collect()
    }

    /// Whether the peer says that it does not know this node.
    fn drops_this(&self, peer: NodeId) -> bool {
        let known = self.known.get(&peer);
        known.is_some_and(|(why, _)| *why == Conflict::NotAPeer)
    }
}

impl<F: Files> Node<F> {
    /// A handshake has failed for a reason that does not go away by itself.
    pub(super) fn refused(&mut self, peer: NodeId, ended: &Ended) {
        let Some(conflict) = self.conflict(ended) else {
            return;
        };
        let own = self.config.node;
        let about = match conflict {
            Conflict::Impostor => own,
            _ => peer,
        };
        let mut peers = self.config.network.peers.iter();
        if about != own && !peers.any(|listed| listed.id == about) {
            return;
        }
        self.in_conflict(about, conflict);
        self.consider_being_dropped();
    }

    pub(super) fn in_conflict(&mut self, about: NodeId, conflict: Conflict) {
        let heard = (conflict.clone(), self.now);
        let before = self.conflicts.known.insert(about, heard);
        if before.is_none_or(|(before, _)| before != conflict) {
            log::error!("raft {}: {about}: {conflict}", self.config.group);
            self.tell(Event::Conflict {
                about,
                why: conflict,
            });
        }
    }

    /// The peer and this node take each other.
    pub(super) fn agrees(&mut self, peer: NodeId) {
        let known = self.conflicts.known.get(&peer);
        // Two of one id are not one because one of them is taken.
        if known.is_some_and(|(why, _)| *why != Conflict::TwoOfIt) {
            self.end_conflict(peer);
        }
    }

    /// Forgets what was not heard again: of a peer that is gone, or no peer any more.
    pub(super) fn forget_old_conflicts(&mut self) {
        let limits = self.config.network.limits;
        // Two attempts come within it.
        let lasting_ms = 2 * (limits.redial_max_ms + limits.handshake_ms);
        let known = self.conflicts.known.iter();
        let over = known.filter(|(_, (_, heard))| self.now.since(*heard) > lasting_ms);
        for peer in Vec::from_iter(over.map(|(id, _)| *id)) {
            self.end_conflict(peer);
        }
    }

    fn end_conflict(&mut self, about: NodeId) {
        if self.conflicts.known.remove(&about).is_some() {
            self.tell(Event::ConflictOver(about));
        }
    }

    /// A node that was removed while it was not there is not connected any more, so that no
    /// leader can tell it. Where most other voters do not name it, no leader ever will.
    fn consider_being_dropped(&mut self) {
        let own = self.config.node;
        let membership = self.life.core.membership();
        let others: Vec<NodeId> = membership.voters().filter(|id| *id != own).collect();
        let drop = others.iter().filter(|id| self.conflicts.drops_this(**id));
        if 2 * drop.count() > others.len() {
            self.life.core.dropped();
        }
    }

    /// What it is in this node's eyes; none where it is for the transport's log alone.
    fn conflict(&self, ended: &Ended) -> Option<Conflict> {
        Some(match ended {
            Ended::RefusedHere(Reason::Agreement { refused, refusing }) => Conflict::Agreement {
                ours: refusing.clone(),
                theirs: refused.clone(),
            },
            Ended::RefusedThere(Reason::Agreement { refused, refusing }) => Conflict::Agreement {
                ours: refused.clone(),
                theirs: refusing.clone(),
            },
            Ended::RefusedHere(Reason::Cluster { refused, .. }) => self.foreign(*refused)?,
            Ended::RefusedThere(Reason::Cluster { refusing, .. }) => self.foreign(*refusing)?,
            Ended::RefusedHere(Reason::SameId(_))
            | Ended::RefusedThere(Reason::SameId(_) | Reason::Duplicate { .. }) => {
                Conflict::Impostor
            }
            Ended::RefusedHere(Reason::Duplicate { .. }) => Conflict::TwoOfIt,
            Ended::RefusedThere(Reason::NotAPeer(_)) => Conflict::NotAPeer,
            Ended::SecretOnlyHere | Ended::SecretOnlyThere | Ended::WrongSecret => Conflict::Secret,
            Ended::Version { lowest, newest } => Conflict::Version {
                lowest: *lowest,
                newest: *newest,
            },
            _ => return None,
        })
    }

    /// The peer is of another cluster; none where this node belongs to none, or does by now to
    /// that one: forming sees to it.
    fn foreign(&self, theirs: ClusterId) -> Option<Conflict> {
        let ours = self.joined.filter(|ours| *ours != theirs)?;
        Some(Conflict::Cluster {
            ours,
            identity: identity_path(&self.config.folder),
            theirs,
        })
    }
}
