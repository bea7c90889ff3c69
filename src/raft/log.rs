//! The log in memory: all entries since some place, the base, that a snapshot covers.

use std::collections::VecDeque;

use crate::entry::Entry;
use crate::ids::{Index, LogTime, Position, Term};

/// Entries without a gap, each of a term and a time not below those of the one before.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Log {
    base: Position,
    base_time: LogTime,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Log {
    /// An empty log that goes on after `base`.
    pub fn new(base: Position, base_time: LogTime) -> Log {
        Log {
            base,
            base_time,
            entries: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The place before the first entry.
    pub fn base(&self) -> Position {
        self.base
    }

    /// Where the first entry stands, or would.
    pub fn first_index(&self) -> Index {
        self.base.index.next()
    }

    /// The end.
    pub fn last(&self) -> Position {
        self.entries.back().map_or(self.base, Entry::position)
    }

    /// The time of the last entry.
    pub fn last_time(&self) -> LogTime {
        self.entries
            .back()
            .map_or(self.base_time, |entry| entry.time)
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The entry at `index`.
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        let at = index.0.checked_sub(self.first_index().0)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// The term at `index`, the base included.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.entry(index).map(|entry| entry.term)
    }

    /// Whether the entry may stand where it says, whatever is there or behind it now.
    pub fn may_take(&self, entry: &Entry) -> bool {
        let before = entry.index.previous();
        let time = match self.entry(before) {
            Some(before) => before.time,
            None => self.base_time,
        };
        entry.index > self.base.index
            && self.term_at(before).is_some_and(|term| term <= entry.term)
            && time <= entry.time
    }

    /// Whether the log holds this very place.
    pub fn holds(&self, position: Position) -> bool {
        self.term_at(position.index) == Some(position.term)
    }

    /// Entries from `from` to `to`, both included, as far as they are there.
    pub fn range(&self, from: Index, to: Index) -> impl Iterator<Item = &Entry> {
        let start = from.0.saturating_sub(self.first_index().0) as usize;
        self.entries
            .range(start.min(self.entries.len())..)
            .take_while(move |entry| entry.index <= to)
    }

    /// Entries from `from` to `to`, both included, as many as fit in `max_bytes` but at least
    /// one.
    pub fn slice(&self, from: Index, to: Index, max_bytes: usize) -> Vec<Entry> {
        debug_assert!(
            from >= self.first_index(),
            "what was cut off is not asked for"
        );
        let mut bytes = 0;
        self.range(from, to)
            .take_while(|entry| {
                let first = bytes == 0;
                bytes += entry.size_bytes();
                first || bytes <= max_bytes
            })
            .cloned()
            .collect()
    }

    /// Adds an entry at the end.
    pub fn append(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last().index.next(), "a log has no gaps");
        assert!(
            entry.term >= self.last().term,
            "terms never go back in a log"
        );
        debug_assert!(
            entry.time >= self.last_time(),
            "time never goes back in a log"
        );
        self.bytes += entry.size_bytes();
        self.entries.push_back(entry);
    }

    /// Drops the entries from `from` on.
    pub fn truncate(&mut self, from: Index) {
        while self.last().index >= from {
            let Some(entry) = self.entries.pop_back() else {
                unreachable!("nothing at or before the base is ever dropped");
            };
            self.bytes -= entry.size_bytes();
        }
    }

    /// Drops the entries before the end of a snapshot, at most up to `up_to`, but for the
    /// newest `tail_bytes` of them.
    pub fn compact(&mut self, up_to: Index, tail_bytes: usize) {
        let mut covered: usize = self
            .entries
            .iter()
            .take_while(|entry| entry.index <= up_to)
            .map(Entry::size_bytes)
            .sum();
        while covered > tail_bytes {
            let Some(entry) = self.entries.pop_front() else {
                return;
            };
            covered -= entry.size_bytes();
            self.bytes -= entry.size_bytes();
            self.base = entry.position();
            self.base_time = entry.time;
        }
    }

    /// The last place at or before `at.index` whose term is not above `at.term`: where two logs
    /// may still agree, with whole terms skipped that cannot (Raft paper, end of section 5.3).
    pub fn may_agree_at(&self, at: Position) -> Position {
        let mut index = at.index.min(self.last().index);
        while index > self.base.index {
            match self.term_at(index) {
                Some(term) if term > at.term => index = index.previous(),
                Some(term) => return Position { term, index },
                None => break,
            }
        }
        self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Payload;

    fn log(terms: &[u64]) -> Log {
        let mut log = Log::new(Position::default(), LogTime(0));
        for (at, term) in terms.iter().enumerate() {
            log.append(Entry {
                index: Index(at as u64 + 1),
                term: Term(*term),
                time: LogTime(at as u64),
                payload: Payload::Empty,
            });
        }
        log
    }

    fn at(index: u64, term: u64) -> Position {
        Position {
            term: Term(term),
            index: Index(index),
        }
    }

    #[test]
    fn hints_skip_terms_that_cannot_agree() {
        let log = log(&[1, 1, 1, 4, 4, 5, 5]);
        assert_eq!(log.may_agree_at(at(9, 5)), at(7, 5));
        assert_eq!(log.may_agree_at(at(6, 4)), at(5, 4));
        assert_eq!(log.may_agree_at(at(7, 3)), at(3, 1));
        assert_eq!(log.may_agree_at(at(2, 1)), at(2, 1));
        assert_eq!(log.may_agree_at(at(7, 0)), at(0, 0));
    }

    #[test]
    fn compaction_keeps_a_tail_and_the_count_of_bytes() {
        let mut log = log(&[1, 1, 2, 2, 2]);
        let each = log.bytes() / 5;
        log.compact(Index(4), 2 * each);
        assert_eq!(log.base(), at(2, 1));
        assert_eq!(log.bytes(), 3 * each);
        log.compact(Index(4), 0);
        assert_eq!((log.base(), log.first_index()), (at(4, 2), Index(5)));
        assert!(log.holds(at(4, 2)) && !log.holds(at(4, 1)) && !log.holds(at(3, 2)));
    }

    #[test]
    fn slices_hold_one_entry_at_least_and_no_more_bytes_than_asked() {
        let log = log(&[1, 1, 1, 1]);
        let each = log.bytes() / 4;
        assert_eq!(log.slice(Index(2), Index(4), 0).len(), 1);
        assert_eq!(log.slice(Index(1), Index(4), 2 * each).len(), 2);
        assert_eq!(log.slice(Index(1), Index(3), usize::MAX).len(), 3);
        assert!(log.slice(Index(5), Index(9), usize::MAX).is_empty());
    }

    #[test]
    fn truncation_gives_back_the_bytes() {
        let mut log = log(&[1, 2, 3]);
        log.truncate(Index(2));
        assert_eq!(log.last(), at(1, 1));
        log.truncate(Index(1));
        assert_eq!((log.last(), log.bytes()), (at(0, 0), 0));
    }
}
