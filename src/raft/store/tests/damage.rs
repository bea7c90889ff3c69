use proptest::prelude::*;

use super::files::SystemFiles;
use super::record::{HEAD_BYTES as RECORD_HEAD_BYTES, MARK_BYTES};
use super::segment::HEAD_BYTES;
use super::*;

/// A log of some segments, each entry written and synced by itself.
struct Written {
    disk: MemoryDisk,
    entries: Vec<Entry>,
    /// Where each entry's record ends: segment and offset.
    ends: Vec<(u64, u64)>,
}

fn written(segments: u64) -> Written {
    let disk = MemoryDisk::new();
    let (mut store, _, _) = open(&disk).unwrap();
    store.identity.begin_life().unwrap();
    let (mut entries, mut ends) = (Vec::new(), Vec::new());
    let mut index = 1;
    // The last segment is left with a few entries.
    while store.log.position() < (segments, HEAD_BYTES as u64 + 900) {
        let entry = entry(index, 1, 100);
        let state = (index == 1).then(|| hard_state(1, None, 0));
        store
            .log
            .append(&[write(state, vec![entry.clone()])])
            .unwrap();
        store.log.sync().unwrap();
        entries.push(entry);
        ends.push(store.log.position());
        index += 1;
    }
    Written {
        disk,
        entries,
        ends,
    }
}

/// What opening finds once the file has these bytes.
fn found(written: &Written, path: &Path, bytes: &[u8]) -> Result<Recovered, StoreError> {
    let disk = MemoryDisk::new();
    disk.restore(&written.disk.image());
    disk.plant(path, bytes).unwrap();
    open(&disk).map(|(_, _, recovered)| recovered)
}

fn damaged_at(error: &StoreError) -> Option<(&Path, u64)> {
    match error {
        StoreError::Damaged { path, offset, .. } => Some((path, *offset)),
        _ => None,
    }
}

#[test]
fn damage_at_any_byte_of_a_full_segment_stops_the_node_with_file_and_offset() {
    let written = written(3);
    for sequence in [1, 2] {
        let path = segment_path(sequence);
        let bytes = written.disk.contents(&path).unwrap();
        let next = written.disk.contents(&segment_path(sequence + 1)).unwrap();
        let end = u64::from_le_bytes(next[42..50].try_into().unwrap());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            match found(&written, &path, &damaged) {
                Ok(recovered) => {
                    assert!(
                        at as u64 >= end,
                        "damage at {at} before {end} was overlooked"
                    );
                    assert_eq!(recovered.entries, written.entries);
                }
                Err(error) if at < HEAD_BYTES => assert!(!error.to_string().is_empty()),
                Err(error) => {
                    let (named, offset) = damaged_at(&error).unwrap();
                    assert_eq!(named, path);
                    assert!(offset <= at as u64 && (at as u64) < end, "{error}");
                    assert!(error.to_string().contains("move the folder"), "{error}");
                }
            }
        }
    }
}

#[test]
fn damage_in_the_last_segment_is_cut_only_where_no_mark_says_that_it_was_on_disk() {
    let written = written(2);
    let path = segment_path(2);
    let bytes = written.disk.contents(&path).unwrap();
    let end = written.ends.last().unwrap().1;
    // Before the last batch all is marked as synced: its mark names where it begins.
    let synced = written.ends[written.ends.len() - 2].1;
    for at in 0..bytes.len() {
        for damage in [0x01, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= damage;
            match found(&written, &path, &damaged) {
                Ok(recovered) => {
                    assert!(
                        at as u64 >= synced,
                        "damage at {at} before {synced} was overlooked"
                    );
                    let whole = written.entries.len() - usize::from((at as u64) < end);
                    assert_eq!(recovered.entries, written.entries[..whole]);
                }
                Err(error) if at < HEAD_BYTES => assert!(!error.to_string().is_empty()),
                Err(error) => {
                    assert!((at as u64) < synced, "a torn tail at {at}: {error}");
                    assert!(damaged_at(&error).unwrap().1 <= at as u64);
                }
            }
        }
    }
}

#[test]
fn a_segment_cut_short_at_any_byte_gives_a_prefix_or_the_error() {
    let written = written(2);
    let bytes = written.disk.contents(&segment_path(2)).unwrap();
    for length in 0..bytes.len() {
        if let Ok(recovered) = found(&written, &segment_path(2), &bytes[..length]) {
            let whole = written
                .ends
                .iter()
                .filter(|end| **end <= (2, length as u64))
                .count();
            assert_eq!(
                recovered.entries,
                written.entries[..whole],
                "cut at {length}"
            );
        }
    }
}

#[test]
fn what_a_cut_tail_held_never_comes_back() {
    let disk = MemoryDisk::new();
    let (mut store, _, _) = open(&disk).unwrap();
    store.identity.begin_life().unwrap();
    let old: Vec<Entry> = (1..=6).map(|index| entry(index, 1, 100)).collect();
    let mut ends = Vec::new();
    for entry in &old {
        let state = (entry.index == Index(1)).then(|| hard_state(2, None, 0));
        let write = write(state, vec![entry.clone()]);
        store.log.append(&[write]).unwrap();
        ends.push(store.log.position().1 as usize);
    }
    drop(store);
    // The second entry is torn; behind it all are whole.
    let mut bytes = disk.contents(&segment_path(1)).unwrap();
    bytes[ends[1] - 3] ^= 1;
    disk.plant(&segment_path(1), &bytes).unwrap();
    let (mut store, _, found) = open(&disk).unwrap();
    assert_eq!(found.entries, old[..1]);
    // One of the same length takes its place.
    let new = entry(2, 2, 100);
    store.log.append(&[write(None, vec![new.clone()])]).unwrap();
    store.log.sync().unwrap();
    let end = store.log.position().1 as usize;
    drop(store);
    let (_, _, found) = open(&disk).unwrap();
    assert_eq!(found.entries, [old[0].clone(), new]);
    let tail = &disk.contents(&segment_path(1)).unwrap()[end..];
    assert!(tail.iter().all(|byte| *byte == 0), "the old tail is wiped");
}

