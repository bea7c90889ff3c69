//! The write-ahead log: batches are appended to preallocated segments and synced together.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::StoreError;
use super::files::{Files, OpenFile};
use super::identity::Owner;
use super::record::{Body, MARK_BYTES, Mark};
use super::segment::{self, HEAD_BYTES, Head};
use super::snapshots::{self, Place};
use crate::durable::{HardState, Write};
use crate::ids::{Index, Position};

/// The log, to be written by one thread.
///
/// After any error of [`Log::append`], [`Log::sync`] or [`Log::compact`] it refuses everything:
/// what is on disk is not known then.
pub struct Log<F: Files> {
    files: F,
    folder: PathBuf,
    owner: Owner,
    segment_bytes: u64,
    current: Segment<F::File>,
    /// Full segments, oldest first.
    pub(super) full: VecDeque<Full>,
    next: Next<F::File>,
    pub(super) end: End,
    /// Offset of the current segment before which everything is on disk.
    synced: u64,
    /// Records that are not written yet.
    buffer: Vec<u8>,
    broken: Option<String>,
    _lock: Arc<F::Lock>,
}

/// The state at the end of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct End {
    pub(super) hard_state: HardState,
    pub(super) last: Position,
}

/// The segment that is written to.
pub(super) struct Segment<H> {
    pub(super) file: H,
    pub(super) sequence: u64,
    pub(super) capacity: u64,
    /// Where the next record goes.
    pub(super) end: u64,
    /// The checksum that it goes on from.
    pub(super) chain: u32,
    /// The highest entry in it that is not void.
    pub(super) highest: Index,
}

/// A segment that is not written to any more.
pub(super) struct Full {
    pub(super) sequence: u64,
    /// The highest entry in it that is not void.
    pub(super) highest: Index,
}

/// The segment after the current one.
enum Next<H> {
    /// Not made yet.
    Missing,
    /// Made ahead.
    Made(Blank<H>),
    /// It could not be made ahead; the next attempt is when it is needed.
    Failed,
}

/// A segment without a head.
struct Blank<H> {
    file: H,
    capacity: u64,
}

impl<F: Files> Log<F> {
    /// The log of a new store.
    pub(super) fn begin(place: &Place<F>, segment_bytes: u64) -> Result<Log<F>, StoreError> {
        let current = make_first(&place.files, &place.folder, segment_bytes, place.owner)?;
        Ok(Log::go_on(place, segment_bytes, current))
    }

    /// A log that goes on in a segment as recovery found it, all on disk.
    pub(super) fn go_on(place: &Place<F>, segment_bytes: u64, current: Segment<F::File>) -> Log<F> {
        Log {
            files: place.files.clone(),
            folder: place.folder.clone(),
            owner: place.owner,
            segment_bytes,
            synced: current.end,
            current,
            full: VecDeque::new(),
            next: Next::Missing,
            end: End::default(),
            buffer: Vec::new(),
            broken: None,
            _lock: Arc::clone(&place.lock),
        }
    }

    /// Writes, in order, without waiting for the disk. All that has come up meanwhile belongs in
    /// one call, to be synced at once.
    ///
    /// # Errors
    /// Where the disk fails or is full; for good.
    pub fn append(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.attempt(|log| {
            for write in writes {
                // The hard state first: no crash leaves an entry of a term without the term.
                if let Some(state) = &write.hard_state {
                    log.put(Body::HardState(state))?;
                    log.end.hard_state = *state;
                }
                if let Some(meta) = &write.reset {
                    log.put(Body::Reset(meta))?;
                    log.end.last = meta.last;
                    log.current.highest = Index(0);
                    for full in &mut log.full {
                        full.highest = Index(0);
                    }
                }
                for entry in &write.entries {
                    log.put(Body::Entry(entry))?;
                    log.end.last = entry.position();
                    log.current.highest = log.current.highest.max(entry.index);
                }
            }
            log.flush()
        })
    }

