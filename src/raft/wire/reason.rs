//! Why a connection is refused. Travels to the other side, so that both can say it in their logs.

use bytes::{BufMut, Bytes};

use crate::codec::{self, Malformed};
use crate::ids::{ClusterId, Incarnation, NodeId};

use super::Purpose;
use super::hello::{MAX_AGREEMENT_TEXT_BYTES, MAX_GROUP_BYTES};
use super::proposal::{get_text, put_text};

/// Why one side refuses the other. "Refused" is whoever is not taken, "refusing" whoever says so.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Reason {
    /// It is for something else than the socket.
    #[error(
        "a connection for {refused} came to a socket for {refusing}: compare the ports of both"
    )]
    Purpose {
        /// What it is for.
        refused: Purpose,
        /// What the socket is for.
        refusing: Purpose,
    },
    /// It is of another Raft group.
    #[error(
        "a node of Raft group {refused:?} reached one of {refusing:?}: compare the ports of both"
    )]
    Group {
        /// The refused side's.
        refused: String,
        /// The refusing side's.
        refusing: String,
    },
    /// It belongs to another cluster.
    #[error("a node of cluster {refused} reached one of cluster {refusing}")]
    Cluster {
        /// The refused side's.
        refused: ClusterId,
        /// The refusing side's.
        refusing: ClusterId,
    },
    /// What must be the same on all nodes is not.
    #[error(
        "what must be the same on all nodes differs: the refused node has {refused}, \
         the refusing one has {refusing}"
    )]
    Agreement {
        /// The refused side's, in words.
        refused: String,
        /// The refusing side's, in words.
        refusing: String,
    },
    /// Another node than the one that was meant.
    #[error("{expected} was dialled and {found} is there: compare the addresses of both")]
    WrongNode {
        /// Whom the dialling side meant.
        expected: NodeId,
        /// Who is there.
        found: NodeId,
    },
    /// A node has reached itself.
    #[error("a node has reached itself: is a peer's address one of its own?")]
    Yourself,
    /// A live node has the id that this node has itself.
    #[error("two live nodes claim {0}, one of them the refusing one")]
    SameId(NodeId),
    /// Another life of the same id is connected.
    #[error("two live nodes claim {id}: {connected} is connected, {refused} came")]
    Duplicate {
        /// The id.
        id: NodeId,
        /// The life that is connected.
        connected: Incarnation,
        /// The life that is not taken.
        refused: Incarnation,
    },
    /// It is none of the configured peers.
    #[error("{0} is not among the peers of the refusing node")]
    NotAPeer(NodeId),
}

impl Reason {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Reason::Purpose { refused, refusing } => {
                out.put_u8(0);
                put_purpose(out, *refused);
                put_purpose(out, *refusing);
            }
            Reason::Group { refused, refusing } => {
                out.put_u8(1);
                put_text(out, refused, MAX_GROUP_BYTES);
                put_text(out, refusing, MAX_GROUP_BYTES);
            }
            Reason::Cluster { refused, refusing } => {
                out.put_u8(2);
                out.put_u128_le(refused.0);
                out.put_u128_le(refusing.0);
            }
            Reason::Agreement { refused, refusing } => {
                out.put_u8(3);
                put_text(out, refused, MAX_AGREEMENT_TEXT_BYTES);
                put_text(out, refusing, MAX_AGREEMENT_TEXT_BYTES);
            }
            Reason::WrongNode { expected, found } => {
                out.put_u8(4);
                out.put_u64_le(expected.0);
                out.put_u64_le(found.0);
            }
            Reason::Yourself => out.put_u8(5),
            Reason::SameId(id) => {
                out.put_u8(6);
                out.put_u64_le(id.0);
            }
            Reason::Duplicate {
                id,
                connected,
                refused,
            } => {
                out.put_u8(7);
                out.put_u64_le(id.0);
                codec::put_incarnation(out, connected);
                codec::put_incarnation(out, refused);
            }
            Reason::NotAPeer(id) => {
                out.put_u8(8);
                out.put_u64_le(id.0);
            }
        }
    }

    pub(super) fn get(body: &mut Bytes) -> Result<Reason, Malformed> {
        Ok(match codec::get_u8(body)? {
            0 => Reason::Purpose {
                refused: get_purpose(body)?,
                refusing: get_purpose(body)?,
            },
            1 => Reason::Group {
                refused: get_text(body, MAX_GROUP_BYTES)?,
                refusing: get_text(body, MAX_GROUP_BYTES)?,
            },
            2 => Reason::Cluster {
                refused: ClusterId(codec::get_u128(body)?),
                refusing: ClusterId(codec::get_u128(body)?),
            },
            3 => Reason::Agreement {
                refused: get_text(body, MAX_AGREEMENT_TEXT_BYTES)?,
                refusing: get_text(body, MAX_AGREEMENT_TEXT_BYTES)?,
            },
            4 => Reason::WrongNode {
                expected: NodeId(codec::get_u64(body)?),
                found: NodeId(codec::get_u64(body)?),
            },
            5 => Reason::Yourself,
            6 => Reason::SameId(NodeId(codec::get_u64(body)?)),
            7 => Reason::Duplicate {
                id: NodeId(codec::get_u64(body)?),
                connected: codec::get_incarnation(body)?,
                refused: codec::get_incarnation(body)?,
            },
            8 => Reason::NotAPeer(NodeId(codec::get_u64(body)?)),
            other => return Err(Malformed::UnknownKind(other)),
        })
    }
}

pub(super) fn put_purpose(out: &mut Vec<u8>, purpose: Purpose) {
    out.put_u8(match purpose {
        Purpose::Logs => 0,
        Purpose::Proposals => 1,
    });
}

pub(super) fn get_purpose(body: &mut Bytes) -> Result<Purpose, Malformed> {
    match codec::get_u8(body)? {
        0 => Ok(Purpose::Logs),
        1 => Ok(Purpose::Proposals),
        other => Err(Malformed::UnknownKind(other)),
    }
}
