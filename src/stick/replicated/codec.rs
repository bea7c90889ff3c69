//! Commands and answers as bytes.
//!
//! Numbers are little-endian, or LEB128 where they mostly are small. Whatever is read is checked
//! against its bound before anything is allocated for it.

mod reader;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes};
use tcpffee_raft::ids::{Index, LogTime, NodeId};

use super::command::{
    Answer, Batch, Full, Given, MAX_REASON_BYTES, Op, Outcome, StatedGroup, Statement, Verdict,
    Wanted,
};
pub(super) use reader::{Reader, put_bytes, put_key, put_text, put_varint};
use reader::{put_ip, put_maybe_group};

type Result<T> = std::result::Result<T, CommandError>;

/// Most operations of one batch.
pub const MAX_OPS: usize = 4096;

/// Most groups in one statement, and most verdicts.
pub(super) const MAX_GROUPS: usize = 4096;

/// Bytes that are no command, or no answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// They end too early.
    #[error("the bytes end too early")]
    Truncated,
    /// A tag that is none of the known ones.
    #[error("unknown kind {0}")]
    UnknownKind(u8),
    /// A count or length beyond its bound.
    #[error("a length of {0} is beyond its bound")]
    TooLong(u64),
    /// A number beyond what its type holds.
    #[error("a number is beyond its bound")]
    OutOfRange,
    /// Things out of order, or at odds with each other.
    #[error("parts that contradict each other")]
    Disorder,
    /// A text that is not UTF-8.
    #[error("a text that is not UTF-8")]
    Text,
    /// Bytes are left over.
    #[error("{0} bytes too many")]
    Trailing(usize),
}

/// A batch as a command of the log. It may have [`MAX_OPS`] operations; more are not read.
pub fn encode(batch: &Batch) -> Bytes {
    let mut out = Vec::with_capacity(20 + batch.ops.len() * 32);
    out.put_u64_le(batch.from.0);
    out.put_u64_le(batch.boot);
    put_varint(&mut out, batch.ops.len() as u64);
    for op in &batch.ops {
        put_op(&mut out, op);
    }
    out.into()
}

impl Batch {
    /// Reads what [`encode`] wrote.
    ///
    /// # Errors
    /// Where the bytes are something else, or more than a command may have.
    pub fn decode(bytes: &[u8]) -> Result<Batch> {
        let mut reader = Reader::new(bytes);
        let from = NodeId(reader.u64()?);
        let boot = reader.u64()?;
        let count = reader.count(MAX_OPS)?;
        let ops = (0..count)
            .map(|_| get_op(&mut reader))
            .collect::<Result<_>>()?;
        reader.finish()?;
        Ok(Batch { from, boot, ops })
    }
}

fn put_op(out: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Assign {
            client: Wanted::Key(key),
            group,
        } => {
            put_named(out, 0, key.as_ref());
            put_maybe_group(out, *group);
        }
        Op::Assign {
            client: Wanted::LatestOf(ip),
            group,
        } => {
            out.put_u8(1);
            put_ip(out, *ip);
            put_maybe_group(out, *group);
        }
        Op::Move { key, version, to } => {
            put_named(out, 2, key.as_ref());
            put_varint(out, version.0);
            put_varint(out, to.0.into());
        }
        Op::GiveUp { key, version } => {
            put_named(out, 3, key.as_ref());
            put_varint(out, version.0);
        }
        Op::Hold { key, version } => {
            put_named(out, 4, key.as_ref());
            put_varint(out, version.0);
        }
        Op::Renew {
            key,
            version,
            activity,
        } => {
            put_named(out, 5, key.as_ref());
            put_varint(out, version.0);
            put_varint(out, activity.0);
        }
        Op::Release {
            key,
            version,
            activity,
        } => {
            put_named(out, 6, key.as_ref());
            put_varint(out, version.0);
            put_varint(out, activity.0);
        }
        Op::Remove { key } => put_named(out, 7, key.as_ref()),
        Op::State(statement) => {
            out.put_u8(8);
            put_statement(out, statement);
        }
        Op::EndSession { node, boot } => {
            out.put_u8(9);
            out.put_u64_le(node.0);
            out.put_u64_le(*boot);
        }
        Op::Absent { node } => {
            out.put_u8(10);
            out.put_u64_le(node.0);
        }
        Op::Verdicts(verdicts) => {
            out.put_u8(11);
            put_verdicts(out, verdicts);
        }
        Op::Passed(index) => {
            out.put_u8(12);
            put_varint(out, index.0);
        }
    }
}

fn put_named(out: &mut Vec<u8>, kind: u8, key: crate::stick::KeyRef<'_>) {
    out.put_u8(kind);
    put_key(out, key);
}

fn get_op(reader: &mut Reader<'_>) -> Result<Op> {
    Ok(match reader.u8()? {
        0 => Op::Assign {
            client: Wanted::Key(reader.key()?),
            group: reader.maybe_group()?,
        },
        1 => Op::Assign {
            client: Wanted::LatestOf(reader.ip()?),
            group: reader.maybe_group()?,
        },
        2 => Op::Move {
            key: reader.key()?,
            version: get_index(reader)?,
            to: reader.group()?,
        },
        3 => Op::GiveUp {
            key: reader.key()?,
            version: get_index(reader)?,
        },
        4 => Op::Hold {
            key: reader.key()?,
            version: get_index(reader)?,
        },
        5 => Op::Renew {
            key: reader.key()?,
            version: get_index(reader)?,
            activity: get_time(reader)?,
        },
        6 => Op::Release {
            key: reader.key()?,
            version: get_index(reader)?,
            activity: get_time(reader)?,
        },
        7 => Op::Remove { key: reader.key()? },
        8 => Op::State(get_statement(reader)?),
        9 => Op::EndSession {
            node: NodeId(reader.u64()?),
            boot: reader.u64()?,
        },
        10 => Op::Absent {
            node: NodeId(reader.u64()?),
        },
        11 => Op::Verdicts(get_verdicts(reader)?),
        12 => Op::Passed(get_index(reader)?),
        other => return Err(CommandError::UnknownKind(other)),
    })
}

