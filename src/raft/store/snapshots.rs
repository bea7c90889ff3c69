//! Snapshots: one file each, written beside and renamed when it is whole and on disk.

mod file; // a snapshot's file: name, head, reading
mod incoming; // a snapshot that arrives in pieces
mod writer; // a snapshot that is written here

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::error::StoreError;
use super::files::{Files, OpenFile};
use super::identity::Owner;
use super::segment;
use crate::ids::Position;
use crate::message::SnapshotMeta;
use file::{Kind, Opened};
use incoming::Incoming;

pub use file::SnapshotReader;
pub use writer::SnapshotWriter;

/// A store's snapshots. Shares nothing with the log but the folder: may be used by another
/// thread.
pub struct Snapshots<F: Files> {
    place: Place<F>,
    /// The one that arrives.
    incoming: Option<Incoming<F::File>>,
    /// The one that was read last: its pieces are asked for one by one.
    read: Option<Opened<F::File>>,
}

/// Where snapshots are, and whose.
pub(super) struct Place<F: Files> {
    pub(super) files: F,
    pub(super) folder: PathBuf,
    pub(super) owner: Owner,
    pub(super) lock: Arc<F::Lock>,
}

impl<F: Files> Clone for Place<F> {
    fn clone(&self) -> Self {
        Place {
            files: self.files.clone(),
            folder: self.folder.clone(),
            owner: self.owner,
            lock: self.lock.clone(),
        }
    }
}

impl<F: Files> Place<F> {
    fn path(&self, position: Position, kind: Kind) -> PathBuf {
        self.folder.join(file::name(position, kind))
    }

    /// Where a whole snapshot is.
    pub(super) fn whole_path(&self, position: Position) -> PathBuf {
        self.path(position, Kind::Whole)
    }

    /// Whether there is neither log nor snapshot.
    pub(super) fn is_empty(&self) -> Result<bool, StoreError> {
        let names = self
            .files
            .list(&self.folder)
            .map_err(StoreError::io("list", &self.folder))?;
        Ok(!names
            .iter()
            .any(|name| segment::sequence_of(name).is_some() || file::parse(name).is_some()))
    }

    /// Puts a whole file, which is on disk, in its place.
    fn install(&self, position: Position, from: Kind) -> Result<(), StoreError> {
        let path = self.path(position, Kind::Whole);
        self.files
            .rename(&self.path(position, from), &path)
            .and_then(|()| self.files.sync_folder(&self.folder))
            .map_err(StoreError::io("put in place", &path))
    }

    /// The snapshots in the folder.
    fn list(&self) -> Result<Vec<(Position, Kind)>, StoreError> {
        list(&self.files, &self.folder)
    }
}

impl<F: Files> Snapshots<F> {
    pub(super) fn new(place: Place<F>) -> Snapshots<F> {
        Snapshots {
            place,
            incoming: None,
            read: None,
        }
    }

    /// Begins to write a snapshot of this node's own state. The writer may go to another thread.
    /// Size and checksum of `meta` are filled in when it is finished.
    ///
    /// # Errors
    /// Where the disk fails or is full.
    pub fn begin(&self, meta: SnapshotMeta) -> Result<SnapshotWriter<F>, StoreError> {
        SnapshotWriter::begin(self.place.clone(), meta)
    }

    /// Opens a snapshot to be restored, once all of it was read and found whole.
    ///
    /// # Errors
    /// Where it is not there or damaged, or the disk fails.
    pub fn open(&self, position: Position) -> Result<SnapshotReader<F::File>, StoreError> {
        Ok(SnapshotReader::new(Opened::checked(&self.place, position)?))
    }

    /// At most `length` bytes from `offset` on; fewer only at the end. Before the first piece all
    /// of the snapshot is read and checked.
    ///
    /// # Errors
    /// Where the snapshot is not there or damaged, or the disk fails.
    pub fn read_chunk(
        &mut self,
        position: Position,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, StoreError> {
        let opened = match self.read.take() {
            Some(opened) if opened.meta.last == position => opened,
            _ => Opened::checked(&self.place, position)?,
        };
        let offset = offset.min(opened.meta.size_bytes);
        let left = opened.meta.size_bytes - offset;
        let mut piece = vec![0; left.min(length as u64) as usize];
        opened
            .file
            .read_at(opened.start + offset, &mut piece)
            .map_err(StoreError::io(
                "read",
                &self.place.path(position, Kind::Whole),
            ))?;
        self.read = Some(opened);
        Ok(piece.into())
    }

    /// Bytes that are there of a snapshot that arrives: where it can be gone on with, even after a
    /// restart. All of them where it is whole.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn partial(&mut self, meta: &SnapshotMeta) -> Result<u64, StoreError> {
        if self.is_whole(meta)? {
            return Ok(meta.size_bytes);
        }
        self.resume(meta)?;
        Ok(self.incoming.as_ref().map_or(0, |incoming| incoming.next))
    }

