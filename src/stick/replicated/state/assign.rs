//! New keys, and who asks for known ones.

use std::sync::Arc;

use tcpffee_raft::ids::{Index, LogTime};

use super::{Asker, Now, PURGED_AT_ONCE, State};
use crate::config::GroupId;
use crate::stick::hash::shard_of;
use crate::stick::replicated::command::{Full, Given, Outcome, Wanted};
use crate::stick::replicated::replica::entry::{self, Entry, after};
use crate::stick::replicated::replica::shard::Shard;
use crate::stick::{ClientIp, Key, KeyRef};

/// What an entry is to who asks for its key.
enum Standing {
    /// The answer.
    Holds,
    /// Some node may still answer by it, and another may not any more.
    Fenced,
    /// No node answers by it: its key may be given another group. Whether it expired.
    Free { expired: bool },
}

impl State {
    /// A connection asks for its entry, and proposes a group where there is none.
    pub(super) fn assign(
        &mut self,
        now: Now,
        asker: Asker,
        client: &Wanted,
        proposed: Option<GroupId>,
        slices_left: &mut usize,
    ) -> Outcome {
        let replica = Arc::clone(&self.entries.replica);
        let ip = match client {
            Wanted::Key(key) => key.ip,
            Wanted::LatestOf(ip) => *ip,
        };
        let ip_hash = replica.hasher.ip(ip);
        let at = shard_of(ip_hash);
        let proposed = proposed.filter(|&group| self.agreement.takes_new(group));
        let mut shard = replica.lock(at);
        let Some(slot) = self.find_wanted(&shard, ip_hash, client, now) else {
            let Some(group) = proposed else {
                return Outcome::NotUp;
            };
            drop(shard); // another entry may have to give way, in whichever shard
            if !self.make_room(now.time) {
                self.entries.counts.refusals += 1;
                return Outcome::Full;
            }
            let entry = self.new_entry(now, asker, bare_or_exact(client, ip), group);
            let mut shard = replica.lock(at);
            let slot = self.entries.insert(&mut shard, at, ip_hash, entry);
            self.entries.counts.assignments += 1;
            return Outcome::Entry(given(shard.entry(slot), None, true));
        };
        let slice = match client {
            Wanted::Key(_) => None,
            Wanted::LatestOf(_) => shard.entry(slot).slice.clone(),
        };
        let slice_bytes = slice.as_deref().map_or(0, <[u8]>::len);
        let Some(left) = slices_left.checked_sub(slice_bytes) else {
            return Outcome::Stale;
        };
        *slices_left = left;
        match self.standing(shard.entry(slot), now.time) {
            Standing::Holds => {
                self.join(&mut shard, at, slot, now, asker);
                Outcome::Entry(given(shard.entry(slot), slice, false))
            }
            Standing::Fenced => Outcome::Fenced,
            Standing::Free { expired } => {
                let Some(group) = proposed else {
                    return Outcome::NotUp;
                };
                self.reassign(&mut shard, at, slot, (now, asker), group);
                match expired {
                    true => {
                        self.entries.counts.expiries += 1;
                        self.entries.counts.assignments += 1;
                    }
                    false => self.entries.counts.reassignments += 1,
                }
                Outcome::Entry(given(shard.entry(slot), slice, true))
            }
        }
    }

    fn find_wanted(&self, shard: &Shard, ip_hash: u64, client: &Wanted, now: Now) -> Option<u32> {
        match client {
            Wanted::Key(key) => shard.find(ip_hash, key.as_ref()),
            Wanted::LatestOf(ip) => {
                let latest = shard.latest(*ip, |entry| {
                    entry.is_valid(now.time) && self.agreement.is_usable(entry.group)
                });
                let bare = KeyRef {
                    ip: *ip,
                    slice: None,
                };
                latest.or_else(|| shard.find(ip_hash, bare))
            }
        }
    }

    fn standing(&self, entry: &Entry, time: LogTime) -> Standing {
        if entry.has_expired(time) {
            Standing::Free { expired: true }
        } else if entry.is_removed() {
            Standing::Fenced
        } else if self.agreement.is_usable(entry.group) {
            Standing::Holds
        } else if self.agreement.may_reassign(entry.group) {
            Standing::Free { expired: false }
        } else {
            Standing::Fenced
        }
    }

    /// Another connection is given a valid entry's group.
    fn join(&mut self, shard: &mut Shard, at: usize, slot: u32, now: Now, asker: Asker) {
        let expiration_ms = self.agreement.expiration_ms();
        self.entries.change(shard, at, slot, |entry| {
            entry.extend(now.time, expiration_ms);
            if entry.is_provisional() {
                entry.state = entry::State::Pinned;
                entry.nodes |= asker.bit;
            }
        });
    }

    /// Gives an entry's key to a group anew: references to what it was are stale from here on.
    fn reassign(
        &mut self,
        shard: &mut Shard,
        at: usize,
        slot: u32,
        (now, asker): (Now, Asker),
        group: GroupId,
    ) {
        let key = KeyRef {
            ip: shard.entry(slot).ip,
            slice: None,
        };
        let new = self.new_entry(now, asker, key, group);
        self.entries.change(shard, at, slot, |entry| {
            let slice = entry.slice.take();
            *entry = Entry { slice, ..new };
        });
    }

    fn new_entry(&mut self, now: Now, asker: Asker, key: KeyRef<'_>, group: GroupId) -> Entry {
        Entry {
            ip: key.ip,
            slice: key.slice.map(Box::from),
            version: now.index,
            serial: self.entries.take_serial(),
            expires: after(now.time, self.agreement.expiration_ms()),
            nodes: asker.bit,
            removed_at: Index(0),
            group,
            state: entry::State::Provisional,
            maker: asker.slot,
            restored: 0,
        }
    }

    /// Whether there is room for one entry more, once what has expired is gone, and, where that
    /// is agreed on, once one has given way.
    fn make_room(&mut self, time: LogTime) -> bool {
        let most = self.agreement.settings.max_entries.unwrap_or(0);
        if self.entries.counts.entries >= most {
            self.entries.purge(time, PURGED_AT_ONCE);
        }
        if self.entries.counts.entries < most {
            return true;
        }
        if self.agreement.settings.full != Some(Full::Evict) || most == 0 {
            return false;
        }
        // No node answers by an entry with less than half of its life left from its own copy, and
        // what it did before it has told within a sixth; but it may not know the `expiration` that
        // this is a part of.
        let Some(due) = self.entries.next_due() else {
            return false;
        };
        let left = due.expires.0.saturating_sub(time.0);
        let is_asked_for = left.saturating_mul(4) < self.agreement.expiration_ms();
        if !is_asked_for || self.agreement.expiration_fence.is_some() {
            return false;
        }
        self.entries.remove_due(due);
        match left {
            0 => self.entries.counts.expiries += 1,
            _ => self.entries.counts.evictions += 1,
        }
        true
    }
}

fn bare_or_exact(client: &Wanted, ip: ClientIp) -> KeyRef<'_> {
    match client {
        Wanted::Key(key) => Key::as_ref(key),
        Wanted::LatestOf(_) => KeyRef { ip, slice: None },
    }
}

pub(super) fn given(entry: &Entry, slice: Option<Box<[u8]>>, created: bool) -> Given {
    Given {
        slice,
        group: entry.group,
        version: entry.version,
        expires: entry.expires,
        created,
        provisional: entry.is_provisional(),
    }
}
