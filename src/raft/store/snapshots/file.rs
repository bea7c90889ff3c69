//! A snapshot's file: its name, its head, and reading it.

use std::io::{self, Read};
use std::path::Path;

use bytes::{BufMut, Bytes};
use crc32fast::Hasher;

use super::Place;
use crate::codec;
use crate::ids::{Index, Position, Term};
use crate::message::SnapshotMeta;
use crate::store::error::{Damage, StoreError};
use crate::store::files::{Files, OpenFile};
use crate::store::identity::Owner;
use crate::store::segment::check_kind;

const MAGIC: &[u8; 8] = b"tcpffSNP";
const VERSION: u16 = 1;

/// Magic, version, node, store, and the length of what describes the snapshot.
const FIXED_BYTES: usize = 8 + 2 + 8 + 16 + 4;

/// Bytes that describe a snapshot: more than the largest membership takes.
const MAX_META_BYTES: usize = 256 * 1024;

/// Bytes read at once to check a snapshot.
const CHECK_BYTES: usize = 128 * 1024;

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A whole snapshot.
    Whole,
    /// One that is being written here.
    New,
    /// One that arrives.
    Partial,
}

impl Kind {
    fn suffix(self) -> &'static str {
        match self {
            Kind::Whole => ".snapshot",
            Kind::New => ".snapshot.new",
            Kind::Partial => ".snapshot.partial",
        }
    }
}

/// The name of a file.
pub(super) fn name(position: Position, kind: Kind) -> String {
    let (index, term) = (position.index.0, position.term.0);
    format!("{index:016x}-{term:016x}{}", kind.suffix())
}

/// What a name stands for.
pub(super) fn parse(name: &str) -> Option<(Position, Kind)> {
    let kind = [Kind::Whole, Kind::New, Kind::Partial]
        .into_iter()
        .find(|kind| name.ends_with(kind.suffix()))?;
    let (index, term) = name.strip_suffix(kind.suffix())?.split_once('-')?;
    let number = |digits: &str| match digits.len() {
        16 => u64::from_str_radix(digits, 16).ok(),
        _ => None,
    };
    let position = Position {
        term: Term(number(term)?),
        index: Index(number(index)?),
    };
    Some((position, kind))
}

/// The bytes before the state itself.
pub(super) fn head(owner: Owner, meta: &SnapshotMeta) -> Vec<u8> {
    let mut described = Vec::new();
    codec::put_snapshot_meta(&mut described, meta);
    let mut out = Vec::with_capacity(FIXED_BYTES + described.len() + 4);
    out.put_slice(MAGIC);
    out.put_u16_le(VERSION);
    out.put_u64_le(owner.node.0);
    out.put_u128_le(owner.store.0);
    out.put_u32_le(described.len() as u32);
    out.put_slice(&described);
    let checksum = crc32fast::hash(&out);
    out.put_u32_le(checksum);
    out
}

/// A snapshot's file whose head has been read.
pub(super) struct Opened<H> {
    pub(super) file: H,
    pub(super) meta: SnapshotMeta,
    /// Where the state begins.
    pub(super) start: u64,
    /// Bytes of the state that are there.
    pub(super) present: u64,
}

impl<H: OpenFile> Opened<H> {
    /// Opens a whole snapshot.
    pub(super) fn whole<F: Files<File = H>>(
        place: &Place<F>,
        position: Position,
    ) -> Result<Self, StoreError> {
        let path = place.path(position, Kind::Whole);
        let file = match place.files.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NoSnapshot(position));
            }
            other => other.map_err(StoreError::io("open", &path))?,
        };
        let opened = Opened::read(file, &path, place.owner)?;
        let damaged = |what| StoreError::Damaged {
            path: path.clone(),
            offset: 0,
            what,
        };
        if opened.meta.last != position {
            return Err(damaged(Damage::Head));
        }
        if opened.present != opened.meta.size_bytes {
            return Err(damaged(Damage::Length));
        }
        Ok(opened)
    }

    /// Opens a whole snapshot and reads it all: nothing of one that is damaged is used.
    pub(super) fn checked<F: Files<File = H>>(
        place: &Place<F>,
        position: Position,
    ) -> Result<Self, StoreError> {
        let opened = Opened::whole(place, position)?;
        let path = place.path(position, Kind::Whole);
        let found = checksum(&opened.file, opened.start, opened.meta.size_bytes)
            .map_err(StoreError::io("read", &path))?;
        if found != opened.meta.checksum {
            return Err(StoreError::Damaged {
                path,
                offset: opened.start,
                what: Damage::Checksum,
            });
        }
        Ok(opened)
    }

    /// Reads a file's head.
    pub(super) fn read(file: H, path: &Path, owner: Owner) -> Result<Self, StoreError> {
        let damaged = || StoreError::Damaged {
            path: path.to_owned(),
            offset: 0,
            what: Damage::Head,
        };
        let io = || StoreError::io("read", path);
        let length = file.length().map_err(io())?;
        let most = (FIXED_BYTES + MAX_META_BYTES + 4) as u64;
        let mut bytes = vec![0; length.min(most) as usize];
        file.read_at(0, &mut bytes).map_err(io())?;
        let bytes = Bytes::from(bytes);

        let mut fields = bytes.clone();
        check_kind(&mut fields, MAGIC, VERSION, path)?.ok_or_else(damaged)?;
        let mut owned_by = fields.clone();
        let described_bytes = fields
            .get(24..28)
            .and_then(|length| length.try_into().ok())
            .map(u32::from_le_bytes)
            .ok_or_else(damaged)? as usize;
        let start = FIXED_BYTES + described_bytes + 4;
        let checksum = bytes.get(start - 4..start).ok_or_else(damaged)?;
        if crc32fast::hash(&bytes[..start - 4]).to_le_bytes() != checksum {
            return Err(damaged());
        }
        owner.check(&mut owned_by, path)?.ok_or_else(damaged)?;
        let mut described = bytes.slice(FIXED_BYTES..start - 4);
        let meta = codec::get_snapshot_meta(&mut described).map_err(|_| damaged())?;
        codec::finished(&described).map_err(|_| damaged())?;
        Ok(Opened {
            file,
            meta,
            start: start as u64,
            present: length - start as u64,
        })
    }
}

/// The checksum of a state, of what is on disk.
pub(super) fn checksum<H: OpenFile>(file: &H, start: u64, size_bytes: u64) -> io::Result<u32> {
    let mut checksum = Hasher::new();
    let mut piece = vec![0; CHECK_BYTES];
    let mut at = 0;
    while at < size_bytes {
        let count = (size_bytes - at).min(CHECK_BYTES as u64) as usize;
        file.read_at(start + at, &mut piece[..count])?;
        checksum.update(&piece[..count]);
        at += count as u64;
    }
    Ok(checksum.finalize())
}

/// Reads the state of a snapshot whose checksum is right.
pub struct SnapshotReader<H> {
    opened: Opened<H>,
    at: u64,
}

impl<H: OpenFile> SnapshotReader<H> {
    pub(super) fn new(opened: Opened<H>) -> Self {
        SnapshotReader { opened, at: 0 }
    }

    /// What the snapshot stands for.
    pub fn meta(&self) -> &SnapshotMeta {
        &self.opened.meta
    }
}

impl<H: OpenFile> Read for SnapshotReader<H> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let meta = &self.opened.meta;
        let left = meta.size_bytes - self.at;
        let count = left.min(buffer.len() as u64) as usize;
        let piece = &mut buffer[..count];
        self.opened
            .file
            .read_at(self.opened.start + self.at, piece)?;
        self.at += count as u64;
        Ok(count)
    }
}
