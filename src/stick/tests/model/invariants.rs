//! What holds after every step.

use std::time::Duration;

use super::GROUPS;
use super::world::World;
use crate::clock::Millis;
use crate::config::GroupId;
use crate::stick::Cursor;
use crate::stick::entry::{NO_SLOT, State};

impl World {
    pub fn check(&self) {
        self.check_entries();
        self.check_sticks();
        self.check_idle_lists();
    }

    /// The listing, the single views and the model agree.
    fn check_entries(&self) {
        let (listed, next) = self.table.page(Cursor::START, usize::MAX, Millis(self.now));
        assert_eq!(next, None);
        assert_eq!(listed.len(), self.entries.len());
        assert_eq!(self.table.counts().entries, listed.len() as u64);
        for (key, entry) in &self.entries {
            let view = self
                .view(key)
                .unwrap_or_else(|| panic!("{key:?} is missing"));
            assert!(listed.contains(&view));
            assert_eq!(view.group, GroupId(entry.group));
            assert_eq!(view.connections as usize, entry.open);
            assert_eq!(view.provisional, !entry.connected_once);
            let left = if entry.lapsed {
                0
            } else {
                (entry.last_activity + self.expiration_ms()).saturating_sub(self.now)
            };
            let left = (entry.open == 0).then(|| Duration::from_millis(left));
            assert_eq!(view.expires_in, left);
        }
    }

    /// Each group's counter is the number of entries that name it, groups that are gone too.
    fn check_sticks(&self) {
        for id in 1..=GROUPS {
            let entries = self.entries.values().filter(|entry| entry.group == id);
            assert_eq!(
                self.cluster.sticks(id),
                entries.count() as u64,
                "group {id}"
            );
        }
    }

    /// On the idle lists are the active entries without an open connection, in order.
    fn check_idle_lists(&self) {
        for cell in &self.table.shards {
            let shard = cell.lock();
            let mut at = shard.idle.first();
            let mut listed = 0;
            let mut before = Millis(0);
            while let Some(slot) = at {
                let entry = &shard.slab[slot];
                assert!(entry.state == State::Active && entry.open == 0);
                assert!(entry.last_activity >= before, "out of order");
                before = entry.last_activity;
                listed += 1;
                at = (entry.next != NO_SLOT).then_some(entry.next);
            }
            let slots = (0..shard.slab.slots()).map(|slot| &shard.slab[slot]);
            let idle = slots.filter(|entry| entry.state == State::Active && entry.open == 0);
            assert_eq!(listed, idle.count());
        }
    }
}
