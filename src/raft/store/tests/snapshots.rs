use std::io::Read;

use super::*;

fn content() -> Vec<u8> {
    (0..5000u32).map(|n| (n * 7 % 251) as u8).collect()
}

/// A store with ten committed entries, and a snapshot of the first eight.
fn with_snapshot() -> (MemoryDisk, Store<MemoryDisk>, SnapshotMeta) {
    let disk = MemoryDisk::new();
    let (mut store, _, _) = open(&disk).unwrap();
    store.identity.begin_life().unwrap();
    let entries = (1..=10).map(|index| entry(index, 1, 500)).collect();
    store
        .log
        .append(&[write(Some(hard_state(1, None, 10)), entries)])
        .unwrap();
    store.log.sync().unwrap();
    let mut writer = store.snapshots.begin(meta(position(8, 1), &[])).unwrap();
    for piece in content().chunks(700) {
        writer.write(piece).unwrap();
    }
    let written = writer.finish().unwrap();
    assert_eq!(written, meta(position(8, 1), &content()));
    (disk, store, written)
}

fn arriving() -> SnapshotMeta {
    meta(position(100, 3), &content())
}

#[test]
fn a_snapshot_is_read_as_it_was_written_whole_and_in_pieces() {
    let (_, mut store, meta) = with_snapshot();
    let mut reader = store.snapshots.open(meta.last).unwrap();
    assert_eq!(*reader.meta(), meta);
    let mut whole = Vec::new();
    reader.read_to_end(&mut whole).unwrap();
    assert_eq!(whole, content());
    let mut pieces = Vec::new();
    while pieces.len() < content().len() {
        let offset = pieces.len() as u64;
        pieces.extend(store.snapshots.read_chunk(meta.last, offset, 999).unwrap());
    }
    assert_eq!(pieces, content());
    let beyond = store.snapshots.read_chunk(meta.last, 9999, 10).unwrap();
    assert!(beyond.is_empty());
    let missing = store.snapshots.open(position(7, 1)).err().unwrap();
    assert!(matches!(missing, StoreError::NoSnapshot(_)), "{missing}");
}

#[test]
fn a_snapshot_that_is_not_finished_leaves_nothing() {
    let (disk, store, meta) = with_snapshot();
    let unfinished = SnapshotMeta {
        last: position(9, 1),
        ..meta.clone()
    };
    let mut writer = store.snapshots.begin(unfinished).unwrap();
    writer.write(b"half").unwrap();
    let name = format!("{:016x}-{:016x}.snapshot.new", 9, 1);
    assert!(disk.contents(&in_store(&name)).is_ok());
    drop(writer);
    assert!(disk.contents(&in_store(&name)).is_err());
    drop(store);
    disk.plant(&in_store(&name), b"left by a crash").unwrap();
    let (_, _, found) = open(&disk).unwrap();
    assert_eq!(found.snapshot, Some(meta));
    assert!(disk.contents(&in_store(&name)).is_err());
}

