//! A log of which everything is known, to be damaged.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::{NODE, open, store_folder};
use crate::durable::{HardState, Recovered, Write, WriteId};
use crate::entry::{ClientId, Command, Entry, Payload};
use crate::ids::{Index, LogTime, NodeId, Term};
use crate::store::memory::{DiskImage, MemoryDisk};
use crate::store::{Store, segment};

/// A log of several segments, with all that is known about it.
pub(super) struct KnownLog {
    pub(super) image: DiskImage,
    pub(super) segments: Vec<Vec<u8>>,
    /// Behind each record: the segment it stands in and where it ends there, and what a start
    /// finds of a log that ends there.
    states: Vec<((usize, usize), Recovered)>,
}

impl KnownLog {
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        (1..=self.segments.len() as u64).map(|sequence| segment::path(&store_folder(), sequence))
    }

    /// What was found must be what the log held at some time, entries and hard state alike, and
    /// hold all that stands before the first damage.
    ///
    /// # Panics
    /// Where it is something else.
    pub(super) fn check(&self, found: &Recovered, first_damage: (usize, usize)) {
        let untouched = self
            .states
            .iter()
            .filter(|(end, _)| *end <= first_damage)
            .count();
        let from = untouched.saturating_sub(1);
        let explained = self.states[from..].iter().any(|(_, state)| state == found);
        let nothing = untouched == 0 && *found == Recovered::default();
        assert!(
            explained || nothing,
            "damage at {first_damage:?} has changed what stands before it: {found:?}"
        );
    }
}

pub(super) fn known_log() -> &'static KnownLog {
    static LOG: OnceLock<KnownLog> = OnceLock::new();
    LOG.get_or_init(make_known_log)
}

fn make_known_log() -> KnownLog {
    let disk = MemoryDisk::new();
    let (mut store, _) = open(&disk).expect("a blank disk");
    store.identity.begin_life().expect("nothing fails here");
    let mut states = Vec::new();
    let mut hard_state = HardState::default();
    let mut entries: Vec<Entry> = Vec::new();
    // Some entries replace earlier ones, none of them committed.
    let indexes = (1..=40).chain(35..=70).chain(70..=75);
    for (step, index) in indexes.enumerate() {
        let term = 1 + u64::from(step >= 40) + u64::from(step >= 76);
        if hard_state.term.0 < term {
            hard_state.term = Term(term);
            hard_state.vote = (term % 2 == 1).then_some(NodeId(term));
            append(&mut store, Some(hard_state), None);
            states.push((end(&store), recovered(hard_state, &entries)));
        }
        let entry = known_entry(index, term);
        entries.truncate(index as usize - 1);
        entries.push(entry.clone());
        append(&mut store, None, Some(entry));
        states.push((end(&store), recovered(hard_state, &entries)));
        if step % 4 == 0 {
            hard_state.commit = hard_state.commit.max(Index(index.saturating_sub(8)));
            append(&mut store, Some(hard_state), None);
            states.push((end(&store), recovered(hard_state, &entries)));
        }
        if step % 3 == 0 {
            store.log.sync().expect("nothing fails here");
        }
    }
    store.log.sync().expect("nothing fails here");
    drop(store);
    let mut segments = Vec::new();
    while let Ok(bytes) = disk.contents(&segment::path(&store_folder(), segments.len() as u64 + 1))
    {
        segments.push(bytes);
    }
    KnownLog {
        image: disk.image(),
        segments,
        states,
    }
}

fn recovered(hard_state: HardState, entries: &[Entry]) -> Recovered {
    Recovered {
        hard_state,
        snapshot: None,
        entries: entries.to_vec(),
    }
}

pub(super) fn append(
    store: &mut Store<MemoryDisk>,
    hard_state: Option<HardState>,
    entry: Option<Entry>,
) {
    let write = Write {
        id: WriteId(1),
        reset: None,
        hard_state,
        entries: entry.into_iter().collect(),
    };
    store.log.append(&[write]).expect("nothing fails here");
}

/// Where the log ends: the segment, counted from 0, and the offset.
fn end(store: &Store<MemoryDisk>) -> (usize, usize) {
    let (sequence, offset) = store.log.position();
    (sequence as usize - 1, offset as usize)
}

pub(super) fn known_entry(index: u64, term: u64) -> Entry {
    let payload = match index % 5 {
        0 => Payload::Empty,
        1 => Payload::Membership(Arc::default()),
        _ => Payload::Command(Command {
            client: ClientId {
                node: NODE,
                boot: 1,
            },
            sequence: index,
            answered_below: 0,
            issued: LogTime(0),
            version: 1,
            body: Bytes::from(vec![index as u8; index as usize * 2 % 97]),
        }),
    };
    Entry {
        index: Index(index),
        term: Term(term),
        time: LogTime(index),
        payload,
    }
}
