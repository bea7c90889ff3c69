//! Segments of the log: their names and heads.

use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes};

use super::error::{Damage, StoreError};
use super::identity::Owner;
use crate::codec;
use crate::durable::HardState;
use crate::ids::{NodeId, Position, StoreId};

/// Bytes of a segment's head: one sector, which a disk writes whole or not at all.
pub(super) const HEAD_BYTES: usize = 512;

/// The largest segment that is read.
pub(super) const MAX_SEGMENT_BYTES: u64 = 1 << 30;

const MAGIC: &[u8; 8] = b"tcpffWAL";
const VERSION: u16 = 1;
const SUFFIX: &str = ".log";

/// The beginning of a segment: enough to do without all segments before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// Its number, from 1, without gaps.
    pub(super) sequence: u64,
    /// Where the segment before it ends...
    pub(super) previous_end: u64,
    /// ...with which checksum. Both are 0 in the first.
    pub(super) previous_chain: u32,
    /// The end of the log where this segment begins.
    pub(super) last: Position,
    /// The hard state there.
    pub(super) hard_state: HardState,
}

impl Head {
    /// Of a log that begins.
    pub(super) fn first() -> Head {
        Head {
            sequence: 1,
            previous_end: 0,
            previous_chain: 0,
            last: Position::default(),
            hard_state: HardState::default(),
        }
    }

    /// As bytes, with the checksum that the chain of records begins with.
    pub(super) fn encode(&self, owner: Owner) -> (Vec<u8>, u32) {
        let mut out = Vec::with_capacity(HEAD_BYTES);
        out.put_slice(MAGIC);
        out.put_u16_le(VERSION);
        out.put_u64_le(owner.node.0);
        out.put_u128_le(owner.store.0);
        out.put_u64_le(self.sequence);
        out.put_u64_le(self.previous_end);
        out.put_u32_le(self.previous_chain);
        codec::put_position(&mut out, self.last);
        codec::put_hard_state(&mut out, &self.hard_state);
        out.resize(HEAD_BYTES - 4, 0);
        let chain = crc32fast::hash(&out);
        out.put_u32_le(chain);
        (out, chain)
    }

    /// Reads a head, and the checksum that the chain of records begins with.
    pub(super) fn decode(
        bytes: &[u8],
        path: &Path,
        sequence: u64,
        owner: Owner,
    ) -> Result<(Head, u32), StoreError> {
        let damaged = || StoreError::Damaged {
            path: path.to_owned(),
            offset: 0,
            what: Damage::Head,
        };
        let head = bytes.get(..HEAD_BYTES).ok_or_else(damaged)?;
        let mut fields = Bytes::copy_from_slice(&head[..HEAD_BYTES - 4]);
        let chain = crc32fast::hash(&fields);
        check_kind(&mut fields, MAGIC, VERSION, path)?.ok_or_else(damaged)?;
        if chain.to_le_bytes() != head[HEAD_BYTES - 4..] {
            return Err(damaged());
        }
        owner.check(&mut fields, path)?.ok_or_else(damaged)?;
        let read = |fields: &mut Bytes| {
            Ok::<_, codec::Malformed>(Head {
                sequence: codec::get_u64(fields)?,
                previous_end: codec::get_u64(fields)?,
                previous_chain: codec::get_u32(fields)?,
                last: codec::get_position(fields)?,
                hard_state: codec::get_hard_state(fields)?,
            })
        };
        match read(&mut fields) {
            Ok(head) if head.sequence == sequence => Ok((head, chain)),
            _ => Err(damaged()),
        }
    }
}

/// Takes magic and version off the bytes. None: the magic is another.
pub(super) fn check_kind(
    bytes: &mut Bytes,
    magic: &[u8; 8],
    known: u16,
    path: &Path,
) -> Result<Option<()>, StoreError> {
    if !bytes.starts_with(magic) {
        return Ok(None);
    }
    bytes.advance(magic.len());
    match codec::get_u16(bytes) {
        Ok(found) if found == known => Ok(Some(())),
        Ok(found) => Err(StoreError::ForeignVersion {
            path: path.to_owned(),
            found,
            known,
        }),
        Err(_) => Ok(None),
    }
}

impl Owner {
    /// Takes node and store off the bytes and compares them. None: there are too few bytes.
    pub(super) fn check(&self, bytes: &mut Bytes, path: &Path) -> Result<Option<()>, StoreError> {
        let (Ok(node), Ok(store)) = (codec::get_u64(bytes), codec::get_u128(bytes)) else {
            return Ok(None);
        };
        if NodeId(node) != self.node {
            return Err(StoreError::ForeignNode {
                path: path.to_owned(),
                found: NodeId(node),
                expected: self.node,
            });
        }
        if StoreId(store) != self.store {
            return Err(StoreError::ForeignStore {
                path: path.to_owned(),
                found: StoreId(store),
                expected: self.store,
            });
        }
        Ok(Some(()))
    }
}

/// A segment's path.
pub(super) fn path(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("{sequence:016x}{SUFFIX}"))
}

/// The number of the segment with this name.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    match digits.len() {
        16 => u64::from_str_radix(digits, 16).ok(),
        _ => None,
    }
}
