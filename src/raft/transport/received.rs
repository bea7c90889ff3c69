//! What a transport tells whoever owns it.

use crate::forming;
use crate::ids::{ClusterId, Incarnation, NodeId};
use crate::message::Envelope;
use crate::wire::Purpose;
use crate::wire::ended::Ended;
use crate::wire::proposal::{Answer, Propose};

use super::slots::ConnectionId;

/// What has arrived or changed.
#[derive(PartialEq, Eq, Debug)]
pub enum Received {
    /// A message of Raft.
    Message(Envelope),
    /// A message about forming a cluster.
    Forming {
        /// Who says it.
        from: NodeId,
        /// In which life.
        incarnation: Incarnation,
        /// Its cluster, as it said when the connection began.
        cluster: Option<ClusterId>,
        /// What.
        message: forming::Message,
    },
    /// Proposals.
    Propose {
        /// Where [`super::Transport::answer`] is to send the answers.
        connection: ConnectionId,
        /// Who asks.
        from: NodeId,
        /// In which life.
        incarnation: Incarnation,
        /// What.
        proposals: Vec<Propose>,
    },
    /// What became of proposals that this node sent.
    Answers {
        /// Who answers.
        from: NodeId,
        /// What.
        answers: Vec<Answer>,
    },
    /// From now on the peer can be sent to.
    PeerUp {
        /// The peer.
        peer: NodeId,
        /// In which life.
        incarnation: Incarnation,
        /// Its cluster, as it said now.
        cluster: Option<ClusterId>,
        /// What can be sent.
        purpose: Purpose,
    },
    /// From now on the peer cannot be sent to, and what was on its way may be lost: messages,
    /// proposals and the answers to them.
    PeerDown {
        /// The peer.
        peer: NodeId,
        /// What cannot be sent.
        purpose: Purpose,
    },
    /// One side does not take the other. Comes again with each attempt.
    Refused {
        /// The other side, where it is a configured peer or claims to be one.
        peer: Option<NodeId>,
        /// What the connection was for.
        purpose: Purpose,
        /// Which side, and why.
        ended: Ended,
    },
}
