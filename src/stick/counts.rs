//! What the table counts.

use std::ops::AddAssign;

/// Counts of a table since its start, but for `entries`, which is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries in the table, those included that expired and were not swept yet.
    pub entries: u64,
    /// Keys that were given a group, having no valid entry.
    pub assignments: u64,
    /// Connections answered by a valid entry.
    pub hits: u64,
    /// Valid entries given another group because theirs was Disabled or gone.
    pub reassignments: u64,
    /// Provisional entries moved to another group: from one that could not be connected or cannot
    /// see the client (`transparent`), and from a full one.
    pub moves: u64,
    /// Entries that expired: swept, or found expired by a connection of their key.
    pub expiries: u64,
    /// Entries that had not expired and gave way to a new key.
    pub evictions: u64,
    /// Connections refused, for whichever reason.
    pub refusals: u64,
}

/// One shard's part of the counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub assignments: u64,
    pub hits: u64,
    pub reassignments: u64,
    pub moves: u64,
    pub expiries: u64,
    pub evictions: u64,
    pub refusals: u64,
    /// Anything that a save would show, but for the passing of time.
    pub changes: u64,
}

impl AddAssign<Tally> for Counts {
    fn add_assign(&mut self, tally: Tally) {
        self.assignments += tally.assignments;
        self.hits += tally.hits;
        self.reassignments += tally.reassignments;
        self.moves += tally.moves;
        self.expiries += tally.expiries;
        self.evictions += tally.evictions;
        self.refusals += tally.refusals;
    }
}
