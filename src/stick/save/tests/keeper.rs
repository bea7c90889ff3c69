//! Running keepers, stopped and killed.

use std::sync::Arc;

use super::super::Keeper;
use super::*;
use crate::clock::Clock;
use crate::config::GroupId;
use crate::stick::Settings;
use crate::watchdog::Pulses;

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
        let keeper = Keeper::start(
            Arc::clone(&table),
            path,
            IPS,
            save_interval,
            clock,
            &Pulses::default(),
        )
        .unwrap();
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
    let expiration = Duration::from_millis(400);
    let settings = Settings {
        expiration,
        ..settings()
    };
    let process = Process::start(&path, settings, Duration::from_millis(1));
    let enough = || {
        let counts = process.keeper.counts();
        counts.saves >= 8 && counts.records >= 40_000 && process.table.counts().expiries >= 10_000
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    thread::scope(|scope| {
        for own_keys in [0, 1_000_000] {
            let (process, enough) = (&process, &enough);
            scope.spawn(move || {
                // Some keys come again at once, others after they have expired.
                for number in 0u32.. {
                    process.visit(own_keys + number % 100);
                    process.visit(own_keys + number % 40_000);
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

    // Known, expired and new keys, still with saves going on; then none that could help out.
    let last_visits: Vec<(u32, GroupId, Millis)> = (0..500)
        .chain(20_000..20_500)
        .chain(5_000_000..5_000_500)
        .map(|number| (number, process.visit(number), process.clock.now()))
        .collect();
    process.keeper.set_save_interval(NEVER);
    let last_save = process.clock.now();
    let on_disk = || groups_of(&load(&path, &IPS, SystemTime::now()));
    for marker in [6_000_000, 6_000_001] {
        process.visit(marker);
        let name = key(marker).to_string().into_bytes();
        wait_until("the journal", || on_disk().contains_key(&name));
    }
    drop(process.keeper);
    let found = on_disk();
    for (number, group, at) in last_visits {
        // One that had expired at the last save may rightly be missing.
        if last_save < at + expiration {
            let name = key(number).to_string().into_bytes();
            assert_eq!(found.get(&name), Some(&group.0), "key {number}");
        }
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
    let watch = process.keeper.watch();
    wait_until("failures", || process.keeper.counts().save_failures >= 3);
    assert!(watch.last_error().is_some());
    assert_eq!(process.keeper.counts().saves, 0);
    let journals = Paths::new(&path).journals().unwrap();
    assert_eq!(journals.len(), 1, "failing saves do not pile up journals");
    fs::remove_dir(&in_the_way).unwrap();
    wait_until("a save", || process.keeper.counts().saves >= 1);
    wait_until("no error", || watch.last_error().is_none());
    process.keeper.stop().unwrap();
    assert_eq!(load(&path, &IPS, SystemTime::now()).entries.len(), 1);
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
    let mut keys = 1..;
    wait_until("failures and saves", || {
        process.visit(keys.next().unwrap());
        counts().journal_failures >= 2 && counts().saves >= 3
    });
    fs::remove_dir(&in_the_way).unwrap();
    let records = counts().records;
    wait_until("journalling again", || {
        process.visit(keys.next().unwrap());
        counts().records > records
    });
    // A later save may have made it superfluous again.
    assert!(!in_the_way.is_dir());
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
