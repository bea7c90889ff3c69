//! The slots of one shard. Entries never move, so a slot number stays good while its version does.

use std::ops::{Index, IndexMut};

use super::entry::{Entry, NO_SLOT, State};

/// Slots in one piece of memory. Growing adds a piece and copies nothing; the untouched part of
/// a piece costs no resident memory.
const CHUNK_SLOTS: usize = 1024;

/// Slots with a free list threaded through `next`.
#[derive(Debug)]
pub(super) struct Slab {
    chunks: Vec<Vec<Entry>>,
    used_slots: u32,
    first_free: u32,
}

impl Slab {
    pub fn new() -> Slab {
        Slab {
            chunks: Vec::new(),
            used_slots: 0,
            first_free: NO_SLOT,
        }
    }

    /// Slots that hold or once held an entry: every slot number is below this.
    pub fn slots(&self) -> u32 {
        self.used_slots
    }

    /// The slot, `None` where the number is beyond the slab.
    pub fn get(&self, slot: u32) -> Option<&Entry> {
        self.chunks
            .get(slot as usize / CHUNK_SLOTS)?
            .get(slot as usize % CHUNK_SLOTS)
    }

    /// A free slot, still marked free.
    pub fn take(&mut self) -> u32 {
        if self.first_free != NO_SLOT {
            let slot = self.first_free;
            self.first_free = self[slot].next;
            self[slot].next = NO_SLOT;
            return slot;
        }
        let slot = self.used_slots;
        assert!(slot < NO_SLOT, "a shard never has 4 billion entries");
        if (slot as usize).is_multiple_of(CHUNK_SLOTS) {
            self.chunks.push(Vec::with_capacity(CHUNK_SLOTS));
        }
        self.chunks
            .last_mut()
            .expect("a chunk was pushed for the first of its slots")
            .push(Entry::free());
        self.used_slots += 1;
        slot
    }

    /// Empties a slot that is on no list any more. Its place in the journal queue stays noted.
    pub fn release(&mut self, slot: u32) {
        let next = self.first_free;
        let entry = &mut self[slot];
        debug_assert!(entry.state != State::Free, "released twice");
        *entry = Entry {
            queued: entry.queued,
            next,
            ..Entry::free()
        };
        self.first_free = slot;
    }
}

impl Index<u32> for Slab {
    type Output = Entry;
    fn index(&self, slot: u32) -> &Entry {
        &self.chunks[slot as usize / CHUNK_SLOTS][slot as usize % CHUNK_SLOTS]
    }
}

impl IndexMut<u32> for Slab {
    fn index_mut(&mut self, slot: u32) -> &mut Entry {
        &mut self.chunks[slot as usize / CHUNK_SLOTS][slot as usize % CHUNK_SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_reused_before_the_slab_grows() {
        let mut slab = Slab::new();
        let slots: Vec<u32> = (0..3 * CHUNK_SLOTS).map(|_| slab.take()).collect();
        assert_eq!(slots, (0..3 * CHUNK_SLOTS as u32).collect::<Vec<_>>());
        for slot in [5, 2000, 7] {
            slab[slot].state = State::Active;
            slab[slot].queued = true;
            slab.release(slot);
            assert!(slab[slot].queued, "the journal queue still holds the slot");
        }
        let again: Vec<u32> = (0..4).map(|_| slab.take()).collect();
        assert_eq!(again, [7, 2000, 5, 3 * CHUNK_SLOTS as u32]);
        assert!(slab.get(slab.slots()).is_none());
    }
}
