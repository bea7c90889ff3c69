//! Why a connection has ended.

use crate::codec::Malformed;

use super::channel::Tampered;
use super::frame::{FrameError, Kind};
use super::preamble::{NotOurs, Preamble};
use super::reason::Reason;
use super::{LOWEST_VERSION, VERSION};

/// Why a connection has ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Ended {
    /// This side does not take the other.
    #[error("refused here: {0}")]
    RefusedHere(Reason),
    /// The other side does not take this one.
    #[error("refused there: {0}")]
    RefusedThere(Reason),
    /// The other side is something else.
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    /// There is no version that both speak.
    #[error(
        "it speaks versions {lowest} to {newest} of the protocol between nodes, this node \
         {LOWEST_VERSION} to {VERSION}: upgrade the older one"
    )]
    Version {
        /// The oldest that the other side speaks.
        lowest: u8,
        /// The newest.
        newest: u8,
    },
    /// One side only has a secret.
    #[error("this node has a peer secret and the other has none: set peer_secret_file on both")]
    SecretOnlyHere,
    /// One side only has a secret.
    #[error("the other node has a peer secret and this one has none: set peer_secret_file on both")]
    SecretOnlyThere,
    /// The secrets differ.
    #[error("the peer secrets differ: compare the files that peer_secret_file names on both")]
    WrongSecret,
    /// Bytes that were not encrypted by whom the handshake was with.
    #[error(transparent)]
    Tampered(#[from] Tampered),
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame whose body is not what its kind says.
    #[error("a frame of kind {kind:?} cannot be read: {malformed}")]
    Malformed {
        /// The frame's.
        kind: Kind,
        /// What is wrong.
        malformed: Malformed,
    },
}

impl Ended {
    pub(super) fn version(theirs: &Preamble) -> Ended {
        Ended::Version {
            lowest: theirs.lowest,
            newest: theirs.version,
        }
    }

    /// Whether it is for people to put right, rather than a fault of the moment.
    pub fn is_refusal(&self) -> bool {
        match self {
            Ended::RefusedHere(_)
            | Ended::RefusedThere(_)
            | Ended::Version { .. }
            | Ended::SecretOnlyHere
            | Ended::SecretOnlyThere
            | Ended::WrongSecret => true,
            Ended::NotOurs(_) | Ended::Tampered(_) | Ended::Frame(_) | Ended::Malformed { .. } => {
                false
            }
        }
    }
}
