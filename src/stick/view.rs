//! Reading the table: one entry, or all of them in pages.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::clock::Millis;
use crate::config::GroupId;

use super::entry::{Entry, State};
use super::hash::{SHARDS, shard_of};
use super::shard::ENTRIES_PER_HOLD;
use super::table::Table;
use super::{Key, KeyRef, Search};

/// A place in the table's order, from which listing goes on. Good at any later time: entries
/// never change their place, so one that is there throughout a listing is listed once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(super) shard: u32,
    pub(super) slot: u32,
}

/// Digits of a cursor as a number, at most.
const CURSOR_DIGITS: usize = 19;

impl Cursor {
    /// Before the first entry.
    pub const START: Cursor = Cursor { shard: 0, slot: 0 };

    /// As one number, for a client to hand back.
    pub fn to_u64(self) -> u64 {
        u64::from(self.shard) << 32 | u64::from(self.slot)
    }

    /// From such a number as a client has handed it back; `None` where it is none.
    pub fn parse(text: &str) -> Option<Cursor> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok();
        let number = number.filter(|_| is_plain && text.len() <= CURSOR_DIGITS);
        number.map(Cursor::from_u64)
    }

    /// From such a number; one that never was a cursor is a place in the table nevertheless.
    pub fn from_u64(number: u64) -> Cursor {
        Cursor {
            shard: (number >> 32) as u32,
            slot: number as u32, // the lower half
        }
    }
}

/// An entry as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryView {
    /// Whose entry it is.
    pub key: Key,
    /// The group it names.
    pub group: GroupId,
    /// Until it expires, to the millisecond; `None` while a connection holds it, zero where it
    /// has expired and is not swept yet.
    pub expires_in: Option<Duration>,
    /// Established connections.
    pub connections: u32,
    /// No connection got through to the group yet.
    pub provisional: bool,
}

impl Table {
    /// Up to `limit` entries from a place on, and where to go on after them: `None` at the end
    /// of the table. No shard is locked for longer than 4,096 entries take.
    pub fn page(
        &self,
        from: Cursor,
        limit: usize,
        now: Millis,
    ) -> (Vec<EntryView>, Option<Cursor>) {
        let search = Search {
            limit,
            slice_bytes: usize::MAX,
            slots: usize::MAX,
        };
        self.search(from, search, now, |_, _| true)
    }

    /// The entry of exactly this key.
    pub fn get(&self, key: KeyRef<'_>, now: Millis) -> Option<EntryView> {
        let expiration = self.settings().expiration;
        let ip_hash = self.hasher.ip(key.ip);
        let shard = self.shards[shard_of(ip_hash)].lock();
        let slot = shard.find(ip_hash, key)?;
        Some(view(&shard.slab[slot], now, expiration))
    }

    /// Shows the entries from a place on to `visit`, under one hold of one shard's lock, and
    /// returns where to go on: `None` at the end of the table.
    pub(super) fn visit(
        &self,
        from: Cursor,
        visit: impl FnMut(&mut Entry) -> ControlFlow<()>,
    ) -> Option<Cursor> {
        self.visit_at_most(from, ENTRIES_PER_HOLD, visit)
    }

    /// [`Table::visit`] of at most so many slots, and never more than one hold allows.
    pub(super) fn visit_at_most(
        &self,
        from: Cursor,
        most_slots: usize,
        mut visit: impl FnMut(&mut Entry) -> ControlFlow<()>,
    ) -> Option<Cursor> {
        let most_slots = most_slots.clamp(1, ENTRIES_PER_HOLD) as u32;
        let mut shard = self.shards.get(from.shard as usize)?.lock();
        let slots = shard.slab.slots();
        let end = slots.min(from.slot.saturating_add(most_slots));
        for slot in from.slot..end {
            let entry = &mut shard.slab[slot];
            if entry.state != State::Free && visit(entry).is_break() {
                return Some(Cursor {
                    slot: slot + 1,
                    ..from
                });
            }
        }
        if end < slots {
            return Some(Cursor { slot: end, ..from });
        }
        let shard = from.shard + 1;
        ((shard as usize) < SHARDS).then_some(Cursor { shard, slot: 0 })
    }
}

/// An entry as it is at `now`.
pub(super) fn view(entry: &Entry, now: Millis, expiration: Duration) -> EntryView {
    EntryView {
        key: entry.owned_key(),
        group: entry.group,
        expires_in: entry.remaining(now, expiration),
        connections: entry.open,
        provisional: entry.is_provisional(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::stick::tests::fixtures::*;

    #[test]
    fn every_entry_that_stays_is_listed_once_while_others_come_and_go() {
        let cluster = Cluster::new();
        let table = cluster.table(settings());
        let groups = cluster.groups([up(1)]);
        for number in 0..3_000 {
            let at = if number % 3 == 0 { 0 } else { 9 };
            visit(&table, key(number), &groups, second(at));
        }
        let mut seen: HashMap<Key, u32> = HashMap::new();
        let mut cursor = Some(Cursor::START);
        let mut new_keys = 10_000..;
        while let Some(from) = cursor {
            let from = Cursor::from_u64(from.to_u64());
            let (entries, next) = table.page(from, 100, second(12));
            assert!(entries.len() <= 100);
            for entry in entries {
                *seen.entry(entry.key).or_insert(0) += 1;
            }
            table.sweep(second(12)); // a third goes after the first page
            for number in new_keys.by_ref().take(20) {
                visit(&table, key(number), &groups, second(12));
            }
            cursor = next;
        }
        assert!(seen.values().all(|&times| times == 1));
        for number in (0..3_000).filter(|number| number % 3 != 0) {
            assert_eq!(seen.get(&owned(number)), Some(&1), "key {number}");
        }
    }

    #[test]
    fn an_entry_is_shown_as_it_is() {
        let cluster = Cluster::new();
        let table = cluster.table(settings());
        let groups = cluster.groups([up(1)]);
        assert_eq!(table.get(key(1), second(0)), None);
        let answer = route(&table, key(1), &groups, second(0));
        assert!(table.get(key(1), second(0)).unwrap().provisional);
        crate::stick::Sticks::established(&table, answer.stick, &groups, second(1)).unwrap();
        let open = table.get(key(1), second(50)).unwrap();
        assert_eq!((open.connections, open.expires_in), (1, None));
        crate::stick::Sticks::closed(&table, answer.stick, second(60));
        let idle = table.get(key(1), second(64)).unwrap();
        assert_eq!(idle.expires_in, Some(Duration::from_secs(6)));
        assert_eq!((idle.key, idle.group), (owned(1), GroupId(1)));
        let expired = table.get(key(1), second(90)).unwrap();
        assert_eq!(expired.expires_in, Some(Duration::ZERO));
    }

    #[test]
    fn a_number_that_never_was_a_cursor_does_no_harm() {
        let table = Cluster::new().table(settings());
        for number in [u64::MAX, 1 << 63, 255 << 32 | 7, 77] {
            let (entries, _) = table.page(Cursor::from_u64(number), 10, second(0));
            assert!(entries.is_empty());
        }
    }

    fn owned(number: u32) -> Key {
        Key {
            ip: ip(number),
            slice: None,
        }
    }
}
