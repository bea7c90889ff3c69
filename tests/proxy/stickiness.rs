//! One key, one group: on every port, through drains, disables and failed connects.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::support;
use support::backend::Unresponsive;
use support::client::{self, StreamEnd};
use support::settings::PORTS;
use support::wait::holds_within;
use support::{Backend, Block, Fleet, Proxy, Settings, parallel};

#[test]
fn two_thousand_clients_stick_on_every_port_through_a_drain_and_a_disable() {
    let fleet = Fleet::new(3);
    let mut proxy = Proxy::start(&fleet.settings);
    let clients = 2_000;
    let before = parallel(8, clients, |client| {
        let names = PORTS.map(|port| fleet.served_by(client, port));
        assert!(
            names.iter().all(|name| *name == names[0]),
            "client {client}: {names:?}"
        );
        names[0].clone()
    });
    let met: BTreeSet<&String> = before.iter().collect();
    assert_eq!(met.len(), 3, "all groups have clients");

    let changed = fleet
        .settings
        .clone()
        .group_set(0, "drain", true)
        .group_set(1, "disabled", true);
    proxy.reload_ok(&changed);

    let after = parallel(8, clients, |client| {
        fleet.served_by(client, PORTS[client as usize % 3])
    });
    for (client, (before, after)) in before.iter().zip(&after).enumerate() {
        let expected = if before == "g0" { "g0" } else { "g2" };
        assert_eq!(after, expected, "client {client} was with {before}");
    }
    for client in 3_000..3_200 {
        assert_eq!(fleet.served_by(client, PORTS[0]), "g2", "a new client");
    }
    // Up again, the clients of group 1 stay where they were taken to.
    proxy.reload_ok(&fleet.settings);
    for (client, after) in (0..300).zip(&after) {
        assert_eq!(fleet.served_by(client, PORTS[1]), *after);
    }
}

#[test]
fn two_connections_of_a_new_key_at_once_meet_one_group_even_when_a_port_refuses() {
    let block = Block::claim();
    // Group 0 answers on one of two ports only.
    let _half = Backend::echo("g0", block.backend(0), &[5280]);
    let _whole = Backend::echo("g1", block.backend(1), &[5280, 5281]);
    let settings = Settings::new(&block)
        .ports(&[5280, 5281])
        .group(0, block.backend(0))
        .group(1, block.backend(1));
    let _proxy = Proxy::start(&settings);
    parallel(4, 300, |client| {
        let from = block.client(client);
        let barrier = Barrier::new(2);
        let ask = |port| {
            barrier.wait();
            client::ask(from, block.listener(port))
        };
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(|| ask(5281));
            (ask(5280), other.join().unwrap())
        });
        let served: Vec<&String> = [&one, &other].into_iter().flatten().collect();
        assert!(
            served.windows(2).all(|pair| pair[0] == pair[1]),
            "client {client} met two groups: {one:?} and {other:?}"
        );
        for error in [&one, &other].into_iter().filter_map(|r| r.as_ref().err()) {
            assert!(client::is_reset(error), "{error}");
        }
        if let Some(name) = served.first() {
            let again = client::ask(from, block.listener(5280)).unwrap();
            assert_eq!(again, **name, "client {client}");
        }
    });
}

#[test]
fn a_second_connection_pins_the_group_that_the_first_is_still_connecting_to() {
    let block = Block::claim();
    let place = SocketAddr::new(block.backend(0).into(), 5280);
    let _unresponsive = Unresponsive::start(place);
    let _half = Backend::echo("g0", block.backend(0), &[5281]);
    let _whole = Backend::echo("g1", block.backend(1), &[5280, 5281]);
    let settings = Settings::new(&block)
        .ports(&[5280, 5281])
        .set("connect_timeout", 2)
        .group(0, block.backend(0))
        .group(1, block.backend(1));
    let _proxy = Proxy::start(&settings);
    let from = block.client(0);
    let first = client::connect(from, block.listener(5280)).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(client::ask(from, block.listener(5281)).unwrap(), "g0");
    // The first made the entry, but may not move it any more.
    assert_eq!(client::drain(&first), (0, StreamEnd::Reset));
    assert_eq!(client::ask(from, block.listener(5281)).unwrap(), "g0");
}

