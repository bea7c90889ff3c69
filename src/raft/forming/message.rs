//! The messages of forming as bytes, for frames that the transport does not look into.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::form::{Beginning, Facts, Form, Holding, LogFacts};
use crate::codec::{
    Malformed, finished, get_incarnation, get_membership, get_option, get_position, get_statement,
    get_u8, get_u64, get_u128, put_incarnation, put_membership, put_option, put_position,
    put_statement,
};
use crate::ids::{ClusterId, Incarnation, NodeId};

/// A message, at most: what the transport lets pass. A form of 64 nodes that each name 64 takes
/// some 41 KiB.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The version of these messages, their first byte.
const VERSION: u8 = 1;

const STATEMENT: u8 = 1;
const FORM: u8 = 2;

/// What is said.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// What the sender is.
    Facts {
        /// The life that this is said to: another one of the same node disregards it.
        to: Incarnation,
        /// What is said.
        facts: Facts,
    },
    /// A form that the sender has made durable.
    Form(Form),
}

impl Message {
    /// As bytes. Only forms with [`Beginning::Empty`] are sent.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        match self {
            Message::Facts { to, facts } => {
                out.put_u8(STATEMENT);
                put_incarnation(&mut out, to);
                put_statement(&mut out, &facts.statement);
                put_holding(&mut out, facts.holding);
            }
            Message::Form(form) => {
                debug_assert_eq!(form.beginning, Beginning::Empty, "no other is sent");
                out.put_u8(FORM);
                out.put_u128_le(form.cluster.0);
                put_membership(&mut out, &form.membership);
            }
        }
        debug_assert!(out.len() <= MAX_MESSAGE_BYTES, "members are bounded");
        out.freeze()
    }

    /// From bytes. Never panics, and allocates no more than the bytes themselves would fill.
    ///
    /// # Errors
    /// Where they are too many, of another version, or no such message.
    pub fn decode(mut bytes: Bytes) -> Result<Message, Malformed> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(Malformed::TooLong(bytes.len() as u64));
        }
        match get_u8(&mut bytes)? {
            VERSION => {}
            other => return Err(Malformed::UnknownKind(other)),
        }
        let message = match get_u8(&mut bytes)? {
            STATEMENT => Message::Facts {
                to: get_incarnation(&mut bytes)?,
                facts: Facts {
                    statement: get_statement(&mut bytes)?,
                    holding: get_holding(&mut bytes)?,
                },
            },
            FORM => Message::Form(Form {
                cluster: ClusterId(get_u128(&mut bytes)?),
                membership: Arc::new(get_membership(&mut bytes)?),
                beginning: Beginning::Empty,
            }),
            other => return Err(Malformed::UnknownKind(other)),
        };
        finished(&bytes)?;
        Ok(message)
    }
}

fn put_holding(out: &mut impl BufMut, holding: Holding) {
    match holding {
        Holding::Blank => out.put_u8(0),
        Holding::Seed { entries } => {
            out.put_u8(1);
            out.put_u64_le(entries);
        }
        Holding::Taking(cluster) => {
            out.put_u8(2);
            out.put_u128_le(cluster.0);
        }
        Holding::Log(log) => {
            out.put_u8(3);
            out.put_u128_le(log.cluster.0);
            put_position(out, log.last);
            put_option(out, log.leader.as_ref(), |out, id| out.put_u64_le(id.0));
        }
    }
}

fn get_holding(bytes: &mut Bytes) -> Result<Holding, Malformed> {
    Ok(match get_u8(bytes)? {
        0 => Holding::Blank,
        1 => Holding::Seed {
            entries: get_u64(bytes)?,
        },
        2 => Holding::Taking(ClusterId(get_u128(bytes)?)),
        3 => Holding::Log(LogFacts {
            cluster: ClusterId(get_u128(bytes)?),
            last: get_position(bytes)?,
            leader: get_option(bytes, |bytes| get_u64(bytes).map(NodeId))?,
        }),
        other => return Err(Malformed::UnknownKind(other)),
    })
}
