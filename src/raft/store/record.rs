//! Records of the log as bytes.
//!
//! ```text
//! crc-32 (4)   of what follows, begun with the crc-32 of the record before
//! length (4)   of the body
//! kind (1)
//! body
//! ```
//!
//! Since each checksum goes on from the one before, a record counts only behind the very record
//! that it was written behind.

use bytes::{BufMut, Bytes};
use crc32fast::Hasher;

use crate::codec::{self, Malformed};
use crate::durable::HardState;
use crate::entry::Entry;
use crate::ids::StoreId;
use crate::message::SnapshotMeta;

/// Bytes before a record's body.
pub(super) const HEAD_BYTES: usize = 9;

/// One record.
pub(super) enum Record {
    Mark(Mark),
    HardState(HardState),
    /// The log begins anew behind this snapshot.
    Reset(SnapshotMeta),
    Entry(Entry),
}

/// Says at the beginning of each batch how far the log was known to be on disk. It has a checksum
/// of its own, so that it is found behind damage too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// The segment that it stands in.
    pub(super) sequence: u64,
    /// Where it stands: the offset of its record.
    pub(super) offset: u64,
    /// Everything before here is on disk, in segment...
    pub(super) synced_sequence: u64,
    /// ...and before this offset.
    pub(super) synced_offset: u64,
}

const MARK_MAGIC: u64 = 0x5b6d_7e1c_a90f_d3e5;
const MARK_BODY_BYTES: usize = 44;

/// A mark with its head.
pub(super) const MARK_BYTES: usize = HEAD_BYTES + MARK_BODY_BYTES;

const MARK: u8 = 1;
const HARD_STATE: u8 = 2;
const RESET: u8 = 3;
const ENTRY: u8 = 4;

/// What is found at an offset.
pub(super) enum Read {
    Record {
        record: Record,
        /// Where the next one begins.
        end: usize,
        /// The chain after it.
        chain: u32,
    },
    /// No record that was written behind the one before.
    Nothing,
}

/// Something to be written.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    HardState(&'a HardState),
    Reset(&'a SnapshotMeta),
    Entry(&'a Entry),
}

impl Body<'_> {
    /// Appends the record and moves the chain on.
    pub(super) fn put(&self, out: &mut Vec<u8>, chain: &mut u32) {
        match self {
            Body::HardState(state) => put(out, chain, HARD_STATE, |out| {
                codec::put_hard_state(out, state);
            }),
            Body::Reset(meta) => put(out, chain, RESET, |out| {
                codec::put_snapshot_meta(out, meta);
            }),
            Body::Entry(entry) => put(out, chain, ENTRY, |out| codec::put_entry(out, entry)),
        }
    }
}

fn put(out: &mut Vec<u8>, chain: &mut u32, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    body(out);
    let length = (out.len() - start - HEAD_BYTES) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out[start + 8] = kind;
    *chain = continued(*chain, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&chain.to_le_bytes());
}

/// Appends a record of any kind and body: for tests.
pub(super) fn put_any(out: &mut Vec<u8>, chain: &mut u32, kind: u8, body: &[u8]) {
    put(out, chain, kind, |out| out.put_slice(body));
}

fn continued(chain: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(chain);
    hasher.update(bytes);
    hasher.finalize()
}

impl Mark {
    pub(super) fn put(&self, out: &mut Vec<u8>, chain: &mut u32, store: StoreId) {
        put(out, chain, MARK, |out| {
            let start = out.len();
            out.put_u64_le(MARK_MAGIC);
            out.put_u64_le(self.sequence);
            out.put_u64_le(self.offset);
            out.put_u64_le(self.synced_sequence);
            out.put_u64_le(self.synced_offset);
            let own = own_checksum(&out[start..], store);
            out.put_u32_le(own);
        });
    }

    fn get(mut body: Bytes, store: StoreId) -> Option<Mark> {
        let checked = body.get(..MARK_BODY_BYTES - 4)?.to_vec();
        let magic = codec::get_u64(&mut body).ok()?;
        let mark = Mark {
            sequence: codec::get_u64(&mut body).ok()?,
            offset: codec::get_u64(&mut body).ok()?,
            synced_sequence: codec::get_u64(&mut body).ok()?,
            synced_offset: codec::get_u64(&mut body).ok()?,
        };
        let own = codec::get_u32(&mut body).ok()?;
        (magic == MARK_MAGIC && own == own_checksum(&checked, store)).then_some(mark)
    }
}

fn own_checksum(body: &[u8], store: StoreId) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&store.0.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// Reads the record at an offset.
///
/// # Errors
/// Where a record is whole and cannot be understood: no crash does that.
pub(super) fn read(
    bytes: &Bytes,
    offset: usize,
    chain: u32,
    store: StoreId,
) -> Result<Read, Malformed> {
    let Some((head, rest)) = bytes
        .get(offset..)
        .and_then(|left| left.split_first_chunk::<HEAD_BYTES>())
    else {
        return Ok(Read::Nothing);
    };
    let checksum = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    let kind = head[8];
    if kind == 0 || length > rest.len() {
        return Ok(Read::Nothing);
    }
    let end = offset + HEAD_BYTES + length;
    if continued(chain, &bytes[offset + 4..end]) != checksum {
        return Ok(Read::Nothing);
    }
    let mut body = bytes.slice(offset + HEAD_BYTES..end);
    let record = match kind {
        MARK => Record::Mark(Mark::get(body, store).ok_or(Malformed::UnknownKind(kind))?),
        HARD_STATE => {
            let state = codec::get_hard_state(&mut body)?;
            codec::finished(&body)?;
            Record::HardState(state)
        }
        RESET => {
            let meta = codec::get_snapshot_meta(&mut body)?;
            codec::finished(&body)?;
            Record::Reset(meta)
        }
        ENTRY => Record::Entry(codec::get_entry(body)?),
        other => return Err(Malformed::UnknownKind(other)),
    };
    Ok(Read::Record {
        record,
        end,
        chain: checksum,
    })
}

/// The greatest offset of this segment that a mark behind `from` says to be on disk.
pub(super) fn synced_by_marks_behind(
    bytes: &Bytes,
    from: usize,
    sequence: u64,
    store: StoreId,
) -> Option<u64> {
    let magic = MARK_MAGIC.to_le_bytes();
    let mut synced = None;
    let mut at = from;
    while let Some(left) = bytes.get(at..) {
        // Nearly always nothing but zeros are left: they are passed at the speed of memory.
        let Some(found) = left.iter().position(|byte| *byte == magic[0]) else {
            break;
        };
        let body = at + found;
        at = body + 1;
        if bytes.get(body..body + magic.len()) != Some(magic.as_slice()) {
            continue;
        }
        let Some(mark) = Mark::get(bytes.slice(body..), store) else {
            continue;
        };
        if mark.sequence == sequence
            && mark.offset + HEAD_BYTES as u64 == body as u64
            && mark.synced_sequence == sequence
        {
            synced = synced.max(Some(mark.synced_offset));
        }
    }
    synced
}
