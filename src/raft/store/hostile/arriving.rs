//! Snapshots as they lie on disk, whole or in part, and as they arrive.

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::known::{append, known_entry};
use super::{NODE, blank, damage, open, plant, recover_twice, store_folder};
use crate::durable::{HardState, Recovered};
use crate::ids::{Index, LogTime, Position, Term};
use crate::membership::{Member, Membership, Role};
use crate::message::SnapshotMeta;
use crate::store::memory::{DiskImage, MemoryDisk};
use crate::store::{Snapshots, Store, StoreError};

const CONTENT_BYTES: usize = 1500;

/// What a piece of a snapshot holds here.
const PIECE_BYTES: usize = 400;

/// Entries in the log beside it, of term 1.
const LOG_ENTRIES: u64 = 6;

/// A place behind the log: what is there is arriving.
const AHEAD: Position = Position {
    term: Term(3),
    index: Index(100),
};

/// A place within the log.
const WITHIN: Position = Position {
    term: Term(1),
    index: Index(4),
};

/// A snapshot, and the file that holds it.
struct Known {
    meta: SnapshotMeta,
    content: Vec<u8>,
    file: Vec<u8>,
}

/// A part of a snapshot made of arbitrary bytes: it is gone on with or given up, and the snapshot
/// arrives.
pub(super) fn arbitrary_part(data: &[u8]) {
    arrives_in_spite_of(data);
}

/// A part of a snapshot with damage.
pub(super) fn damaged_part(data: &[u8]) {
    let mut file = known(AHEAD).file.clone();
    for change in data.as_chunks::<4>().0.iter().take(4) {
        damage(&mut file, *change);
    }
    arrives_in_spite_of(&file);
}

fn arrives_in_spite_of(part: &[u8]) {
    let disk = disk();
    plant(&disk, &path(AHEAD, "snapshot.partial"), part);
    let (mut store, _) = open(&disk).expect("what arrives stops no start");
    arrives(&mut store.snapshots);
    check_arrived(&disk, store);
}

/// A whole snapshot with damage: it is what it was, or an error.
pub(super) fn damaged_whole(data: &[u8]) {
    let known = known(WITHIN);
    let mut file = known.file.clone();
    for change in data.as_chunks::<4>().0.iter().take(4) {
        damage(&mut file, *change);
    }
    let disk = disk();
    plant(&disk, &path(WITHIN, "snapshot"), &file);
    let Some(Recovered { snapshot, .. }) = recover_twice(&disk) else {
        return;
    };
    assert_eq!(snapshot.as_ref(), Some(&known.meta));
    let (mut store, _) = open(&disk).expect("it was opened before");
    let piece = store.snapshots.read_chunk(WITHIN, 7, PIECE_BYTES);
    match store.snapshots.open(WITHIN) {
        Ok(_) => {
            let piece = piece.expect("all of it is as it was");
            assert_eq!(piece, known.content[7..7 + PIECE_BYTES]);
            assert_eq!(read(&store.snapshots, WITHIN), known.content);
        }
        Err(_) => assert!(piece.is_err(), "a piece of a damaged snapshot was read"),
    }
}

/// Pieces in any order, right and wrong ones, restarts and crashes between them; in the end the
/// snapshot arrives.
pub(super) fn in_any_order(data: &[u8]) {
    let known = known(AHEAD);
    let disk = disk();
    let (mut store, _) = open(&disk).expect("nothing fails here");
    for [what, at, change] in data.as_chunks::<3>().0.iter().take(24) {
        let snapshots = &mut store.snapshots;
        match what % 8 {
            0..=3 => {
                let next = snapshots.partial(&known.meta).expect("nothing fails here");
                offer(snapshots, next, 0);
            }
            4 => offer(snapshots, u64::from(*at) * 8, *change),
            5 => offer(snapshots, 0, *change),
            6 => {
                drop(store);
                store = open(&disk).expect("nothing fails here").0;
            }
            _ => {
                drop(store);
                let mut dice = u64::from_le_bytes([*at, *change, 1, 0, 0, 0, 0, 0]);
                disk.crash(&mut || {
                    dice = dice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    dice >> 33
                });
                store = open(&disk).expect("a crash stops no start").0;
            }
        }
    }
    arrives(&mut store.snapshots);
    check_arrived(&disk, store);
}

