//! Round trips, crashes at every point, and files that are not what they should be.

mod by_hand;
mod hostile;
mod keeper;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::codec::Header;
use super::journal::Journal;
use super::paths::Paths;
use super::{KeyShape, Restored, full};
use crate::clock::Millis;
use crate::config::KeyType;
use crate::groups::Groups;
use crate::stick::tests::fixtures::*;
use crate::stick::{Cursor, Key, KeyRef, Table};

const SLICES: KeyShape = KeyShape {
    key_type: KeyType::IpWithFirstMessageSlice { start: 0, end: 8 },
    ipv6_prefix: 128,
};

const IPS: KeyShape = KeyShape {
    key_type: KeyType::Ip,
    ipv6_prefix: 128,
};

/// A save interval in which no test ends.
const NEVER: Duration = Duration::from_secs(100_000);

/// Wall clock of the hand-made files, in seconds since 1970.
const WALL_SECS: u64 = 1_700_000_000;

fn wall(secs: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(WALL_SECS.saturating_add_signed(secs))
}

#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited 20 s for: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// What is found in files that can all be read.
fn load(path: &Path, shape: &KeyShape, now: SystemTime) -> Restored {
    super::load(path, shape, now).expect("readable files")
}

fn sticks_path(folder: &TempDir) -> PathBuf {
    folder.path().join("sticks")
}

fn groups_of(restored: &Restored) -> BTreeMap<Vec<u8>, u32> {
    let entries = restored.entries.iter();
    entries
        .map(|entry| (name(&entry.key), entry.group.0))
        .collect()
}

fn name(key: &Key) -> Vec<u8> {
    key.as_ref().to_string().into_bytes()
}

/// What the table holds for good: every active entry with its group.
fn active(table: &Table, now: Millis) -> BTreeMap<Vec<u8>, u32> {
    let mut found = BTreeMap::new();
    let mut next = Some(Cursor::START);
    while let Some(cursor) = next {
        let (entries, after) = table.page(cursor, 1000, now);
        for entry in entries.iter().filter(|entry| !entry.provisional) {
            found.insert(name(&entry.key), entry.group.0);
        }
        next = after;
    }
    found
}

fn files(folder: &TempDir) -> Vec<String> {
    let names = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A table whose files are written step by step, at times of the test's choice.
struct ByHand {
    folder: TempDir,
    paths: Paths,
    cluster: Cluster,
    table: Table,
    groups: Groups,
    journal: Journal,
}

impl ByHand {
    fn new() -> ByHand {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(&sticks_path(&folder));
        let cluster = Cluster::new();
        let table = cluster.table(settings());
        table.journal_to(Some(thread::current()));
        ByHand {
            groups: cluster.groups([up(1), up(2)]),
            journal: Journal::create(&paths, &ByHand::header(1, false)).unwrap(),
            folder,
            paths,
            cluster,
            table,
        }
    }

    fn header(sequence: u64, clean: bool) -> Header {
        Header {
            shape: SLICES,
            sequence,
            wall_ms: WALL_SECS * 1000,
            clean,
        }
    }

    fn visit(&self, key: KeyRef<'_>, now: Millis) -> u32 {
        visit(&self.table, key, &self.groups, now).group.0
    }

    fn journal(&mut self) -> u64 {
        self.journal.append_news(&self.table).unwrap()
    }

    fn rotate(&mut self) {
        let next = self.journal.sequence() + 1;
        self.journal = Journal::create(&self.paths, &ByHand::header(next, false)).unwrap();
    }

    fn save(&self, now: Millis) {
        let header = ByHand::header(self.journal.sequence(), false);
        full::write(&self.table, &self.paths, &header, now).unwrap();
    }

    fn save_clean(&self, now: Millis) {
        let header = ByHand::header(self.journal.sequence() + 1, true);
        full::write(&self.table, &self.paths, &header, now).unwrap();
    }

    fn load(&self) -> Restored {
        load(self.paths.save(), &SLICES, wall(0))
    }

    /// Loads what is there and expects every active entry in it.
    #[track_caller]
    fn expect_all(&self, now: Millis) {
        assert_eq!(groups_of(&self.load()), active(&self.table, now));
    }
}
