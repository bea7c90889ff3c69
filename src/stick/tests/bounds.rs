//! What a table does when it is full.

use super::fixtures::*;
use crate::config::StickTableFull;
use crate::stick::{Refusal, Settings, Sticks};

#[test]
fn a_full_table_refuses_new_keys_and_serves_known_ones() {
    let cluster = Cluster::new();
    let table = cluster.table(Settings {
        max_entries: 3,
        ..settings()
    });
    let groups = cluster.groups([up(1)]);
    for number in 0..3 {
        visit(&table, key(number), &groups, second(0));
    }
    let late = ask(key(9), &groups, second(5));
    assert_eq!(refusal(&table, &late), Refusal::TableFull);
    assert!(!visit(&table, key(1), &groups, second(5)).created);
    // Expired entries do not count as full, swept or not.
    assert!(visit(&table, key(9), &groups, second(11)).created);
    assert_eq!(table.counts().entries, 3);
    assert_eq!(cluster.sticks(1), 3);
}

#[test]
fn a_full_table_evicts_what_is_closest_to_expiry_and_not_held() {
    let cluster = Cluster::new();
    let table = cluster.table(Settings {
        max_entries: 4,
        full: StickTableFull::Evict,
        ..settings()
    });
    let groups = cluster.groups([up(1)]);
    let open = route(&table, key(0), &groups, second(0));
    table.established(open.stick, &groups, second(0)).unwrap();
    for number in 1..4 {
        visit(&table, key(number), &groups, second(u64::from(number)));
    }
    let pending = route(&table, key(1), &groups, second(4));
    // 0 is open, 1 pending: 2 is the oldest that may go.
    visit(&table, key(10), &groups, second(5));
    assert_eq!(table.counts().evictions, 1);
    assert!(!visit(&table, key(3), &groups, second(5)).created);
    assert!(!visit(&table, key(0), &groups, second(5)).created);
    table.abandoned(pending.stick, second(5));
    // Oldest now: 1 (second 1).
    assert!(visit(&table, key(2), &groups, second(6)).created);
    assert_eq!(table.counts().evictions, 2);
    assert!(visit(&table, key(1), &groups, second(7)).created);
    assert_eq!(table.counts().entries, 4);
    assert_eq!(cluster.sticks(1), 4);
}

#[test]
fn a_table_full_of_held_entries_refuses_even_when_it_may_evict() {
    let cluster = Cluster::new();
    let table = cluster.table(Settings {
        max_entries: 2,
        full: StickTableFull::Evict,
        ..settings()
    });
    let groups = cluster.groups([up(1)]);
    let pending = route(&table, key(0), &groups, second(0));
    let open = route(&table, key(1), &groups, second(0));
    table.established(open.stick, &groups, second(0)).unwrap();
    let new = ask(key(2), &groups, second(100));
    assert_eq!(refusal(&table, &new), Refusal::TableFull);
    table.abandoned(pending.stick, second(100));
    assert!(route(&table, key(2), &groups, second(100)).created);
}

#[test]
fn a_bound_lowered_below_the_size_cuts_nothing() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1)]);
    for number in 0..10 {
        visit(&table, key(number), &groups, second(0));
    }
    table.apply(Settings {
        max_entries: 2,
        ..settings()
    });
    for number in 0..10 {
        assert!(!visit(&table, key(number), &groups, second(1)).created);
    }
    let new = ask(key(11), &groups, second(1));
    assert_eq!(refusal(&table, &new), Refusal::TableFull);
    assert_eq!(table.counts().entries, 10);
}
