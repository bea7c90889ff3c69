//! From hash to slot: extendible hashing over small open-addressing tables.
//!
//! One large hash table would move every entry when it grows, under the shard's lock. Here a
//! table that is full is split in two instead, and a directory over some bits of the hash finds
//! the table (Fagin et al., "Extendible hashing", 1979). So no operation ever moves more than
//! [`MAX_CELLS`] cells, however many keys one shard has to hold (all those of one address).
//!
//! A cell is eight bytes, half slot number and half hash, found by linear probing from the start
//! of a cache line. In a large table what a look-up costs is cache misses, and this makes two: the
//! line of cells and the entry. The hash in the cell also spares growing, splitting and removing
//! every look at the entries.

/// Cells of the largest ordinary table: 16 KiB.
const MAX_CELLS: usize = 2048;

/// Cells in one cache line: the smallest table.
const LINE_CELLS: usize = 8;

/// The bits of a tag that choose a table; those below choose the line.
const DIRECTORY_SHIFT: u32 = (MAX_CELLS / LINE_CELLS).trailing_zeros();

/// Most bits that choose a table; beyond it tables grow instead.
const MAX_DEPTH: u32 = 17;

/// A set of slot numbers, found by hash. Only the upper half of a hash is looked at.
#[derive(Debug)]
pub(super) struct Index {
    /// Which table, by the lowest `depth` directory bits.
    directory: Vec<u32>,
    depth: u32,
    tables: Vec<Table>,
}

impl Index {
    pub fn new() -> Index {
        Index {
            directory: vec![0],
            depth: 0,
            tables: vec![Table::new(LINE_CELLS, 0)],
        }
    }

    /// The slot with this hash that `is_it` recognises.
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = tag_of(hash);
        let table = &self.tables[self.table_of(tag)];
        let at = table.find(tag, is_it)?;
        Some(table.cell(at).slot())
    }

    /// Adds a slot that is not in the index.
    pub fn insert(&mut self, hash: u64, slot: u32) {
        let tag = tag_of(hash);
        let mut at = self.table_of(tag);
        while self.tables[at].is_full() {
            let table = &mut self.tables[at];
            if table.cells() < MAX_CELLS || table.depth == MAX_DEPTH {
                table.grow();
            } else {
                self.split(at);
                at = self.table_of(tag);
            }
        }
        self.tables[at].put(Cell::new(tag, slot));
    }

    /// Puts `with` in the place of `slot`, whose hash is the same.
    pub fn replace(&mut self, hash: u64, slot: u32, with: u32) {
        let tag = tag_of(hash);
        let at = self.table_of(tag);
        let table = &mut self.tables[at];
        let at = table.find(tag, |found| found == slot);
        let at = at.expect("only slots in the index are replaced");
        *table.cell_mut(at) = Cell::new(tag, with);
    }

    /// Takes out a slot that is in the index.
    pub fn remove(&mut self, hash: u64, slot: u32) {
        let tag = tag_of(hash);
        let at = self.table_of(tag);
        let table = &mut self.tables[at];
        let at = table.find(tag, |found| found == slot);
        table.clear(at.expect("only slots in the index are removed"));
    }

    fn table_of(&self, tag: u32) -> usize {
        let bits = tag >> DIRECTORY_SHIFT & ((1 << self.depth) - 1);
        self.directory[bits as usize] as usize
    }

    fn split(&mut self, at: usize) {
        let depth = self.tables[at].depth + 1;
        if depth > self.depth {
            self.directory.extend_from_within(..);
            self.depth = depth;
        }
        let upper_bit = 1 << (depth - 1);
        let lower = Table::new(MAX_CELLS, depth);
        let mut upper = Table::new(MAX_CELLS, depth);
        let old = std::mem::replace(&mut self.tables[at], lower);
        for cell in old.used_cells() {
            if cell.tag() >> DIRECTORY_SHIFT & upper_bit == 0 {
                self.tables[at].put(cell);
            } else {
                upper.put(cell);
            }
        }
        let added = u32::try_from(self.tables.len()).expect("at most 2^MAX_DEPTH tables");
        self.tables.push(upper);
        for (bits, table) in self.directory.iter_mut().enumerate() {
            if *table as usize == at && bits as u32 & upper_bit != 0 {
                *table = added;
            }
        }
    }
}

fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Half of a hash and a slot number, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell(u64);

impl Cell {
    const EMPTY: Cell = Cell(0);

    /// Slot numbers are below `u32::MAX`, so that a cell with one never is [`Cell::EMPTY`].
    fn new(tag: u32, slot: u32) -> Cell {
        Cell(u64::from(tag) << 32 | (u64::from(slot) + 1))
    }

    fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn slot(self) -> u32 {
        (self.0 as u32).wrapping_sub(1)
    }
}

/// The cells of one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([Cell; LINE_CELLS]);

/// Cells by linear probing from the line that the lowest bits of their tags name, always with
/// some empty.
#[derive(Debug)]
struct Table {
    /// A power of two of them.
    lines: Box<[Line]>,
    used: usize,
    /// How many directory bits all of its tags share.
    depth: u32,
}

