//! Records, one after the other, and what they amount to.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::durable::{HardState, Recovered};
use crate::entry::{Entry, Payload};
use crate::ids::{Index, Position, StoreId, Term};
use crate::message::SnapshotMeta;
use crate::store::error::{Damage, StoreError};
use crate::store::log::{End, Full};
use crate::store::record::{self, Read, Record};
use crate::store::segment::{HEAD_BYTES, Head};

/// What the records read so far amount to.
pub(super) struct Replay {
    store: StoreId,
    /// Segments before the one that is being read, oldest first.
    pub(super) full: VecDeque<Full>,
    /// The segment that is being read.
    sequence: Option<u64>,
    /// The highest entry in it that is not void.
    pub(super) highest: Index,
    pub(super) end: End,
    entries: Vec<Entry>,
    before: Before,
    reset: Option<Position>,
}

/// What stands before the entries.
#[derive(Clone, Copy, Default)]
struct Before {
    index: Index,
    /// None where the entry there is gone, replaced by a later leader.
    term: Option<Term>,
}

/// Where the records of a segment end.
pub(super) struct Stop {
    pub(super) offset: usize,
    pub(super) chain: u32,
    /// Where its last mark says that it was on disk.
    pub(super) synced: Option<usize>,
}

impl Replay {
    pub(super) fn new(store: StoreId) -> Replay {
        Replay {
            store,
            full: VecDeque::new(),
            sequence: None,
            highest: Index(0),
            end: End::default(),
            entries: Vec::new(),
            before: Before::default(),
            reset: None,
        }
    }

    /// Begins a segment. The first one's head says what came before.
    pub(super) fn begin(&mut self, head: &Head) {
        match self.sequence.replace(head.sequence) {
            Some(sequence) => self.full.push_back(Full {
                sequence,
                highest: self.highest,
            }),
            None => {
                self.end = End {
                    hard_state: head.hard_state,
                    last: head.last,
                };
                self.before = Before {
                    index: head.last.index,
                    term: Some(head.last.term),
                };
            }
        }
        self.highest = Index(0);
    }

    /// Takes a segment's records up to the first place that holds none.
    pub(super) fn records(
        &mut self,
        bytes: &Bytes,
        chain: u32,
        path: &Path,
        sequence: u64,
    ) -> Result<Stop, StoreError> {
        let mut stop = Stop {
            offset: HEAD_BYTES,
            chain,
            synced: None,
        };
        loop {
            let damaged = |what| StoreError::Damaged {
                path: path.to_owned(),
                offset: stop.offset as u64,
                what,
            };
            let read = record::read(bytes, stop.offset, stop.chain, self.store)
                .map_err(|malformed| damaged(malformed.into()))?;
            let Read::Record { record, end, chain } = read else {
                return Ok(stop);
            };
            match record {
                Record::Mark(mark) if mark.synced_sequence == sequence => {
                    stop.synced = Some(mark.synced_offset as usize);
                }
                Record::Mark(_) => {}
                Record::HardState(state) => self.end.hard_state = state,
                Record::Reset(meta) => self.reset(&meta),
                Record::Entry(entry) => self.entry(on_its_own(entry)).map_err(damaged)?,
            }
            stop.offset = end;
            stop.chain = chain;
        }
    }

    fn reset(&mut self, meta: &SnapshotMeta) {
        self.entries.clear();
        self.end.last = meta.last;
        self.before = Before {
            index: meta.last.index,
            term: Some(meta.last.term),
        };
        self.reset = Some(meta.last);
        self.highest = Index(0);
        for full in &mut self.full {
            full.highest = Index(0);
        }
    }

    fn entry(&mut self, entry: Entry) -> Result<(), Damage> {
        if entry.index == Index(0) || entry.index.previous() > self.end.last.index {
            return Err(Damage::Gap);
        }
        if entry.index <= self.before.index {
            self.entries.clear();
            self.before = Before {
                index: entry.index.previous(),
                term: None,
            };
        }
        // Whatever was there from its place on is void.
        let place = (entry.index.0 - self.before.index.0 - 1) as usize;
        self.entries.truncate(place);
        self.highest = self.highest.max(entry.index);
        self.end.last = entry.position();
        self.entries.push(entry);
        Ok(())
    }

    /// What was found, with the segments that are full and the state at the end.
    pub(super) fn into_found(self, first_segment: PathBuf) -> (Found, VecDeque<Full>, End) {
        let found = Found {
            first_segment,
            hard_state: self.end.hard_state,
            entries: self.entries,
            before: self.before,
            reset: self.reset,
        };
        (found, self.full, self.end)
    }
}

/// What the log holds.
pub(in crate::store) struct Found {
    first_segment: PathBuf,
    hard_state: HardState,
    entries: Vec<Entry>,
    before: Before,
    reset: Option<Position>,
}

/// How the log stands to the newest snapshot.
pub(in crate::store) enum Fit {
    /// The log continues it.
    Continues,
    /// The snapshot has arrived whole, and a crash came before the log was begun anew behind it:
    /// that is to be done now. Nothing is lost by it: a snapshot is of what is committed, so the
    /// log either ends before it or contradicts it (Raft paper, figure 13, step 7).
    BeginAnew,
}

impl Found {
    /// What a start finds, with the newest snapshot.
    ///
    /// # Errors
    /// Where something between snapshot and log is missing; a snapshot that must be there is
    /// named by `snapshot_path`.
    pub(in crate::store) fn settle(
        mut self,
        snapshot: Option<SnapshotMeta>,
        snapshot_path: impl FnOnce(Position) -> PathBuf,
    ) -> Result<(Recovered, Fit), StoreError> {
        let last = snapshot
            .as_ref()
            .map_or(Position::default(), |meta| meta.last);
        if let Some(reset) = self.reset.filter(|reset| reset.index > last.index) {
            return Err(StoreError::Missing {
                path: snapshot_path(reset),
            });
        }
        if self.before.index > last.index {
            return Err(StoreError::Damaged {
                path: self.first_segment,
                offset: 0,
                what: Damage::Gap,
            });
        }
        let held = match (last.index.0 - self.before.index.0) as usize {
            0 => self.before.term.unwrap_or(last.term) == last.term,
            nth => self
                .entries
                .get(nth - 1)
                .is_some_and(|entry| entry.term == last.term),
        };
        let fit = match held {
            true => Fit::Continues,
            false => {
                self.entries.clear();
                Fit::BeginAnew
            }
        };
        let end = self.entries.last().map_or(last, Entry::position);
        let end = match end.index < last.index {
            true => last,
            false => end,
        };
        let recovered = Recovered {
            hard_state: settled(self.hard_state, last, end),
            snapshot,
            entries: self.entries,
        };
        Ok((recovered, fit))
    }
}

/// The hard state that goes with a log that ends at `end`, after a snapshot of `snapshot`. Of one
/// write a crash may leave a part: the hard state without the entries, or a snapshot without
/// either. No vote of the newer term can have left this node then, since it would be on disk.
fn settled(found: HardState, snapshot: Position, end: Position) -> HardState {
    let term = found.term.max(snapshot.term).max(end.term);
    HardState {
        term,
        vote: found.vote.filter(|_| term == found.term),
        commit: found.commit.clamp(snapshot.index, end.index),
    }
}

/// The entry with its body in memory of its own: a piece of the segment would keep all of it.
fn on_its_own(mut entry: Entry) -> Entry {
    if let Payload::Command(command) = &mut entry.payload {
        command.body = Bytes::copy_from_slice(&command.body);
    }
    entry
}
