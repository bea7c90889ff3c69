//! One shard of the table: its entries with everything that finds, orders and links them.
//!
//! The shard keeps its parts in step and knows nothing of groups; what an entry's change means
//! for groups and counters is the table's business.

use std::collections::VecDeque;

use crate::clock::Millis;
use crate::config::GroupId;

use super::entry::{Entry, NO_SLOT, SliceKey, State};
use super::hash::{KeyHasher, SHARDS};
use super::idle::IdleList;
use super::index::Index;
use super::key::{ClientIp, KeyRef};
use super::recent::Recent;
use super::slab::Slab;
use super::table::Settings;
use super::{StickRef, counts::Tally};

/// Most entries that are handled under one hold of a shard's lock.
pub(super) const ENTRIES_PER_HOLD: usize = 4096;

/// Most slice entries of one address that are looked at for its latest valid one.
const LATEST_WALK: usize = 256;

/// A shard: what its lock guards.
#[derive(Debug)]
pub(super) struct Shard {
    pub slab: Slab,
    pub idle: IdleList,
    pub tally: Tally,
    /// The table's settings, here so that a route need not look elsewhere.
    pub settings: Settings,
    /// Slots whose entries the journal does not have yet, in the order they became active.
    pub unjournalled: VecDeque<u32>,
    index: Index,
    recent: Recent,
    hasher: KeyHasher,
    latest_now: Millis,
    next_version: u64,
    number: u32,
}

impl Shard {
    pub fn new(number: u32, hasher: KeyHasher, settings: Settings) -> Shard {
        Shard {
            slab: Slab::new(),
            idle: IdleList::new(),
            tally: Tally::default(),
            settings,
            unjournalled: VecDeque::new(),
            index: Index::new(),
            recent: Recent::new(),
            hasher,
            latest_now: Millis(0),
            // Steps of SHARDS from a start of its own: no two shards share a version.
            next_version: SHARDS as u64 + u64::from(number),
            number,
        }
    }

    /// Puts other settings in force.
    pub fn apply(&mut self, settings: Settings) {
        self.settings = settings;
        self.tally.changes += 1;
    }

    /// The shard's time: it never runs backwards, though workers read the clock apart. So
    /// entries go idle in the order of the idle list.
    pub fn advance(&mut self, now: Millis) -> Millis {
        self.latest_now = self.latest_now.max(now);
        self.latest_now
    }

    /// The entry of a key, valid or not.
    pub fn find(&self, ip_hash: u64, key: KeyRef<'_>) -> Option<u32> {
        let hash = self.hasher.key(ip_hash, key);
        self.index.find(hash, |slot| self.slab[slot].key() == key)
    }

