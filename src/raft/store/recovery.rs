//! What a start finds in the log.
//!
//! Segments are read in order, each up to where the next one says that it ends; anything else
//! than whole records there is damage. In the last one the log ends where no record continues it.
//! That is a torn tail, which is cut, unless a mark further behind says that the place had been
//! on disk: then it is damage too.

mod replay; // records, one after the other

use std::path::PathBuf;

use bytes::Bytes;

use super::error::{Damage, StoreError};
use super::files::{Files, OpenFile};
use super::log::{Log, Segment};
use super::record;
use super::segment::{self, HEAD_BYTES, Head, MAX_SEGMENT_BYTES};
use super::snapshots::Place;
use replay::Replay;

pub(super) use replay::{Fit, Found};

/// Recovers the log, to be gone on with; none where no segment has been begun. Whether one must
/// have been is known to whoever calls: `in_use`.
pub(super) fn recover<F: Files>(
    place: &Place<F>,
    segment_bytes: u64,
    in_use: bool,
) -> Result<Option<(Log<F>, Found)>, StoreError> {
    let mut sequences = sequences(place)?;
    let Some(last) = sequences.pop() else {
        return Ok(None);
    };
    let mut newest = Loaded::read(place, last)?;
    if newest.is_blank() {
        if in_use && sequences.is_empty() {
            return Err(newest.damaged(0, Damage::Emptied));
        }
        // It was made ahead and never begun. There is at most one of these.
        newest.remove(place)?;
        newest = match sequences.pop() {
            Some(last) => Loaded::read(place, last)?,
            None => return Ok(None),
        };
    }
    let newest = newest.begun(place)?;

    let mut replay = Replay::new(place.owner.store);
    let mut earlier = sequences.into_iter();
    let mut at = match earlier.next() {
        Some(first) => Loaded::read(place, first)?.begun(place)?,
        None => return finish(place, segment_bytes, replay, newest).map(Some),
    };
    // Each is read once the next one's head is known, which says where it ends.
    for sequence in earlier {
        let next = Loaded::read(place, sequence)?.begun(place)?;
        at.replay_full(&next, &mut replay)?;
        at = next;
    }
    at.replay_full(&newest, &mut replay)?;
    finish(place, segment_bytes, replay, newest).map(Some)
}

fn finish<F: Files>(
    place: &Place<F>,
    segment_bytes: u64,
    mut replay: Replay,
    newest: Begun<F::File>,
) -> Result<(Log<F>, Found), StoreError> {
    let first = replay.full.front().map(|full| full.sequence);
    let first = segment::path(&place.folder, first.unwrap_or(newest.loaded.sequence));
    let current = newest.replay_last(place, &mut replay)?;
    let mut log = Log::go_on(place, segment_bytes, current);
    let (found, full, end) = replay.into_found(first);
    log.full = full;
    log.end = end;
    Ok((log, found))
}

/// The segments in the folder.
fn sequences<F: Files>(place: &Place<F>) -> Result<Vec<u64>, StoreError> {
    let names = place
        .files
        .list(&place.folder)
        .map_err(StoreError::io("list", &place.folder))?;
    let sequences: Vec<u64> = names
        .iter()
        .filter_map(|name| segment::sequence_of(name))
        .collect();
    for pair in sequences.windows(2) {
        if pair[0] + 1 != pair[1] {
            return Err(StoreError::Missing {
                path: segment::path(&place.folder, pair[0] + 1),
            });
        }
    }
    Ok(sequences)
}

/// A segment's bytes.
struct Loaded<H> {
    file: H,
    path: PathBuf,
    sequence: u64,
    bytes: Bytes,
}

/// A segment with its head.
struct Begun<H> {
    loaded: Loaded<H>,
    head: Head,
    /// The checksum that its records go on from.
    chain: u32,
}

impl<H: OpenFile> Loaded<H> {
    fn read<F: Files<File = H>>(place: &Place<F>, sequence: u64) -> Result<Self, StoreError> {
        let path = segment::path(&place.folder, sequence);
        let io = || StoreError::io("read", &path);
        let file = place.files.open(&path).map_err(io())?;
        let length = file.length().map_err(io())?;
        if length > MAX_SEGMENT_BYTES {
            return Err(StoreError::Damaged {
                path,
                offset: MAX_SEGMENT_BYTES,
                what: Damage::TooLarge,
            });
        }
        let mut bytes = vec![0; length as usize];
        file.read_at(0, &mut bytes).map_err(io())?;
        Ok(Loaded {
            file,
            path,
            sequence,
            bytes: bytes.into(),
        })
    }

