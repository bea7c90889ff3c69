//! Looking for entries: by whatever condition, page by page; of one address; the last of a group.
//!
//! Every look has a bound on the slots that it passes, and takes one shard's lock at a time, for no
//! more than 4,096 slots.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::clock::Millis;
use crate::config::{self, GroupId, IpNetwork};

use super::entry::{Entry, State};
use super::hash::shard_of;
use super::key::{ClientIp, KeyRef};
use super::shard::ENTRIES_PER_HOLD;
use super::table::Table;
use super::view::view;
use super::{Cursor, EntryView};

/// Which addresses' entries are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFilter {
    /// One.
    One(IpAddr),
    /// All of a network.
    Network(IpNetwork),
}

impl AddressFilter {
    /// Reads an address, or a network in CIDR notation.
    ///
    /// # Errors
    /// What was expected, where the text is neither.
    pub fn parse(text: &str) -> Result<AddressFilter, String> {
        if text.contains('/') {
            return config::network(text).map(AddressFilter::Network);
        }
        let address = text.parse().map(AddressFilter::One);
        address.map_err(|_| "an IP address, or a network such as \"10.0.0.0/8\"".to_owned())
    }
}

/// Bounds of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// Most entries.
    pub limit: usize,
    /// Bytes of slices after which the page ends.
    pub slice_bytes: usize,
    /// Slots after which it ends, whatever was found.
    pub slots: usize,
}

impl Table {
    /// The entries from a place on that are `wanted`, and where to go on after them; `None` at the
    /// end of the table. A page may end, even empty, before the end of the table.
    pub fn search(
        &self,
        from: Cursor,
        search: Search,
        now: Millis,
        wanted: impl Fn(KeyRef<'_>, GroupId) -> bool,
    ) -> (Vec<EntryView>, Option<Cursor>) {
        let mut page = Page::new(search);
        let at = (now, self.settings().expiration);
        let mut next = Some(from);
        while let Some(cursor) = next
            && page.has_room()
        {
            next = self.look(cursor, &mut page, at, &wanted);
        }
        (page.entries, next)
    }

    /// The entries of one address, in pages as [`Table::search`] has them, found by its hash where
    /// they are few and by a look through its shard otherwise.
    pub fn search_address(
        &self,
        ip: ClientIp,
        from: Option<Cursor>,
        search: Search,
        now: Millis,
        wanted: impl Fn(KeyRef<'_>, GroupId) -> bool,
    ) -> (Vec<EntryView>, Option<Cursor>) {
        let mut page = Page::new(search);
        let at = (now, self.settings().expiration);
        let shard = shard_of(self.hasher.ip(ip)) as u32;
        let from = match from {
            None if self.list_address(ip, &mut page, at, &wanted) => return (page.entries, None),
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
            next = self.look(cursor, &mut page, at, &wanted);
        }
        (page.entries, next.filter(|cursor| cursor.shard == shard))
    }

    /// How long the last entry of each of these groups has left, where no more than so many slots
    /// have to be passed to know; nothing at all otherwise.
    pub fn last_remaining(
        &self,
        groups: &BTreeSet<GroupId>,
        most_slots: usize,
        now: Millis,
    ) -> BTreeMap<GroupId, Duration> {
        let expiration = self.settings().expiration;
        let mut last: BTreeMap<GroupId, Duration> = BTreeMap::new();
        last.extend(groups.iter().map(|&group| (group, Duration::ZERO)));
        let mut next = Some(Cursor::START);
        let mut passed = 0;
        while let Some(cursor) = next {
            if passed >= most_slots {
                return BTreeMap::new();
            }
            passed += self.slots_from(cursor).min(ENTRIES_PER_HOLD);
            next = self.visit(cursor, |entry| {
                if let Some(last) = last.get_mut(&entry.group) {
                    let left = entry.remaining(now, expiration).unwrap_or(expiration);
                    *last = left.max(*last);
                }
                ControlFlow::Continue(())
            });
        }
        last
    }

    /// Passes some slots of one shard; where to go on.
    fn look(
        &self,
        from: Cursor,
        page: &mut Page,
        at: (Millis, Duration),
        wanted: &impl Fn(KeyRef<'_>, GroupId) -> bool,
    ) -> Option<Cursor> {
        let most = page.slots_left.min(ENTRIES_PER_HOLD);
        // An empty shard costs something as well.
        page.slots_left -= self.slots_from(from).clamp(1, most);
        self.visit_at_most(from, most, |entry| take(page, entry, at, wanted))
    }

    /// Slots of a place's shard from there on.
    fn slots_from(&self, from: Cursor) -> usize {
        let shard = self.shards.get(from.shard as usize);
        let slots = shard.map_or(0, |shard| shard.lock().slab.slots());
        slots.saturating_sub(from.slot) as usize
    }

    /// Puts all entries of an address on a page; false where they are too many for it.
    fn list_address(
        &self,
        ip: ClientIp,
        page: &mut Page,
        at: (Millis, Duration),
        wanted: &impl Fn(KeyRef<'_>, GroupId) -> bool,
    ) -> bool {
        let ip_hash = self.hasher.ip(ip);
        let shard = self.shards[shard_of(ip_hash)].lock();
        let bare = shard.find(ip_hash, KeyRef { ip, slice: None });
        let mut slots = shard.of_address(ip_hash, ip, ENTRIES_PER_HOLD);
        if slots.len() == ENTRIES_PER_HOLD {
            return false;
        }
        slots.extend(bare);
        slots.sort_unstable(); // the order in which pages list them
        for slot in slots {
            if !page.has_room() {
                return false;
            }
            let _ = take(page, &shard.slab[slot], at, wanted);
        }
        true
    }
}

/// A page being filled.
pub(super) struct Page {
    pub entries: Vec<EntryView>,
    search: Search,
    slice_bytes: usize,
    pub slots_left: usize,
}

impl Page {
    pub fn new(search: Search) -> Page {
        Page {
            entries: Vec::new(),
            search,
            slice_bytes: 0,
            slots_left: search.slots,
        }
    }

    pub fn has_room(&self) -> bool {
        self.has_room_for_entries() && self.slots_left > 0
    }

    /// Forgets the entries, but not what was passed to find them.
    pub fn begin_again(&mut self) {
        self.entries.clear();
        self.slice_bytes = 0;
    }

    /// Takes in an entry, by what it looks like. Slots are counted by who visits.
    pub fn take(&mut self, slice: Option<&[u8]>, view: impl FnOnce() -> EntryView) {
        self.slice_bytes += slice.map_or(0, <[u8]>::len);
        self.entries.push(view());
    }

    /// Whether a visit goes on.
    pub fn flow(&self) -> ControlFlow<()> {
        match self.has_room_for_entries() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }

    fn has_room_for_entries(&self) -> bool {
        self.entries.len() < self.search.limit && self.slice_bytes < self.search.slice_bytes
    }
}

/// Puts an entry of the table on a page, where it is wanted.
fn take(
    page: &mut Page,
    entry: &Entry,
    at: (Millis, Duration),
    wanted: &impl Fn(KeyRef<'_>, GroupId) -> bool,
) -> ControlFlow<()> {
    let (now, expiration) = at;
    let key = entry.key();
    if entry.state != State::Free && wanted(key, entry.group) {
        page.take(key.slice, || view(entry, now, expiration));
    }
    page.flow()
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
