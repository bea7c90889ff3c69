use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::GroupId;
use crate::stick::replicated::command::{Op, Statement, Wanted};
use crate::stick::replicated::state::tests::fixtures::*;
use crate::stick::{Cursor, Key, Search};

fn many(entries: u32) -> Lab {
    let mut lab = Lab::new();
    let large = Statement {
        max_entries: 100_000,
        ..stating(&[1, 2, 3])
    };
    for node in [A, B, C] {
        lab.states(node, &large);
    }
    let assign = |number| Op::Assign {
        client: Wanted::Key(match number % 2 {
            0 => key(number),
            _ => sliced(7, &number.to_string()),
        }),
        group: Some(GroupId(1 + number % 2)),
    };
    for from in (0..entries).step_by(4000) {
        lab.batch(A, 1, (from..entries.min(from + 4000)).map(assign).collect());
    }
    lab
}

fn search(limit: usize) -> Search {
    Search {
        limit,
        slice_bytes: 1000,
        slots: 2000,
    }
}

#[test]
fn every_entry_is_on_one_page() {
    let lab = many(9_000);
    let replica = &lab.state.entries.replica;
    let (mut seen, mut next) = (Vec::new(), Some(Cursor::START));
    while let Some(from) = next {
        let (entries, after) = replica.search(from, search(100), |_, group| group == GroupId(1));
        assert!(entries.len() <= 100);
        seen.extend(entries.into_iter().map(|entry| entry.key));
        next = after;
    }
    assert_eq!(seen.len(), 4500);
    assert!(seen.iter().all(|key| key.slice.is_none()));
    let (all, next) = replica.page(Cursor::START, usize::MAX);
    assert_eq!((all.len(), next), (9_000, None));
    let beyond = Cursor::from_u64(u64::MAX);
    assert_eq!(replica.page(beyond, 10), (Vec::new(), None));
}

#[test]
fn the_entries_of_one_address_are_found_few_or_many() {
    for entries in [100, 12_000] {
        let lab = many(entries);
        let replica = &lab.state.entries.replica;
        let (mut seen, mut next, mut first) = (BTreeSet::new(), None, true);
        while first || next.is_some() {
            first = false;
            let page = replica.search_address(ip(7), next, search(1000), |_, _| true);
            seen.extend(page.0.into_iter().filter_map(|entry| entry.key.slice));
            next = page.1;
        }
        assert_eq!(seen.len() as u32, entries / 2);
    }
}

#[test]
fn an_entry_is_shown_with_its_time_left_by_the_log() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    lab.pass(1000);
    let view = lab.state.entries.replica.get(key(1).as_ref()).unwrap();
    assert_eq!(
        view.expires_in,
        Some(Duration::from_millis(EXPIRATION - 1000))
    );
    assert!(view.provisional);
    lab.hold(A, &key(1), given.version);
    lab.hold(B, &key(1), given.version);
    let view = lab.state.entries.replica.get(key(1).as_ref()).unwrap();
    assert_eq!((view.expires_in, view.connections), (None, 2));
    let unknown = Key { ..key(2) };
    assert_eq!(lab.state.entries.replica.get(unknown.as_ref()), None);
}

#[test]
fn the_last_stick_of_each_group_is_found_or_nothing_is_said() {
    let mut lab = Lab::new();
    lab.given(A, &key(1), 1);
    lab.pass(1000);
    let given = lab.given(A, &key(2), 2);
    lab.hold(A, &key(2), given.version);
    let replica = &lab.state.entries.replica;
    let groups: BTreeSet<GroupId> = [GroupId(1), GroupId(2), GroupId(3)].into();
    let last = replica.last_remaining(&groups, 100_000);
    let left: Vec<u64> = last.values().map(|left| left.as_millis() as u64).collect();
    assert_eq!(left, [EXPIRATION - 1000, EXPIRATION, 0]);
    assert!(replica.last_remaining(&groups, 0).is_empty());
}
