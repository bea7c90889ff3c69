//! Sticks survive the process: after a clean stop, after `kill -9`, around a damaged file.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support;
use support::client;
use support::{Fleet, Proxy, Settings, parallel};

const PORT: u16 = 5280;

/// New sticks of the last 100 ms may be lost at `kill -9`; a busy machine gets some more.
const JOURNAL_DELAY: Duration = Duration::from_millis(1000);

/// Round-robin shows a forgotten stick: a process starts its turns at group 0.
fn turns(fleet: &Fleet) -> Settings {
    fleet.settings.clone().set("balance", "round-robin")
}

/// For the process that is started again: what it remembers does not run out during the test,
/// however busy the machine is.
fn patient(settings: &Settings) -> Settings {
    settings.clone().set("expiration", 300)
}

#[test]
fn kill_9_loses_no_stick_older_than_a_moment() {
    let fleet = Fleet::new(3);
    let mut proxy = Proxy::start(&fleet.settings);
    for round in 0..3 {
        let clients = 0..200 * (round + 1);
        let before: Vec<String> = parallel(4, clients.end, |client| fleet.served_by(client, PORT));
        std::thread::sleep(JOURNAL_DELAY);
        proxy.kill9();
        proxy = proxy.start_again(&fleet.settings);
        // In another order, so that a forgetful proxy would answer otherwise.
        for client in clients.rev() {
            assert_eq!(
                fleet.served_by(client, 5281),
                before[client as usize],
                "client {client} in round {round}"
            );
        }
    }
}

