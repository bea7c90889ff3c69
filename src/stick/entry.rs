//! One entry of the table, in one cache line.

use std::time::Duration;

use crate::clock::Millis;
use crate::config::GroupId;

use super::key::{ClientIp, Key, KeyRef};

/// In place of a slot number: none.
pub(super) const NO_SLOT: u32 = u32::MAX;

/// Where an entry is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The slot holds no entry.
    Free,
    /// Made by a route; its creator is still connecting and may move it.
    Provisional,
    /// Provisional, and given to a second connection as well: nobody may move it.
    Pinned,
    /// A connection got connected. On the shard's idle list exactly while none is open.
    Active,
    /// Was active and idle until it expired, and stays only because connections are being made
    /// on it: one that succeeds revives it. Not on the idle list.
    Lapsed,
}

/// One entry, or a free slot.
#[derive(Debug)]
#[repr(align(64))] // one cache line, so that a look-up in a large table misses the cache once
pub(super) struct Entry {
    pub ip: ClientIp,
    pub slice: Option<Box<SliceKey>>,
    /// Latest establishment or close; for a provisional entry, when it was assigned.
    pub last_activity: Millis,
    /// Distinct for each creation and reassignment; 0 in a free slot.
    pub version: u64,
    pub group: GroupId,
    /// Established connections.
    pub open: u32,
    /// Connections that have been given the answer and are still connecting.
    pub pending: u32,
    /// Towards the front of the idle list.
    pub prev: u32,
    /// Towards the back of the idle list; in a free slot, the next free one.
    pub next: u32,
    pub state: State,
    /// The save files, or the journal queue, know that this key belongs to this group.
    pub stored: bool,
    /// The slot waits in the journal queue (whoever occupies it when its turn comes).
    pub queued: bool,
}

const _: () = assert!(size_of::<Entry>() == 64);

/// The slice part of a key, with the entry's place among those of its address.
#[derive(Debug)]
pub(super) struct SliceKey {
    pub bytes: Box<[u8]>,
    /// The entry of the same address routed next after this one.
    pub newer: u32,
    /// The entry of the same address routed last before this one.
    pub older: u32,
}

impl Entry {
    /// A slot without an entry.
    pub fn free() -> Entry {
        Entry {
            ip: ClientIp::from_octets([0; 16]),
            slice: None,
            last_activity: Millis(0),
            version: 0,
            group: GroupId(0),
            open: 0,
            pending: 0,
            prev: NO_SLOT,
            next: NO_SLOT,
            state: State::Free,
            stored: false,
            queued: false,
        }
    }

    pub fn key(&self) -> KeyRef<'_> {
        KeyRef {
            ip: self.ip,
            slice: self.slice.as_deref().map(|slice| &*slice.bytes),
        }
    }

    pub fn owned_key(&self) -> Key {
        Key {
            ip: self.ip,
            slice: self.slice.as_deref().map(|slice| slice.bytes.clone()),
        }
    }

    /// Nothing connected yet.
    pub fn is_provisional(&self) -> bool {
        matches!(self.state, State::Provisional | State::Pinned)
    }

    /// Whether the entry binds its key. Connections that are only being made do not hold it.
    pub fn is_valid(&self, now: Millis, expiration: Duration) -> bool {
        match self.state {
            State::Free | State::Lapsed => false,
            State::Provisional | State::Pinned | State::Active => {
                self.open > 0 || now < self.last_activity + expiration
            }
        }
    }

    /// Time left: `None` while a connection holds the entry, zero once it has expired.
    pub fn remaining(&self, now: Millis, expiration: Duration) -> Option<Duration> {
        if self.open > 0 {
            return None;
        }
        if self.state == State::Lapsed {
            return Some(Duration::ZERO);
        }
        Some((self.last_activity + expiration).since(now))
    }
}
