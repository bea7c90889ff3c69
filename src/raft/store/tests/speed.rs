use std::time::Instant;

use super::files::SystemFiles;
use super::*;

fn open_in(folder: &Path) -> Result<(Store<SystemFiles>, Identity, Recovered), StoreError> {
    Store::open(SystemFiles, folder, NODE, Limits::default(), FRESH)
}

#[test]
fn on_real_files_all_is_found_again_and_no_second_process_gets_in() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("var/raft");
    let (mut store, _, recovered) = open_in(&folder).unwrap();
    assert!(recovered.is_blank());
    store.identity.begin_life().unwrap();
    assert!(matches!(open_in(&folder), Err(StoreError::Locked { .. })));
    let entries: Vec<Entry> = (1..=100).map(|index| entry(index, 1, 50)).collect();
    let state = hard_state(1, Some(NODE), 100);
    store
        .log
        .append(&[write(Some(state), entries.clone())])
        .unwrap();
    store.log.sync().unwrap();
    let mut writer = store.snapshots.begin(meta(position(50, 1), &[])).unwrap();
    writer.write(b"state").unwrap();
    let snapshot = writer.finish().unwrap();
    drop(store);

    let (store, identity, found) = open_in(&folder).unwrap();
    assert_eq!(identity.start, 1);
    assert_eq!(found.entries, entries);
    assert_eq!(found.hard_state, state);
    assert_eq!(found.snapshot, Some(snapshot));
    drop(store);
    set_aside(&SystemFiles, &folder).unwrap();
    assert!(open_in(&folder).unwrap().2.is_blank());
}

/// To be run with `--release --ignored --nocapture`; goals in the module page.
#[test]
#[ignore = "a measurement"]
fn a_million_entries_written_and_recovered() {
    const ENTRIES: u64 = 1_000_000;
    const BATCH: u64 = 100;
    let place = tempfile::tempdir_in(".").unwrap();
    let (mut store, _, _) = open_in(place.path()).unwrap();
    store.identity.begin_life().unwrap();
    let command = |index| Entry {
        payload: Payload::Command(Command {
            client: ClientId {
                node: NODE,
                boot: 5,
            },
            sequence: index,
            answered_below: index,
            issued: LogTime(index),
            version: 1,
            body: Bytes::from_static(&[7; 64]),
        }),
        ..entry(index, 1, 0)
    };
    let (mut appending, mut syncing, mut longest) = (0.0, 0.0, 0.0f64);
    for first in (1..=ENTRIES).step_by(BATCH as usize) {
        let entries = (first..first + BATCH).map(command).collect();
        let begun = Instant::now();
        store.log.append(&[write(None, entries)]).unwrap();
        let appended = begun.elapsed().as_secs_f64();
        appending += appended;
        // Every tenth only: it is the disk that is measured here.
        if (first / BATCH).is_multiple_of(10) {
            let begun = Instant::now();
            store.log.sync().unwrap();
            syncing += begun.elapsed().as_secs_f64();
            store.log.prepare().unwrap();
        }
        longest = longest.max(appended);
    }
    store.log.sync().unwrap();
    let segments = store.log.segments();
    drop(store);
    println!(
        "{ENTRIES} entries in {segments} segments: appending {appending:.3} s \
         (longest batch of {BATCH} {:.1} ms), 1000 syncs {syncing:.3} s",
        longest * 1e3
    );
    for _ in 0..3 {
        let begun = Instant::now();
        let (_, _, found) = open_in(place.path()).unwrap();
        println!(
            "recovered {} entries in {:?}",
            found.entries.len(),
            begun.elapsed()
        );
        assert_eq!(found.entries.len() as u64, ENTRIES);
    }
}
