//! Names and numbers, each a type of its own, so that one is never taken for another.

use std::fmt;

use crate::core::mutation::{self, Mutation};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// A node: the 48 bits of one of its MAC addresses, shown as such.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, _, a, b, c, d, e, g] = self.0.to_be_bytes();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

number!(
    /// A term of Raft: at most one leader in each. 0 before the cluster is formed.
    Term
);

number!(
    /// A place in the log, from 1. 0 is the place before the first entry.
    Index
);

impl Index {
    /// The place after this one.
    pub fn next(self) -> Index {
        Index(self.0 + 1)
    }

    /// The place before this one; of the first, the place before the log.
    pub fn previous(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

number!(
    /// Milliseconds of the cluster's own time, as the log states it: made by leaders, never going
    /// back, standing still while there is none.
    LogTime
);

number!(
    /// Milliseconds of one node's clock since it was booted, suspensions included. Only that
    /// node can compare two of them.
    NodeTime
);

impl NodeTime {
    /// Milliseconds since `earlier`; 0 where that lies ahead.
    pub fn since(self, earlier: NodeTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This time, `ms` milliseconds later.
    pub fn plus(self, ms: u64) -> NodeTime {
        NodeTime(self.0.saturating_add(ms))
    }
}

/// What a cluster is known by, drawn when it is formed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a node's directory is known by, drawn when it is made: a wiped disk has another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StoreId(pub u128);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One life of a node: one process with one store. Which of two lives is the later shows where
/// both have the same store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Incarnation {
    /// The store it runs on.
    pub store: StoreId,
    /// How often that store has been started, this time included. Made durable before the node
    /// says anything.
    pub start: u64,
    /// Drawn at each start: tells a restored copy of a store from the life that it was copied
    /// from, where both count the same number of starts.
    pub boot: u64,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store {} start {}", self.store, self.start)
    }
}

/// A place in the log together with the term of the entry there: what Raft compares logs by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Position {
    /// The entry's term.
    pub term: Term,
    /// The entry's place.
    pub index: Index,
}

impl Position {
    /// Whether a log that ends here holds at least as much as one that ends at `other`
    /// (Raft paper, section 5.4.1).
    pub fn up_to_date_with(self, other: Position) -> bool {
        if mutation::is(Mutation::UpToDateByLengthOnly) {
            return self.index >= other.index;
        }
        if mutation::is(Mutation::UpToDateByTermOnly) {
            return self.term >= other.term;
        }
        (self.term, self.index) >= (other.term, other.index)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}
