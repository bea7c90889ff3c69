//! Round trips, crashes at every point, and files that are not what they should be.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::codec::{Header, Kind, VERSION, file_start};
use super::journal::Journal;
use super::paths::Paths;
use super::{Keeper, KeyShape, Restored, full, load};
use crate::clock::{Clock, Millis};
use crate::config::{GroupId, KeyType};
use crate::groups::{Groups, Status};
use crate::stick::fixtures::*;
use crate::stick::{ClientIp, Cursor, Key, KeyRef, Remaining, Settings, Sticks, Table};

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

#[test]
fn a_clean_stop_keeps_every_key_with_its_group_and_time_left() {
    let by_hand = ByHand::new();
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    let keys = [
        key(1),
        slice_key(1, b""),
        slice_key(1, b"\0\xffuser/1"),
        KeyRef {
            ip: ClientIp::new(IpAddr::V6(v6), 128),
            slice: None,
        },
    ];
    for (at, &key) in (0..).zip(&keys) {
        by_hand.visit(key, second(at));
    }
    by_hand.save_clean(second(5));
    fs::remove_file(by_hand.paths.journal(1)).unwrap();

    let restored = load(by_hand.paths.save(), &SLICES, wall(2));
    assert!(restored.clean, "{:?}", restored.notes);
    assert_eq!(groups_of(&restored), active(&by_hand.table, second(5)));
    let left: BTreeMap<Vec<u8>, Remaining> = restored
        .entries
        .iter()
        .map(|entry| (name(&entry.key), entry.remaining))
        .collect();
    for (at, key) in (0..).zip(keys) {
        // Ten seconds from its last activity, at 5 s when saved, less 2 s of downtime.
        let expected = Remaining::Left(Duration::from_secs(10 + at - 5 - 2));
        assert_eq!(left[key.to_string().as_bytes()], expected);
    }
}

#[test]
fn downtime_is_deducted_unless_the_clock_went_back() {
    let by_hand = ByHand::new();
    by_hand.visit(key(1), second(0));
    by_hand.visit(key(2), second(8));
    by_hand.save_clean(second(8)); // 2 s and 10 s left
    fs::remove_file(by_hand.paths.journal(1)).unwrap();
    for (downtime, alive) in [(1, 2), (2, 1), (9, 1), (10, 0), (1_000_000, 0)] {
        let restored = load(by_hand.paths.save(), &SLICES, wall(downtime));
        assert_eq!(restored.entries.len(), alive, "{downtime} s of downtime");
        assert!(restored.clean);
    }
    let back = load(by_hand.paths.save(), &SLICES, wall(-5_000));
    let full = Remaining::Left(Duration::from_secs(10));
    assert!(back.entries.iter().any(|entry| entry.remaining == full));
    assert_eq!(back.entries.len(), 2);
}

#[test]
fn an_unclean_end_gives_every_entry_a_full_expiration() {
    let mut by_hand = ByHand::new();
    by_hand.visit(key(1), second(0));
    by_hand.save(second(9));
    by_hand.visit(key(2), second(9));
    by_hand.journal();
    let restored = load(by_hand.paths.save(), &SLICES, wall(3600));
    assert!(!restored.clean);
    assert_eq!(restored.entries.len(), 2);
    let full = |entry: &crate::stick::RestoredEntry| entry.remaining == Remaining::Full;
    assert!(restored.entries.iter().all(full));
}