    /// Waits until all that was appended is on disk.
    ///
    /// # Errors
    /// Where the disk fails; for good: a failed sync is never tried again.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.attempt(Log::sync_current)
    }

    /// Makes the next segment ahead where the current one is half full, so that no append has to
    /// wait for that. To be called after whoever waited for a sync has been answered.
    ///
    /// # Errors
    /// Where that is not possible now; once for each segment. Nothing is lost: it is tried again
    /// when it is needed.
    pub fn prepare(&mut self) -> Result<(), StoreError> {
        self.usable()?;
        if matches!(self.next, Next::Missing) && self.current.end > self.current.capacity / 2 {
            self.next = Next::Failed;
            self.next = Next::Made(self.make_blank(self.segment_bytes)?);
        }
        Ok(())
    }

    /// Removes segments of which nothing is needed where the log begins at `first`.
    ///
    /// # Errors
    /// Where the disk fails, for good; or where a file cannot be removed: it is tried again at the
    /// next call.
    ///
    /// # Panics
    /// Where no snapshot is on disk that stands for the entries before `first`.
    pub fn compact(&mut self, first: Index) -> Result<(), StoreError> {
        let mut kept = None;
        self.attempt(|log| {
            let removable = |full: &&Full| full.highest < first;
            if log
                .full
                .front()
                .as_ref()
                .is_none_or(|full| !removable(full))
            {
                return Ok(());
            }
            // What makes entries void and what stands for them must be on disk before they go.
            log.sync_current()?;
            log.sync_folder()?;
            let newest = snapshots::newest(&log.files, &log.folder)?.unwrap_or_default();
            assert!(
                newest.index >= first.previous(),
                "the log is cut at {first}, and the newest snapshot is of {newest}"
            );
            while let Some(full) = log.full.front().filter(removable) {
                let path = segment::path(&log.folder, full.sequence);
                if let Err(error) = log.files.remove(&path) {
                    // Nothing that is needed depends on it.
                    kept = Some(StoreError::io("remove", &path)(error));
                    return Ok(());
                }
                // One by one: no crash may leave a gap among those that are left.
                log.sync_folder()?;
                log.full.pop_front();
            }
            Ok(())
        })?;
        kept.map_or(Ok(()), Err)
    }

    /// Segments on disk that have been begun.
    #[cfg(test)]
    pub(super) fn segments(&self) -> usize {
        self.full.len() + 1
    }

    /// Where the log ends: the segment's number and the offset in it.
    pub(super) fn position(&self) -> (u64, u64) {
        (self.current.sequence, self.current.end)
    }

    /// The newest hard state that was written.
    pub(super) fn hard_state(&self) -> HardState {
        self.end.hard_state
    }

    fn usable(&self) -> Result<(), StoreError> {
        match &self.broken {
            None => Ok(()),
            Some(first) => Err(StoreError::Broken {
                first: first.clone(),
            }),
        }
    }

    fn attempt(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.usable()?;
        let result = run(self);
        if let Err(error) = &result {
            self.broken = Some(error.to_string());
        }
        result
    }

    /// Puts a record into the buffer; where the segment is full, into one for the next segment.
    fn put(&mut self, body: Body<'_>) -> Result<(), StoreError> {
        // Without room for the mark that each batch begins with, the segment is full.
        let marked = !self.buffer.is_empty() || self.put_mark();
        let (start, chain) = (self.buffer.len(), self.current.chain);
        body.put(&mut self.buffer, &mut self.current.chain);
        if marked && self.current.end + self.buffer.len() as u64 <= self.current.capacity {
            return Ok(());
        }
        let record_bytes = self.buffer.len() - start;
        self.buffer.truncate(start);
        self.current.chain = chain;
        self.flush()?;
        self.roll((HEAD_BYTES + MARK_BYTES + record_bytes) as u64)?;
        self.put_mark();
        body.put(&mut self.buffer, &mut self.current.chain);
        Ok(())
    }

    /// Answers whether there is room for it.
    fn put_mark(&mut self) -> bool {
        let mark = Mark {
            sequence: self.current.sequence,
            offset: self.current.end + self.buffer.len() as u64,
            synced_sequence: self.current.sequence,
            synced_offset: self.synced,
        };
        let room = self.current.capacity - self.current.end;
        let fits = room >= (self.buffer.len() + MARK_BYTES) as u64;
        if fits {
            mark.put(&mut self.buffer, &mut self.current.chain, self.owner.store);
        }
        fits
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.current
            .file
            .write_at(self.current.end, &self.buffer)
            .map_err(|source| self.current_failed("write", source))?;
        self.current.end += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn sync_current(&mut self) -> Result<(), StoreError> {
        if self.synced < self.current.end {
            self.current
                .file
                .sync()
                .map_err(|source| self.current_failed("sync", source))?;
            self.synced = self.current.end;
        }
        Ok(())
    }

    fn sync_folder(&self) -> Result<(), StoreError> {
        self.files
            .sync_folder(&self.folder)
            .map_err(StoreError::io("sync", &self.folder))
    }

    fn current_failed(&self, doing: &'static str, source: std::io::Error) -> StoreError {
        let path = segment::path(&self.folder, self.current.sequence);
        StoreError::io(doing, &path)(source)
    }

    /// Begins the next segment. The current one is on disk before, so that the head may state
    /// where it ends; the head is before any record.
    fn roll(&mut self, needed_bytes: u64) -> Result<(), StoreError> {
        self.sync_current()?;
        let capacity = needed_bytes.max(self.segment_bytes);
        let blank = match std::mem::replace(&mut self.next, Next::Missing) {
            Next::Made(blank) if blank.capacity >= capacity => blank,
            _ => self.make_blank(capacity)?,
        };
        let head = Head {
            sequence: self.current.sequence + 1,
            previous_end: self.current.end,
            previous_chain: self.current.chain,
            last: self.end.last,
            hard_state: self.end.hard_state,
        };
        let path = segment::path(&self.folder, head.sequence);
        let next = begin(blank.file, blank.capacity, &head, self.owner)
            .map_err(StoreError::io("begin", &path))?;
        let full = std::mem::replace(&mut self.current, next);
        self.synced = self.current.end;
        self.full.push_back(Full {
            sequence: full.sequence,
            highest: full.highest,
        });
        Ok(())
    }

    fn make_blank(&self, capacity: u64) -> Result<Blank<F::File>, StoreError> {
        let sequence = self.current.sequence + 1;
        let file = make_blank(&self.files, &self.folder, sequence, capacity)?;
        Ok(Blank { file, capacity })
    }
}

