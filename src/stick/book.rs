//! The stick table as people look at it: a lone node's own, or a node's copy of the one that a
//! cluster agrees on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::Millis;
use crate::config::{GroupId, StickTableFull};

use super::replicated::command::Full;
use super::replicated::node::Node;
use super::{ClientIp, Counts, Cursor, EntryView, KeyRef, Search, Settings, Table};

/// A stick table to be looked at. Clones look at the same one.
#[derive(Clone, Debug)]
pub enum Book {
    /// A lone node's.
    Lone(Arc<Table>),
    /// A cluster's, as far as this node has it.
    Agreed(Arc<Node>),
}

impl Book {
    /// Entries now, expired ones that were not removed yet included.
    pub fn entries(&self) -> u64 {
        match self {
            Book::Lone(table) => table.entries(),
            Book::Agreed(node) => node.replica().entries(),
        }
    }

    /// What was counted so far. In a cluster hits and refusals are this node's.
    pub fn counts(&self) -> Counts {
        match self {
            Book::Lone(table) => table.counts(),
            Book::Agreed(node) => Counts {
                hits: node.counters().hits.load(Ordering::Relaxed),
                refusals: node.counters().refusals.load(Ordering::Relaxed),
                ..node.replica().counts()
            },
        }
    }

    /// The settings in force; in a cluster those agreed on.
    pub fn settings(&self) -> Settings {
        match self {
            Book::Lone(table) => table.settings(),
            Book::Agreed(node) => {
                let agreed = node.replica().agreed();
                Settings {
                    expiration: Duration::from_millis(agreed.expiration_ms),
                    max_entries: usize::try_from(agreed.max_entries).unwrap_or(usize::MAX),
                    full: match agreed.full {
                        Full::Refuse => StickTableFull::Refuse,
                        Full::Evict => StickTableFull::Evict,
                    },
                    balance: node.balance(),
                }
            }
        }
    }

    /// [`Table::get`]
    pub fn get(&self, key: KeyRef<'_>, now: Millis) -> Option<EntryView> {
        match self {
            Book::Lone(table) => table.get(key, now),
            Book::Agreed(node) => node.replica().get(key),
        }
    }

    /// [`Table::search`]
    pub fn search(
        &self,
        from: Cursor,
        search: Search,
        now: Millis,
        wanted: impl Fn(KeyRef<'_>, GroupId) -> bool,
    ) -> (Vec<EntryView>, Option<Cursor>) {
        match self {
            Book::Lone(table) => table.search(from, search, now, wanted),
            Book::Agreed(node) => node.replica().search(from, search, wanted),
        }
    }

    /// [`Table::search_address`]
    pub fn search_address(
        &self,
        ip: ClientIp,
        from: Option<Cursor>,
        search: Search,
        now: Millis,
        wanted: impl Fn(KeyRef<'_>, GroupId) -> bool,
    ) -> (Vec<EntryView>, Option<Cursor>) {
        match self {
            Book::Lone(table) => table.search_address(ip, from, search, now, wanted),
            Book::Agreed(node) => node.replica().search_address(ip, from, search, wanted),
        }
    }

    /// [`Table::last_remaining`]
    pub fn last_remaining(
        &self,
        groups: &BTreeSet<GroupId>,
        most_slots: usize,
        now: Millis,
    ) -> BTreeMap<GroupId, Duration> {
        match self {
            Book::Lone(table) => table.last_remaining(groups, most_slots, now),
            Book::Agreed(node) => node.replica().last_remaining(groups, most_slots),
        }
    }
}
