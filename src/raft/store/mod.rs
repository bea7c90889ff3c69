//! What outlives a crash: the write-ahead log, snapshots, and the store's identity.
//!
//! ```text
//! <folder>/lock                                  held while a store is open
//! <folder>/store/identity                        node, store, start counter, cluster
//! <folder>/store/<sequence>.log                  segments of the log
//! <folder>/store/<index>-<term>.snapshot         snapshots
//! <folder>/store/<index>-<term>.snapshot.new     one that is being written here
//! <folder>/store/<index>-<term>.snapshot.partial one that arrives
//! <folder>/set-aside-<number>/                   stores that the cluster has dismissed
//! ```
//!
//! What holds, and why:
//!
//! - **What was synced is found again.** A segment is made, sized and named durably before it is
//!   begun, its head is on disk before its records, and the segment before it is on disk before
//!   its head, which states where that one ends.
//! - **What was torn is never taken for whole.** Each record's checksum goes on from that of the
//!   record before, and whatever is behind the end is wiped before the log goes on.
//! - **Damage is told from a torn tail.** Each batch begins with a mark that names how far the log
//!   was known to be on disk. Damage before that place stops the node; at or behind it, nobody
//!   was promised anything.
//! - **A failure is final.** After a failed write or sync the log refuses everything.
//! - **Nothing goes before what replaces it is on disk.**
//!
//! All calls block: whoever drives a store gives it a thread. Its parts may go to several.

mod error; // what can go wrong, in words for the operator
pub mod files; // the layer beneath, which tests replace
pub mod hostile; // what recovery has to withstand: shared by fuzzing and tests
mod identity; // whose store it is and how often it was started
mod log; // appending, syncing, cutting
pub mod memory; // a disk in memory that loses and tears
mod record; // records as bytes
mod recovery; // what a start finds
mod segment; // names and heads of segments
mod snapshots; // snapshot files
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::durable::{Identity, Recovered, Write, WriteId};
use crate::ids::{NodeId, StoreId};
use files::Files;
use identity::Owner;
use recovery::{Fit, Found};
use snapshots::Place;

pub use error::{Damage, StoreError};
pub use identity::IdentityFile;
pub use log::Log;
pub use snapshots::{SnapshotReader, SnapshotWriter, Snapshots};

/// Stores that may be set aside before somebody has to clear up.
const MAX_SET_ASIDE: u32 = 1000;

/// The smallest segment.
const MIN_SEGMENT_BYTES: u64 = 4096;

/// Sizes of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a segment, 4 KiB to 1 GiB. Only one that must hold a single larger record is
    /// larger.
    pub segment_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            segment_bytes: 16 * 1024 * 1024,
        }
    }
}

/// An open store. Its parts may be used by different threads; the folder stays locked until the
/// last of them is dropped.
pub struct Store<F: Files> {
    /// Whose it is.
    pub identity: IdentityFile<F>,
    /// The log.
    pub log: Log<F>,
    /// The snapshots.
    pub snapshots: Snapshots<F>,
}

impl<F: Files> Store<F> {
    /// Opens the store in a folder, or makes a blank one with the id `fresh`. Does not count a
    /// start: see [`IdentityFile::begin_life`].
    ///
    /// # Errors
    /// Where another process uses the folder, the files are another node's or another release's,
    /// something in them is damaged or missing, or the disk fails.
    pub fn open(
        files: F,
        folder: &Path,
        node: NodeId,
        limits: Limits,
        fresh: StoreId,
    ) -> Result<(Store<F>, Identity, Recovered), StoreError> {
        let lock = Arc::new(lock(&files, folder)?);
        let above = folder;
        let folder = store_folder(above);
        files
            .create_folder(&folder)
            .map_err(StoreError::io("make the folder", &folder))?;
        // Names that an earlier life has made and not synced are relied on from here on, that of
        // the folder itself included.
        for folder in [above, &folder] {
            files
                .sync_folder(folder)
                .map_err(StoreError::io("sync", folder))?;
        }

        let found = IdentityFile::read(&files, &folder, node)?;
        let identity = found.unwrap_or(Identity {
            node,
            store: fresh,
            start: 0,
            cluster: None,
        });
        let owner = Owner {
            node,
            store: identity.store,
        };
        let place = Place {
            files: files.clone(),
            folder: folder.clone(),
            owner,
            lock: Arc::clone(&lock),
        };
        let mut file = IdentityFile::new(files, folder.clone(), identity, lock);
        if found.is_none() {
            if !place.is_empty()? {
                return Err(StoreError::Missing {
                    path: identity::path(&folder),
                });
            }
            file.replace(identity)?;
        }
        let (log, recovered) = open_log(&place, &identity, limits)?;
        let mut snapshots = Snapshots::new(place);
        snapshots.tidy()?;
        let store = Store {
            identity: file,
            log,
            snapshots,
        };
        Ok((store, identity, recovered))
    }
}

