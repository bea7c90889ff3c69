//! Looking at the replica's entries: as [`crate::stick::Table`] does, at the log's latest time.
//!
//! No shard's lock is held for more than 4,096 slots.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use tcpffee_raft::ids::LogTime;

use super::Replica;
use super::entry::{Entry, State};
use super::shard::SLOTS_PER_HOLD;
use crate::config::GroupId;
use crate::stick::hash::{SHARDS, shard_of};
use crate::stick::search::Page;
use crate::stick::{ClientIp, Cursor, EntryView, KeyRef, Search};

impl Replica {
    /// The entry of exactly this key, as the API shows it: `connections` is the number of nodes
    /// that hold it.
    pub fn get(&self, key: KeyRef<'_>) -> Option<EntryView> {
        let ip_hash = self.hasher.ip(key.ip);
        let shard = self.lock(shard_of(ip_hash));
        let slot = shard.find(ip_hash, key)?;
        Some(view(shard.entry(slot), self.time()))
    }

    /// [`crate::stick::Table::page`] of the replica.
    pub fn page(&self, from: Cursor, limit: usize) -> (Vec<EntryView>, Option<Cursor>) {
        let search = Search {
            limit,
            slice_bytes: usize::MAX,
            slots: usize::MAX,
        };
        self.search(from, search, |_, _| true)
    }