#[test]
fn kill_9_loses_no_stick_with_full_saves_in_between() {
    let fleet = Fleet::new(3);
    let settings = fleet.settings.clone().set("stick_table_save_interval", 1);
    let mut proxy = Proxy::start(&settings);
    let mut before = Vec::new();
    for client in 0..300 {
        before.push(fleet.served_by(client, PORT));
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(JOURNAL_DELAY);
    proxy.kill9();
    let _proxy = proxy.start_again(&settings);
    for client in (0..300).rev() {
        assert_eq!(fleet.served_by(client, PORT), before[client as usize]);
    }
}

#[test]
fn sticks_renewed_or_held_after_the_last_save_survive_kill_9() {
    let fleet = Fleet::new(2);
    for save_interval in [1, 1000] {
        let settings = turns(&fleet)
            .set("expiration", 4)
            .set("stick_table_save_interval", save_interval);
        let mut proxy = Proxy::start(&settings);
        assert_eq!(fleet.served_by(0, PORT), "g0");
        assert_eq!(fleet.served_by(1, PORT), "g1", "to be renewed");
        assert_eq!(fleet.served_by(2, PORT), "g0");
        let (name, held) = client::greet(fleet.block.client(3), fleet.listener(PORT)).unwrap();
        assert_eq!(name, "g1", "to be held");
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(6) {
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!(fleet.served_by(1, PORT), "g1");
        }
        proxy.kill9();
        drop(held);
        let _proxy = proxy.start_again(&patient(&settings));
        // A forgotten stick would meet group 0 first.
        let interval = format!("saves every {save_interval} s");
        assert_eq!(fleet.served_by(3, PORT), "g1", "held, {interval}");
        assert_eq!(fleet.served_by(1, PORT), "g1", "renewed, {interval}");
    }
}

#[test]
fn a_key_assigned_anew_after_it_had_expired_survives_kill_9() {
    let fleet = Fleet::new(2);
    let settings = turns(&fleet)
        .set("expiration", 1)
        .set("stick_table_save_interval", 1000);
    let mut proxy = Proxy::start(&settings);
    assert_eq!(fleet.served_by(0, PORT), "g0");
    std::thread::sleep(Duration::from_millis(2500));
    let (name, held) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    assert_eq!(name, "g1", "it has expired");
    std::thread::sleep(JOURNAL_DELAY);
    proxy.kill9();
    drop(held);
    let _proxy = proxy.start_again(&patient(&settings));
    assert_eq!(fleet.served_by(0, PORT), "g1");
}

#[test]
fn after_kill_9_every_stick_gets_a_full_expiration_however_long_it_was_down() {
    let fleet = Fleet::new(2);
    let settings = turns(&fleet).set("expiration", 3);
    let mut proxy = Proxy::start(&settings);
    assert_eq!(fleet.served_by(0, PORT), "g0");
    assert_eq!(fleet.served_by(1, PORT), "g1");
    std::thread::sleep(JOURNAL_DELAY);
    proxy.kill9();
    std::thread::sleep(Duration::from_secs(4));
    let _proxy = proxy.start_again(&patient(&settings));
    assert_eq!(fleet.served_by(1, PORT), "g1");
}

#[test]
fn a_clean_stop_loses_nothing_however_new() {
    let fleet = Fleet::new(3);
    let mut proxy = Proxy::start(&fleet.settings);
    let before: Vec<String> = parallel(4, 300, |client| fleet.served_by(client, PORT));
    assert_eq!(proxy.stop(), 0);
    let _proxy = proxy.start_again(&fleet.settings);
    for client in (0..300).rev() {
        assert_eq!(fleet.served_by(client, PORT), before[client as usize]);
    }
}

#[test]
fn a_stick_that_nobody_asks_for_survives_many_clean_stops() {
    let fleet = Fleet::new(2);
    let settings = patient(&turns(&fleet));
    let mut proxy = Proxy::start(&settings);
    assert_eq!(fleet.served_by(0, PORT), "g0");
    assert_eq!(fleet.served_by(1, PORT), "g1");
    for _ in 0..3 {
        assert_eq!(proxy.stop(), 0);
        proxy = proxy.start_again(&settings);
    }
    assert_eq!(fleet.served_by(1, PORT), "g1");
}

#[test]
fn after_a_clean_stop_downtime_counts_against_a_stick() {
    let fleet = Fleet::new(2);
    let settings = turns(&fleet).set("expiration", 3);
    let mut proxy = Proxy::start(&settings);
    assert_eq!(fleet.served_by(0, PORT), "g0");
    assert_eq!(fleet.served_by(1, PORT), "g1");
    assert_eq!(proxy.stop(), 0);
    std::thread::sleep(Duration::from_secs(4));
    let _proxy = proxy.start_again(&patient(&settings));
    assert_eq!(fleet.served_by(1, PORT), "g0", "it ran out while down");
}

/// Files of the state's directory that are not the usual ones.
fn set_aside(proxy: &Proxy) -> Vec<PathBuf> {
    let path = proxy.state().stick_table_path();
    let directory = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let files = directory.map(|entry| entry.unwrap().path());
    files
        .filter(|file| file.to_string_lossy().contains("set-aside"))
        .collect()
}

#[test]
fn a_damaged_save_is_set_aside_with_an_error_and_the_proxy_starts() {
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let damages: [(&str, Damage); 4] = [
        ("flipped", |mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            bytes
        }),
        ("truncated", |bytes| bytes[..bytes.len() * 2 / 3].to_vec()),
        ("garbage", |_| b"this was never a stick table".to_vec()),
        ("empty", |_| Vec::new()),
    ];
    let fleet = Fleet::new(2);
    for (what, damage) in damages {
        let mut proxy = Proxy::start(&fleet.settings);
        for client in 0..50 {
            fleet.served_by(client, PORT);
        }
        assert_eq!(proxy.stop(), 0);
        let path = proxy.state().stick_table_path();
        let damaged = damage(std::fs::read(&path).unwrap());
        std::fs::write(&path, damaged).unwrap();
        let proxy = proxy.start_again(&fleet.settings);
        proxy.log.wait("an error about the save", |line| {
            line.contains("ERROR") && line.contains("stick_table")
        });
        assert_eq!(set_aside(&proxy).len(), 1, "{what}");
        fleet.served_by(0, PORT);
    }
}

#[test]
fn a_save_of_another_key_type_is_set_aside() {
    let fleet = Fleet::new(2);
    let mut proxy = Proxy::start(&fleet.settings);
    fleet.served_by(0, PORT);
    assert_eq!(proxy.stop(), 0);
    let state = proxy.state().clone();
    let proxy = Proxy::builder(&fleet.settings)
        .slice_key(0, 4)
        .state(&state)
        .start();
    assert_eq!(set_aside(&proxy).len(), 1);
}

#[test]
fn a_stale_pid_file_is_replaced() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    proxy.kill9();
    assert!(proxy.state().pid_path().exists());
    let proxy = proxy.start_again(&fleet.settings);
    let pid = std::fs::read_to_string(proxy.state().pid_path()).unwrap();
    assert_eq!(pid.trim(), proxy.pid().to_string());
}

#[test]
fn clients_of_groups_that_were_removed_while_down_are_assigned_anew() {
    let fleet = Fleet::new(2);
    let mut proxy = Proxy::start(&fleet.settings);
    assert_eq!(fleet.served_by(0, PORT), "g0");
    assert_eq!(fleet.served_by(1, PORT), "g1");
    assert_eq!(proxy.stop(), 0);
    let _proxy = proxy.start_again(&fleet.settings.clone().without_group(0));
    assert_eq!(fleet.served_by(0, PORT), "g1");
    assert_eq!(fleet.served_by(1, PORT), "g1");
}
