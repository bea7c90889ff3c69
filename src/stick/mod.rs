//! The stick table: which key belongs to which group, and for how long.
//!
//! [`Sticks`] is all that the proxy knows of it. The lone node's table answers at once; a table
//! that must ask its peers answers `Wait` and completes the ticket later.

mod balance;
mod bell;
mod book;
mod counters;
mod counts;
mod entry;
mod hash;
mod idle;
mod index;
mod journal;
pub mod key;
mod recent;
mod remove;
mod rendezvous;
pub mod replicated;
mod restore;
mod room;
pub mod save;
mod search;
mod shard;
mod slab;
mod table;
mod view;

#[cfg(test)]
mod tests;

use crate::clock::Millis;
use crate::config::GroupId;
use crate::groups::Groups;

pub use balance::candidates;
pub use book::Book;
pub use counts::Counts;
pub use key::{ClientIp, Key, KeyError, KeyRef};
pub use restore::{Remaining, RestoredEntry};
pub use search::{AddressFilter, Search};
pub use table::{Settings, Table};
pub use view::{Cursor, EntryView};

/// What a connection asks of the table.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who the client is.
    pub client: Client<'a>,
    /// The listened port that it came to.
    pub port: u16,
    /// The groups of the generation that the connection read.
    pub groups: &'a Groups,
    /// The group with which the connection has a place already: a new key is given it, where it
    /// takes new keys.
    pub place: Option<GroupId>,
    /// Where a late answer goes.
    pub ticket: Ticket,
    /// The time now.
    pub now: Millis,
}

/// How a client is known.
#[derive(Clone, Copy, Debug)]
pub enum Client<'a> {
    /// By this key.
    Key(KeyRef<'a>),
    /// By the latest slice entry of this address, or by the address alone where there is none:
    /// ports on which no slice is read.
    LatestOf(ClientIp),
}

/// Names a waiting connection: its worker and its token there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Index of the worker.
    pub worker: u32,
    /// The connection's token in that worker's event loop.
    pub token: u64,
}

/// The table's answer to [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Connect to this group. Ends with exactly one of `established`, `connect_failed` or
    /// `abandoned`.
    Group(Answer),
    /// No group: reset the connection.
    Refuse(Refusal),
    /// The answer comes later, through the completion of the ticket.
    Wait(Ticket),
}

/// A group for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The group.
    pub group: GroupId,
    /// The entry behind the answer.
    pub stick: StickRef,
    /// Whether this answer made the entry: then this connection may move it.
    pub created: bool,
}

/// Why there is no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No group is Up with a target for the port.
    NoGroup,
    /// The key's group has no target for the port.
    NoTarget,
    /// The table is full.
    TableFull,
    /// No leader has answered for `no_quorum_after`, and `no_quorum` is `refuse`.
    NoQuorum,
    /// This node may not serve: the cluster does not take it.
    Barred,
    /// The entry may not be moved after its failed connect.
    Unreached,
}

/// Names one entry of the table, for as long as its version holds. Stale references do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StickRef {
    /// Which shard.
    pub shard: u32,
    /// Which slot of the shard.
    pub slot: u32,
    /// The entry's version: distinct for each creation and reassignment.
    pub version: u64,
}

/// What a connection does after a failed connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// The entry was moved: connect to this group.
    Moved(Answer),
    /// Reset the connection; nothing of it is left in the table.
    Reset,
    /// Whether the entry may be moved is told later, through the completion of the ticket.
    Wait(Ticket),
}

/// The entry changed while its connection was being made: ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale;

/// The stick table as the proxy sees it.
pub trait Sticks: Send + Sync {
    /// Which group a connection goes to.
    fn route(&self, ask: &Ask<'_>) -> Route;

    /// Whether `established` would take the answer now; changes nothing.
    fn still_holds(&self, stick: StickRef, groups: &Groups, now: Millis) -> bool;

    /// Whether routes send the keys that a group has there: in a cluster by what was agreed on,
    /// whatever this node finds.
    fn is_served(&self, group: GroupId, groups: &Groups) -> bool;

    /// Whether the key may still be given another group instead: its entry is new, and nobody else
    /// has been given its answer.
    fn is_movable(&self, answer: Answer) -> bool;

    /// The target of an answer is connected: the entry becomes active and is held.
    fn established(&self, stick: StickRef, groups: &Groups, now: Millis) -> Result<(), Stale>;

    /// The target of an answer could not be connected, or its group stays full and another has room.
    /// `tried` names every group that this connection failed to reach, and the one of the answer.
    fn connect_failed(&self, ask: &Ask<'_>, answer: Answer, tried: &[GroupId]) -> AfterFailure;

    /// The connection ended before its target was connected, by no fault of the target.
    fn abandoned(&self, stick: StickRef, now: Millis);

    /// An established connection ended, its last activity being now.
    fn closed(&self, stick: StickRef, now: Millis);
}
