mod damage; // every byte of a log, damaged
mod failures; // a disk that fails, is full, or lies
mod harness; // a store beside a model of what it must hold
mod identity; // whose store it is
mod properties; // random work and crashes
mod snapshots; // snapshot files
mod speed; // on a real disk

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::memory::MemoryDisk;
use super::*;
use crate::durable::HardState;
use crate::entry::{ClientId, Command, Entry, Payload};
use crate::ids::{Index, LogTime, Position, Term};
use crate::membership::{Member, Membership, Role};
use crate::message::SnapshotMeta;

const NODE: NodeId = NodeId(0x0200_0000_0001);
const FRESH: StoreId = StoreId(77);

type Opened = (Store<MemoryDisk>, Identity, Recovered);

fn folder() -> &'static Path {
    Path::new("/var/raft")
}

fn in_store(name: &str) -> PathBuf {
    folder().join("store").join(name)
}

fn segment_path(sequence: u64) -> PathBuf {
    segment::path(&folder().join("store"), sequence)
}

fn small() -> Limits {
    Limits {
        segment_bytes: MIN_SEGMENT_BYTES,
    }
}

fn open(disk: &MemoryDisk) -> Result<Opened, StoreError> {
    Store::open(disk.clone(), folder(), NODE, small(), FRESH)
}

/// An entry whose content tells it from any other.
fn entry(index: u64, term: u64, body_bytes: usize) -> Entry {
    let payload = match index % 7 {
        0 => Payload::Time,
        1 => Payload::Membership(Arc::new(membership())),
        _ => Payload::Command(Command {
            client: ClientId {
                node: NODE,
                boot: 5,
            },
            sequence: index,
            answered_below: 1,
            issued: LogTime(index),
            version: 1,
            body: Bytes::from(vec![(index ^ term) as u8; body_bytes]),
        }),
    };
    Entry {
        index: Index(index),
        term: Term(term),
        time: LogTime(1000 + index),
        payload,
    }
}

fn membership() -> Membership {
    let voter = Member {
        role: Role::Voter,
        life: None,
        statement: None,
    };
    Membership {
        members: (1..=3).map(|id| (NodeId(id), voter.clone())).collect(),
        retired: vec![StoreId(1)],
    }
}

fn position(index: u64, term: u64) -> Position {
    Position {
        term: Term(term),
        index: Index(index),
    }
}

/// What a snapshot of `state` would be described by.
fn meta(last: Position, state: &[u8]) -> SnapshotMeta {
    SnapshotMeta {
        last,
        time: LogTime(9),
        membership: Arc::new(membership()),
        membership_index: Index(1),
        size_bytes: state.len() as u64,
        checksum: crc32fast::hash(state),
    }
}

fn hard_state(term: u64, vote: Option<NodeId>, commit: u64) -> HardState {
    HardState {
        term: Term(term),
        vote,
        commit: Index(commit),
    }
}

fn write(hard_state: Option<HardState>, entries: Vec<Entry>) -> Write {
    Write {
        id: WriteId(1),
        reset: None,
        hard_state,
        entries,
    }
}

/// Random numbers from a seed (splitmix64).
fn random(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