#[test]
fn every_state_of_the_files_around_a_full_save_loads_whole() {
    let mut by_hand = ByHand::new();
    by_hand.visit(key(1), second(0));
    by_hand.journal();
    by_hand.expect_all(second(0)); // journal 1 alone, before the first save
    by_hand.save(second(0));
    by_hand.expect_all(second(0)); // save names 1, journal 1
    by_hand.visit(key(2), second(0));
    by_hand.journal();
    by_hand.expect_all(second(0));

    by_hand.rotate();
    by_hand.expect_all(second(0)); // save names 1, journals 1 and 2
    by_hand.visit(key(3), second(0));
    by_hand.journal();
    by_hand.expect_all(second(0));
    fs::write(by_hand.paths.new_save(), b"TCPF").unwrap();
    by_hand.expect_all(second(0)); // and half a save beside
    by_hand.save(second(0));
    by_hand.expect_all(second(0)); // save names 2, journals 1 and 2
    by_hand.visit(key(4), second(0));
    by_hand.journal();
    by_hand.expect_all(second(0));
    by_hand.paths.delete_journals_before(2).unwrap();
    by_hand.expect_all(second(0)); // save names 2, journal 2

    by_hand.save_clean(second(0));
    let stopped = by_hand.load();
    assert!(stopped.clean, "the journal left is older than the save");
    by_hand.expect_all(second(0));
    by_hand.paths.delete_journals_before(3).unwrap();
    assert!(by_hand.load().clean);
    by_hand.expect_all(second(0));

    // The next process: its journal is there, its first save is not.
    by_hand.rotate();
    by_hand.rotate();
    assert!(!by_hand.load().clean);
    by_hand.visit(key(5), second(0));
    by_hand.journal();
    by_hand.expect_all(second(0));
}

#[test]
fn a_key_given_to_another_group_after_the_save_is_found_there() {
    let mut by_hand = ByHand::new();
    assert_eq!(by_hand.visit(key(1), second(0)), 1);
    by_hand.save(second(0));
    by_hand.groups = by_hand
        .cluster
        .groups([up(1).status(Status::Disabled), up(2)]);
    assert_eq!(by_hand.visit(key(1), second(1)), 2);
    assert_eq!(by_hand.journal(), 1);
    by_hand.expect_all(second(1));
}

#[test]
fn a_renewal_needs_no_record_and_a_held_entry_is_saved() {
    let mut by_hand = ByHand::new();
    let held = route(&by_hand.table, key(1), &by_hand.groups, second(0));
    by_hand
        .table
        .established(held.stick, &by_hand.groups, second(0))
        .unwrap();
    by_hand.visit(key(2), second(0));
    assert_eq!(by_hand.journal(), 2);
    by_hand.rotate();
    by_hand.save(second(9));
    by_hand.visit(key(2), second(9));
    assert_eq!(by_hand.journal(), 0);
    by_hand.table.sweep(second(12));
    assert_eq!(active(&by_hand.table, second(12)).len(), 2);
    by_hand.expect_all(second(12));
    by_hand.rotate();
    by_hand.save(second(100));
    assert_eq!(
        by_hand.load().entries.len(),
        1,
        "key 2 has expired, key 1 is held"
    );
}

#[test]
fn an_entry_that_a_save_left_out_is_journalled_when_it_is_revived() {
    for lapse in [false, true] {
        for queued in [false, true] {
            let mut by_hand = ByHand::new();
            by_hand.visit(key(1), second(0));
            if !queued {
                assert_eq!(by_hand.journal(), 1);
            }
            let late = route(&by_hand.table, key(1), &by_hand.groups, second(9));
            if lapse {
                by_hand.table.sweep(second(11));
            }
            if lapse && queued {
                assert_eq!(by_hand.journal(), 0, "lapsed when its turn came");
            }
            by_hand.rotate();
            by_hand.save(second(11));
            assert_eq!(by_hand.load().entries.len(), 0);
            let revived = by_hand
                .table
                .established(late.stick, &by_hand.groups, second(12));
            assert_eq!(revived, Ok(()));
            assert_eq!(by_hand.journal(), 1, "lapse {lapse}, queued {queued}");
            by_hand.expect_all(second(12));
        }
    }
}

#[test]
fn provisional_entries_are_neither_saved_nor_journalled() {
    let mut by_hand = ByHand::new();
    route(&by_hand.table, key(1), &by_hand.groups, second(0));
    assert_eq!(by_hand.journal(), 0);
    by_hand.save(second(0));
    assert_eq!(by_hand.load().entries.len(), 0);
}

