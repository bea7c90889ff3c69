//! How new keys are shared out among groups, and what a full table does.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::collections::BTreeMap;

use crate::support;
use support::client;
use support::{Fleet, Proxy, Settings, parallel};

const PORT: u16 = 5280;

fn count(names: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    let owned = expected.iter().map(|(name, n)| ((*name).to_owned(), *n));
    owned.collect()
}

fn weighted(fleet: &Fleet, balance: &str) -> Settings {
    fleet
        .settings
        .clone()
        .set("balance", balance)
        .group_set(1, "weight", 2)
        .group_set(2, "weight", 3)
}

#[test]
fn least_sticks_shares_keys_by_weight() {
    let fleet = Fleet::new(3);
    let _proxy = Proxy::start(&weighted(&fleet, "least-sticks"));
    let met = count((0..120).map(|client| fleet.served_by(client, PORT)));
    assert_eq!(met, counts(&[("g0", 20), ("g1", 40), ("g2", 60)]));
}

#[test]
fn round_robin_takes_turns_by_weight() {
    let fleet = Fleet::new(3);
    let _proxy = Proxy::start(&weighted(&fleet, "round-robin"));
    for turn in 0..10 {
        let clients = turn * 6..turn * 6 + 6;
        let met = count(clients.map(|client| fleet.served_by(client, PORT)));
        assert_eq!(met, counts(&[("g0", 1), ("g1", 2), ("g2", 3)]));
    }
}

#[test]
fn least_connections_shares_open_connections_by_weight() {
    let fleet = Fleet::new(3);
    let proxy = Proxy::start(&weighted(&fleet, "least-connections"));
    let open: Vec<_> = (0..60)
        .map(|n| client::greet(fleet.block.client(n), fleet.listener(PORT)).unwrap())
        .collect();
    let met = count(open.iter().map(|(name, _)| name.clone()));
    assert_eq!(met, counts(&[("g0", 10), ("g1", 20), ("g2", 30)]));
    // When the connections of group 0 are gone, new keys go there, sticks notwithstanding.
    let (of_g0, others): (Vec<_>, Vec<_>) = open.into_iter().partition(|(name, _)| name == "g0");
    drop(of_g0);
    proxy
        .log
        .wait_sessions(10, "those of group 0", |s| s.group == Some(0));
    let newer: Vec<_> = (100..109)
        .map(|n| client::greet(fleet.block.client(n), fleet.listener(PORT)).unwrap())
        .collect();
    assert!(newer.iter().all(|(name, _)| name == "g0"));
    drop(others);
}

#[test]
fn hash_gives_every_process_the_same_answer_and_honours_weights() {
    let fleet = Fleet::new(3);
    let settings = weighted(&fleet, "hash");
    let ask_all = |settings: &Settings| {
        let _proxy = Proxy::start(settings);
        parallel(4, 600, |client| fleet.served_by(client, PORT))
    };
    let names = ask_all(&settings);
    assert_eq!(names, ask_all(&settings), "another process, another answer");
    let met = count(names.clone());
    for (name, share) in [("g0", 100), ("g1", 200), ("g2", 300)] {
        let got = met.get(name).copied().unwrap_or(0);
        assert!(
            got.abs_diff(share) < 60,
            "{name} has {got} of about {share}"
        );
    }
    // Without group 1 only its own clients move.
    let without = ask_all(&settings.without_group(1));
    for (before, after) in names.iter().zip(&without) {
        assert!(before == "g1" || before == after);
    }
}

#[test]
fn a_backup_takes_new_keys_only_while_nobody_else_is_up() {
    let fleet = Fleet::new(2);
    let settings = fleet.settings.clone().group_set(0, "backup", true);
    let mut proxy = Proxy::start(&settings);
    for client in 0..10 {
        assert_eq!(fleet.served_by(client, PORT), "g1");
    }
    proxy.reload_ok(&settings.clone().group_set(1, "drain", true));
    for client in 10..20 {
        assert_eq!(fleet.served_by(client, PORT), "g0");
    }
    proxy.reload_ok(&settings);
    for client in 20..30 {
        assert_eq!(fleet.served_by(client, PORT), "g1");
    }
    // A stick with the backup is a stick.
    for client in 10..20 {
        assert_eq!(fleet.served_by(client, PORT), "g0");
    }
}

#[test]
fn weights_and_policy_follow_a_reload() {
    let fleet = Fleet::new(2);
    let mut proxy = Proxy::start(&fleet.settings);
    let met = count((0..20).map(|client| fleet.served_by(client, PORT)));
    assert_eq!(met, counts(&[("g0", 10), ("g1", 10)]));
    let heavier = fleet.settings.clone().group_set(1, "weight", 3);
    proxy.reload_ok(&heavier);
    let met = count((20..40).map(|client| fleet.served_by(client, PORT)));
    assert_eq!(met, counts(&[("g1", 20)]), "10:10 becomes 10:30");
    proxy.reload_ok(&heavier.set("balance", "round-robin"));
    let met = count((40..80).map(|client| fleet.served_by(client, PORT)));
    assert_eq!(met, counts(&[("g0", 10), ("g1", 30)]));
}

#[test]
fn a_full_table_refuses_new_keys_and_serves_the_ones_it_has() {
    let fleet = Fleet::new(2);
    let settings = fleet.settings.clone().set("stick_table_max_entries", 10);
    let mut proxy = Proxy::start(&settings);
    let first: Vec<String> = (0..10)
        .map(|client| fleet.served_by(client, PORT))
        .collect();
    for client in 10..15 {
        let error = fleet.ask(client, PORT).unwrap_err();
        assert!(client::is_reset(&error), "{error}");
    }
    let refused = proxy
        .log
        .wait_sessions(5, "the refused", |s| s.end == "table_full");
    assert!(refused.iter().all(|session| session.group.is_none()));
    for client in 0..10 {
        assert_eq!(fleet.served_by(client, PORT), first[client as usize]);
    }
    proxy.reload_ok(&settings.set("stick_table_max_entries", 20));
    fleet.served_by(10, PORT);
}

#[test]
fn a_full_table_that_evicts_spares_the_held_and_the_recent() {
    let fleet = Fleet::new(3);
    let settings = fleet
        .settings
        .clone()
        .set("stick_table_max_entries", 5)
        .set("stick_table_full", "evict")
        .set("balance", "round-robin");
    let _proxy = Proxy::start(&settings);
    let from = fleet.block.client(0);
    let (held_name, held) = client::greet(from, fleet.listener(PORT)).unwrap();
    for client in 1..50 {
        fleet.served_by(client, PORT);
        assert_eq!(fleet.served_by(0, PORT), held_name, "the held one");
    }
    // The last four are still there.
    let names: Vec<String> = (46..50)
        .map(|client| fleet.served_by(client, PORT))
        .collect();
    let again: Vec<String> = (46..50)
        .map(|client| fleet.served_by(client, PORT))
        .collect();
    assert_eq!(names, again);
    drop(held);
}