#[test]
fn a_record_moved_to_another_place_is_not_taken() {
    let written = written(1);
    let path = segment_path(1);
    let mut bytes = written.disk.contents(&path).unwrap();
    let (from, to) = (written.ends[0].1 as usize, written.ends[1].1 as usize);
    let end = written.ends.last().unwrap().1 as usize;
    bytes.copy_within(from..to, end);
    let recovered = found(&written, &path, &bytes).unwrap();
    assert_eq!(recovered.entries, written.entries);
}

#[test]
fn a_missing_segment_is_named() {
    let written = written(4);
    for (missing, named) in [(2, 2), (3, 3)] {
        let disk = MemoryDisk::new();
        disk.restore(&written.disk.image());
        disk.remove(&segment_path(missing)).unwrap();
        let error = open(&disk).err().unwrap();
        assert!(
            matches!(&error, StoreError::Missing { path } if *path == segment_path(named)),
            "{error}"
        );
    }
    // Without the first there is a gap before the second.
    let disk = MemoryDisk::new();
    disk.restore(&written.disk.image());
    disk.remove(&segment_path(1)).unwrap();
    let error = open(&disk).err().unwrap();
    assert_eq!(damaged_at(&error).unwrap().0, segment_path(2));
    // A store that was in use has a log.
    let disk = MemoryDisk::new();
    disk.restore(&written.disk.image());
    for sequence in 1..=4 {
        disk.remove(&segment_path(sequence)).unwrap();
    }
    assert!(matches!(open(&disk), Err(StoreError::Missing { .. })));
}

#[test]
fn a_log_of_which_nothing_is_left_is_named_with_the_way_out_and_stays_there() {
    let written = written(1);
    let path = segment_path(1);
    for length in [0, 1, HEAD_BYTES, 4096] {
        let disk = MemoryDisk::new();
        disk.restore(&written.disk.image());
        disk.plant(&path, &vec![0; length]).unwrap();
        for _ in 0..2 {
            let error = open(&disk).err().unwrap();
            assert_eq!(damaged_at(&error), Some((path.as_path(), 0)), "{error}");
            let said = error.to_string();
            assert!(said.contains("nothing is left of it"), "{said}");
            assert!(
                said.contains("move the folder /var/raft/store away"),
                "{said}"
            );
        }
        assert_eq!(disk.contents(&path).unwrap().len(), length);
    }
}

#[test]
fn a_folder_in_a_files_place_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Store::open(SystemFiles, folder.path(), NODE, small(), FRESH);
    let (mut store, ..) = open().unwrap();
    store.identity.begin_life().unwrap();
    drop(store);
    let store = folder.path().join("store");
    let files = [
        segment::path(&store, 1),
        store.join(format!("{:016x}-{:016x}.snapshot", 8, 1)),
        store.join("identity"),
    ];
    for path in files {
        let _ = std::fs::remove_file(&path);
        std::fs::create_dir(&path).unwrap();
        let said = open().err().unwrap().to_string();
        let named = format!("{} is a folder where a file must be", path.display());
        assert!(said.contains(&named), "{said}");
        let way_out = format!("move the folder {} away", store.display());
        assert!(said.contains(&way_out), "{said}");
        std::fs::remove_dir(&path).unwrap();
        drop(std::fs::File::create(&path).unwrap());
    }
}

#[test]
fn segments_from_elsewhere_are_refused() {
    let ours = written(2);
    let theirs = MemoryDisk::new();
    let theirs_folder = folder();
    for (node, store) in [(NodeId(9), FRESH), (NODE, StoreId(78))] {
        theirs.wipe();
        drop(Store::open(theirs.clone(), theirs_folder, node, small(), store).unwrap());
        let foreign = theirs.contents(&segment_path(1)).unwrap();
        let error = found(&ours, &segment_path(1), &foreign).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::ForeignNode { .. } | StoreError::ForeignStore { .. }
            ),
            "{error}"
        );
    }
    let mut newer = ours.disk.contents(&segment_path(1)).unwrap();
    newer[8] = 2;
    let error = found(&ours, &segment_path(1), &newer).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::ForeignVersion {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_mark_is_as_long_as_said() {
    let (mut out, mut chain) = (Vec::new(), 0);
    let mark = record::Mark {
        sequence: 1,
        offset: 512,
        synced_sequence: 1,
        synced_offset: 512,
    };
    mark.put(&mut out, &mut chain, FRESH);
    assert_eq!(out.len(), MARK_BYTES);
    assert_eq!(&out[RECORD_HEAD_BYTES - 1..RECORD_HEAD_BYTES], [1]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_files_give_the_error_or_what_stands_before_the_damage(
        data in prop::collection::vec(any::<u8>(), 0..600)
    ) {
        hostile::recover(&data);
    }
}
