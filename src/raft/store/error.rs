//! What can go wrong with a store, in words for the operator.

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::Malformed;
use crate::ids::{NodeId, Position, StoreId};

/// Why a store cannot be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A folder stands where a file must be.
    #[error("{} is a folder where a file must be: {}", .path.display(), way_out(.path))]
    NotAFile {
        /// The folder.
        path: PathBuf,
    },
    /// Another process, or another store of this one, uses the folder.
    #[error("{} is in use by another process", .folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The files are another node's.
    #[error(
        "{} belongs to node {found}, this is node {expected}: give each node a folder of its own, \
         or move this one away",
        .path.display()
    )]
    ForeignNode {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who asks.
        expected: NodeId,
    },
    /// A file that was put there from another store.
    #[error(
        "{} belongs to store {found}, the files beside it to store {expected}: \
         {}",
        .path.display(), way_out(.path)
    )]
    ForeignStore {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: StoreId,
        /// Whose the others are.
        expected: StoreId,
    },
    /// Written by a release that writes files differently.
    #[error(
        "{} is written in version {found}, this release reads version {known}: \
         run the release that wrote it, or {}",
        .path.display(), way_out(.path)
    )]
    ForeignVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// The one understood.
        known: u16,
    },
    /// Something that was safely written is not there as it was written.
    #[error(
        "{} is damaged at byte {offset}: {what}; {}",
        .path.display(), way_out(.path)
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: Damage,
    },
    /// A file that must be there is not.
    #[error("{} is missing: {}", .path.display(), way_out(.path))]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A write or sync has failed before: what is on disk is not known any more, and asking the
    /// system once more would not tell (a failed fsync is forgotten by the kernel).
    #[error("the store takes nothing more since: {first}; restart the node once this is mended")]
    Broken {
        /// The first failure.
        first: String,
    },
    /// No such snapshot is there, whole.
    #[error("there is no snapshot of {0}")]
    NoSnapshot(Position),
    /// A piece of a snapshot that does not continue what is there.
    #[error("a piece of snapshot {snapshot} for byte {offset}, where {expected} is next")]
    ChunkOutOfPlace {
        /// The snapshot.
        snapshot: Position,
        /// Where the piece begins.
        offset: u64,
        /// Where it should.
        expected: u64,
    },
    /// A piece of a snapshot that reaches beyond the snapshot's end.
    #[error("a piece of snapshot {snapshot} up to byte {end}, of {size_bytes}")]
    ChunkTooLong {
        /// The snapshot.
        snapshot: Position,
        /// Where the piece ends.
        end: u64,
        /// Where the snapshot ends.
        size_bytes: u64,
    },
    /// A snapshot has arrived with other bytes than it was sent with, and is given up.
    #[error("snapshot {snapshot} has arrived with checksum {found:08x} instead of {expected:08x}")]
    SnapshotChecksum {
        /// The snapshot.
        snapshot: Position,
        /// The checksum of what is there.
        found: u32,
        /// What it should be.
        expected: u32,
    },
}

/// What is wrong in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// The head of a file is not one.
    #[error("its head is not valid")]
    Head,
    /// Nothing but zeros, if anything, is left of a file that was begun.
    #[error("nothing is left of it")]
    Emptied,
    /// A record is not whole although what follows proves that it once was.
    #[error("a record is not valid although it was safely on disk")]
    Record,
    /// A record is whole, and yet not understood.
    #[error("a record cannot be read ({0})")]
    Unreadable(#[from] Malformed),
    /// What a segment says of the one before is not what is there.
    #[error("it does not continue the file before it")]
    Discontinued,
    /// Entries are missing in the log.
    #[error("entries before it are missing")]
    Gap,
    /// A snapshot's state is not what it was when it was written.
    #[error("its content does not have the checksum that it states")]
    Checksum,
    /// The file does not have the length that it says.
    #[error("its length is not the one that it states")]
    Length,
    /// The file is larger than any that is written here.
    #[error("it is larger than any file of its kind")]
    TooLarge,
}

impl StoreError {
    /// Names what was attempted.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::IsADirectory => StoreError::NotAFile { path },
            _ => StoreError::Io {
                doing,
                path,
                source,
            },
        }
    }
}

/// What an operator can do where files are no longer to be trusted.
fn way_out(path: &Path) -> String {
    let folder = path.parent().unwrap_or(path);
    format!(
        "to go on without these files, move the folder {} away: the node then rejoins its cluster \
         as one with a wiped disk",
        folder.display()
    )
}
