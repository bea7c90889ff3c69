//! The entries as the thread that applies has them: every change to one goes through here, so that
//! order of expiry and counts stay right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tcpffee_raft::ids::{Index, LogTime};
use tcpffee_raft::membership::MAX_MEMBERS;

use crate::config::GroupId;
use crate::stick::Counts;
use crate::stick::hash::SHARDS;
use crate::stick::replicated::replica::Replica;
use crate::stick::replicated::replica::entry::{Entry, State};
use crate::stick::replicated::replica::shard::{SLOTS_PER_HOLD, Shard};

/// Where an entry is, on this node alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub shard: u32,
    pub slot: u32,
}

/// When an entry expires. No two have a serial in common, so that places never decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub expires: LogTime,
    serial: u64,
    place: Place,
}

/// An entry that an operator removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Removed {
    at: Index,
    serial: u64,
    place: Place,
}

/// All entries, and what is known of them together.
#[derive(Debug)]
pub(in super::super) struct Entries {
    pub replica: Arc<Replica>,
    /// Those that no node holds, by when they expire.
    order: BTreeSet<Due>,
    removed: BTreeSet<Removed>,
    /// Entries of each group that has some.
    groups: BTreeMap<GroupId, u64>,
    /// Entries that have each member's bit.
    bits: [u64; MAX_MEMBERS],
    pub next_serial: u64,
    pub counts: Counts,
    /// Removals that wait for their fence came or went.
    pub fences_changed: bool,
}

impl Entries {
    /// None, whatever the replica held before.
    pub fn none(replica: Arc<Replica>) -> Entries {
        for shard in 0..SHARDS {
            let empty = Shard::new(replica.hasher.clone());
            // Freed without the lock.
            let shard = std::mem::replace(&mut *replica.lock(shard), empty);
            let mut groups: BTreeMap<GroupId, u64> = BTreeMap::new();
            for slot in 0..shard.slots() {
                let entry = shard.entry(slot);
                if entry.state != State::Free {
                    *groups.entry(entry.group).or_default() += 1;
                }
            }
            for (group, entries) in groups {
                replica.counters.subtract(group, entries);
            }
        }
        Entries {
            replica,
            order: BTreeSet::new(),
            removed: BTreeSet::new(),
            groups: BTreeMap::new(),
            bits: [0; MAX_MEMBERS],
            next_serial: 1,
            counts: Counts::default(),
            fences_changed: false,
        }
    }

    /// Puts in an entry whose key has none.
    pub fn insert(&mut self, shard: &mut Shard, at: usize, ip_hash: u64, entry: Entry) -> u32 {
        let slot = shard.insert(ip_hash, entry);
        let place = place(at, slot);
        self.account(None, Some(Facts::of(shard.entry(slot), place)));
        slot
    }

    /// Changes an entry in place.
    pub fn change(
        &mut self,
        shard: &mut Shard,
        at: usize,
        slot: u32,
        change: impl FnOnce(&mut Entry),
    ) {
        let place = place(at, slot);
        let before = Facts::of(shard.entry(slot), place);
        shard.change(slot, change);
        let after = Facts::of(shard.entry(slot), place);
        self.account(Some(before), Some(after));
    }

    /// Takes an entry out.
    pub fn remove(&mut self, shard: &mut Shard, at: usize, slot: u32) {
        let place = place(at, slot);
        let entry = shard.remove(slot);
        self.account(Some(Facts::of(&entry, place)), None);
    }

