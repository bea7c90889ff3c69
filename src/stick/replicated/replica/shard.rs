//! One shard of the replica: its entries with everything that finds them.
//!
//! The shard keeps its parts in step and knows nothing of members, groups and order of expiry:
//! those belong to the thread that applies, which is the only one to change anything here.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::entry::{Entry, NO_SLOT, State};
use super::mark::Mark;
use crate::stick::hash::KeyHasher;
use crate::stick::index::Index;
use crate::stick::{ClientIp, KeyRef};

/// Slots in one piece of memory, and in one page of a snapshot.
pub(in super::super) const PAGE_SLOTS: usize = 1024;

/// Most slots that are passed under one hold of a shard's lock.
pub(in super::super) const SLOTS_PER_HOLD: usize = 4096;

/// Most slice entries of one address that are looked at for its newest usable one.
pub(in super::super) const LATEST_WALK: usize = 256;

/// A shard: what its lock guards.
#[derive(Debug)]
pub(in super::super) struct Shard {
    pages: Vec<Vec<Entry>>,
    used_slots: u32,
    first_free: u32,
    index: Index,
    /// Slots of slice entries by address and serial, those created last first.
    newest: BTreeSet<(ClientIp, Reverse<u64>, u32)>,
    hasher: KeyHasher,
    /// The snapshot that is being read.
    mark: Option<Mark>,
}

impl Shard {
    pub fn new(hasher: KeyHasher) -> Shard {
        Shard {
            pages: Vec::new(),
            used_slots: 0,
            first_free: NO_SLOT,
            index: Index::new(),
            newest: BTreeSet::new(),
            hasher,
            mark: None,
        }
    }

    /// Slots that hold or once held an entry: every slot number is below this.
    pub fn slots(&self) -> u32 {
        self.used_slots
    }

    /// What is in a slot, be it free.
    pub fn entry(&self, slot: u32) -> &Entry {
        &self.pages[slot as usize / PAGE_SLOTS][slot as usize % PAGE_SLOTS]
    }

    fn entry_mut(&mut self, slot: u32) -> &mut Entry {
        &mut self.pages[slot as usize / PAGE_SLOTS][slot as usize % PAGE_SLOTS]
    }

    /// The entry of a key, valid or not.
    pub fn find(&self, ip_hash: u64, key: KeyRef<'_>) -> Option<u32> {
        let hash = self.hasher.key(ip_hash, key);
        self.index.find(hash, |slot| self.entry(slot).key() == key)
    }

    /// The slice entries of an address, the one created last first.
    pub fn of_address(&self, ip: ClientIp) -> impl Iterator<Item = u32> {
        let all = (ip, Reverse(u64::MAX), 0)..=(ip, Reverse(0), NO_SLOT);
        self.newest.range(all).map(|&(_, _, slot)| slot)
    }

    /// The slice entry of an address created last that is `wanted`.
    pub fn latest(&self, ip: ClientIp, wanted: impl Fn(&Entry) -> bool) -> Option<u32> {
        let mut newest = self.of_address(ip).take(LATEST_WALK);
        newest.find(|&slot| wanted(self.entry(slot)))
    }

    /// Puts in an entry whose key has none.
    pub fn insert(&mut self, ip_hash: u64, entry: Entry) -> u32 {
        debug_assert!(entry.state != State::Free, "a free slot is no entry");
        let hash = self.hasher.key(ip_hash, entry.key());
        let slot = self.take_slot();
        if entry.slice.is_some() {
            self.newest.insert((entry.ip, Reverse(entry.serial), slot));
        }
        *self.entry_mut(slot) = entry;
        self.index.insert(hash, slot);
        slot
    }

    /// Changes an entry in place, but for its key.
    pub fn change(&mut self, slot: u32, change: impl FnOnce(&mut Entry)) {
        self.keep_for_snapshot(slot);
        let entry = self.entry_mut(slot);
        let before = entry.serial;
        change(entry);
        let (ip, serial) = (entry.ip, entry.serial);
        if serial != before && entry.slice.is_some() {
            self.newest.remove(&(ip, Reverse(before), slot));
            self.newest.insert((ip, Reverse(serial), slot));
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, slot: u32) -> Entry {
        self.keep_for_snapshot(slot);
        let free = Entry::free(self.first_free);
        let entry = std::mem::replace(self.entry_mut(slot), free);
        debug_assert!(entry.state != State::Free, "removed twice");
        self.first_free = slot;
        let key = entry.key();
        let hash = self.hasher.key(self.hasher.ip(key.ip), key);
        self.index.remove(hash, slot);
        if entry.slice.is_some() {
            self.newest.remove(&(entry.ip, Reverse(entry.serial), slot));
        }
        entry
    }

    /// A free slot.
    fn take_slot(&mut self) -> u32 {
        if self.first_free != NO_SLOT {
            let slot = self.first_free;
            self.keep_for_snapshot(slot);
            self.first_free = self.entry(slot).serial as u32;
            return slot;
        }
        let slot = self.used_slots;
        assert!(slot < NO_SLOT, "a shard never has 4 billion entries");
        self.keep_for_snapshot(slot);
        if (slot as usize).is_multiple_of(PAGE_SLOTS) {
            self.pages.push(Vec::with_capacity(PAGE_SLOTS));
        }
        self.pages
            .last_mut()
            .expect("a page was pushed for the first of its slots")
            .push(Entry::free(NO_SLOT));
        self.used_slots += 1;
        slot
    }

    /// Begins a snapshot: from here on a page is copied before it changes. Returns the one begun
    /// before.
    #[must_use = "what it keeps is freed without the lock"]
    pub fn begin_snapshot(&mut self, number: u64, kept_bytes: &Arc<AtomicU64>) -> Option<Mark> {
        self.mark
            .replace(Mark::new(number, self.pages.len(), kept_bytes))
    }

    /// Ends a snapshot, if it is the latest begun.
    #[must_use = "what it keeps is freed without the lock"]
    pub fn end_snapshot(&mut self, number: u64) -> Option<Mark> {
        self.mark.take_if(|mark| mark.number() == number)
    }

    /// Pages that there are.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// The snapshot's own copy of a page, or its bytes as they still are; `None` where another
    /// snapshot has been begun.
    pub fn read_marked(&mut self, mark: u64, page: usize, out: &mut Vec<u8>) -> Option<()> {
        let entries = self.pages.get(page).map_or(&[][..], Vec::as_slice);
        let kept = self.mark.as_mut().filter(|kept| kept.number() == mark)?;
        kept.read(page, entries, out);
        Some(())
    }

    fn keep_for_snapshot(&mut self, slot: u32) {
        if let Some(mark) = &mut self.mark {
            let page = slot as usize / PAGE_SLOTS;
            let entries = self.pages.get(page).map_or(&[][..], Vec::as_slice);
            mark.keep(page, entries);
        }
    }
}
