//! From hash to slot: extendible hashing over small hash tables.
//!
//! One large hash table would move every entry when it grows, under the shard's lock. Here a
//! table that is full is split in two instead, and a directory over some bits of the hash finds
//! the table (Fagin et al., "Extendible hashing", 1979). So no operation ever moves more than
//! [`SPLIT_AT`] entries, however many keys one shard has to hold (all those of one address).

use hashbrown::HashTable;

/// Entries at which a table is split: a full table of 2,048 buckets.
const SPLIT_AT: usize = 1792;

/// The bits of the hash that choose a table. hashbrown uses those below and the top seven.
const DIRECTORY_SHIFT: u32 = 40;

/// Most bits that choose a table; beyond it tables grow instead.
const MAX_DEPTH: u32 = 17;

/// A set of slot numbers, found by hash.
#[derive(Debug)]
pub(super) struct Index {
    /// Which table, by the lowest `depth` directory bits of the hash.
    directory: Vec<u32>,
    depth: u32,
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Table {
    slots: HashTable<u32>,
    /// How many directory bits all of its entries share.
    depth: u32,
}

impl Index {
    pub fn new() -> Index {
        Index {
            directory: vec![0],
            depth: 0,
            tables: vec![Table {
                slots: HashTable::new(),
                depth: 0,
            }],
        }
    }

    /// The slot with this hash that `is_it` recognises.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.tables[self.table_of(hash)]
            .slots
            .find(hash, |&slot| is_it(slot))
            .copied()
    }

    /// Adds a slot that is not in the index. `hash_of` gives the hash of any slot in it.
    pub fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        let mut at = self.table_of(hash);
        while self.tables[at].slots.len() >= SPLIT_AT && self.tables[at].depth < MAX_DEPTH {
            self.split(at, &hash_of);
            at = self.table_of(hash);
        }
        self.tables[at]
            .slots
            .insert_unique(hash, slot, |&slot| hash_of(slot));
    }

    /// Puts `with` in the place of `slot`, whose hash is the same.
    pub fn replace(&mut self, hash: u64, slot: u32, with: u32) {
        let at = self.table_of(hash);
        if let Some(found) = self.tables[at].slots.find_mut(hash, |&found| found == slot) {
            *found = with;
        } else {
            debug_assert!(false, "replaced a slot that is not in the index");
        }
    }

    pub fn remove(&mut self, hash: u64, slot: u32) {
        let at = self.table_of(hash);
        if let Ok(found) = self.tables[at]
            .slots
            .find_entry(hash, |&found| found == slot)
        {
            found.remove();
        } else {
            debug_assert!(false, "removed a slot that is not in the index");
        }
    }

    fn table_of(&self, hash: u64) -> usize {
        self.directory[directory_bits(hash, self.depth)] as usize
    }

    fn split(&mut self, at: usize, hash_of: &impl Fn(u32) -> u64) {
        let depth = self.tables[at].depth + 1;
        if depth > self.depth {
            self.directory.extend_from_within(..);
            self.depth = depth;
        }
        let old = std::mem::replace(&mut self.tables[at].slots, HashTable::new());
        let mut halves = [&old; 2].map(|old| HashTable::with_capacity(old.len() / 2));
        for &slot in &old {
            let hash = hash_of(slot);
            halves[upper_half(hash, depth)].insert_unique(hash, slot, |&slot| hash_of(slot));
        }
        let [lower, upper] = halves;
        self.tables[at] = Table {
            slots: lower,
            depth,
        };
        let added = u32::try_from(self.tables.len()).expect("at most 2^MAX_DEPTH tables");
        self.tables.push(Table {
            slots: upper,
            depth,
        });
        let upper_bit = 1 << (depth - 1);
        for (bits, table) in self.directory.iter_mut().enumerate() {
            if *table as usize == at && bits & upper_bit != 0 {
                *table = added;
            }
        }
    }
}

fn directory_bits(hash: u64, depth: u32) -> usize {
    (hash >> DIRECTORY_SHIFT) as usize & ((1 << depth) - 1)
}

fn upper_half(hash: u64, depth: u32) -> usize {
    (hash >> (DIRECTORY_SHIFT + depth - 1)) as usize & 1
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn finds_every_slot_through_splits_and_removals() {
        let hasher = foldhash::quality::RandomState::default();
        let hash_of = |slot: u32| hasher.hash_one(slot);
        let mut index = Index::new();
        let count = 100_000;
        for slot in 0..count {
            index.insert(hash_of(slot), slot, hash_of);
        }
        assert!(index.tables.len() > 50);
        assert!(
            index
                .tables
                .iter()
                .all(|table| table.slots.len() <= SPLIT_AT)
        );
        for slot in (0..count).step_by(2) {
            index.remove(hash_of(slot), slot);
        }
        for slot in 0..count {
            let found = index.find(hash_of(slot), |found| found == slot);
            assert_eq!(found.is_some(), slot % 2 == 1);
        }
    }

    #[test]
    fn equal_hashes_do_not_split_for_ever() {
        let mut index = Index::new();
        for slot in 0..5_000 {
            index.insert(42, slot, |_| 42);
        }
        assert_eq!(index.find(42, |slot| slot == 4_999), Some(4_999));
    }
}
