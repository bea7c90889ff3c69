//! Commands and answers as bytes.
//!
//! Numbers are little-endian, or LEB128 where they mostly are small. Whatever is read is checked
//! against its bound before anything is allocated for it.

mod answer; // what comes back
mod op; // one operation
mod reader; // bytes taken apart and put together
mod statement; // what nodes and health checks say of groups
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes};
use tcpffee_raft::ids::{Index, LogTime, NodeId};

use super::command::Batch;
pub(super) use reader::{Reader, put_key, put_text, put_varint};
pub(super) use statement::{
    get_full, get_statement, get_verdicts, put_full, put_statement, put_verdicts,
};

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
        op::put_op(&mut out, op);
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
            .map(|_| op::get_op(&mut reader))
            .collect::<Result<_>>()?;
        reader.finish()?;
        Ok(Batch { from, boot, ops })
    }
}

pub(super) fn get_index(reader: &mut Reader<'_>) -> Result<Index> {
    reader.varint().map(Index)
}

pub(super) fn get_time(reader: &mut Reader<'_>) -> Result<LogTime> {
    reader.varint().map(LogTime)
}