#[test]
fn a_damaged_snapshot_is_never_restored() {
    let (disk, store, meta) = with_snapshot();
    drop(store);
    let path = in_store(&format!("{:016x}-{:016x}.snapshot", 8, 1));
    let bytes = disk.contents(&path).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 2;
        disk.plant(&path, &damaged).unwrap();
        let Ok((store, _, found)) = open(&disk) else {
            continue;
        };
        assert_eq!(found.snapshot, Some(meta.clone()));
        let error = store.snapshots.open(meta.last).err().unwrap();
        assert!(
            matches!(
                error,
                StoreError::Damaged {
                    what: Damage::Checksum,
                    ..
                }
            ),
            "damage at {at}: {error}"
        );
        let said = error.to_string();
        assert!(said.contains(path.to_str().unwrap()), "the file: {said}");
        assert!(said.contains("move the folder"), "the way out: {said}");
    }
    disk.plant(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = open(&disk).err().unwrap();
    assert!(
        matches!(
            error,
            StoreError::Damaged {
                what: Damage::Length,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn no_piece_of_a_damaged_snapshot_is_read() {
    let (disk, mut store, meta) = with_snapshot();
    let path = in_store(&format!("{:016x}-{:016x}.snapshot", 8, 1));
    let mut bytes = disk.contents(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    disk.plant(&path, &bytes).unwrap();
    for _ in 0..2 {
        let error = store.snapshots.read_chunk(meta.last, 0, 10).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_snapshot_that_arrives_goes_on_after_a_restart() {
    let (disk, mut store, _) = with_snapshot();
    let (meta, content) = (arriving(), content());
    assert_eq!(store.snapshots.partial(&meta).unwrap(), 0);
    for (at, piece) in [(0, &content[..900]), (900, &content[900..2000])] {
        let next = store.snapshots.receive_chunk(&meta, at, piece).unwrap();
        assert_eq!(next, at + piece.len() as u64);
    }
    drop(store);
    disk.kill();
    let (mut store, _, found) = open(&disk).unwrap();
    assert_eq!(
        found.snapshot.unwrap().last,
        position(8, 1),
        "a part does not count"
    );
    assert_eq!(store.snapshots.partial(&meta).unwrap(), 2000);
    let misplaced = store
        .snapshots
        .receive_chunk(&meta, 1000, b"x")
        .unwrap_err();
    assert!(
        matches!(
            misplaced,
            StoreError::ChunkOutOfPlace { expected: 2000, .. }
        ),
        "{misplaced}"
    );
    let next = store
        .snapshots
        .receive_chunk(&meta, 2000, &content[2000..])
        .unwrap();
    assert_eq!(next, 5000);
    assert_eq!(store.snapshots.partial(&meta).unwrap(), 5000);
    drop(store);
    // It counts although the log has not been begun anew behind it.
    disk.crash(&mut random(1));
    let (_, _, found) = open(&disk).unwrap();
    assert_eq!(found.snapshot, Some(meta));
    assert!(found.entries.is_empty());
    assert_eq!(found.hard_state, hard_state(3, None, 100));
}

#[test]
fn damage_anywhere_in_a_part_of_a_snapshot_keeps_none_from_arriving() {
    let (disk, mut store, _) = with_snapshot();
    let (meta, content) = (arriving(), content());
    let half = &content[..content.len() / 2];
    store.snapshots.receive_chunk(&meta, 0, half).unwrap();
    drop(store);
    let path = in_store(&format!("{:016x}-{:016x}.snapshot.partial", 100, 3));
    let bytes = disk.contents(&path).unwrap();
    let head_bytes = bytes.len() - half.len();
    for at in 0..head_bytes + 1 {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        disk.plant(&path, &damaged).unwrap();
        let (mut store, ..) = open(&disk).unwrap();
        let next = store.snapshots.partial(&meta).unwrap();
        if at < head_bytes {
            assert_eq!(next, 0, "it is gone on with after damage at {at}");
            store.snapshots.receive_chunk(&meta, 0, half).unwrap();
        }
        let rest = &content[half.len()..];
        let whole = store
            .snapshots
            .receive_chunk(&meta, half.len() as u64, rest);
        assert_eq!(whole.is_ok(), at < head_bytes, "damage at {at}: {whole:?}");
        drop(store);
        let _ = disk.remove(&in_store(&format!("{:016x}-{:016x}.snapshot", 100, 3)));
    }
}

#[test]
fn a_piece_beyond_a_snapshots_end_is_refused_as_such() {
    let (_, mut store, _) = with_snapshot();
    let (meta, content) = (arriving(), content());
    let mut long = content.clone();
    long.push(0);
    let error = store.snapshots.receive_chunk(&meta, 0, &long).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::ChunkTooLong {
                end: 5001,
                size_bytes: 5000,
                ..
            }
        ),
        "{error}"
    );
    let next = store.snapshots.receive_chunk(&meta, 0, &content).unwrap();
    assert_eq!(next, 5000);
}

#[test]
fn a_snapshot_that_arrives_with_other_bytes_begins_anew() {
    let (_, mut store, _) = with_snapshot();
    let (meta, content) = (arriving(), content());
    let mut wrong = content.clone();
    wrong[17] ^= 1;
    let error = store.snapshots.receive_chunk(&meta, 0, &wrong).unwrap_err();
    assert!(
        matches!(error, StoreError::SnapshotChecksum { .. }),
        "{error}"
    );
    assert_eq!(store.snapshots.partial(&meta).unwrap(), 0);
    let too_long = [content.clone(), vec![0]].concat();
    assert!(store.snapshots.receive_chunk(&meta, 0, &too_long).is_err());
    assert_eq!(
        store.snapshots.receive_chunk(&meta, 0, &content).unwrap(),
        5000
    );
    // Said twice, it is there.
    assert_eq!(
        store.snapshots.receive_chunk(&meta, 0, &content).unwrap(),
        5000
    );
}

#[test]
fn another_snapshot_takes_the_place_of_one_that_arrives() {
    let (_, mut store, _) = with_snapshot();
    let first = arriving();
    let second = meta(position(200, 3), &content());
    store
        .snapshots
        .receive_chunk(&first, 0, &content()[..100])
        .unwrap();
    store
        .snapshots
        .receive_chunk(&second, 0, &content()[..50])
        .unwrap();
    assert_eq!(store.snapshots.partial(&first).unwrap(), 0);
    assert_eq!(store.snapshots.partial(&second).unwrap(), 50);
}

#[test]
fn an_empty_state_is_a_snapshot_too() {
    let (_, mut store, _) = with_snapshot();
    let empty = meta(position(50, 2), b"");
    assert_eq!(store.snapshots.receive_chunk(&empty, 0, b"").unwrap(), 0);
    let mut reader = store.snapshots.open(empty.last).unwrap();
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn older_snapshots_go_only_once_a_newer_one_is_there() {
    let (disk, mut store, meta) = with_snapshot();
    let error = store.snapshots.remove_before(position(9, 1)).unwrap_err();
    assert!(matches!(error, StoreError::NoSnapshot(_)), "{error}");
    assert!(store.snapshots.open(meta.last).is_ok());
    let newer = SnapshotMeta {
        last: position(9, 1),
        ..meta.clone()
    };
    let newer = store.snapshots.begin(newer).unwrap().finish().unwrap();
    store.snapshots.remove_before(newer.last).unwrap();
    assert!(store.snapshots.open(meta.last).is_err());
    drop(store);
    let (_, _, found) = open(&disk).unwrap();
    assert_eq!(found.snapshot, Some(newer));
}

#[test]
fn the_log_is_cut_behind_a_snapshot_and_found_from_there() {
    let (disk, mut store, meta) = with_snapshot();
    let before = store.log.segments();
    store.log.compact(Index(9)).unwrap();
    assert!(store.log.segments() < before);
    drop(store);
    disk.crash(&mut random(1));
    let (_, _, found) = open(&disk).unwrap();
    assert_eq!(found.snapshot, Some(meta));
    let first = found.entries[0].index.0;
    assert!((2..=9).contains(&first), "{first}");
    assert_eq!(found.entries.last().unwrap().index, Index(10));
    // Without the snapshot the log's beginning is missed.
    disk.remove(&in_store(&format!("{:016x}-{:016x}.snapshot", 8, 1)))
        .unwrap();
    let error = open(&disk).err().unwrap();
    assert!(
        matches!(
            error,
            StoreError::Damaged {
                what: Damage::Gap,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
#[should_panic(expected = "the log is cut at 11, and the newest snapshot is of 8@1")]
fn the_log_is_never_cut_further_than_a_snapshot_reaches() {
    let (_, mut store, _) = with_snapshot();
    let _ = store.log.compact(Index(11));
}

#[test]
fn a_log_begun_anew_needs_its_snapshot() {
    let (disk, mut store, _) = with_snapshot();
    let meta = arriving();
    store.snapshots.receive_chunk(&meta, 0, &content()).unwrap();
    let reset = Write {
        reset: Some(Arc::new(meta.clone())),
        ..write(Some(hard_state(3, None, 100)), vec![entry(101, 3, 20)])
    };
    store.log.append(&[reset]).unwrap();
    store.log.sync().unwrap();
    // All that was before is void.
    store.log.compact(Index(101)).unwrap();
    assert_eq!(store.log.segments(), 1);
    drop(store);
    let (store, _, found) = open(&disk).unwrap();
    assert_eq!(found.entries, [entry(101, 3, 20)]);
    assert_eq!(found.snapshot, Some(meta));
    drop(store);
    let path = in_store(&format!("{:016x}-{:016x}.snapshot", 100, 3));
    disk.remove(&path).unwrap();
    let error = open(&disk).err().unwrap();
    assert!(
        matches!(&error, StoreError::Missing { path: named } if *named == path),
        "{error}"
    );
}
