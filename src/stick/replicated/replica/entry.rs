//! One entry of the replicated table.

use tcpffee_raft::ids::{Index, LogTime};

use super::members::Members;
use super::{HELD, Seen};
use crate::config::GroupId;
use crate::stick::{ClientIp, Key, KeyRef};

/// In place of a slot number: none.
pub(in super::super) const NO_SLOT: u32 = u32::MAX;

/// The latest that an entry can expire; beyond it lies the time of what is held.
const LATEST: u64 = u64::MAX - 1;

/// Where an entry is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum State {
    /// The slot holds no entry.
    Free,
    /// Given to one connection, which is connecting and may move it.
    Provisional,
    /// Provisional, and given to another connection as well: nobody may move it.
    Pinned,
    /// A connection got connected.
    Active,
}

/// One entry, or a free slot.
#[derive(Clone, Debug)]
pub(in super::super) struct Entry {
    pub ip: ClientIp,
    pub slice: Option<Box<[u8]>>,
    /// The place in the log of its creation, reassignment or latest move.
    pub version: Index,
    /// Counts creations and reassignments: distinct for each entry, and a later one's is greater.
    /// In a free slot, the next free one.
    pub serial: u64,
    /// When it expires while no node holds it.
    pub expires: LogTime,
    /// Of an active entry the members that hold it; of a provisional one those that it was given
    /// to. A bit for each slot of a member.
    pub nodes: u64,
    /// The place in the log at which an operator removed it; 0: none did.
    pub removed_at: Index,
    pub group: GroupId,
    pub state: State,
    /// Of a provisional entry: the slot of the member whose connection made it, or that stands in
    /// for it. Its bit is always set.
    pub maker: u8,
    /// Which restoring it came with.
    pub restored: u8,
}

const _: () = assert!(size_of::<Entry>() == 80);

impl Entry {
    /// A slot without an entry.
    pub fn free(next: u32) -> Entry {
        Entry {
            ip: ClientIp::from_octets([0; 16]),
            slice: None,
            version: Index(0),
            serial: next.into(),
            expires: LogTime(0),
            nodes: 0,
            removed_at: Index(0),
            group: GroupId(0),
            state: State::Free,
            maker: 0,
            restored: 0,
        }
    }

    pub fn key(&self) -> KeyRef<'_> {
        KeyRef {
            ip: self.ip,
            slice: self.slice.as_deref(),
        }
    }

    pub fn owned_key(&self) -> Key {
        Key {
            ip: self.ip,
            slice: self.slice.clone(),
        }
    }

    /// Nothing connected yet.
    pub fn is_provisional(&self) -> bool {
        matches!(self.state, State::Provisional | State::Pinned)
    }

    /// The members that hold it.
    pub fn holders(&self) -> u64 {
        match self.state {
            State::Active => self.nodes,
            State::Free | State::Provisional | State::Pinned => 0,
        }
    }

    pub fn is_held(&self) -> bool {
        self.holders() != 0
    }

    pub fn is_removed(&self) -> bool {
        self.removed_at != Index(0)
    }

    /// Whether it binds its key.
    pub fn is_valid(&self, time: LogTime) -> bool {
        !self.has_expired(time) && !self.is_removed()
    }

    pub fn has_expired(&self, time: LogTime) -> bool {
        !self.is_held() && self.expires <= time
    }

    /// Makes it expire so long after a time, unless it lives longer anyhow.
    pub fn extend(&mut self, from: LogTime, by_ms: u64) {
        self.expires = self.expires.max(after(from, by_ms));
    }

    /// Some members do not stand for a provisional entry any more, though others do: one of these
    /// takes the place of who made it.
    pub fn take_back(&mut self, members: u64) {
        debug_assert!(self.is_provisional() && self.nodes & !members != 0);
        self.nodes &= !members;
        if members & 1 << self.maker != 0 {
            self.maker = self.nodes.trailing_zeros() as u8;
        }
    }

    /// A connection got connected.
    pub fn activate(&mut self) {
        if self.is_provisional() {
            self.state = State::Active;
            self.nodes = 0;
        }
    }

    /// As a worker sees it.
    pub fn seen(&self, members: &Members) -> Seen {
        Seen {
            group: self.group,
            version: self.version,
            expires: match self.is_held() {
                true => HELD,
                false => self.expires,
            },
            made_by: match self.is_provisional() {
                true => Some(members.node(self.maker)),
                false => None,
            },
            removed: self.is_removed(),
        }
    }
}

/// So long after a time, but never beyond [`LATEST`].
pub(in super::super) fn after(time: LogTime, by_ms: u64) -> LogTime {
    LogTime(time.0.saturating_add(by_ms).min(LATEST))
}
