//! Keeping a lone node's sticks across restarts: full saves, and a journal in between.
//!
//! | file | what it is |
//! | --- | --- |
//! | `<path>` | the last full save: every active entry with the time it had left |
//! | `<path>.new` | a full save being written; renamed when it is whole and on disk |
//! | `<path>.journal.<n>` | keys that became active since, in order, with their groups |
//! | `<path>.lock` | locked by the process that uses the path |
//! | `….set-aside-<unix seconds>` | a file that could not be used, kept for people to look at |
//!
//! A full save names the number of the first journal that applies on top of it. That journal is
//! opened before the save begins, so whatever becomes active while the save goes through the
//! table is in one of the two. Older journals are deleted only after the rename. So at any moment
//! of a crash the files there are load to the right table.
//!
//! A journal record says what the entry was when it was *written*, not when it was queued, so
//! the last record of a key is never older than what a save says of it.
//!
//! A clean stop leaves one save, marked clean, and no journal that applies to it. Everything
//! else is an unclean end: then every entry found gets a full expiration, for nobody knows how
//! long its connections stayed. That is why neither the renewal nor the expiry of an entry
//! needs a record.

mod codec;
mod file;
mod full;
mod journal;
mod keeper;
mod keeping;
mod load;
mod paths;
mod saver;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::config::KeyType;

pub use keeper::{Keeper, KeeperCounts, StartError, StopError, Watch};
pub use load::{LoadError, Restored, load};

/// What makes a key. Entries of one shape mean nothing under another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyShape {
    /// The key type with its bounds.
    pub key_type: KeyType,
    /// `key_ipv6_prefix`, 1 to 128.
    pub ipv6_prefix: u8,
}

impl fmt::Display for KeyShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key_type {
            KeyType::Ip => f.write_str("IP")?,
            KeyType::IpWithFirstMessageSlice { start, end } => {
                write!(f, "IP_WITH_FIRST_MESSAGE_SLICE {start}..{end}")?;
            }
        }
        write!(f, ", key_ipv6_prefix {}", self.ipv6_prefix)
    }
}
