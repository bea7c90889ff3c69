//! The bytes of saves and journals.
//!
//! ```text
//! file    = magic (8 bytes) version (u32) frame…
//! frame   = length of payload (u32) CRC-32 of payload (u32) payload
//! payload = 'H' header | 'E' entry… | 'Z' number of entries (u64)
//! header  = key type (u8) start (u32) end (u32) IPv6 prefix (u8)
//!           journal number (u64) wall clock (u64, ms since 1970) clean (u8)
//! entry   = form (u8) address (4 or 16 bytes) [length (u16) slice] group (u32) time left (u64, ms)
//! ```
//!
//! Integers are little-endian. Both kinds of file begin with the header frame. A save ends with a
//! 'Z' frame, a journal wherever its process ended.

use crate::config::{GroupId, KeyType};
use crate::stick::{ClientIp, Key, KeyRef};

use super::KeyShape;

/// The version that this build writes and reads.
pub(super) const VERSION: u32 = 1;

/// Bytes before the first frame.
pub(super) const PREAMBLE_BYTES: usize = 12;

/// Bytes before the payload of a frame.
pub(super) const FRAME_HEAD_BYTES: usize = 8;

/// A block of entries is closed when its payload has this many bytes.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;

/// No payload is longer: a block, and one entry with the longest slice.
pub(super) const MAX_PAYLOAD_BYTES: usize = BLOCK_BYTES + 8 * 1024;

/// The longest slice that a key can have.
const MAX_SLICE_BYTES: usize = 4096;

const HEADER: u8 = b'H';
const ENTRIES: u8 = b'E';
const END: u8 = b'Z';

const FORM_IPV6: u8 = 1;
const FORM_SLICE: u8 = 2;
const IPV4_MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// The two kinds of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Save,
    Journal,
}

impl Kind {
    pub fn magic(self) -> [u8; 8] {
        match self {
            Kind::Save => *b"TCPFSAVE",
            Kind::Journal => *b"TCPFJRNL",
        }
    }
}

/// What a file says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub shape: KeyShape,
    /// Save: the first journal that applies on top. Journal: its own number.
    pub sequence: u64,
    /// When the file was begun, in milliseconds since 1970.
    pub wall_ms: u64,
    /// Save: nothing came after it.
    pub clean: bool,
}

/// A frame's contents.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    Header(Header),
    /// To be read with [`entries`].
    Entries(&'a [u8]),
    /// The number of entries in the file.
    End(u64),
}

/// One entry of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SavedEntry {
    pub key: Key,
    pub group: GroupId,
    pub left_ms: u64,
}

/// The first bytes of a file, its header frame included.
pub(super) fn file_start(kind: Kind, header: &Header) -> Vec<u8> {
    let (key_type, start, end) = match header.shape.key_type {
        KeyType::Ip => (0, 0, 0),
        KeyType::IpWithFirstMessageSlice { start, end } => (1, start, end),
    };
    let mut bytes = kind.magic().to_vec();
    bytes.extend(VERSION.to_le_bytes());
    let frame = begin_frame(&mut bytes, HEADER);
    bytes.push(key_type);
    for bound in [start, end] {
        let bound = u32::try_from(bound).expect("a slice bound is at most 4,096");
        bytes.extend(bound.to_le_bytes());
    }
    bytes.push(header.shape.ipv6_prefix);
    bytes.extend(header.sequence.to_le_bytes());
    bytes.extend(header.wall_ms.to_le_bytes());
    bytes.push(u8::from(header.clean));
    finish_frame(&mut bytes, frame);
    bytes
}

/// Begins a frame of entries at the end of `bytes`; the answer goes to [`finish_frame`].
pub(super) fn begin_entries(bytes: &mut Vec<u8>) -> usize {
    begin_frame(bytes, ENTRIES)
}

/// The frame that ends a save.
pub(super) fn end_frame(entries: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let frame = begin_frame(&mut bytes, END);
    bytes.extend(entries.to_le_bytes());
    finish_frame(&mut bytes, frame);
    bytes
}

fn begin_frame(bytes: &mut Vec<u8>, kind: u8) -> usize {
    let frame = bytes.len();
    bytes.extend([0; FRAME_HEAD_BYTES]);
    bytes.push(kind);
    frame
}