    /// Whether it was never written to: a head is on disk before any record, so that one that is
    /// not whole, with nothing behind it, was never needed.
    fn is_blank(&self) -> bool {
        let (head, rest) = self.bytes.split_at(self.bytes.len().min(HEAD_BYTES));
        let whole = head
            .split_last_chunk::<4>()
            .is_some_and(|(head, checksum)| {
                head.len() == HEAD_BYTES - 4 && crc32fast::hash(head).to_le_bytes() == *checksum
            });
        !whole && written(rest).is_none()
    }

    fn begun<F: Files<File = H>>(self, place: &Place<F>) -> Result<Begun<H>, StoreError> {
        let (head, chain) = Head::decode(&self.bytes, &self.path, self.sequence, place.owner)?;
        Ok(Begun {
            loaded: self,
            head,
            chain,
        })
    }

    fn remove<F: Files<File = H>>(&self, place: &Place<F>) -> Result<(), StoreError> {
        place
            .files
            .remove(&self.path)
            .and_then(|()| place.files.sync_folder(&place.folder))
            .map_err(StoreError::io("remove", &self.path))
    }

    fn damaged(&self, offset: u64, what: Damage) -> StoreError {
        StoreError::Damaged {
            path: self.path.clone(),
            offset,
            what,
        }
    }
}

impl<H: OpenFile> Begun<H> {
    /// Replays a segment that another one follows.
    fn replay_full(&self, next: &Begun<H>, replay: &mut Replay) -> Result<(), StoreError> {
        let segment = &self.loaded;
        let (end, head) = (next.head.previous_end, &next.head);
        let length = segment.bytes.len() as u64;
        if !(HEAD_BYTES as u64..=length).contains(&end) {
            return Err(segment.damaged(length, Damage::Length));
        }
        replay.begin(&self.head);
        let whole = segment.bytes.slice(..end as usize);
        let stop = replay.records(&whole, self.chain, &segment.path, self.head.sequence)?;
        if stop.offset as u64 != end {
            return Err(segment.damaged(stop.offset as u64, Damage::Record));
        }
        if (stop.chain, replay.end.last, replay.end.hard_state)
            != (head.previous_chain, head.last, head.hard_state)
        {
            return Err(next.loaded.damaged(0, Damage::Discontinued));
        }
        Ok(())
    }

    /// Replays the last segment, and cuts what a crash has left behind its end.
    fn replay_last<F: Files<File = H>>(
        self,
        place: &Place<F>,
        replay: &mut Replay,
    ) -> Result<Segment<H>, StoreError> {
        let segment = self.loaded;
        replay.begin(&self.head);
        let stop = replay.records(
            &segment.bytes,
            self.chain,
            &segment.path,
            self.head.sequence,
        )?;
        let behind = record::synced_by_marks_behind(
            &segment.bytes,
            stop.offset,
            segment.sequence,
            place.owner.store,
        );
        if behind.is_some_and(|synced| synced > stop.offset as u64) {
            return Err(segment.damaged(stop.offset as u64, Damage::Record));
        }
        // An earlier life may have written what it could not sync. The kernel then takes it for
        // written, shows it, and does not try again: so it is written once more. Without a mark
        // not even the head is known to be on disk.
        let from = stop.synced.unwrap_or(0).min(stop.offset);
        let settle = || {
            let (file, bytes) = (&segment.file, &segment.bytes);
            file.write_at(from as u64, &bytes[from..stop.offset])?;
            if let Some(length) = written(&bytes[stop.offset..]) {
                log::warn!(
                    "{}: cut at byte {}: {length} bytes behind it were not written whole, as a \
                     crash leaves them; nothing that is known to be synced is lost",
                    segment.path.display(),
                    stop.offset
                );
                file.set_length(stop.offset as u64)?;
                file.sync()?;
                file.allocate(bytes.len() as u64)?;
            }
            file.sync()
        };
        settle().map_err(StoreError::io("settle", &segment.path))?;
        Ok(Segment {
            file: segment.file,
            sequence: segment.sequence,
            capacity: segment.bytes.len() as u64,
            end: stop.offset as u64,
            chain: stop.chain,
            highest: replay.highest,
        })
    }
}

/// Up to where something was written; nothing where all is zero.
fn written(bytes: &[u8]) -> Option<usize> {
    // By words: this runs over most of a segment at each start.
    let (words, rest) = bytes.as_chunks::<16>();
    if let Some(at) = rest.iter().rposition(|byte| *byte != 0) {
        return Some(words.len() * 16 + at + 1);
    }
    let at = words
        .iter()
        .rposition(|word| u128::from_ne_bytes(*word) != 0)?;
    Some((at + 1) * 16)
}