#[test]
fn many_connections_of_a_new_key_at_once_meet_one_group() {
    let fleet = Fleet::new(3);
    let _proxy = Proxy::start(&fleet.settings.clone().set("balance", "round-robin"));
    for client in 0..100 {
        let barrier = Barrier::new(6);
        let names = parallel(6, 6, |n| {
            barrier.wait();
            fleet.served_by(client, PORTS[n as usize % 3])
        });
        assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    }
}

#[test]
fn a_client_that_retries_against_a_dead_draining_group_is_elsewhere_after_expiration() {
    let mut fleet = Fleet::new(2);
    let settings = fleet.settings.clone().set("expiration", 3);
    let mut proxy = Proxy::start(&settings);
    assert_eq!(fleet.served_by(0, 5280), "g0");
    fleet.backends[0].stop_listening();
    proxy.reload_ok(&settings.clone().group_set(0, "drain", true));
    let started = Instant::now();
    let mut refused = 0;
    let moved = holds_within(Duration::from_secs(15), || match fleet.ask(0, 5280) {
        Ok(name) => {
            assert_eq!(name, "g1");
            true
        }
        Err(error) => {
            assert!(client::is_reset(&error), "{error}");
            refused += 1;
            std::thread::sleep(Duration::from_millis(500));
            false
        }
    });
    assert!(
        moved,
        "still with the dead group after {:?}",
        started.elapsed()
    );
    assert!(refused > 0, "the stick was given up at the first refusal");
}

#[test]
fn a_stick_expires_after_the_last_activity_and_not_before() {
    let fleet = Fleet::new(2);
    let settings = fleet
        .settings
        .clone()
        .set("expiration", 3)
        .set("balance", "round-robin");
    let _proxy = Proxy::start(&settings);
    let started = Instant::now();
    // Renewed again and again, it lives longer than its expiration.
    while started.elapsed() < Duration::from_secs(5) {
        assert_eq!(fleet.served_by(0, 5280), "g0");
        std::thread::sleep(Duration::from_millis(300));
    }
    std::thread::sleep(Duration::from_millis(4000));
    // Round-robin goes on to the next group for what is a new key now.
    assert_eq!(fleet.served_by(0, 5280), "g1");
}

#[test]
fn an_open_connection_holds_its_stick_however_silent() {
    let fleet = Fleet::new(2);
    let settings = fleet
        .settings
        .clone()
        .set("expiration", 1)
        .set("balance", "round-robin");
    let _proxy = Proxy::start(&settings);
    let (name, held) = client::greet(fleet.block.client(0), fleet.listener(5280)).unwrap();
    assert_eq!(name, "g0");
    std::thread::sleep(Duration::from_millis(3500));
    assert_eq!(fleet.served_by(0, 5281), "g0");
    drop(held);
}

#[test]
fn a_new_expiration_holds_for_the_entries_that_are_there() {
    let fleet = Fleet::new(2);
    let settings = fleet.settings.clone().set("balance", "round-robin");
    let mut proxy = Proxy::start(&settings);
    assert_eq!(fleet.served_by(0, 5280), "g0");
    proxy.reload_ok(&settings.clone().set("expiration", 1));
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(fleet.served_by(0, 5280), "g1");
}

#[test]
fn a_disabled_group_keeps_its_connections_unless_told_otherwise() {
    let fleet = Fleet::new(3);
    let settings = fleet.settings.clone().group_set(1, "on_disabled", "reset");
    let mut proxy = Proxy::start(&settings);
    let open: Vec<_> = (0..3)
        .map(|n| client::greet(fleet.block.client(n), fleet.listener(5280)).unwrap())
        .collect();
    let names: Vec<&str> = open.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["g0", "g1", "g2"]);
    let disabled = settings
        .group_set(0, "disabled", true)
        .group_set(1, "disabled", true);
    proxy.reload_ok(&disabled);
    // Group 1 resets.
    assert_eq!(client::drain(&open[1].1), (0, StreamEnd::Reset));
    let session = proxy.log.wait_session("the reset one", |_| true);
    assert_eq!(
        (session.end.as_str(), session.group),
        ("group_disabled", Some(1))
    );
    // Group 0 keeps what is open; new connections go elsewhere.
    client::exchange(&open[0].1, b"still here").unwrap();
    assert_eq!(fleet.served_by(0, 5281), "g2");
    assert_eq!(fleet.served_by(1, 5281), "g2");
    client::exchange(&open[0].1, b"still here").unwrap();
}