    /// The serial of an entry that is made now.
    pub fn take_serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial - 1
    }

    /// Entries of a group.
    pub fn of_group(&self, group: GroupId) -> u64 {
        self.groups.get(&group).copied().unwrap_or(0)
    }

    /// The groups that have entries.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.keys().copied()
    }

    /// Where operators removed entries that are still there, ascending.
    pub fn removals(&self) -> impl Iterator<Item = Index> + '_ {
        self.removed.iter().map(|removed| removed.at)
    }

    /// Removes what has expired, in the order in which it did, but no more than so many.
    pub fn purge(&mut self, time: LogTime, most: usize) {
        for _ in 0..most {
            let Some(due) = self.next_due().filter(|due| due.expires <= time) else {
                return;
            };
            self.remove_due(due);
            self.counts.expiries += 1;
        }
    }

    /// The entry that expires next.
    pub(super) fn next_due(&self) -> Option<Due> {
        self.order.first().copied()
    }

    pub(super) fn remove_due(&mut self, due: Due) {
        self.remove_at(due.place);
    }

    /// Removes what operators removed up to a place in the log.
    pub fn remove_passed(&mut self, passed: Index) {
        while let Some(removed) = self.removed.first().copied()
            && removed.at <= passed
        {
            self.remove_at(removed.place);
        }
    }

    /// Some members hold nothing any more: of what they held, entries live until `until` at least.
    pub fn end_holds(&mut self, members: u64, until: LogTime) {
        self.for_each_with(members, |entries, shard, at, slot| {
            if shard.entry(slot).holders() & members != 0 {
                entries.change(shard, at, slot, |entry| {
                    entry.nodes &= !members;
                    entry.expires = entry.expires.max(until);
                });
            }
        });
    }

    /// Some members have left: nothing has their bits any more. What nobody else was given stays
    /// until then, as if it had been connected: the one that has left may not know yet.
    pub fn leave(&mut self, members: u64, until: LogTime) {
        self.end_holds(members, until);
        self.for_each_with(members, |entries, shard, at, slot| {
            let entry = shard.entry(slot);
            let left = entry.nodes & !members;
            if left == entry.nodes || !entry.is_provisional() {
                return;
            }
            if left == 0 {
                entries.change(shard, at, slot, |entry| {
                    entry.state = State::Active;
                    entry.nodes = 0;
                    entry.expires = entry.expires.max(until);
                });
                return;
            }
            entries.change(shard, at, slot, |entry| entry.take_back(members));
        });
    }

    /// Shows every entry to `visit`, where there is any that has a bit of these members, with no
    /// lock held for longer than so many slots take.
    fn for_each_with(
        &mut self,
        members: u64,
        mut visit: impl FnMut(&mut Entries, &mut Shard, usize, u32),
    ) {
        if slots_of(members).all(|member| self.bits[member] == 0) {
            return;
        }
        self.for_each(&mut visit);
    }

    /// Shows every entry to `visit`.
    pub fn for_each(&mut self, visit: &mut impl FnMut(&mut Entries, &mut Shard, usize, u32)) {
        let replica = Arc::clone(&self.replica);
        for at in 0..SHARDS {
            let slots = replica.lock(at).slots();
            for from in (0..slots).step_by(SLOTS_PER_HOLD) {
                let mut shard = replica.lock(at);
                for slot in from..slots.min(from.saturating_add(SLOTS_PER_HOLD as u32)) {
                    if shard.entry(slot).state != State::Free {
                        visit(self, &mut shard, at, slot);
                    }
                }
            }
        }
    }

    fn remove_at(&mut self, place: Place) {
        let replica = Arc::clone(&self.replica);
        let at = place.shard as usize;
        self.remove(&mut replica.lock(at), at, place.slot);
    }

    /// An entry that was as `before` is as `after` now.
    fn account(&mut self, before: Option<Facts>, after: Option<Facts>) {
        let due = |facts: Option<Facts>| facts.and_then(|facts| facts.due);
        if due(before) != due(after) {
            due(before).map(|due| self.order.remove(&due));
            due(after).map(|due| self.order.insert(due));
        }
        let removed = |facts: Option<Facts>| facts.and_then(|facts| facts.removed);
        if removed(before) != removed(after) {
            removed(before).map(|removed| self.removed.remove(&removed));
            removed(after).map(|removed| self.removed.insert(removed));
            self.fences_changed = true;
        }
        let nodes = |facts: Option<Facts>| facts.map_or(0, |facts| facts.nodes);
        let (nodes_before, nodes_after) = (nodes(before), nodes(after));
        slots_of(nodes_before & !nodes_after).for_each(|member| self.bits[member] -= 1);
        slots_of(nodes_after & !nodes_before).for_each(|member| self.bits[member] += 1);
        let group = |facts: Option<Facts>| facts.map(|facts| facts.group);
        if group(before) != group(after) {
            group(before).inspect(|&group| self.uncount(group));
            group(after).inspect(|&group| self.count(group));
        }
    }

    fn count(&mut self, group: GroupId) {
        *self.groups.entry(group).or_default() += 1;
        self.counts.entries += 1;
        self.replica.counters.add(group, 1);
    }

    fn uncount(&mut self, group: GroupId) {
        let entries = self.groups.entry(group).or_default();
        *entries = entries.saturating_sub(1);
        if *entries == 0 {
            self.groups.remove(&group);
        }
        self.counts.entries = self.counts.entries.saturating_sub(1);
        self.replica.counters.subtract(group, 1);
    }
}

/// What is known elsewhere of an entry.
#[derive(Clone, Copy)]
struct Facts {
    due: Option<Due>,
    removed: Option<Removed>,
    nodes: u64,
    group: GroupId,
}

impl Facts {
    fn of(entry: &Entry, place: Place) -> Facts {
        let serial = entry.serial;
        Facts {
            due: (!entry.is_held()).then_some(Due {
                expires: entry.expires,
                serial,
                place,
            }),
            removed: entry.is_removed().then_some(Removed {
                at: entry.removed_at,
                serial,
                place,
            }),
            nodes: entry.nodes,
            group: entry.group,
        }
    }
}

fn place(at: usize, slot: u32) -> Place {
    let shard = at as u32;
    Place { shard, slot }
}

/// The slots of members whose bits are set.
fn slots_of(mut members: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = members.trailing_zeros();
        members &= members.wrapping_sub(1);
        (slot < u64::BITS).then_some(slot as usize)
    })
}
