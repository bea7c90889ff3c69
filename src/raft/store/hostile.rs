//! What recovery has to withstand, made from arbitrary bytes: the body of the fuzz target
//! `store_recovery`, and of a property test.
//!
//! For tests; nothing else uses it.

mod arriving; // snapshots, whole or in part
mod known; // a log of which everything is known

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::files::Files;
use super::identity::Owner;
use super::memory::{DiskImage, MemoryDisk};
use super::segment::Head;
use super::{Limits, MIN_SEGMENT_BYTES, Store, StoreError, record, segment};
use crate::durable::Recovered;
use crate::ids::{NodeId, StoreId};
use known::known_log;

const NODE: NodeId = NodeId(1);
const STORE: StoreId = StoreId(2);
const FOLDER: &str = "/raft";

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Recovers from files made of `data`.
///
/// # Panics
/// Where recovery gives something else than an error or what was written before the first damage,
/// or gives something else the second time.
pub fn recover(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 8 {
        0 => arbitrary_segments(data),
        1 => arbitrary_records(data),
        2 => arbitrary_snapshot(data),
        3 => damaged_log(data),
        4 => arriving::arbitrary_part(data),
        5 => arriving::damaged_part(data),
        6 => arriving::damaged_whole(data),
        _ => arriving::in_any_order(data),
    }
}

/// Makes what inputs share, so that none of them is charged with its memory.
pub fn prepare() {
    known_log();
    blank();
    arriving::prepare();
}

/// Whole segments of arbitrary bytes.
fn arbitrary_segments(data: &[u8]) {
    let disk = blank();
    let Some((cut, data)) = data.split_first() else {
        return;
    };
    let (first, second) = data.split_at((*cut as usize * 8).min(data.len()));
    plant(&disk, &segment::path(&store_folder(), 1), first);
    plant(&disk, &segment::path(&store_folder(), 2), second);
    recover_twice(&disk);
}

/// Records with valid checksums and arbitrary bodies.
fn arbitrary_records(mut data: &[u8]) {
    let (mut bytes, mut chain) = Head::first().encode(OWNER);
    while let Some(([kind, length], rest)) = data.split_first_chunk::<2>() {
        let (body, rest) = rest.split_at((*length as usize).min(rest.len()));
        record::put_any(&mut bytes, &mut chain, kind % 6, body);
        data = rest;
    }
    bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES), 0);
    let disk = blank();
    plant(&disk, &segment::path(&store_folder(), 1), &bytes);
    recover_twice(&disk);
}

/// A snapshot's file of arbitrary bytes, beside a log that needs none.
fn arbitrary_snapshot(data: &[u8]) {
    let known = known_log();
    let disk = MemoryDisk::new();
    disk.restore(&known.image);
    let name = format!("{:016x}-{:016x}.snapshot", 1, 1);
    plant(&disk, &store_folder().join(name), data);
    recover_twice(&disk);
}

/// A log whose files have been changed.
fn damaged_log(data: &[u8]) {
    let known = known_log();
    let mut files = known.segments.clone();
    let mut first_damage = (usize::MAX, usize::MAX);
    for [segment, change @ ..] in data.as_chunks::<5>().0.iter().take(8) {
        let segment = *segment as usize % files.len();
        let bytes = &mut files[segment];
        let before = bytes.clone();
        damage(bytes, *change);
        let differs = before
            .iter()
            .zip(bytes.iter())
            .position(|(old, new)| old != new);
        let differs = differs.or((before.len() != bytes.len()).then_some(bytes.len()));
        if let Some(at) = differs {
            first_damage = first_damage.min((segment, at));
        }
    }
    let disk = MemoryDisk::new();
    disk.restore(&known.image);
    for (path, bytes) in known.paths().zip(&files) {
        plant(&disk, &path, bytes);
    }
    if let Some(found) = recover_twice(&disk) {
        known.check(&found, first_damage);
    }
}

/// Changes bytes at one place.
fn damage(bytes: &mut Vec<u8>, [kind, low, high, how]: [u8; 4]) {
    if bytes.is_empty() {
        return;
    }
    let at = usize::from(u16::from_le_bytes([low, high])) % bytes.len();
    let how = usize::from(how);
    match kind % 4 {
        0 => bytes[at] ^= how as u8,
        1 => {
            let end = (at + how * 8).min(bytes.len());
            bytes[at..end].fill(0);
        }
        2 => bytes.truncate(at),
        // A sector that is still what another place holds.
        _ => {
            let from = how * SECTOR_BYTES % bytes.len();
            let length = SECTOR_BYTES.min(bytes.len() - from).min(bytes.len() - at);
            bytes.copy_within(from..from + length, at);
        }
    }
}

const OWNER: Owner = Owner {
    node: NODE,
    store: STORE,
};

fn store_folder() -> PathBuf {
    super::store_folder(Path::new(FOLDER))
}

fn open(disk: &MemoryDisk) -> Result<(Store<MemoryDisk>, Recovered), StoreError> {
    let limits = Limits {
        segment_bytes: MIN_SEGMENT_BYTES,
    };
    Store::open(disk.clone(), Path::new(FOLDER), NODE, limits, STORE)
        .map(|(store, _, found)| (store, found))
}

fn plant(disk: &MemoryDisk, path: &Path, bytes: &[u8]) {
    disk.plant(path, bytes).expect("nothing fails here");
}

/// A disk with an identity and no log.
fn blank() -> MemoryDisk {
    static BLANK: OnceLock<DiskImage> = OnceLock::new();
    let image = BLANK.get_or_init(|| {
        let disk = MemoryDisk::new();
        drop(open(&disk).expect("a blank disk"));
        let first = segment::path(&store_folder(), 1);
        disk.remove(&first).expect("it was made just now");
        disk.image()
    });
    let disk = MemoryDisk::new();
    disk.restore(image);
    disk
}

/// What is found once must be found again.
fn recover_twice(disk: &MemoryDisk) -> Option<Recovered> {
    let (store, found) = open(disk).ok()?;
    drop(store);
    let (_, again) = open(disk).expect("it was opened before");
    assert_eq!(found, again, "another log at the second start");
    Some(found)
}