impl Table {
    fn new(cells: usize, depth: u32) -> Table {
        Table {
            lines: vec![Line([Cell::EMPTY; LINE_CELLS]); cells / LINE_CELLS].into(),
            used: 0,
            depth,
        }
    }

    fn cells(&self) -> usize {
        self.lines.len() * LINE_CELLS
    }

    fn cell(&self, at: usize) -> Cell {
        self.lines[at / LINE_CELLS].0[at % LINE_CELLS]
    }

    fn cell_mut(&mut self, at: usize) -> &mut Cell {
        &mut self.lines[at / LINE_CELLS].0[at % LINE_CELLS]
    }

    /// At three quarters: then a line of six on average seldom overflows into the next.
    fn is_full(&self) -> bool {
        self.used >= self.cells() / 4 * 3
    }

    fn used_cells(&self) -> impl Iterator<Item = Cell> {
        let cells = self.lines.iter().flat_map(|line| line.0);
        cells.filter(|&cell| cell != Cell::EMPTY)
    }

    fn mask(&self) -> usize {
        self.cells() - 1
    }

    /// Where the search for a tag begins.
    fn home(&self, tag: u32) -> usize {
        (tag as usize * LINE_CELLS) & self.mask()
    }

    fn find(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        let mask = self.mask();
        let mut at = self.home(tag);
        loop {
            let cell = self.cell(at);
            if cell == Cell::EMPTY {
                return None;
            }
            if cell.tag() == tag && is_it(cell.slot()) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    fn put(&mut self, cell: Cell) {
        let mask = self.mask();
        let mut at = self.home(cell.tag());
        while self.cell(at) != Cell::EMPTY {
            at = (at + 1) & mask;
        }
        *self.cell_mut(at) = cell;
        self.used += 1;
    }

    /// Empties a cell and closes the gap (Knuth, TAOCP 6.4, algorithm R), so that removals leave
    /// nothing behind that later look-ups would have to step over.
    fn clear(&mut self, at: usize) {
        let mask = self.mask();
        let mut gap = at;
        let mut next = at;
        loop {
            next = (next + 1) & mask;
            let cell = self.cell(next);
            if cell == Cell::EMPTY {
                break;
            }
            let from_home = next.wrapping_sub(self.home(cell.tag())) & mask;
            let from_gap = next.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                *self.cell_mut(gap) = cell;
                gap = next;
            }
        }
        *self.cell_mut(gap) = Cell::EMPTY;
        self.used -= 1;
    }

    fn grow(&mut self) {
        let mut grown = Table::new(self.cells() * 2, self.depth);
        self.used_cells().for_each(|cell| grown.put(cell));
        *self = grown;
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    fn hash_of(slot: u32) -> u64 {
        foldhash::quality::FixedState::with_seed(7).hash_one(slot)
    }

    #[test]
    fn finds_every_slot_through_splits_and_removals() {
        let mut index = Index::new();
        let count = 100_000;
        for slot in 0..count {
            index.insert(hash_of(slot), slot);
        }
        assert!(index.tables.len() > 50);
        for slot in (0..count).step_by(2) {
            index.remove(hash_of(slot), slot);
        }
        for slot in 0..count {
            let found = index.find(hash_of(slot), |found| found == slot);
            assert_eq!(found.is_some(), slot % 2 == 1);
        }
        for slot in (1..count).step_by(2) {
            index.replace(hash_of(slot), slot, slot - 1);
            index.remove(hash_of(slot), slot - 1);
        }
        assert!(index.tables.iter().all(|table| table.used == 0));
    }

    #[test]
    fn no_table_grows_beyond_what_one_operation_may_move() {
        let mut index = Index::new();
        for slot in 0..300_000 {
            index.insert(hash_of(slot), slot);
        }
        for table in &index.tables {
            assert!(table.cells() <= MAX_CELLS);
        }
    }

    #[test]
    fn equal_hashes_do_not_split_for_ever() {
        let mut index = Index::new();
        for slot in 0..5_000 {
            index.insert(u64::MAX, slot);
        }
        for slot in 0..5_000 {
            assert_eq!(index.find(u64::MAX, |found| found == slot), Some(slot));
            index.remove(u64::MAX, slot);
        }
        assert_eq!(index.find(u64::MAX, |_| true), None);
    }

    /// Removals close the gap across the end of the cells as well.
    #[test]
    fn clusters_that_wrap_around_stay_whole() {
        let mut index = Index::new();
        // Two lines: nine whose home is the last one, and some of the first in between.
        let tags = [1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1];
        for removed in 0..tags.len() as u32 {
            for (slot, tag) in (0..).zip(tags) {
                index.insert(tag << 32, slot);
            }
            assert_eq!(index.tables[0].cells(), 2 * LINE_CELLS);
            index.remove(tags[removed as usize] << 32, removed);
            for (slot, tag) in (0..).zip(tags) {
                let found = index.find(tag << 32, |found| found == slot);
                assert_eq!(found.is_some(), slot != removed, "{removed} removed");
            }
            for (slot, tag) in (0..).zip(tags).filter(|&(slot, _)| slot != removed) {
                index.remove(tag << 32, slot);
            }
        }
    }
}
