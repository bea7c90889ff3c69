//! What is in the files at each moment, and what a start makes of it.

use std::net::{IpAddr, Ipv6Addr};

use super::*;
use crate::groups::Status;
use crate::stick::{ClientIp, Remaining, Sticks};

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