pub(super) fn get_index(reader: &mut Reader<'_>) -> Result<Index> {
    reader.varint().map(Index)
}

pub(super) fn get_time(reader: &mut Reader<'_>) -> Result<LogTime> {
    reader.varint().map(LogTime)
}

pub(super) fn put_full(out: &mut Vec<u8>, full: Full) {
    out.put_u8(match full {
        Full::Refuse => 0,
        Full::Evict => 1,
    });
}

pub(super) fn get_full(reader: &mut Reader<'_>) -> Result<Full> {
    match reader.flag()? {
        false => Ok(Full::Refuse),
        true => Ok(Full::Evict),
    }
}

pub(super) fn put_statement(out: &mut Vec<u8>, statement: &Statement) {
    put_varint(out, statement.expiration_ms);
    put_varint(out, statement.max_entries);
    put_full(out, statement.full);
    put_varint(out, statement.groups.len() as u64);
    for group in &statement.groups {
        put_varint(out, group.id.0.into());
        out.put_u8(group.status as u8);
        put_varint(out, group.weight.into());
        out.put_u8(group.backup.into());
    }
}

pub(super) fn get_statement(reader: &mut Reader<'_>) -> Result<Statement> {
    let expiration_ms = reader.varint()?;
    let max_entries = reader.varint()?;
    let full = get_full(reader)?;
    let count = reader.count(MAX_GROUPS)?;
    let groups: Vec<StatedGroup> = (0..count)
        .map(|_| {
            Ok(StatedGroup {
                id: reader.group()?,
                status: reader.status()?,
                weight: reader.varint32()?,
                backup: reader.flag()?,
            })
        })
        .collect::<Result<_>>()?;
    if !groups.is_sorted_by(|one, next| one.id < next.id) {
        return Err(CommandError::Disorder);
    }
    Ok(Statement {
        expiration_ms,
        max_entries,
        full,
        groups,
    })
}

pub(super) fn put_verdicts(out: &mut Vec<u8>, verdicts: &[Verdict]) {
    put_varint(out, verdicts.len() as u64);
    for verdict in verdicts {
        put_varint(out, verdict.group.0.into());
        out.put_u8(verdict.status as u8);
        put_text(out, &verdict.reason, MAX_REASON_BYTES);
    }
}

pub(super) fn get_verdicts(reader: &mut Reader<'_>) -> Result<Vec<Verdict>> {
    let count = reader.count(MAX_GROUPS)?;
    (0..count)
        .map(|_| {
            Ok(Verdict {
                group: reader.group()?,
                status: reader.status()?,
                reason: reader.text(MAX_REASON_BYTES)?,
            })
        })
        .collect()
}

/// Flags of an entry that was given.
const SLICE: u8 = 1;
const CREATED: u8 = 2;
const PROVISIONAL: u8 = 4;

impl Answer {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(16 + self.outcomes.len() * 16);
        put_varint(&mut out, self.index.0);
        put_varint(&mut out, self.outcomes.len() as u64);
        for outcome in &self.outcomes {
            match outcome {
                Outcome::Done => out.put_u8(0),
                Outcome::Stale => out.put_u8(1),
                Outcome::NotUp => out.put_u8(2),
                Outcome::Full => out.put_u8(3),
                Outcome::Fenced => out.put_u8(4),
                Outcome::Entry(given) => {
                    out.put_u8(5);
                    put_given(&mut out, given);
                }
            }
        }
        out.into()
    }

    /// Reads what [`Answer::encode`] wrote.
    ///
    /// # Errors
    /// Where the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Answer> {
        let mut reader = Reader::new(bytes);
        let index = get_index(&mut reader)?;
        let count = reader.count(MAX_OPS)?;
        let outcomes = (0..count)
            .map(|_| get_outcome(&mut reader))
            .collect::<Result<_>>()?;
        reader.finish()?;
        Ok(Answer { index, outcomes })
    }
}

fn get_outcome(reader: &mut Reader<'_>) -> Result<Outcome> {
    Ok(match reader.u8()? {
        0 => Outcome::Done,
        1 => Outcome::Stale,
        2 => Outcome::NotUp,
        3 => Outcome::Full,
        4 => Outcome::Fenced,
        5 => Outcome::Entry(get_given(reader)?),
        other => return Err(CommandError::UnknownKind(other)),
    })
}

fn put_given(out: &mut Vec<u8>, given: &Given) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let slice = flag(given.slice.is_some(), SLICE);
    let created = flag(given.created, CREATED);
    out.put_u8(slice | created | flag(given.provisional, PROVISIONAL));
    put_varint(out, given.group.0.into());
    put_varint(out, given.version.0);
    put_varint(out, given.expires.0);
    if let Some(slice) = &given.slice {
        put_bytes(out, slice);
    }
}

fn get_given(reader: &mut Reader<'_>) -> Result<Given> {
    let flags = reader.u8()?;
    if flags & !(SLICE | CREATED | PROVISIONAL) != 0 {
        return Err(CommandError::UnknownKind(flags));
    }
    let group = reader.group()?;
    let version = get_index(reader)?;
    let expires = get_time(reader)?;
    let slice = match flags & SLICE != 0 {
        true => Some(reader.slice()?),
        false => None,
    };
    Ok(Given {
        slice,
        group,
        version,
        expires,
        created: flags & CREATED != 0,
        provisional: flags & PROVISIONAL != 0,
    })
}