#[test]
fn a_slot_that_changes_hands_while_it_is_queued_is_journalled_as_it_is() {
    let mut by_hand = ByHand::new();
    by_hand.visit(key(1), second(0));
    assert_eq!(by_hand.table.sweep(second(20)), 1);
    assert_eq!(by_hand.journal(), 0);
    by_hand.visit(key(1), second(20));
    by_hand.table.sweep(second(40));
    by_hand.visit(key(1), second(40));
    assert_eq!(by_hand.journal(), 1);
    by_hand.expect_all(second(40));
}

/// A save and a journal of some keys, small enough to be damaged everywhere.
fn small_files() -> ByHand {
    let mut by_hand = ByHand::new();
    by_hand.visit(key(1), second(0));
    by_hand.visit(slice_key(2, b"abc"), second(0));
    by_hand.journal();
    by_hand.rotate();
    by_hand.save(second(0));
    by_hand.visit(key(3), second(0));
    by_hand.journal();
    by_hand.visit(slice_key(4, b"d"), second(0));
    by_hand.journal();
    by_hand.paths.delete_journals_before(2).unwrap();
    by_hand
}

/// Loads copies of the folder in which one file was changed.
fn load_with(by_hand: &ByHand, file: &Path, content: &[u8]) -> Restored {
    let folder = tempfile::tempdir().unwrap();
    for name in files(&by_hand.folder) {
        fs::copy(by_hand.folder.path().join(&name), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join(file.file_name().unwrap()), content).unwrap();
    load(&sticks_path(&folder), &SLICES, wall(0))
}

#[test]
fn damage_anywhere_invents_nothing_and_keeps_what_the_other_file_holds() {
    let by_hand = small_files();
    let whole = groups_of(&by_hand.load());
    assert_eq!(whole.len(), 4);
    let save = by_hand.paths.save().to_owned();
    let journal = by_hand.paths.journal(2);
    for file in [&save, &journal] {
        let content = fs::read(file).unwrap();
        for at in 0..content.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut damaged = content.clone();
                damaged[at] ^= change;
                let restored = load_with(&by_hand, file, &damaged);
                let found = groups_of(&restored);
                let context = format!("byte {at} of {}", file.display());
                assert!(
                    found
                        .iter()
                        .all(|(key, group)| whole.get(key) == Some(group)),
                    "{context}"
                );
                assert!(found.len() >= 2, "{context}: the other file's are there");
                assert!(found.len() < 4, "{context}: the damage was noticed");
                assert!(!restored.clean, "{context}");
                assert!(!restored.notes.is_empty(), "{context}");
            }
        }
    }
}

#[test]
fn a_file_cut_off_anywhere_invents_nothing() {
    let by_hand = small_files();
    let whole = groups_of(&by_hand.load());
    let save = by_hand.paths.save().to_owned();
    let journal = by_hand.paths.journal(2);
    for file in [&save, &journal] {
        let content = fs::read(file).unwrap();
        for length in 0..content.len() {
            let restored = load_with(&by_hand, file, &content[..length]);
            let found = groups_of(&restored);
            assert!(
                found
                    .iter()
                    .all(|(key, group)| whole.get(key) == Some(group))
            );
            assert!(found.len() >= 2, "{length} bytes of {}", file.display());
            assert!(found.len() < 4);
        }
        let mut longer = content.clone();
        longer.push(0);
        let restored = load_with(&by_hand, file, &longer);
        // A save with something behind its end is not trusted; a journal has a torn end.
        assert_eq!(
            groups_of(&restored).len(),
            if file == &save { 2 } else { 4 }
        );
    }
}