/// Fills in the length and the checksum of the frame that began at `frame`.
pub(super) fn finish_frame(bytes: &mut [u8], frame: usize) {
    let payload = frame + FRAME_HEAD_BYTES;
    let length = u32::try_from(bytes.len() - payload).expect("blocks are far below 4 GiB");
    let checksum = crc32fast::hash(&bytes[payload..]);
    bytes[frame..frame + 4].copy_from_slice(&length.to_le_bytes());
    bytes[frame + 4..payload].copy_from_slice(&checksum.to_le_bytes());
}

/// Adds an entry to the frame that is open at the end of `bytes`.
pub(super) fn put_entry(bytes: &mut Vec<u8>, key: KeyRef<'_>, group: GroupId, left_ms: u64) {
    let octets = key.ip.octets();
    let ipv4 = octets.strip_prefix(&IPV4_MAPPED);
    let mut form = 0;
    if ipv4.is_none() {
        form |= FORM_IPV6;
    }
    if key.slice.is_some() {
        form |= FORM_SLICE;
    }
    bytes.push(form);
    bytes.extend_from_slice(ipv4.unwrap_or(&octets));
    if let Some(slice) = key.slice {
        let length = u16::try_from(slice.len()).expect("a slice has at most 4,096 bytes");
        bytes.extend(length.to_le_bytes());
        bytes.extend_from_slice(slice);
    }
    bytes.extend(group.0.to_le_bytes());
    bytes.extend(left_ms.to_le_bytes());
}

/// What a payload with a good checksum says; `None` where it makes no sense.
pub(super) fn payload(bytes: &[u8]) -> Option<Payload<'_>> {
    let (&kind, rest) = bytes.split_first()?;
    let mut rest = rest;
    let payload = match kind {
        ENTRIES => return Some(Payload::Entries(rest)),
        END => Payload::End(u64::from_le_bytes(take(&mut rest)?)),
        HEADER => Payload::Header(header(&mut rest)?),
        _ => return None,
    };
    rest.is_empty().then_some(payload)
}

fn header(rest: &mut &[u8]) -> Option<Header> {
    let [key_type] = take(rest)?;
    let start = u32::from_le_bytes(take(rest)?) as usize;
    let end = u32::from_le_bytes(take(rest)?) as usize;
    let [ipv6_prefix] = take(rest)?;
    let key_type = match key_type {
        0 => KeyType::Ip,
        1 => KeyType::IpWithFirstMessageSlice { start, end },
        _ => return None,
    };
    Some(Header {
        shape: KeyShape {
            key_type,
            ipv6_prefix,
        },
        sequence: u64::from_le_bytes(take(rest)?),
        wall_ms: u64::from_le_bytes(take(rest)?),
        clean: take::<1>(rest)? == [1],
    })
}

/// The entries of a block; `None` in place of the first that makes no sense under `shape`.
pub(super) fn entries(
    mut block: &[u8],
    shape: KeyShape,
) -> impl Iterator<Item = Option<SavedEntry>> {
    std::iter::from_fn(move || {
        if block.is_empty() {
            return None;
        }
        let entry = entry(&mut block, shape);
        if entry.is_none() {
            block = &[];
        }
        Some(entry)
    })
}

fn entry(rest: &mut &[u8], shape: KeyShape) -> Option<SavedEntry> {
    let [form] = take(rest)?;
    if form & !(FORM_IPV6 | FORM_SLICE) != 0 {
        return None;
    }
    let octets = if form & FORM_IPV6 != 0 {
        take(rest)?
    } else {
        let mut octets = [0; 16];
        octets[..12].copy_from_slice(&IPV4_MAPPED);
        octets[12..].copy_from_slice(&take::<4>(rest)?);
        octets
    };
    let slice = if form & FORM_SLICE != 0 {
        let length = usize::from(u16::from_le_bytes(take(rest)?));
        if shape.key_type == KeyType::Ip || length > MAX_SLICE_BYTES {
            return None;
        }
        let (slice, after) = rest.split_at_checked(length)?;
        *rest = after;
        Some(slice.into())
    } else {
        None
    };
    Some(SavedEntry {
        key: Key {
            ip: ClientIp::from_octets(octets),
            slice,
        },
        group: GroupId(u32::from_le_bytes(take(rest)?)),
        left_ms: u64::from_le_bytes(take(rest)?),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}
