//! A snapshot that is written here.

use crc32fast::Hasher;

use super::Place;
use super::file::{self, Kind};
use crate::message::SnapshotMeta;
use crate::store::error::StoreError;
use crate::store::files::{Files, OpenFile};

/// A snapshot is synced as often while it is written: one sync of the whole would hold up those of
/// the log for as long as the disk takes for all of it.
pub(super) const SYNC_BYTES: usize = 4 * 1024 * 1024;

/// Writes one snapshot, piece by piece. What is not finished when it is dropped is removed.
pub struct SnapshotWriter<F: Files> {
    place: Place<F>,
    file: F::File,
    meta: SnapshotMeta,
    start: u64,
    checksum: Hasher,
    /// Bytes written since the last sync.
    unsynced: usize,
    finished: bool,
}

impl<F: Files> SnapshotWriter<F> {
    pub(super) fn begin(place: Place<F>, meta: SnapshotMeta) -> Result<Self, StoreError> {
        let path = place.path(meta.last, Kind::New);
        let file = place
            .files
            .create(&path)
            .map_err(StoreError::io("create", &path))?;
        let meta = SnapshotMeta {
            size_bytes: 0,
            checksum: 0,
            ..meta
        };
        // The head is as long with its real figures, which it gets in the end.
        let start = file::head(place.owner, &meta).len() as u64;
        Ok(SnapshotWriter {
            place,
            file,
            meta,
            start,
            checksum: Hasher::new(),
            unsynced: 0,
            finished: false,
        })
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// Where the disk fails or is full; the snapshot is to be given up then.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_at(self.start + self.meta.size_bytes, piece)
            .map_err(|source| self.failed(source))?;
        self.checksum.update(piece);
        self.meta.size_bytes += piece.len() as u64;
        self.unsynced += piece.len();
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.file.sync().map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// Makes it durable and puts it in its place.
    ///
    /// # Errors
    /// Where the disk fails or is full.
    pub fn finish(mut self) -> Result<SnapshotMeta, StoreError> {
        self.meta.checksum = self.checksum.clone().finalize();
        let head = file::head(self.place.owner, &self.meta);
        self.file
            .write_at(0, &head)
            .and_then(|()| self.file.sync())
            .map_err(|source| self.failed(source))?;
        self.place.install(self.meta.last, Kind::New)?;
        self.finished = true;
        Ok(self.meta.clone())
    }

    fn failed(&self, source: std::io::Error) -> StoreError {
        StoreError::io("write", &self.place.path(self.meta.last, Kind::New))(source)
    }
}

impl<F: Files> Drop for SnapshotWriter<F> {
    fn drop(&mut self) {
        if !self.finished {
            // Left there, it would be removed at the next start.
            let path = self.place.path(self.meta.last, Kind::New);
            let _ = self.place.files.remove(&path);
        }
    }
}