#[test]
fn a_torn_journal_is_used_up_to_the_tear_and_not_set_aside() {
    let by_hand = small_files();
    let journal = by_hand.paths.journal(2);
    let content = fs::read(&journal).unwrap();
    fs::write(&journal, &content[..content.len() - 1]).unwrap();
    let restored = by_hand.load();
    assert_eq!(restored.entries.len(), 3);
    assert!(journal.exists());
}

#[test]
fn files_that_are_not_ours_are_set_aside_and_the_start_goes_on() {
    let shape = |key_type, ipv6_prefix| KeyShape {
        key_type,
        ipv6_prefix,
    };
    let slice = |start, end| KeyType::IpWithFirstMessageSlice { start, end };
    let of_shape = |shape| {
        let mut header = ByHand::header(1, true);
        header.shape = shape;
        file_start(Kind::Save, &header)
    };
    let mut other_version = of_shape(SLICES);
    other_version[8] = u8::try_from(VERSION).unwrap() + 1;
    let cases = [
        (b"# a configuration file\nports = []\n".to_vec(), "no Save"),
        (Vec::new(), "ends too early"),
        (vec![0; 1_000_000], "no Save"),
        (
            file_start(Kind::Journal, &ByHand::header(1, false)),
            "no Save",
        ),
        (other_version, "version 2"),
        (of_shape(IPS), "IP, key_ipv6_prefix 128"),
        (of_shape(shape(slice(0, 9), 128)), "0..9"),
        (of_shape(shape(slice(0, 8), 64)), "key_ipv6_prefix 64"),
    ];
    for (content, why) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = sticks_path(&folder);
        fs::write(&path, &content).unwrap();
        let restored = load(&path, &SLICES, wall(0));
        assert!(restored.entries.is_empty());
        assert!(!restored.clean);
        let note = &restored.notes[0];
        assert!(note.contains(why), "{note:?} does not say {why:?}");
        let aside = format!("sticks.set-aside-{WALL_SECS}");
        assert!(note.contains(&aside), "{note:?}");
        assert_eq!(files(&folder), [aside.as_str()]);
        assert_eq!(fs::read(folder.path().join(aside)).unwrap(), content);
    }
}

#[test]
fn nothing_there_is_a_first_start() {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        sticks_path(&folder),
        folder.path().join("no/such/folder/sticks"),
    ] {
        let restored = load(&path, &SLICES, wall(0));
        assert!(restored.clean && restored.entries.is_empty() && restored.notes.is_empty());
    }
}

#[test]
fn many_blocks_are_read_back() {
    let by_hand = ByHand::new();
    for number in 0..30_000 {
        by_hand.visit(key(number), second(0));
    }
    let slice = [7; 4096];
    for number in 0..300 {
        by_hand.visit(slice_key(number, &slice), second(0));
    }
    by_hand.save(second(0));
    assert!(fs::metadata(by_hand.paths.save()).unwrap().len() > 1_000_000);
    by_hand.expect_all(second(0));
    fs::remove_file(by_hand.paths.save()).unwrap();
    let mut by_hand = by_hand;
    assert_eq!(by_hand.journal(), 30_300);
    by_hand.expect_all(second(0));
}

/// A process: its table, filled from the files, with its keeper.
struct Process {
    table: Arc<Table>,
    cluster: Cluster,
    clock: Clock,
    keeper: Keeper,
    clean: bool,
}

impl Process {
    fn start(path: &Path, settings: Settings, save_interval: Duration) -> Process {
        let cluster = Cluster::new();
        let clock = Clock::start();
        let table = Arc::new(cluster.table(settings));
        let restored = load(path, &IPS, SystemTime::now());
        table.restore(restored.entries, clock.now());
        let keeper = Keeper::start(Arc::clone(&table), path, IPS, save_interval, clock).unwrap();
        Process {
            table,
            cluster,
            clock,
            keeper,
            clean: restored.clean,
        }
    }

    fn visit(&self, number: u32) -> GroupId {
        let groups = self.cluster.groups([up(1), up(2)]);
        visit(&self.table, key(number), &groups, self.clock.now()).group
    }

