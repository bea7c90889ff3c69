//! The idle entries of a shard, oldest activity first: what expires next, what gives way first.

use crate::clock::Millis;

use super::entry::NO_SLOT;
use super::slab::Slab;

/// [`IdleList::oldest`] of an empty list.
pub(super) const NEVER: Millis = Millis(u64::MAX);

/// A doubly linked list through `prev` and `next` of the entries, ordered by `last_activity`.
#[derive(Debug)]
pub(super) struct IdleList {
    head: u32,
    tail: u32,
    oldest: Millis,
}

impl IdleList {
    pub fn new() -> IdleList {
        IdleList {
            head: NO_SLOT,
            tail: NO_SLOT,
            oldest: NEVER,
        }
    }

    /// The entry with the oldest activity.
    pub fn first(&self) -> Option<u32> {
        (self.head != NO_SLOT).then_some(self.head)
    }

    /// The `last_activity` of the first entry, [`NEVER`] where there is none.
    pub fn oldest(&self) -> Millis {
        self.oldest
    }

    /// Adds an entry whose activity is not older than that of any on the list.
    pub fn push(&mut self, slab: &mut Slab, slot: u32) {
        let entry = &mut slab[slot];
        let activity = entry.last_activity;
        entry.prev = self.tail;
        entry.next = NO_SLOT;
        if self.tail == NO_SLOT {
            self.head = slot;
            self.oldest = activity;
        } else {
            let last = &mut slab[self.tail];
            debug_assert!(last.last_activity <= activity, "the idle list is in order");
            last.next = slot;
        }
        self.tail = slot;
    }

    /// Takes an entry off the list.
    pub fn unlink(&mut self, slab: &mut Slab, slot: u32) {
        let entry = &mut slab[slot];
        let (prev, next) = (entry.prev, entry.next);
        entry.prev = NO_SLOT;
        entry.next = NO_SLOT;
        if next == NO_SLOT {
            self.tail = prev;
        } else {
            slab[next].prev = prev;
        }
        if prev == NO_SLOT {
            self.head = next;
            self.oldest = slab.get(next).map_or(NEVER, |entry| entry.last_activity);
        } else {
            slab[prev].next = next;
        }
    }
}