    /// Takes a piece of a snapshot that arrives, and answers which byte is next. At the
    /// snapshot's size all has arrived, was checked, is in its place and on disk. A piece for
    /// byte 0 begins anew.
    ///
    /// # Errors
    /// Where the piece is not the next one, the whole has another checksum, or the disk fails; in
    /// the latter cases the snapshot begins anew.
    pub fn receive_chunk(
        &mut self,
        meta: &SnapshotMeta,
        offset: u64,
        data: &[u8],
    ) -> Result<u64, StoreError> {
        if self.is_whole(meta)? {
            return Ok(meta.size_bytes);
        }
        if offset == 0 {
            self.give_up_incoming()?;
            self.incoming = Some(Incoming::begin(&self.place, meta)?);
        } else {
            self.resume(meta)?;
        }
        let Some(mut incoming) = self.incoming.take() else {
            return Err(StoreError::ChunkOutOfPlace {
                snapshot: meta.last,
                offset,
                expected: 0,
            });
        };
        if offset != incoming.next {
            let expected = incoming.next;
            self.incoming = Some(incoming);
            return Err(StoreError::ChunkOutOfPlace {
                snapshot: meta.last,
                offset,
                expected,
            });
        }
        let taken = incoming.take(&self.place, data);
        match taken {
            Ok(next) if next < meta.size_bytes => {
                self.incoming = Some(incoming);
                Ok(next)
            }
            Ok(next) => Ok(next),
            Err(error) => {
                // Nothing of it is trusted any more. Should removing fail too, the checksum
                // finds it out in the end.
                let _ = self.give_up_incoming();
                Err(error)
            }
        }
    }

    /// Removes all snapshots before this one, whole or in part.
    ///
    /// # Errors
    /// Where this one is not there or the disk fails.
    pub fn remove_before(&mut self, position: Position) -> Result<(), StoreError> {
        let found = self.place.list()?;
        if !found.contains(&(position, Kind::Whole)) {
            return Err(StoreError::NoSnapshot(position));
        }
        self.read = None;
        for (other, kind) in found {
            if other.index < position.index && kind != Kind::New {
                if kind == Kind::Partial {
                    self.incoming = None;
                }
                self.remove(other, kind)?;
            }
        }
        self.sync_folder()
    }

    /// Clears away what an earlier life has left: all that is older than the newest snapshot, and
    /// what was being written.
    pub(super) fn tidy(&mut self) -> Result<(), StoreError> {
        let found = self.place.list()?;
        let newest = newest_of(&found).unwrap_or_default();
        for (position, kind) in found {
            let stays = match kind {
                Kind::Whole => position == newest,
                Kind::Partial => position.index > newest.index,
                Kind::New => false,
            };
            if !stays {
                self.remove(position, kind)?;
            }
        }
        self.sync_folder()
    }

    fn is_whole(&self, meta: &SnapshotMeta) -> Result<bool, StoreError> {
        match Opened::whole(&self.place, meta.last) {
            Ok(opened) => Ok(opened.meta == *meta),
            Err(StoreError::NoSnapshot(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Goes on with what is there of a snapshot, if anything.
    fn resume(&mut self, meta: &SnapshotMeta) -> Result<(), StoreError> {
        if self
            .incoming
            .as_ref()
            .is_none_or(|incoming| incoming.meta != *meta)
        {
            self.incoming = Incoming::resume(&self.place, meta)?;
        }
        Ok(())
    }

    fn give_up_incoming(&mut self) -> Result<(), StoreError> {
        self.incoming = None;
        for (position, kind) in self.place.list()? {
            if kind == Kind::Partial {
                self.remove(position, kind)?;
            }
        }
        Ok(())
    }

    fn remove(&self, position: Position, kind: Kind) -> Result<(), StoreError> {
        let path = self.place.path(position, kind);
        self.place
            .files
            .remove(&path)
            .map_err(StoreError::io("remove", &path))
    }

    fn sync_folder(&self) -> Result<(), StoreError> {
        self.place
            .files
            .sync_folder(&self.place.folder)
            .map_err(StoreError::io("sync", &self.place.folder))
    }
}

/// The newest whole snapshot's position.
pub(super) fn newest<F: Files>(files: &F, folder: &Path) -> Result<Option<Position>, StoreError> {
    Ok(newest_of(&list(files, folder)?))
}

/// The newest whole snapshot.
pub(super) fn newest_meta<F: Files>(place: &Place<F>) -> Result<Option<SnapshotMeta>, StoreError> {
    newest(&place.files, &place.folder)?
        .map(|position| Opened::whole(place, position).map(|opened| opened.meta))
        .transpose()
}

fn newest_of(found: &[(Position, Kind)]) -> Option<Position> {
    found
        .iter()
        .filter(|(_, kind)| *kind == Kind::Whole)
        .map(|(position, _)| *position)
        .max_by_key(|position| (position.index, position.term))
}

fn list<F: Files>(files: &F, folder: &Path) -> Result<Vec<(Position, Kind)>, StoreError> {
    let names = files.list(folder).map_err(StoreError::io("list", folder))?;
    Ok(names.iter().filter_map(|name| file::parse(name)).collect())
}