    fn active(&self) -> BTreeMap<Vec<u8>, u32> {
        active(&self.table, self.clock.now())
    }
}

fn long_lived() -> Settings {
    Settings {
        expiration: Duration::from_secs(100_000),
        ..settings()
    }
}

#[test]
fn sticks_survive_a_stop_and_a_crash_of_a_running_keeper() {
    let folder = tempfile::tempdir().unwrap();
    let path = sticks_path(&folder);
    let first = Process::start(&path, long_lived(), NEVER);
    assert!(first.clean);
    for number in 0..100 {
        first.visit(number);
    }
    let before = first.active();
    assert_eq!(before.len(), 100);
    first.keeper.stop().unwrap();
    assert_eq!(files(&folder), ["sticks"]);

    let second = Process::start(&path, long_lived(), NEVER);
    assert!(second.clean);
    assert_eq!(second.active(), before);
    wait_until("the first save", || second.keeper.counts().saves == 1);
    for number in 100..200 {
        second.visit(number);
    }
    wait_until("the journal", || second.keeper.counts().records >= 100);
    let before = second.active();
    drop(second.keeper); // as kill -9

    let third = Process::start(&path, long_lived(), NEVER);
    assert!(!third.clean);
    assert_eq!(third.active(), before);
    wait_until("journals to go", || third.keeper.counts().saves == 1);
    drop(third.keeper); // what it saved by itself is enough
    let fourth = Process::start(&path, long_lived(), NEVER);
    assert_eq!(fourth.active(), before);
}