/// Moves the store in a folder out of the way, whole, so that the next one begins blank. Answers
/// where it is now.
///
/// # Errors
/// Where the store is open, or the disk fails.
pub fn set_aside<F: Files>(files: &F, folder: &Path) -> Result<PathBuf, StoreError> {
    let _lock = lock(files, folder)?;
    let names = files.list(folder).map_err(StoreError::io("list", folder))?;
    let name = (1..=MAX_SET_ASIDE)
        .map(|number| format!("set-aside-{number}"))
        .find(|name| !names.contains(name));
    let store = store_folder(folder);
    let failed = || StoreError::io("set aside", &store);
    let name = name
        .ok_or_else(|| std::io::Error::other("too many were set aside already"))
        .map_err(failed())?;
    let aside = folder.join(name);
    files.rename(&store, &aside).map_err(failed())?;
    files.sync_folder(folder).map_err(failed())?;
    Ok(aside)
}

/// The file of a node's folder that says of which node and cluster its store is.
pub fn identity_path(folder: &Path) -> PathBuf {
    identity::path(&store_folder(folder))
}

fn store_folder(folder: &Path) -> PathBuf {
    folder.join("store")
}

fn lock<F: Files>(files: &F, folder: &Path) -> Result<F::Lock, StoreError> {
    files
        .create_folder(folder)
        .map_err(StoreError::io("make the folder", folder))?;
    let path = folder.join("lock");
    files
        .lock(&path)
        .map_err(StoreError::io("lock", &path))?
        .ok_or_else(|| StoreError::Locked {
            folder: folder.to_owned(),
        })
}

fn open_log<F: Files>(
    place: &Place<F>,
    identity: &Identity,
    limits: Limits,
) -> Result<(Log<F>, Recovered), StoreError> {
    let segment_bytes = limits
        .segment_bytes
        .clamp(MIN_SEGMENT_BYTES, segment::MAX_SEGMENT_BYTES);
    let snapshot = snapshots::newest_meta(place)?;
    // The first segment is made before the first start is counted.
    let in_use = identity.start > 0 || snapshot.is_some();
    let Some((mut log, found)) = recovery::recover(place, segment_bytes, in_use)? else {
        if in_use {
            return Err(StoreError::Missing {
                path: segment::path(&place.folder, 1),
            });
        }
        let log = Log::begin(place, segment_bytes)?;
        return Ok((log, Recovered::default()));
    };
    let (recovered, fit) = Found::settle(found, snapshot, |position| place.whole_path(position))?;
    let raw = log.hard_state();
    let write = Write {
        id: WriteId(0),
        reset: match fit {
            Fit::Continues => None,
            Fit::BeginAnew => recovered.snapshot.clone().map(Arc::new),
        },
        hard_state: (raw != recovered.hard_state).then_some(recovered.hard_state),
        entries: Vec::new(),
    };
    if write.reset.is_some() || write.hard_state.is_some() {
        // What a start is told is what the next one finds.
        log.append(&[write])?;
        log.sync()?;
    }
    Ok((log, recovered))
}
