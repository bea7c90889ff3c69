//! How far a cluster's forming has come, in words for humans.

use std::fmt;

use crate::ids::{ClusterId, NodeId};

/// How far it has come, seen from one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// The node belongs to no cluster, and this stands in the way of forming one.
    Blocked(Vec<Obstacle>),
    /// Nothing stands in the way: this peer is to send a form.
    AwaitingFounder(NodeId),
    /// A form is being made durable.
    Taking(ClusterId),
    /// The node belongs to a cluster.
    Member {
        /// The cluster.
        cluster: ClusterId,
        /// Until there is a leader: founding voters that are not known to have the form.
        lacking: Vec<NodeId>,
    },
}

/// What stands in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// The node's own list does not name it.
    Unlisted,
    /// A peer is not connected, or has stated nothing yet.
    Waiting(NodeId),
    /// A peer's configuration names other peers.
    OtherList {
        /// The peer.
        peer: NodeId,
        /// Whom it names and this node does not.
        more: Vec<NodeId>,
        /// Whom this node names and it does not.
        fewer: Vec<NodeId>,
    },
    /// A peer belongs to a cluster.
    Belongs {
        /// The peer.
        peer: NodeId,
        /// Its cluster.
        cluster: ClusterId,
        /// The leader that it follows or is; none where it has none, or refuses to talk.
        leader: Option<NodeId>,
    },
    /// More than one node has a table of the time when it ran alone.
    Seeds(Vec<NodeId>),
}

impl Obstacle {
    /// Whether it may go by itself, as peers start one after the other, and leaders take nodes in.
    pub fn may_pass(&self) -> bool {
        match self {
            Obstacle::Waiting(_) => true,
            Obstacle::Belongs { leader, .. } => leader.is_some(),
            Obstacle::Unlisted | Obstacle::OtherList { .. } | Obstacle::Seeds(_) => false,
        }
    }
}

impl State {
    /// Whether forming goes no further without an operator: a configuration is to be put right,
    /// or `tcpffee cluster form` to be run.
    pub fn needs_operator(&self) -> bool {
        match self {
            State::Blocked(obstacles) => !obstacles.iter().all(Obstacle::may_pass),
            State::AwaitingFounder(_) | State::Taking(_) | State::Member { .. } => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Blocked(obstacles) => {
                f.write_str("no cluster yet: ")?;
                for (at, obstacle) in obstacles.iter().enumerate() {
                    let separator = if at == 0 { "" } else { "; " };
                    write!(f, "{separator}{obstacle}")?;
                }
                if self.needs_operator() {
                    f.write_str(
                        "; no cluster is formed by itself as long as this holds: put it right, or \
                         see `tcpffee cluster form`",
                    )?;
                }
                Ok(())
            }
            State::AwaitingFounder(peer) => {
                write!(
                    f,
                    "no cluster yet: all peers are there, and {peer} is to form it"
                )
            }
            State::Taking(cluster) => write!(f, "cluster {cluster} is being made durable"),
            State::Member { cluster, lacking } if lacking.is_empty() => {
                write!(f, "belongs to cluster {cluster}")
            }
            State::Member { cluster, lacking } => write!(
                f,
                "belongs to cluster {cluster}, which is still to be passed on to {}",
                list(lacking)
            ),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Unlisted => f.write_str("the peers of this node do not include itself"),
            Obstacle::Waiting(peer) => write!(f, "waiting for peer {peer}"),
            Obstacle::OtherList { peer, more, fewer } => {
                write!(f, "peer {peer} states another list of peers")?;
                if !more.is_empty() {
                    write!(f, ", with {}", list(more))?;
                }
                if !fewer.is_empty() {
                    write!(f, ", without {}", list(fewer))?;
                }
                Ok(())
            }
            Obstacle::Belongs {
                peer,
                cluster,
                leader: Some(leader),
            } => write!(
                f,
                "peer {peer} already belongs to cluster {cluster}: its leader, {leader}, takes \
                 this node in once most members name it"
            ),
            Obstacle::Belongs {
                peer,
                cluster,
                leader: None,
            } => write!(
                f,
                "peer {peer} already belongs to cluster {cluster}, and names no leader"
            ),
            Obstacle::Seeds(nodes) => write!(
                f,
                "more than one node has a table of the time when it ran alone: {}",
                list(nodes)
            ),
        }
    }
}

/// Nodes one after the other.
pub(super) fn list(nodes: &[NodeId]) -> String {
    let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    names.join(", ")
}