    /// [`crate::stick::Table::search`] of the replica; time left is by the log's latest time, and
    /// `connections` is the number of nodes that hold an entry.
    pub fn search(
        &self,
        from: Cursor,
        search: Search,
        wanted: impl Fn(KeyRef<'_>, GroupId) -> bool,
    ) -> (Vec<EntryView>, Option<Cursor>) {
        let mut page = Page::new(search);
        let mut next = Some(from);
        while let Some(cursor) = next
            && page.has_room()
        {
            next = self.fill(cursor, &mut page, &wanted);
        }
        (page.entries, next)
    }

    /// [`crate::stick::Table::search_address`] of the replica.
    pub fn search_address(
        &self,
        ip: ClientIp,
        from: Option<Cursor>,
        search: Search,
        wanted: impl Fn(KeyRef<'_>, GroupId) -> bool,
    ) -> (Vec<EntryView>, Option<Cursor>) {
        let mut page = Page::new(search);
        let shard = shard_of(self.hasher.ip(ip)) as u32;
        let from = match from {
            None if self.list_address(ip, &mut page, &wanted) => return (page.entries, None),
            None => {
                page.begin_again();
                Cursor { shard, slot: 0 }
            }
            // A cursor of this listing is in this shard; where else one leads is no entry of it.
            Some(from) if from.shard != shard => return (Vec::new(), None),
            Some(from) => from,
        };
        let wanted = |key: KeyRef<'_>, group| key.ip == ip && wanted(key, group);
        let mut next = Some(from);
        while let Some(cursor) = next.filter(|cursor| cursor.shard == shard)
            && page.has_room()
        {
            next = self.fill(cursor, &mut page, &wanted);
        }
        (page.entries, next.filter(|cursor| cursor.shard == shard))
    }

    /// [`crate::stick::Table::last_remaining`] of the replica.
    pub fn last_remaining(
        &self,
        groups: &BTreeSet<GroupId>,
        most_slots: usize,
    ) -> BTreeMap<GroupId, Duration> {
        let time = self.time();
        let expiration = Duration::from_millis(self.agreed_ref().expiration_ms);
        let mut last: BTreeMap<GroupId, Duration> = BTreeMap::new();
        last.extend(groups.iter().map(|&group| (group, Duration::ZERO)));
        let mut next = Some(Cursor::START);
        let mut passed = 0;
        while let Some(cursor) = next {
            if passed >= most_slots {
                return BTreeMap::new();
            }
            passed += self.slots_from(cursor).min(SLOTS_PER_HOLD);
            next = self.visit(cursor, SLOTS_PER_HOLD, |entry| {
                if let Some(last) = last.get_mut(&entry.group) {
                    *last = remaining(entry, time).unwrap_or(expiration).max(*last);
                }
                ControlFlow::Continue(())
            });
        }
        last
    }

    /// Passes some slots of one shard; where to go on.
    fn fill(
        &self,
        from: Cursor,
        page: &mut Page,
        wanted: &impl Fn(KeyRef<'_>, GroupId) -> bool,
    ) -> Option<Cursor> {
        let time = self.time();
        let most = page.slots_left.min(SLOTS_PER_HOLD);
        // An empty shard costs something as well.
        page.slots_left -= self.slots_from(from).clamp(1, most);
        self.visit(from, most, |entry| take(page, entry, time, wanted))
    }

    /// Slots of a place's shard from there on.
    fn slots_from(&self, from: Cursor) -> usize {
        let shard = from.shard as usize;
        let slots = if shard < SHARDS {
            self.lock(shard).slots()
        } else {
            0
        };
        slots.saturating_sub(from.slot) as usize
    }

    /// Shows the entries of at most so many slots to `visit`, under one hold of one shard's lock,
    /// and returns where to go on: `None` at the end of the table.
    fn visit(
        &self,
        from: Cursor,
        most_slots: usize,
        mut visit: impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> Option<Cursor> {
        if from.shard as usize >= SHARDS {
            return None;
        }
        let shard = self.lock(from.shard as usize);
        let slots = shard.slots();
        let end = slots.min(from.slot.saturating_add(most_slots.max(1) as u32));
        for slot in from.slot..end {
            let entry = shard.entry(slot);
            if entry.state != State::Free && visit(entry).is_break() {
                let slot = slot + 1;
                return Some(Cursor { slot, ..from });
            }
        }
        if end < slots {
            return Some(Cursor { slot: end, ..from });
        }
        let shard = from.shard + 1;
        ((shard as usize) < SHARDS).then_some(Cursor { shard, slot: 0 })
    }

    /// Puts all entries of an address on a page; false where they are too many for it.
    fn list_address(
        &self,
        ip: ClientIp,
        page: &mut Page,
        wanted: &impl Fn(KeyRef<'_>, GroupId) -> bool,
    ) -> bool {
        let time = self.time();
        let ip_hash = self.hasher.ip(ip);
        let shard = self.lock(shard_of(ip_hash));
        let bare = shard.find(ip_hash, KeyRef { ip, slice: None });
        let mut slots: Vec<u32> = shard.of_address(ip).take(SLOTS_PER_HOLD).collect();
        if slots.len() == SLOTS_PER_HOLD {
            return false;
        }
        slots.extend(bare);
        slots.sort_unstable(); // the order in which pages list them
        for slot in slots {
            if !page.has_room() {
                return false;
            }
            let _ = take(page, shard.entry(slot), time, wanted);
        }
        true
    }
}

/// Puts an entry on a page, where it is wanted.
fn take(
    page: &mut Page,
    entry: &Entry,
    time: LogTime,
    wanted: &impl Fn(KeyRef<'_>, GroupId) -> bool,
) -> ControlFlow<()> {
    let key = entry.key();
    if wanted(key, entry.group) {
        page.take(key.slice, || view(entry, time));
    }
    page.flow()
}

fn view(entry: &Entry, time: LogTime) -> EntryView {
    EntryView {
        key: entry.owned_key(),
        group: entry.group,
        expires_in: remaining(entry, time),
        connections: entry.holders().count_ones(),
        provisional: entry.is_provisional(),
    }
}

/// Time left: none while a node holds it, zero once it has expired.
fn remaining(entry: &Entry, time: LogTime) -> Option<Duration> {
    let left = entry.expires.0.saturating_sub(time.0);
    (!entry.is_held()).then(|| Duration::from_millis(left))
}
