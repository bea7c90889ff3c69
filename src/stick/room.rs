//! Making room: entries that expired go, and where the table is full, one may give way.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::Millis;
use crate::config::{GroupId, StickTableFull};

use super::hash::SHARDS;
use super::idle::NEVER;
use super::shard::{ENTRIES_PER_HOLD, Expired, Shard};
use super::table::{Settings, Table};

impl Table {
    /// Removes what has expired; returns how many entries went.
    pub fn sweep(&self, now: Millis) -> u64 {
        let before = self.entries.load(Ordering::Relaxed);
        for shard in 0..SHARDS {
            while self.sweep_some(shard, now) {}
        }
        before.saturating_sub(self.entries.load(Ordering::Relaxed)) as u64
    }

    /// Removes a bounded number of expired entries of one shard. True where there may be more to
    /// remove. A shard in which nothing has expired is not locked.
    pub(super) fn sweep_some(&self, shard: usize, now: Millis) -> bool {
        let cell = &self.shards[shard];
        let expiration = self.settings().expiration;
        if !has_expired(cell.oldest(), now, expiration) {
            return false;
        }
        let mut gone: HashMap<GroupId, usize> = HashMap::new();
        let mut shard = cell.lock();
        let now = shard.advance(now);
        for _ in 0..ENTRIES_PER_HOLD {
            match shard.expire_first(now) {
                None => break,
                Some(Expired::Removed(group)) => *gone.entry(group).or_insert(0) += 1,
                Some(Expired::Lapsed) => {}
            }
        }
        drop(shard);
        for (group, entries) in gone {
            self.counters.subtract(group, entries as u64);
            self.entries.fetch_sub(entries, Ordering::Relaxed);
        }
        has_expired(cell.oldest(), now, expiration)
    }

    /// Counts one entry more, unless there are `max_entries`.
    pub(super) fn reserve(&self, max_entries: usize) -> bool {
        self.entries
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |entries| {
                (entries < max_entries).then_some(entries + 1)
            })
            .is_ok()
    }

    /// Takes one entry out of a full table and hands its place to the caller, uncounted: the one
    /// closest to expiry that no connection holds, expired or, where the settings allow it, not.
    pub(super) fn make_room(&self, now: Millis, settings: &Settings) -> bool {
        // Shards whose own candidate is known; the best of these.
        let mut passed = [false; SHARDS];
        let mut best: Option<(Millis, usize)> = None;
        loop {
            let [first, second] = self.two_oldest(&passed);
            let bound = best.map_or(second.0, |(oldest, _)| oldest.min(second.0));
            let (at, limit) = match (first.0, best) {
                (NEVER, None) => return false,
                (oldest, Some((than, at))) if than <= oldest => (at, NEVER),
                _ => (first.1, bound),
            };
            let may_evict = settings.full == StickTableFull::Evict;
            if !may_evict && !has_expired(self.shards[at].oldest(), now, settings.expiration) {
                return false;
            }
            let mut shard = self.shards[at].lock();
            let Some(slot) = shard.first_unheld() else {
                passed[at] = true;
                best = best.filter(|&(_, best)| best != at);
                continue;
            };
            let activity = shard.slab[slot].last_activity;
            if activity > limit {
                passed[at] = true;
                best = best.into_iter().chain([(activity, at)]).min();
                continue;
            }
            return self.give_way(&mut shard, slot, now, settings);
        }
    }

    fn give_way(&self, shard: &mut Shard, slot: u32, now: Millis, settings: &Settings) -> bool {
        let now = shard.advance(now);
        if !shard.slab[slot].is_valid(now, settings.expiration) {
            shard.tally.expiries += 1;
        } else if settings.full == StickTableFull::Evict {
            shard.tally.evictions += 1;
        } else {
            return false;
        }
        let group = shard.remove(slot);
        self.counters.subtract(group, 1);
        true
    }

    /// The two shards with the oldest idle entries among those not passed.
    fn two_oldest(&self, passed: &[bool; SHARDS]) -> [(Millis, usize); 2] {
        let mut oldest = [(NEVER, 0); 2];
        for (at, cell) in self.shards.iter().enumerate() {
            if passed[at] {
                continue;
            }
            let candidate = (cell.oldest(), at);
            if candidate.0 < oldest[0].0 {
                oldest = [candidate, oldest[0]];
            } else if candidate.0 < oldest[1].0 {
                oldest[1] = candidate;
            }
        }
        oldest
    }
}

/// Whether an idle entry with this last activity has expired.
fn has_expired(activity: Millis, now: Millis, expiration: Duration) -> bool {
    activity != NEVER && now >= activity + expiration
}
