use super::harness::{Harness, Step, Then};
use super::memory::Fault;
use super::*;

/// Work in which everything happens once.
fn work() -> Vec<Step> {
    let append = |commit| Step::Append {
        count: 6,
        body_bytes: 300,
        commit,
    };
    let then = Then::BeginAnew;
    vec![
        append(true),
        Step::Sync,
        append(true),
        append(false),
        Step::Prepare,
        Step::Sync,
        Step::Replace { keep: 1, count: 3 },
        Step::Sync,
        Step::Snapshot {
            back: 1,
            bytes: 2000,
        },
        append(true),
        Step::Compact { tail: 0 },
        append(true),
        Step::Sync,
        Step::Arrive {
            ahead: 3,
            bytes: 1500,
            restart: false,
            then,
        },
        append(true),
        Step::Sync,
        Step::Compact { tail: 0 },
        append(true),
        Step::Sync,
    ]
}

#[test]
fn a_failure_of_every_single_operation_loses_nothing_that_was_synced() {
    let mut whole = Harness::new();
    let before = whole.disk.operations();
    whole.run(&work()).unwrap();
    let operations = whole.disk.operations() - before;
    assert!(operations > 80, "{operations}");
    for after in 0..operations.min(255) {
        for full in [false, true] {
            for crash in [None, Some(after)] {
                let mut harness = Harness::new();
                let mut steps = work();
                steps.insert(
                    0,
                    Step::Fail {
                        after: after as u8,
                        full,
                    },
                );
                harness
                    .run(&steps)
                    .and_then(|()| harness.restart(crash))
                    .unwrap_or_else(|what| panic!("failure after {after} operations: {what}"));
            }
        }
    }
}

#[test]
fn a_disk_that_only_pretends_to_sync_is_caught() {
    let caught = (0..20)
        .filter(|seed| {
            let mut harness = Harness::new();
            harness.disk.skip_sync(true);
            harness.run(&work()).unwrap();
            harness.restart(Some(*seed)).is_err()
        })
        .count();
    assert!(caught >= 10, "only {caught} of 20 crashes showed it");
}

#[test]
fn after_a_failure_the_log_refuses_everything() {
    let faults = [
        (Fault::Broken, "Input/output"),
        (Fault::Full, "No space left"),
    ];
    for (fault, said) in faults {
        let disk = MemoryDisk::new();
        let (mut store, _, _) = open(&disk).unwrap();
        store
            .log
            .append(&[write(None, vec![entry(1, 1, 10)])])
            .unwrap();
        disk.fail_after(0, fault);
        let error = match fault {
            Fault::Broken => store.log.sync().unwrap_err(),
            Fault::Full => store
                .log
                .append(&[write(None, vec![entry(2, 1, 10)])])
                .unwrap_err(),
        };
        let named = segment_path(1);
        assert!(error.to_string().contains(said), "{error}");
        assert!(
            error.to_string().contains(named.to_str().unwrap()),
            "{error}"
        );
        disk.heal();
        for refused in [
            store.log.sync(),
            store.log.append(&[write(None, vec![entry(2, 1, 10)])]),
            store.log.prepare(),
            store.log.compact(Index(1)),
        ] {
            assert!(
                matches!(refused, Err(StoreError::Broken { .. })),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn a_full_disk_stops_preparing_and_nothing_else() {
    let disk = MemoryDisk::new();
    let (mut store, _, _) = open(&disk).unwrap();
    store
        .log
        .append(&[write(None, vec![entry(1, 1, 2), entry(2, 1, 2500)])])
        .unwrap();
    disk.fail_after(0, Fault::Full);
    assert!(store.log.prepare().is_err());
    let before = disk.operations();
    store.log.prepare().expect("it was said once");
    assert_eq!(disk.operations(), before, "and is not tried again");
    disk.heal();
    store.log.sync().unwrap();
    let entries: Vec<Entry> = (3..20).map(|index| entry(index, 1, 400)).collect();
    store.log.append(&[write(None, entries)]).unwrap();
    store.log.sync().unwrap();
    drop(store);
    disk.crash(&mut random(1));
    assert_eq!(open(&disk).unwrap().2.entries.len(), 19);
}

#[test]
fn what_a_failed_sync_left_to_be_read_is_on_disk_before_it_counts() {
    let disk = MemoryDisk::new();
    let (mut store, _, _) = open(&disk).unwrap();
    store
        .log
        .append(&[write(None, vec![entry(1, 1, 10)])])
        .unwrap();
    disk.fail_after(0, Fault::Broken);
    assert!(store.log.sync().is_err());
    drop(store);
    disk.heal();
    disk.kill();
    let (store, _, found) = open(&disk).unwrap();
    assert_eq!(found.entries.len(), 1, "the kernel shows it");
    drop(store);
    disk.crash(&mut || 0);
    assert_eq!(open(&disk).unwrap().2, found);
}

#[test]
fn every_batch_begins_with_a_mark_to_the_very_end_of_a_segment() {
    let disk = MemoryDisk::new();
    let (mut store, _, _) = open(&disk).unwrap();
    let vote = |term| write(Some(hard_state(term, None, 0)), Vec::new());
    for term in 1..200 {
        let (sequence, before) = store.log.position();
        store.log.append(&[vote(term)]).unwrap();
        store.log.sync().unwrap();
        let (now, end) = store.log.position();
        let before = if now == sequence {
            before
        } else {
            segment::HEAD_BYTES as u64
        };
        assert!(end - before > record::MARK_BYTES as u64, "term {term}");
    }
    drop(store);
    disk.crash(&mut random(1));
    assert_eq!(open(&disk).unwrap().2.hard_state, hard_state(199, None, 0));
}

#[test]
fn what_is_recovered_does_not_keep_whole_segments_in_memory() {
    let disk = MemoryDisk::new();
    let (mut store, _, _) = open(&disk).unwrap();
    let entries = (1..=6).map(|index| entry(index, 1, 100)).collect();
    store.log.append(&[write(None, entries)]).unwrap();
    store.log.sync().unwrap();
    drop(store);
    disk.kill();
    let (_store, _, found) = open(&disk).unwrap();
    assert_eq!(found.entries.len(), 6);
    for entry in found.entries {
        if let Payload::Command(command) = entry.payload {
            assert!(command.body.is_unique(), "it shares its memory");
        }
    }
}

#[test]
fn every_open_makes_the_names_of_the_folder_and_in_it_outlive_a_crash() {
    let disk = MemoryDisk::new();
    drop(open(&disk).unwrap());
    let failures = (0..20).filter_map(|after| {
        disk.fail_after(after, Fault::Broken);
        let failed = open(&disk).err();
        disk.heal();
        failed.map(|error| error.to_string())
    });
    let failures: Vec<String> = failures.collect();
    for folder in [folder().to_owned(), folder().join("store")] {
        let sync = format!("cannot sync {}: ", folder.display());
        assert!(
            failures.iter().any(|said| said.starts_with(&sync)),
            "{failures:?}"
        );
    }
}

#[test]
fn an_entry_larger_than_a_segment_has_one_of_its_own() {
    let disk = MemoryDisk::new();
    let (mut store, _, _) = open(&disk).unwrap();
    let entries = vec![entry(2, 1, 5), entry(3, 1, 50_000), entry(4, 1, 5)];
    let mut all = vec![entry(1, 1, 0)];
    all.extend(entries);
    store
        .log
        .append(&[write(Some(hard_state(1, None, 0)), all.clone())])
        .unwrap();
    store.log.sync().unwrap();
    drop(store);
    disk.crash(&mut random(1));
    assert_eq!(open(&disk).unwrap().2.entries, all);
}
