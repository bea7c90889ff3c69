//! Filling a new table with what an earlier process left.

use std::time::Duration;

use crate::clock::Millis;
use crate::config::GroupId;

use super::Key;
use super::hash::shard_of;
use super::table::Table;

/// An entry from a save or a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredEntry {
    /// Whose entry it is.
    pub key: Key,
    /// The group it names.
    pub group: GroupId,
    /// How long it has got.
    pub remaining: Remaining,
}

/// How long a restored entry has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remaining {
    /// This long, but no longer than the expiration in force.
    Left(Duration),
    /// A full expiration.
    Full,
}

impl Table {
    /// Puts entries into the table, before it is used, and returns how many. Where there are more
    /// than the table may hold, those closest to expiry stay out; so do those with no time left.
    /// Groups that do not exist (any more) are restored as well: they may come back, and
    /// otherwise their keys are assigned anew when they ask.
    pub fn restore(&self, mut entries: Vec<RestoredEntry>, now: Millis) -> usize {
        let settings = self.settings();
        entries.retain(|entry| entry.remaining != Remaining::Left(Duration::ZERO));
        entries.sort_by_key(|entry| entry.remaining);
        let surplus = entries.len().saturating_sub(settings.max_entries);
        let mut restored = 0;
        for entry in &entries[surplus..] {
            let key = entry.key.as_ref();
            let ip_hash = self.hasher.ip(key.ip);
            let mut shard = self.shards[shard_of(ip_hash)].lock();
            if shard.find(ip_hash, key).is_some() || !self.reserve(settings.max_entries) {
                continue;
            }
            let spent = match entry.remaining {
                Remaining::Full => Duration::ZERO,
                Remaining::Left(left) => settings.expiration.saturating_sub(left),
            };
            shard.restore(ip_hash, key, entry.group, now - spent);
            self.counters.add(entry.group, 1);
            restored += 1;
        }
        restored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stick::tests::fixtures::*;
    use crate::stick::{Settings, Sticks};

    fn entry(number: u32, group: u32, remaining: Remaining) -> RestoredEntry {
        RestoredEntry {
            key: Key {
                ip: ip(number),
                slice: None,
            },
            group: GroupId(group),
            remaining,
        }
    }

    fn left(secs: u64) -> Remaining {
        Remaining::Left(Duration::from_secs(secs))
    }

    #[test]
    fn restored_entries_live_for_what_they_had_left() {
        let cluster = Cluster::new();
        let table = cluster.table(settings());
        let entries = vec![
            entry(1, 1, left(3)),
            entry(2, 2, Remaining::Full),
            entry(3, 2, left(1)),
            entry(4, 2, left(0)),
            entry(5, 2, left(1_000)),
        ];
        assert_eq!(table.restore(entries, second(0)), 4);
        assert_eq!((cluster.sticks(1), cluster.sticks(2)), (1, 3));
        assert_eq!(table.sweep(second(1)), 1);
        assert_eq!(table.sweep(second(3)), 1);
        assert_eq!(table.sweep(Millis(second(10).0 - 1)), 0);
        assert_eq!(table.sweep(second(10)), 2, "never longer than expiration");
        assert_eq!(cluster.sticks(2), 0);
    }

    #[test]
    fn a_restored_stick_binds_its_key() {
        let cluster = Cluster::new();
        let table = cluster.table(settings());
        let groups = cluster.groups([up(1), up(2)]);
        table.restore(vec![entry(1, 2, left(3))], second(0));
        let answer = route(&table, key(1), &groups, second(2));
        assert_eq!((answer.group, answer.created), (GroupId(2), false));
        table.established(answer.stick, &groups, second(2)).unwrap();
    }

    #[test]
    fn a_smaller_table_restores_what_would_live_longest() {
        let cluster = Cluster::new();
        let table = cluster.table(Settings {
            max_entries: 2,
            ..settings()
        });
        let entries = (1..=5).map(|number| entry(number, 1, left(number.into())));
        assert_eq!(table.restore(entries.collect(), second(0)), 2);
        assert!(table.get(key(4), second(0)).is_some());
        assert!(table.get(key(5), second(0)).is_some());
        assert_eq!(cluster.sticks(1), 2);
    }
}
