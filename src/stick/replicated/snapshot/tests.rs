use std::io::Read;
use std::sync::Arc;

use proptest::prelude::*;

use super::{FORMAT, digest, put_end, put_first_header, put_page};
use crate::config::GroupId;
use crate::stick::replicated::command::*;
use crate::stick::replicated::replica::entry::{self, Entry};
use crate::stick::replicated::snapshot::seed;
use crate::stick::replicated::state::tests::fixtures::*;

/// A lab with entries of every kind on many pages.
fn furnished(entries: u32) -> Lab {
    let mut lab = Lab::new();
    let large = Statement {
        max_entries: 1_000_000,
        ..stating(&[1, 2, 3])
    };
    for node in [A, B, C] {
        lab.states(node, &large);
    }
    for from in (0..entries).step_by(1000) {
        let assign = |number| Op::Assign {
            client: Wanted::Key(match number % 2 {
                0 => key(number),
                _ => sliced(number % 1000, &number.to_string()),
            }),
            group: Some(GroupId(1 + number % 3)),
        };
        let ops = (from..entries.min(from + 1000)).map(assign).collect();
        lab.batch(A, 1, ops);
        lab.pass(1);
    }
    for number in 0..entries.min(100) {
        let key = key(number * 2);
        let Some(seen) = lab.look(&key) else { continue };
        match number % 4 {
            0 => drop(lab.hold(A, &key, seen.version)),
            1 => drop(lab.renew(A, &key, seen.version, 1)),
            2 => drop(lab.assign(B, &key, 1)),
            _ => drop(lab.remove(&key)),
        }
    }
    lab.down(&[3]);
    lab
}

#[test]
fn a_snapshot_is_exactly_what_was_when_it_was_begun() {
    let mut lab = furnished(20_000);
    let was = digest(&lab.state);
    let mut source = lab.state.snapshot();
    let mut bytes = Vec::new();
    source.next_piece(&mut bytes).unwrap();
    // Everything changes while it is read: what there was goes, and as much comes.
    lab.pass(EXPIRATION * 2);
    for from in (0..20_000_u32).step_by(1000) {
        let assign = |number| Op::Assign {
            client: Wanted::Key(key(50_000 + number)),
            group: Some(GroupId(1)),
        };
        lab.batch(B, 1, (from..from + 1000).map(assign).collect());
        if from % 10_000 == 0 {
            source.next_piece(&mut bytes).unwrap();
        }
    }
    assert!(lab.state.entries.replica.snapshot_bytes() > 0);
    bytes.extend(try_read(&mut *source).unwrap());
    let mut other = Lab::empty();
    other.state.restore(&mut &bytes[..]).unwrap();
    assert_eq!(digest(&other.state), was);
    assert_eq!(lab.state.entries.replica.snapshot_bytes(), 0);
}

#[test]
fn pieces_are_small() {
    let lab = furnished(20_000);
    let mut source = lab.state.snapshot();
    let mut pieces = 0;
    loop {
        let mut piece = Vec::new();
        source.next_piece(&mut piece).unwrap();
        if piece.is_empty() {
            break;
        }
        assert!(piece.len() < 256 * 1024);
        pieces += 1;
    }
    assert!(pieces > 5);
}

#[test]
fn what_a_snapshot_keeps_is_freed_with_it() {
    let mut lab = furnished(5000);
    let source = lab.state.snapshot();
    lab.pass(EXPIRATION * 2);
    let replica = Arc::clone(&lab.state.entries.replica);
    assert!(replica.snapshot_bytes() > 50_000);
    drop(source);
    assert_eq!(replica.snapshot_bytes(), 0);
}

#[test]
fn a_second_snapshot_supersedes_the_first() {
    let mut lab = furnished(3000);
    let mut first = lab.state.snapshot();
    let mut bytes = Vec::new();
    first.next_piece(&mut bytes).unwrap();
    lab.pass(EXPIRATION * 2);
    let mut second = lab.state.snapshot();
    assert!(first.next_piece(&mut bytes).is_err());
    assert_eq!(lab.state.entries.replica.snapshot_bytes(), 0);
    drop(first);
    let bytes = try_read(&mut *second).expect("the first one's end is none of its");
    Lab::empty().state.restore(&mut &bytes[..]).unwrap();
}

#[test]
fn restoring_replaces_what_was_there_and_keeps_groups_counted() {
    let lab = furnished(3000);
    let bytes = try_read(&mut *lab.state.snapshot()).unwrap();
    let mut other = furnished(500);
    other.given(B, &key(999_999), 1);
    for _ in 0..3 {
        other.state.restore(&mut &bytes[..]).unwrap();
        assert_eq!(digest(&other.state), digest(&lab.state));
        assert!(other.look(&key(999_999)).is_none());
        for group in 1..=3 {
            assert_eq!(other.sticks(group), lab.sticks(group));
        }
        assert_eq!(other.state.agreed(), lab.state.agreed());
        let (own, given) = (&other.state.entries.replica, &lab.state.entries.replica);
        assert_eq!(own.applied(), given.applied());
        assert_eq!(own.counts(), given.counts());
    }
}

