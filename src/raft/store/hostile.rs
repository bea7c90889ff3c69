//! What recovery has to withstand, made from arbitrary bytes: the body of the fuzz target
//! `store_recovery`, and of a property test.
//!
//! For tests; nothing else uses it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::files::Files;
use super::identity::Owner;
use super::memory::{DiskImage, MemoryDisk};
use super::segment::Head;
use super::{Limits, MIN_SEGMENT_BYTES, Store, StoreError, record, segment};
use crate::durable::{HardState, Recovered, Write, WriteId};
use crate::entry::{ClientId, Command, Entry, Payload};
use crate::ids::{Index, LogTime, NodeId, StoreId, Term};

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
    match kind % 4 {
        0 => arbitrary_segments(data),
        1 => arbitrary_records(data),
        2 => arbitrary_snapshot(data),
        _ => damaged_log(data),
    }
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
    for change in data.chunks_exact(5).take(8) {
        let segment = change[0] as usize % files.len();
        let bytes = &mut files[segment];
        if bytes.is_empty() {
            continue;
        }
        let at = u16::from_le_bytes([change[2], change[3]]) as usize % bytes.len();
        let before = bytes.clone();
        match change[1] % 4 {
            0 => bytes[at] ^= change[4],
            1 => {
                let end = (at + change[4] as usize * 8).min(bytes.len());
                bytes[at..end].fill(0);
            }
            2 => bytes.truncate(at),
            // A sector that is still what another place holds.
            _ => {
                let from = change[4] as usize * SECTOR_BYTES % bytes.len();
                let length = SECTOR_BYTES.min(bytes.len() - from).min(bytes.len() - at);
                bytes.copy_within(from..from + length, at);
            }
        }
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

/// A log of several segments, with all that is known about it.
struct KnownLog {
    image: DiskImage,
    segments: Vec<Vec<u8>>,
    /// Behind each record: the segment it stands in and where it ends there, and what the log
    /// held then.
    states: Vec<((usize, usize), HardState, Vec<Entry>)>,
}

impl KnownLog {
    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        (1..=self.segments.len() as u64).map(|sequence| segment::path(&store_folder(), sequence))
    }

    /// What was found must be what the log held at some time, and hold all that stands before the
    /// first damage.
    fn check(&self, found: &Recovered, first_damage: (usize, usize)) {
        let untouched = self
            .states
            .iter()
            .filter(|(end, _, _)| *end <= first_damage)
            .count();
        let explained =
            self.states
                .iter()
                .skip(untouched.saturating_sub(1))
                .any(|(_, hard_state, entries)| {
                    *entries == found.entries && hard_state.term <= found.hard_state.term
                });
        let nothing = untouched == 0 && found.entries.is_empty();
        assert!(
            explained || nothing,
            "damage at {first_damage:?} has changed what stands before it: {found:?}"
        );
    }
}

fn known_log() -> &'static KnownLog {
    static LOG: OnceLock<KnownLog> = OnceLock::new();
    LOG.get_or_init(make_known_log)
}

fn make_known_log() -> KnownLog {
    let disk = MemoryDisk::new();
    let (mut store, _) = open(&disk).expect("a blank disk");
    store.identity.begin_life().expect("nothing fails here");
    let mut states = Vec::new();
    let mut hard_state = HardState::default();
    let mut entries: Vec<Entry> = Vec::new();
    // Some entries replace earlier ones.
    let indexes = (1..=40).chain(35..=70).chain(70..=75);
    for (step, index) in indexes.enumerate() {
        let term = 1 + u64::from(step >= 40) + u64::from(step >= 76);
        if hard_state.term.0 < term {
            hard_state.term = Term(term);
            append(&mut store, Some(hard_state), None);
            states.push((end(&store), hard_state, entries.clone()));
        }
        let entry = known_entry(index, term);
        entries.truncate(index as usize - 1);
        entries.push(entry.clone());
        append(&mut store, None, Some(entry));
        states.push((end(&store), hard_state, entries.clone()));
        if step % 3 == 0 {
            store.log.sync().expect("nothing fails here");
        }
    }
    store.log.sync().expect("nothing fails here");
    drop(store);
    let mut segments = Vec::new();
    while let Ok(bytes) = disk.contents(&segment::path(&store_folder(), segments.len() as u64 + 1))
    {
        segments.push(bytes);
    }
    KnownLog {
        image: disk.image(),
        segments,
        states,
    }
}

fn append(store: &mut Store<MemoryDisk>, hard_state: Option<HardState>, entry: Option<Entry>) {
    let write = Write {
        id: WriteId(1),
        reset: None,
        hard_state,
        entries: entry.into_iter().collect(),
    };
    store.log.append(&[write]).expect("nothing fails here");
}

/// Where the log ends: the segment, counted from 0, and the offset.
fn end(store: &Store<MemoryDisk>) -> (usize, usize) {
    let (sequence, offset) = store.log.position();
    (sequence as usize - 1, offset as usize)
}

fn known_entry(index: u64, term: u64) -> Entry {
    let payload = match index % 5 {
        0 => Payload::Empty,
        1 => Payload::Membership(Arc::default()),
        _ => Payload::Command(Command {
            client: ClientId {
                node: NODE,
                boot: 1,
            },
            sequence: index,
            answered_below: 0,
            issued: LogTime(0),
            version: 1,
            body: Bytes::from(vec![index as u8; index as usize * 2 % 97]),
        }),
    };
    Entry {
        index: Index(index),
        term: Term(term),
        time: LogTime(index),
        payload,
    }
}
