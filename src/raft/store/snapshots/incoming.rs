//! A snapshot that arrives in pieces.

use std::io;

use super::Place;
use super::file::{self, Kind, Opened};
use super::writer::SYNC_BYTES;
use crate::message::SnapshotMeta;
use crate::store::error::StoreError;
use crate::store::files::{Files, OpenFile};

/// A snapshot of which the beginning is there.
pub(super) struct Incoming<H> {
    pub(super) meta: SnapshotMeta,
    file: H,
    start: u64,
    /// The byte of the state that is missing next.
    pub(super) next: u64,
}

impl<H: OpenFile> Incoming<H> {
    /// Begins one, in place of what is there of it.
    pub(super) fn begin<F: Files<File = H>>(
        place: &Place<F>,
        meta: &SnapshotMeta,
    ) -> Result<Self, StoreError> {
        let path = place.path(meta.last, Kind::Partial);
        let head = file::head(place.owner, meta);
        let write = || {
            let file = place.files.create(&path)?;
            file.write_at(0, &head)?;
            Ok(file)
        };
        Ok(Incoming {
            meta: meta.clone(),
            file: write().map_err(StoreError::io("write", &path))?,
            start: head.len() as u64,
            next: 0,
        })
    }

    /// Goes on with what an earlier connection or life has received. What a crash has taken of it
    /// shows in the checksum in the end.
    pub(super) fn resume<F: Files<File = H>>(
        place: &Place<F>,
        meta: &SnapshotMeta,
    ) -> Result<Option<Self>, StoreError> {
        let path = place.path(meta.last, Kind::Partial);
        let file = match place.files.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(StoreError::io("open", &path))?,
        };
        Ok(match Opened::read(file, &path, place.owner) {
            // With all of it there, what was missing was its check: it begins anew.
            Ok(found) if found.meta == *meta && found.present < meta.size_bytes => Some(Incoming {
                meta: found.meta,
                file: found.file,
                start: found.start,
                next: found.present,
            }),
            // Nothing is lost by beginning anew where another release or a bad disk wrote it.
            Ok(_)
            | Err(
                StoreError::Damaged { .. }
                | StoreError::ForeignVersion { .. }
                | StoreError::ForeignNode { .. }
                | StoreError::ForeignStore { .. },
            ) => None,
            Err(error) => return Err(error),
        })
    }

    /// Takes the next piece, and the whole into its place with the last one. Answers which byte
    /// is next.
    pub(super) fn take<F: Files<File = H>>(
        &mut self,
        place: &Place<F>,
        data: &[u8],
    ) -> Result<u64, StoreError> {
        let snapshot = self.meta.last;
        let next = self.next + data.len() as u64;
        if next > self.meta.size_bytes {
            return Err(StoreError::ChunkTooLong {
                snapshot,
                end: next,
                size_bytes: self.meta.size_bytes,
            });
        }
        let path = place.path(snapshot, Kind::Partial);
        self.file
            .write_at(self.start + self.next, data)
            .map_err(StoreError::io("write", &path))?;
        self.next = next;
        // In portions, as a snapshot that is written here is.
        let portion = |at: u64| at / SYNC_BYTES as u64;
        if next < self.meta.size_bytes && portion(next) > portion(next - data.len() as u64) {
            self.file.sync().map_err(StoreError::io("sync", &path))?;
        }
        if next == self.meta.size_bytes {
            self.file.sync().map_err(StoreError::io("sync", &path))?;
            // Of what is on disk, not of what came: what an earlier life received counts too.
            let found = file::checksum(&self.file, self.start, self.meta.size_bytes)
                .map_err(StoreError::io("read", &path))?;
            if found != self.meta.checksum {
                return Err(StoreError::SnapshotChecksum {
                    snapshot,
                    found,
                    expected: self.meta.checksum,
                });
            }
            place.install(snapshot, Kind::Partial)?;
        }
        Ok(next)
    }
}
