//! Taking one entry out by hand.

use crate::clock::Millis;

use super::KeyRef;
use super::entry::State;
use super::hash::shard_of;
use super::table::Table;
use super::view::{EntryView, view};

impl Table {
    /// Takes out the entry of exactly this key, whatever holds it, and says what it was; `None`:
    /// there is none. The next connection of the key is assigned anew. Connections that are open
    /// stay with their target; those being made find their answer stale and ask again.
    pub fn remove(&self, key: KeyRef<'_>, now: Millis) -> Option<EntryView> {
        let ip_hash = self.hasher.ip(key.ip);
        let mut shard = self.shards[shard_of(ip_hash)].lock();
        let now = shard.advance(now);
        let slot = shard.find(ip_hash, key)?;
        let expiration = shard.settings.expiration;
        let entry = &shard.slab[slot];
        let removed = view(entry, now, expiration);
        // Whoever finds an entry expired counts it; a lapsed one is counted where it is discarded.
        if entry.state == State::Active && !entry.is_valid(now, expiration) {
            shard.tally.expiries += 1;
        }
        self.discard(&mut shard, slot);
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::GroupId;
    use crate::stick::tests::fixtures::*;
    use crate::stick::{AfterFailure, Stale, Sticks};

    #[test]
    fn the_next_connection_of_a_removed_key_is_assigned_anew() {
        let cluster = Cluster::new();
        let table = cluster.table(settings());
        visit(&table, key(1), &cluster.groups([up(1)]), second(0));
        let both = cluster.groups([up(1), up(2)]);
        visit(&table, key(2), &cluster.groups([up(1)]), second(0));
        let removed = table.remove(key(1), second(1)).unwrap();
        assert_eq!((removed.group, removed.connections), (GroupId(1), 0));
        assert_eq!(table.remove(key(1), second(1)), None);
        assert_eq!((cluster.sticks(1), table.counts().entries), (1, 1));
        let anew = route(&table, key(1), &both, second(2));
        assert_eq!((anew.group, anew.created), (GroupId(2), true));
    }

    #[test]
    fn connections_of_a_removed_entry_do_not_touch_its_successor() {
        let cluster = Cluster::new();
        let table = cluster.table(settings());
        let groups = cluster.groups([up(1)]);
        let open = route(&table, key(1), &groups, second(0));
        table.established(open.stick, &groups, second(0)).unwrap();
        let [made, failing, leaving] =
            [1, 2, 3].map(|at| route(&table, key(1), &groups, second(at)));
        assert_eq!(table.remove(key(1), second(4)).unwrap().connections, 1);
        // The successor takes the very slot.
        let successor = visit(&table, key(1), &groups, second(5));
        assert_eq!(successor.stick.slot, open.stick.slot);
        let before = table.get(key(1), second(9));
        table.closed(open.stick, second(6));
        assert_eq!(
            table.established(made.stick, &groups, second(6)),
            Err(Stale)
        );
        let after = table.connect_failed(&ask(key(1), &groups, second(7)), failing, &[GroupId(1)]);
        assert_eq!(after, AfterFailure::Reset);
        table.abandoned(leaving.stick, second(8));
        assert_eq!(table.get(key(1), second(9)), before);
        assert_eq!((cluster.sticks(1), table.counts().entries), (1, 1));
    }

    #[test]
    fn a_removed_entry_that_had_expired_counts_as_expired() {
        let cluster = Cluster::new();
        let table = cluster.table(settings());
        let groups = cluster.groups([up(1)]);
        visit(&table, key(1), &groups, second(0));
        visit(&table, key(2), &groups, second(0));
        assert!(table.remove(key(1), second(9)).is_some());
        assert_eq!(table.counts().expiries, 0);
        assert!(table.remove(key(2), second(10)).is_some());
        assert_eq!(table.counts().expiries, 1);
    }
}