/// Hands a piece over, with one byte changed; whatever comes of it.
fn offer(snapshots: &mut Snapshots<MemoryDisk>, offset: u64, change: u8) {
    let known = known(AHEAD);
    let from = (offset as usize).min(CONTENT_BYTES);
    let mut piece = known.content[from..(from + PIECE_BYTES).min(CONTENT_BYTES)].to_vec();
    if let Some(byte) = piece.last_mut() {
        *byte ^= change;
    }
    match snapshots.receive_chunk(&known.meta, offset, &piece) {
        Ok(next) => assert!(next <= known.meta.size_bytes),
        Err(
            StoreError::ChunkOutOfPlace { .. }
            | StoreError::ChunkTooLong { .. }
            | StoreError::SnapshotChecksum { .. },
        ) => {}
        Err(error) => panic!("no piece is to blame for this: {error}"),
    }
}

/// The snapshot arrives as a driver takes it in. What was there of it before may spoil the first
/// attempt, never the second.
fn arrives(snapshots: &mut Snapshots<MemoryDisk>) {
    let known = known(AHEAD);
    for attempt in 0..2 {
        let mut next = snapshots.partial(&known.meta).expect("nothing fails here");
        while next < known.meta.size_bytes {
            let from = next as usize;
            let piece = &known.content[from..(from + PIECE_BYTES).min(CONTENT_BYTES)];
            next = match snapshots.receive_chunk(&known.meta, next, piece) {
                Ok(after) => {
                    assert!(after > next, "it does not go on at {next}");
                    after
                }
                Err(StoreError::SnapshotChecksum { .. }) if attempt == 0 => break,
                Err(error) => panic!("a good piece is refused in attempt {attempt}: {error}"),
            };
        }
        if next == known.meta.size_bytes {
            return;
        }
    }
    panic!("two attempts, and it has not arrived");
}

/// What has arrived is what was sent, now and after a start.
fn check_arrived(disk: &MemoryDisk, store: Store<MemoryDisk>) {
    let known = known(AHEAD);
    assert_eq!(read(&store.snapshots, AHEAD), known.content);
    drop(store);
    let found = recover_twice(disk).expect("a whole snapshot");
    assert_eq!(found.snapshot.as_ref(), Some(&known.meta));
}

fn read(snapshots: &Snapshots<MemoryDisk>, position: Position) -> Vec<u8> {
    let mut reader = snapshots.open(position).expect("it is whole");
    let mut content = Vec::new();
    reader.read_to_end(&mut content).expect("it was checked");
    content
}

fn path(position: Position, suffix: &str) -> PathBuf {
    let (index, term) = (position.index.0, position.term.0);
    store_folder().join(format!("{index:016x}-{term:016x}.{suffix}"))
}

/// A disk with a short log.
fn disk() -> MemoryDisk {
    static IMAGE: OnceLock<DiskImage> = OnceLock::new();
    let image = IMAGE.get_or_init(|| {
        let disk = blank();
        let (mut store, _) = open(&disk).expect("a blank disk");
        store.identity.begin_life().expect("nothing fails here");
        let hard_state = HardState {
            term: Term(1),
            vote: Some(NODE),
            commit: Index(LOG_ENTRIES),
        };
        append(&mut store, Some(hard_state), None);
        for index in 1..=LOG_ENTRIES {
            append(&mut store, None, Some(known_entry(index, 1)));
        }
        store.log.sync().expect("nothing fails here");
        drop(store);
        disk.image()
    });
    let disk = MemoryDisk::new();
    disk.restore(image);
    disk
}

pub(super) fn prepare() {
    known(AHEAD);
    known(WITHIN);
}

fn known(position: Position) -> &'static Known {
    static ALL: OnceLock<[Known; 2]> = OnceLock::new();
    let [ahead, within] = ALL.get_or_init(|| [make_known(AHEAD), make_known(WITHIN)]);
    match position == AHEAD {
        true => ahead,
        false => within,
    }
}

fn make_known(position: Position) -> Known {
    let content: Vec<u8> = (0..CONTENT_BYTES).map(|at| (at * 7 % 251) as u8).collect();
    let voter = Member {
        role: Role::Voter,
        life: None,
        statement: None,
    };
    let meta = SnapshotMeta {
        last: position,
        time: LogTime(9),
        membership: Arc::new(Membership {
            members: [(NODE, voter)].into(),
            retired: Vec::new(),
        }),
        membership_index: Index(1),
        size_bytes: 0,
        checksum: 0,
    };
    let disk = disk();
    let (store, _) = open(&disk).expect("nothing fails here");
    let mut writer = store.snapshots.begin(meta).expect("nothing fails here");
    writer.write(&content).expect("nothing fails here");
    let meta = writer.finish().expect("nothing fails here");
    let file = disk.contents(&path(position, "snapshot"));
    Known {
        meta,
        content,
        file: file.expect("it was written just now"),
    }
}