    /// The most recently routed slice entry of an address that is `wanted`.
    pub fn latest(
        &self,
        ip_hash: u64,
        ip: ClientIp,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Option<u32> {
        self.recent
            .of(&self.slab, ip_hash, ip)
            .take(LATEST_WALK)
            .find(|&slot| wanted(&self.slab[slot]))
    }

    /// Slice entries of an address, the most recently routed first, at most so many.
    pub fn of_address(&self, ip_hash: u64, ip: ClientIp, most: usize) -> Vec<u32> {
        self.recent.of(&self.slab, ip_hash, ip).take(most).collect()
    }

    /// The slot behind a reference, where it still is the same assignment.
    pub fn current(&self, stick: StickRef) -> Option<u32> {
        let entry = self.slab.get(stick.slot)?;
        (entry.version == stick.version && entry.state != State::Free).then_some(stick.slot)
    }

    pub fn stick_ref(&self, slot: u32) -> StickRef {
        StickRef {
            shard: self.number,
            slot,
            version: self.slab[slot].version,
        }
    }

    /// A new provisional entry for a key that has none, with its creator pending.
    pub fn insert(&mut self, ip_hash: u64, key: KeyRef<'_>, group: GroupId, now: Millis) -> u32 {
        let slot = self.slab.take();
        let entry = &mut self.slab[slot];
        entry.ip = key.ip;
        entry.slice = key.slice.map(|bytes| {
            Box::new(SliceKey {
                bytes: bytes.into(),
                newer: NO_SLOT,
                older: NO_SLOT,
            })
        });
        entry.state = State::Provisional;
        self.assign(slot, group, now);
        self.index.insert(self.hasher.key(ip_hash, key), slot);
        if key.slice.is_some() {
            self.recent
                .add(&mut self.slab, slot, |ip| self.hasher.ip(ip));
        }
        slot
    }

    /// Gives an entry to a group anew: provisional, under a new version, with one connection
    /// pending. References to what it was are stale from here on.
    pub fn assign(&mut self, slot: u32, group: GroupId, now: Millis) {
        if self.is_idle(slot) {
            self.idle.unlink(&mut self.slab, slot);
        }
        let version = self.next_version;
        self.next_version += SHARDS as u64;
        let entry = &mut self.slab[slot];
        entry.group = group;
        entry.version = version;
        entry.state = State::Provisional;
        entry.open = 0;
        entry.pending = 1;
        entry.last_activity = now;
        entry.stored = false;
        self.tally.changes += 1;
    }

    /// Another connection is given the entry's group.
    pub fn join(&mut self, slot: u32) {
        let entry = &mut self.slab[slot];
        entry.pending += 1;
        if entry.state == State::Provisional {
            entry.state = State::Pinned;
        }
        self.touch(slot);
    }

    /// Notes that an entry was routed just now: it is the latest of its address.
    pub fn touch(&mut self, slot: u32) {
        if self.slab[slot].slice.is_some() {
            self.recent
                .touch(&mut self.slab, slot, |ip| self.hasher.ip(ip));
        }
    }

    /// One pending connection got connected: the entry is active and held.
    pub fn open(&mut self, slot: u32, now: Millis) {
        if self.is_idle(slot) {
            self.idle.unlink(&mut self.slab, slot);
        }
        let entry = &mut self.slab[slot];
        if entry.state != State::Active {
            entry.state = State::Active;
            self.tally.changes += 1;
        }
        entry.pending = entry.pending.saturating_sub(1);
        entry.open += 1;
        entry.last_activity = now;
    }

    /// One established connection ended.
    pub fn close(&mut self, slot: u32, now: Millis) {
        let entry = &mut self.slab[slot];
        debug_assert!(entry.open > 0, "closed more often than established");
        if entry.open == 0 {
            return;
        }
        entry.open -= 1;
        entry.last_activity = now;
        if entry.open == 0 {
            self.idle.push(&mut self.slab, slot);
        }
    }

    /// One pending connection ended without success. True where nothing is left that the entry
    /// stands for, and it has to be removed.
    #[must_use]
    pub fn give_up(&mut self, slot: u32) -> bool {
        let entry = &mut self.slab[slot];
        debug_assert!(
            entry.pending > 0,
            "more connections ended than were asked for"
        );
        entry.pending = entry.pending.saturating_sub(1);
        entry.pending == 0 && (entry.is_provisional() || entry.state == State::Lapsed)
    }

    /// Notes that the journal has to learn of an active entry. True where it is news.
    pub fn note_unjournalled(&mut self, slot: u32) -> bool {
        let entry = &mut self.slab[slot];
        if entry.stored {
            return false;
        }
        entry.stored = true;
        if entry.queued {
            return false;
        }
        entry.queued = true;
        self.unjournalled.push_back(slot);
        true
    }

    /// Takes an entry out of the table and returns its group.
    pub fn remove(&mut self, slot: u32) -> GroupId {
        if self.is_idle(slot) {
            self.idle.unlink(&mut self.slab, slot);
        }
        let key = self.slab[slot].key();
        let hash = self.hasher.key(self.hasher.ip(key.ip), key);
        self.index.remove(hash, slot);
        if self.slab[slot].slice.is_some() {
            self.recent
                .remove(&mut self.slab, slot, |ip| self.hasher.ip(ip));
        }
        let group = self.slab[slot].group;
        self.slab.release(slot);
        self.tally.changes += 1;
        group
    }

    /// The first idle entry if it has expired. Where connections are still being made on it, it
    /// lapses and stays; otherwise it is removed. `None`: nothing (more) has expired.
    pub fn expire_first(&mut self, now: Millis) -> Option<Expired> {
        let slot = self.idle.first()?;
        if self.slab[slot].is_valid(now, self.settings.expiration) {
            return None;
        }
        if self.slab[slot].pending == 0 {
            self.tally.expiries += 1;
            return Some(Expired::Removed(self.remove(slot)));
        }
        self.idle.unlink(&mut self.slab, slot);
        self.slab[slot].state = State::Lapsed;
        Some(Expired::Lapsed)
    }

    /// The idle entry with the oldest activity on which no connection is being made.
    pub fn first_unheld(&self) -> Option<u32> {
        std::iter::successors(self.idle.first(), |&slot| {
            let next = self.slab[slot].next;
            (next != NO_SLOT).then_some(next)
        })
        .take(ENTRIES_PER_HOLD)
        .find(|&slot| self.slab[slot].pending == 0)
    }

    /// Puts a saved entry back, active and idle. Entries come in the order of their activity,
    /// none of it later than that of an entry already idle here.
    pub fn restore(&mut self, ip_hash: u64, key: KeyRef<'_>, group: GroupId, activity: Millis) {
        let slot = self.insert(ip_hash, key, group, activity);
        let entry = &mut self.slab[slot];
        entry.pending = 0;
        entry.state = State::Active;
        self.idle.push(&mut self.slab, slot);
    }

    fn is_idle(&self, slot: u32) -> bool {
        let entry = &self.slab[slot];
        entry.state == State::Active && entry.open == 0
    }
}

/// What became of an expired entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// It is gone; this was its group.
    Removed(GroupId),
    /// It stays as long as connections are being made on it.
    Lapsed,
}