#[test]
fn a_state_made_anew_for_a_replica_empties_it() {
    let lab = furnished(3000);
    let replica = Arc::clone(&lab.state.entries.replica);
    let state = crate::stick::replicated::state::State::new(Arc::clone(&replica));
    assert_eq!((replica.entries(), lab.sticks(1)), (0, 0));
    assert!(replica.look(key(2).as_ref()).is_none());
    assert!(replica.agreed().groups.is_empty());
    assert_eq!(replica.applied(), state.index);
}

#[test]
fn a_lone_nodes_table_begins_with_a_whole_life() {
    let keys: Vec<_> = (0..3000).map(key).chain([sliced(1, "x")]).collect();
    let group = |number: usize| GroupId(1 + number as u32 % 2);
    let table: Vec<_> = keys
        .iter()
        .cloned()
        .enumerate()
        .map(|(number, key)| (key, group(number)))
        .collect();
    let mut source = seed(table.clone().into_iter(), EXPIRATION);
    let bytes = try_read(&mut *source).unwrap();
    let mut lab = Lab::empty();
    lab.state.restore(&mut &bytes[..]).unwrap();
    assert_eq!(lab.sticks(1) + lab.sticks(2), 3001);
    for (key, group) in &table {
        let seen = lab.look(key).unwrap();
        assert_eq!((seen.group, seen.expires.0), (*group, EXPIRATION));
        assert_eq!((seen.made_by, seen.version.0), (None, 1));
    }
    // Nobody has stated anything yet; then one key's group turns out to be gone.
    lab.index = 1;
    lab.membership(&[A]);
    let assign = |lab: &mut Lab| lab.assign(A, &key(1), 1);
    assert_eq!(assign(&mut lab), Outcome::Fenced);
    lab.states(A, &stating(&[1]));
    assert_eq!(assign(&mut lab), Outcome::Fenced);
    lab.passed();
    assert!(matches!(assign(&mut lab), Outcome::Entry(given) if given.created));
    assert!(!lab.given(A, &key(0), 1).created);
}

#[test]
fn an_empty_table_is_a_state_as_well() {
    let bytes = try_read(&mut *seed(std::iter::empty(), 5)).unwrap();
    let mut lab = Lab::new();
    lab.state.restore(&mut &bytes[..]).unwrap();
    assert_eq!(digest(&lab.state), digest(&Lab::empty().state));
}

#[test]
fn no_part_of_a_snapshot_is_one() {
    let lab = furnished(40);
    let bytes = try_read(&mut *lab.state.snapshot()).unwrap();
    for length in 0..bytes.len() {
        let mut part = &bytes[..length];
        let restored = Lab::empty().state.restore(&mut part);
        assert!(restored.is_err(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn a_length_that_is_a_lie_allocates_no_more_than_what_comes() {
    let lab = furnished(10);
    let mut bytes = try_read(&mut *lab.state.snapshot()).unwrap();
    let header = u32::from_le_bytes(bytes[1..5].try_into().unwrap()) as usize;
    bytes.truncate(5 + header);
    bytes.extend_from_slice(&(7 * 1024 * 1024_u32).to_le_bytes());
    bytes.extend_from_slice(&[1, 2, 3]);
    let mut read = (&bytes[..]).take(u64::MAX);
    assert!(Lab::empty().state.restore(&mut read).is_err());
    let beyond = bytes.len() - 7;
    bytes[beyond..beyond + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Lab::empty().state.restore(&mut &bytes[..]).is_err());
}

#[test]
fn two_entries_of_one_serial_are_refused() {
    // Which of two expires first would depend on where each replica has put them.
    let snapshot = |serials: [u64; 2]| {
        let entries = serials
            .iter()
            .zip([key(1), key(2)])
            .map(|(&serial, key)| Entry {
                ip: key.ip,
                serial,
                state: entry::State::Active,
                ..Entry::free(0)
            });
        let mut bytes = vec![FORMAT];
        put_first_header(&mut bytes);
        put_page(&entries.collect::<Vec<_>>(), &mut bytes);
        put_end(&mut bytes, 9);
        bytes
    };
    Lab::empty()
        .state
        .restore(&mut &snapshot([3, 4])[..])
        .unwrap();
    let error = Lab::empty().state.restore(&mut &snapshot([3, 3])[..]);
    let text = error.unwrap_err().to_string();
    assert!(text.contains("two entries of one serial"), "{text}");
}

#[test]
fn another_format_is_refused_by_name() {
    let mut bytes = try_read(&mut *seed(std::iter::empty(), 5)).unwrap();
    bytes[0] = 9;
    let error = Lab::empty().state.restore(&mut &bytes[..]).unwrap_err();
    assert!(error.to_string().contains("format 9"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_any_kind_do_no_harm(
        at in any::<prop::sample::Index>(),
        junk in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let lab = furnished(20);
        let mut bytes = try_read(&mut *lab.state.snapshot()).expect("it is the latest");
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + junk.len());
        bytes[at..end].copy_from_slice(&junk[..end - at]);
        let mut other = furnished(10);
        if other.state.restore(&mut &bytes[..]).is_ok() {
            // Whatever it is now, it goes on.
            other.index = 1 << 40;
            other.given_or_not(A, 3);
            other.membership(&[A]);
            other.membership(&[B]);
            other.time = u64::MAX / 4;
            other.pass(1);
        }
    }
}