#[test]
fn all_groups_disabled_is_a_reset_until_one_is_up() {
    let fleet = Fleet::new(2);
    let disabled = fleet
        .settings
        .clone()
        .group_set(0, "disabled", true)
        .group_set(1, "disabled", true);
    let mut proxy = Proxy::start(&disabled);
    let error = fleet.ask(0, 5280).unwrap_err();
    assert!(client::is_reset(&error), "{error}");
    let session = proxy.log.wait_session("the refused one", |_| true);
    assert_eq!((session.end.as_str(), session.group), ("no_group", None));
    proxy.reload_ok(&fleet.settings.clone().group_set(0, "disabled", true));
    assert_eq!(fleet.served_by(0, 5280), "g1");
}

#[test]
fn a_draining_group_takes_no_new_clients_and_keeps_its_own() {
    let fleet = Fleet::new(2);
    let mut proxy = Proxy::start(&fleet.settings);
    let (name, open) = client::greet(fleet.block.client(0), fleet.listener(5280)).unwrap();
    assert_eq!(name, "g0");
    proxy.reload_ok(&fleet.settings.clone().group_set(0, "drain", true));
    for client in 1..40 {
        assert_eq!(fleet.served_by(client, 5280), "g1");
    }
    assert_eq!(fleet.served_by(0, 5281), "g0");
    client::exchange(&open, b"still here").unwrap();
}

#[test]
fn a_group_without_a_target_for_a_port_serves_the_other_ports() {
    let block = Block::claim();
    let _backends =
        [0, 1].map(|n| Backend::echo(&format!("g{n}"), block.backend(n), &[5280, 5281]));
    let settings = Settings::new(&block)
        .ports(&[5280, 5281])
        .group_ports(0, &[(5280, format!("{}:5280", block.backend(0)))])
        .group(1, block.backend(1));
    let proxy = Proxy::start(&settings);
    // A new key goes to a group that has the port.
    for client in 0..10 {
        let name = client::ask(block.client(client), block.listener(5281)).unwrap();
        assert_eq!(name, "g1");
    }
    // A key that is with group 0 is not moved for a port that group 0 lacks.
    let name = client::ask(block.client(100), block.listener(5280)).unwrap();
    assert_eq!(name, "g0");
    let error = client::ask(block.client(100), block.listener(5281)).unwrap_err();
    assert!(client::is_reset(&error), "{error}");
    proxy
        .log
        .wait_session("the refused one", |session| session.end == "no_target");
    let name = client::ask(block.client(100), block.listener(5280)).unwrap();
    assert_eq!(name, "g0");
}

#[test]
fn a_portmap_maps_each_port_to_its_own_target() {
    let block = Block::claim();
    let _one = Backend::echo("one", block.backend(0), &[7001]);
    let _other = Backend::echo("other", block.backend(1), &[7002]);
    let settings = Settings::new(&block).ports(&[5280, 5281]).group_ports(
        0,
        &[
            (5280, format!("{}:7001", block.backend(0))),
            (5281, format!("{}:7002", block.backend(1))),
        ],
    );
    let proxy = Proxy::start(&settings);
    let ask = |port| client::ask(block.client(0), block.listener(port)).unwrap();
    assert_eq!((ask(5280), ask(5281)), ("one".into(), "other".into()));
    let session = proxy.log.wait_session("the second", |s| s.port == 5281);
    assert_eq!(session.target, Some(format!("{}:7002", block.backend(1))));
}
