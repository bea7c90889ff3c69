//! Who a node is, and whether it is taken.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes};

use crate::codec::{self, Malformed, finished};
use crate::ids::{ClusterId, Incarnation, NodeId};

use super::proposal::{cut, get_text, put_text};
use super::reason::{Reason, get_purpose, put_purpose};
use super::secrets::Secrets;
use super::{LOWEST_VERSION, Purpose, VERSION};

/// The longest name of a Raft group, in bytes; what is longer is cut.
pub const MAX_GROUP_BYTES: usize = 64;

/// The longest text of an agreement, in bytes; what is longer is cut.
pub const MAX_AGREEMENT_TEXT_BYTES: usize = 512;

/// What must be the same on all nodes of a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// Compared.
    pub hash: [u8; 32],
    /// The same in words, for the log where the hashes differ.
    pub text: String,
}

/// Bytes of a hash that are shown where the words are the same.
const SHOWN_HASH_BYTES: usize = 8;

impl Agreement {
    /// In words, for whoever compares it with another. Where the words are the same and the hashes
    /// are not, the hashes tell which is which: another release may put more into the hash than
    /// into the words.
    fn compared_with(&self, other: &Agreement) -> String {
        let words = cut(&self.text, MAX_AGREEMENT_TEXT_BYTES);
        if words != cut(&other.text, MAX_AGREEMENT_TEXT_BYTES) {
            return words.to_owned();
        }
        let shown = self.hash.iter().take(SHOWN_HASH_BYTES);
        let shown: String = shown.map(|byte| format!("{byte:02x}")).collect();
        let hash = format!(" (in these words, but with hash {shown}...)");
        let words = cut(words, MAX_AGREEMENT_TEXT_BYTES - hash.len());
        format!("{words}{hash}")
    }
}

/// What a node says of itself when a connection begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The newest version of the protocol that it speaks. As in the preamble, which nothing
    /// protects.
    pub version: u8,
    /// The oldest.
    pub lowest: u8,
    /// What the connection is for.
    pub purpose: Purpose,
    /// The Raft group's name.
    pub group: String,
    /// Its cluster; none before it has joined one.
    pub cluster: Option<ClusterId>,
    /// The node.
    pub id: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// What must be the same on both sides.
    pub agreement: Agreement,
    /// With whom it means to speak. The accepting side says what it was told.
    pub expected: NodeId,
}

impl Hello {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u8(self.version);
        out.put_u8(self.lowest);
        put_purpose(out, self.purpose);
        put_text(out, &self.group, MAX_GROUP_BYTES);
        codec::put_option(out, self.cluster.as_ref(), |out, id| out.put_u128_le(id.0));
        out.put_u64_le(self.id.0);
        codec::put_incarnation(out, &self.incarnation);
        out.put_slice(&self.agreement.hash);
        put_text(out, &self.agreement.text, MAX_AGREEMENT_TEXT_BYTES);
        out.put_u64_le(self.expected.0);
    }

    pub(super) fn get(mut body: Bytes) -> Result<Hello, Malformed> {
        let body = &mut body;
        let hello = Hello {
            version: codec::get_u8(body)?,
            lowest: codec::get_u8(body)?,
            purpose: get_purpose(body)?,
            group: get_text(body, MAX_GROUP_BYTES)?,
            cluster: codec::get_option(body, |body| codec::get_u128(body).map(ClusterId))?,
            id: NodeId(codec::get_u64(body)?),
            incarnation: codec::get_incarnation(body)?,
            agreement: Agreement {
                hash: get_hash(body)?,
                text: get_text(body, MAX_AGREEMENT_TEXT_BYTES)?,
            },
            expected: NodeId(codec::get_u64(body)?),
        };
        finished(body)?;
        Ok(hello)
    }
}

fn get_hash(body: &mut Bytes) -> Result<[u8; 32], Malformed> {
    let bytes = codec::get_bytes(body, 32)?;
    bytes.as_ref().try_into().map_err(|_| Malformed::Truncated)
}

/// What a node knows of itself and of whom it takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Local {
    /// The node.
    pub id: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The Raft group's name, at most [`MAX_GROUP_BYTES`].
    pub group: String,
    /// Its cluster; none before it has joined one.
    pub cluster: Option<ClusterId>,
    /// What must be the same on all nodes.
    pub agreement: Agreement,
    /// What all nodes share.
    pub secrets: Secrets,
    /// Whom it takes.
    pub peers: BTreeSet<NodeId>,
}

impl Local {
    pub(super) fn hello(&self, purpose: Purpose, expected: NodeId) -> Hello {
        Hello {
            version: VERSION,
            lowest: LOWEST_VERSION,
            purpose,
            group: self.group.clone(),
            cluster: self.cluster,
            id: self.id,
            incarnation: self.incarnation,
            agreement: self.agreement.clone(),
            expected,
        }
    }

    /// Whether whoever says this is taken, as far as that does not depend on other connections.
    /// Which stores may not come back is for the core to know: it must be able to tell them so.
    /// `dialled`: whom this side dialled, where it did.
    ///
    /// The order goes from what points at a wrong address to what is wrong with the node itself,
    /// so that the reason names the first thing to look at.
    ///
    /// # Errors
    /// The reason not to take it.
    pub fn judge(
        &self,
        hello: &Hello,
        purpose: Purpose,
        dialled: Option<NodeId>,
    ) -> Result<(), Reason> {
        if hello.id == self.id && hello.incarnation == self.incarnation {
            return Err(Reason::Yourself);
        }
        if hello.group != self.group {
            return Err(Reason::Group {
                refused: hello.group.clone(),
                refusing: self.group.clone(),
            });
        }
        if hello.purpose != purpose {
            return Err(Reason::Purpose {
                refused: hello.purpose,
                refusing: purpose,
            });
        }
        if hello.id == self.id {
            return Err(Reason::SameId(self.id));
        }
        let (expected, found) = match dialled {
            Some(dialled) => (dialled, hello.id),
            None => (hello.expected, self.id),
        };
        if expected != found {
            return Err(Reason::WrongNode { expected, found });
        }
        if !self.peers.contains(&hello.id) {
            return Err(Reason::NotAPeer(hello.id));
        }
        if let (Some(refused), Some(refusing)) = (hello.cluster, self.cluster)
            && refused != refusing
        {
            return Err(Reason::Cluster { refused, refusing });
        }
        if hello.agreement.hash != self.agreement.hash {
            return Err(Reason::Agreement {
                refused: hello.agreement.compared_with(&self.agreement),
                refusing: self.agreement.compared_with(&hello.agreement),
            });
        }
        Ok(())
    }
}