/// Makes a segment of zeros, durably.
fn make_blank<F: Files>(
    files: &F,
    folder: &Path,
    sequence: u64,
    capacity: u64,
) -> Result<F::File, StoreError> {
    let path = segment::path(folder, sequence);
    let make = || {
        let file = files.create(&path)?;
        file.allocate(capacity)?;
        file.sync()?;
        files.sync_folder(folder)?;
        Ok(file)
    };
    make().map_err(StoreError::io("make", &path))
}

/// Makes the first segment of a log.
fn make_first<F: Files>(
    files: &F,
    folder: &Path,
    capacity: u64,
    owner: Owner,
) -> Result<Segment<F::File>, StoreError> {
    let head = Head::first();
    let file = make_blank(files, folder, head.sequence, capacity)?;
    begin(file, capacity, &head, owner).map_err(StoreError::io(
        "begin",
        &segment::path(folder, head.sequence),
    ))
}

/// Writes a segment's head, durably.
fn begin<H: OpenFile>(
    file: H,
    capacity: u64,
    head: &Head,
    owner: Owner,
) -> std::io::Result<Segment<H>> {
    let (bytes, chain) = head.encode(owner);
    file.write_at(0, &bytes)?;
    file.sync()?;
    Ok(Segment {
        file,
        sequence: head.sequence,
        capacity,
        end: HEAD_BYTES as u64,
        chain,
        highest: Index(0),
    })
}