#[test]
fn nothing_is_lost_between_saves_that_run_under_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let path = sticks_path(&folder);
    let settings = Settings {
        expiration: Duration::from_millis(60),
        ..settings()
    };
    let process = Process::start(&path, settings, Duration::from_millis(1));
    let enough = || {
        let counts = process.keeper.counts();
        counts.saves >= 8 && counts.records >= 40_000
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    thread::scope(|scope| {
        for own_keys in [0, 1_000_000] {
            let (process, enough) = (&process, &enough);
            scope.spawn(move || {
                // Some keys come again and again, most after they have expired.
                for number in 0u32.. {
                    process.visit(own_keys + number % 100);
                    process.visit(own_keys + number % 20_000);
                    if number.is_multiple_of(256) {
                        if enough() || Instant::now() > deadline {
                            break;
                        }
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
    });
    assert!(enough(), "{:?}", process.keeper.counts());
    // Nothing expires from here on: what is there now is what has to be found.
    process.table.apply(long_lived());
    process.visit(5_000_000);
    let records = process.keeper.counts().records;
    wait_until("the last news", || {
        !process.table.has_news() && process.keeper.counts().records > records
    });
    let before = process.active();
    let saves = process.keeper.counts().saves;
    process.visit(5_000_001);
    wait_until("a save", || process.keeper.counts().saves > saves + 1);
    drop(process.keeper);
    let after = groups_of(&load(&path, &IPS, SystemTime::now()));
    for (key, group) in before {
        let key_text = String::from_utf8_lossy(&key);
        assert_eq!(after.get(&key), Some(&group), "{key_text}");
    }
}

#[test]
fn the_keeper_sweeps() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        expiration: Duration::from_millis(100),
        ..settings()
    };
    let process = Process::start(&sticks_path(&folder), settings, NEVER);
    process.visit(1);
    wait_until("the sweep", || process.table.counts().entries == 0);
    assert_eq!(process.table.counts().expiries, 1);
}

#[test]
fn old_journals_go_once_a_save_has_their_news() {
    let folder = tempfile::tempdir().unwrap();
    let path = sticks_path(&folder);
    let process = Process::start(&path, long_lived(), Duration::from_millis(5));
    wait_until("the first save", || process.keeper.counts().saves == 1);
    for round in 1..=3 {
        process.visit(round);
        wait_until("a save of it", || {
            process.keeper.counts().saves > u64::from(round)
        });
    }
    let paths = Paths::new(&path);
    wait_until("one journal", || paths.journals().unwrap().len() == 1);
    assert!(paths.journals().unwrap()[0] > 2);
}

#[test]
fn a_save_that_fails_is_counted_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = sticks_path(&folder);
    let in_the_way = Paths::new(&path).new_save();
    fs::create_dir(&in_the_way).unwrap();
    let process = Process::start(&path, long_lived(), Duration::from_millis(5));
    process.visit(1);
    wait_until("failures", || process.keeper.counts().save_failures >= 3);
    assert_eq!(process.keeper.counts().saves, 0);
    let journals = Paths::new(&path).journals().unwrap();
    assert_eq!(journals.len(), 1, "failing saves do not pile up journals");
    fs::remove_dir(&in_the_way).unwrap();
    wait_until("a save", || process.keeper.counts().saves >= 1);
    process.keeper.stop().unwrap();
    assert_eq!(load(&path, &IPS, SystemTime::now()).entries.len(), 1);
}

#[test]
fn a_journal_that_cannot_be_written_is_made_up_for_by_a_save() {
    let mut by_hand = ByHand::new();
    let journal = by_hand.paths.journal(2);
    std::os::unix::fs::symlink("/dev/full", &journal).unwrap();
    let header = ByHand::header(2, false);
    assert!(Journal::create(&by_hand.paths, &header).is_err());

    fs::remove_file(&journal).unwrap();
    by_hand.visit(key(1), second(0));
    by_hand.journal.fail_writes();
    assert!(by_hand.journal.append_news(&by_hand.table).is_err());
    assert!(by_hand.journal.is_broken());
    by_hand.visit(key(2), second(0));
    assert_eq!(by_hand.journal(), 0, "a broken journal takes nothing more");
    by_hand.rotate();
    by_hand.save(second(0));
    by_hand.expect_all(second(0));
}

#[test]
fn a_keeper_without_a_journal_saves_and_tries_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = sticks_path(&folder);
    let process = Process::start(&path, long_lived(), Duration::from_millis(5));
    let counts = || process.keeper.counts();
    wait_until("the first save", || counts().saves == 1);
    let in_the_way = Paths::new(&path).journal(2);
    fs::create_dir(&in_the_way).unwrap();
    process.visit(1);
    wait_until("failures and saves", || {
        counts().journal_failures >= 2 && counts().saves >= 3
    });
    fs::remove_dir(&in_the_way).unwrap();
    let records = counts().records;
    let mut keys = 2..;
    wait_until("journalling again", || {
        process.visit(keys.next().unwrap());
        counts().records > records
    });
    assert!(in_the_way.is_file());
}

#[test]
fn the_folder_may_vanish_and_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/sticks");
    let process = Process::start(&path, long_lived(), Duration::from_millis(5));
    wait_until("a save", || process.keeper.counts().saves >= 1);
    fs::remove_dir_all(folder.path().join("state")).unwrap();
    let saves = process.keeper.counts().saves;
    for number in 0.. {
        process.visit(number);
        if process.keeper.counts().saves > saves + 1 && path.exists() {
            break;
        }
        assert!(number < 10_000, "waited long enough for a save");
        thread::sleep(Duration::from_millis(2));
    }
    let before = process.active();
    process.keeper.stop().unwrap();
    assert_eq!(groups_of(&load(&path, &IPS, SystemTime::now())), before);
}

#[test]
fn without_a_keeper_no_news_is_kept() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1)]);
    visit(&table, key(1), &groups, second(0));
    assert!(!table.has_news());
    let mut news = 0;
    for shard in 0..table.shard_count() {
        table.take_news(shard, |_, _| {
            news += 1;
            std::ops::ControlFlow::Continue(())
        });
    }
    assert_eq!(news, 0);
}
