//! A reload changes what it should, refuses what it must, and never cuts a connection.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support;
use rustix::process::Signal;
use support::client;
use support::{Backend, Fleet, Proxy, Traffic, eventually, process, scaled};

const PORT: u16 = 5280;

#[test]
fn two_hundred_reloads_under_traffic_cut_nothing_and_leak_nothing() {
    let fleet = Fleet::on_ports(3, &[5280, 5281, 5282, 5283]);
    let settings = fleet.settings.clone().ports(&[5280, 5281, 5282]);
    // Group 2 comes and goes, port 5282 closes, port 5283 opens, weights and time-outs change.
    let other = settings
        .clone()
        .without_group(2)
        .ports(&[5280, 5281, 5283])
        .group_set(0, "weight", 5)
        .set("connect_timeout", 4)
        .set("expiration", 50);
    let mut proxy = Proxy::start(&settings);
    fleet.served_by(500, PORT);
    let mut traffic = Traffic::new();
    for client in 0..6 {
        // Open connections of group 2 and of port 5282 must live through it too.
        let port = [5280, 5281, 5282][client as usize % 3];
        traffic.long(fleet.block.client(client), fleet.listener(port));
    }
    let steady = proxy.settled_descriptors();
    traffic.short(fleet.block.client(6), fleet.listener(5280));
    traffic.short(fleet.block.client(7), fleet.listener(5281));
    for round in 0..100 {
        proxy.reload_ok(if round % 2 == 0 { &other } else { &settings });
        proxy.reload_ok(if round % 2 == 0 { &settings } else { &other });
    }
    proxy.reload_ok(&settings);
    let done = traffic.exchanges();
    eventually("traffic still flows", || traffic.exchanges() > done + 100);
    traffic.finish();
    eventually("no descriptor is left over", || {
        proxy.descriptors() <= steady
    });
}

#[test]
fn opened_ports_serve_and_closed_ports_refuse_while_their_connections_live() {
    let fleet = Fleet::on_ports(1, &[5280, 5281, 5282]);
    let settings = fleet.settings.clone().ports(&[5280, 5281]);
    let mut proxy = Proxy::start(&settings);
    let from = fleet.block.client(0);
    let (_, open) = client::greet(from, fleet.listener(5281)).unwrap();
    proxy.reload_ok(&settings.ports(&[5280, 5282]));
    assert_eq!(fleet.served_by(0, 5282), "g0");
    assert_eq!(fleet.served_by(0, 5280), "g0");
    eventually("the closed port refuses", || {
        client::connect(from, fleet.listener(5281))
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    client::exchange(&open, b"still here").unwrap();
}

#[test]
fn a_port_that_closes_resets_no_client_that_it_has_taken() {
    let fleet = Fleet::on_ports(1, &[5280, 5281]);
    let proxy = Proxy::start(&fleet.settings);
    close_a_port_again_and_again(&fleet, proxy);
}

/// As the service runs: since Linux 6.18 it may not have a filter on its listeners.
#[test]
fn a_port_that_closes_resets_no_client_without_capabilities_either() {
    let fleet = Fleet::on_ports(1, &[5280, 5281]);
    let builder = Proxy::builder(&fleet.settings);
    let mut proxy = builder
        .wrapped(&["setpriv", "--bounding-set", "-all"])
        .launch();
    proxy.wait_ready();
    close_a_port_again_and_again(&fleet, proxy);
}

fn close_a_port_again_and_again(fleet: &Fleet, mut proxy: Proxy) {
    let with = fleet.settings.clone();
    let without = with.clone().ports(&[5280]);
    let served = Arc::new(AtomicUsize::new(0));
    let mut traffic = Traffic::new();
    for client in 0..6 {
        let (from, to) = (fleet.block.client(client), fleet.listener(5281));
        let served = Arc::clone(&served);
        traffic.spawn(move || match client::connect(from, to) {
            Ok(stream) => {
                client::read_line(&stream).expect("who is connected is served");
                served.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let gone = [ErrorKind::ConnectionRefused, ErrorKind::TimedOut];
                assert!(gone.contains(&error.kind()), "{error}");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }
    for _ in 0..scaled(15, 200) {
        let before = served.load(Ordering::Relaxed);
        eventually("clients are served", || {
            served.load(Ordering::Relaxed) > before + 20
        });
        proxy.reload_ok(&without);
        proxy.reload_ok(&with);
    }
    traffic.finish();
}

#[test]
fn a_client_whose_port_closes_before_its_key_is_known_is_served() {
    let fleet = Fleet::on_ports(1, &[5280, 5281]);
    let mut proxy = Proxy::builder(&fleet.settings).slice_key(0, 4).start();
    let stream = client::connect(fleet.block.client(0), fleet.listener(5281)).unwrap();
    (&stream).write_all(b"ab").unwrap();
    for ports in [&[5280][..], &[5280, 5282]] {
        proxy.reload_ok(&fleet.settings.clone().ports(ports));
    }
    (&stream).write_all(b"cd").unwrap();
    assert_eq!(client::read_line(&stream).unwrap(), "g0");
}

#[test]
fn the_clients_of_a_removed_group_stay_connected_and_go_elsewhere_next_time() {
    let fleet = Fleet::new(2);
    let mut proxy = Proxy::start(&fleet.settings);
    let (name, open) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    assert_eq!(name, "g0");
    assert_eq!(fleet.served_by(1, PORT), "g1");
    proxy.reload_ok(&fleet.settings.clone().without_group(0));
    client::exchange(&open, b"still here").unwrap();
    assert_eq!(fleet.served_by(0, PORT), "g1");
    assert_eq!(fleet.served_by(1, PORT), "g1");
    client::exchange(&open, b"still here").unwrap();
}

#[test]
fn sticks_of_groups_that_stay_are_kept() {
    let fleet = Fleet::new(3);
    let mut proxy = Proxy::start(&fleet.settings);
    let before: Vec<String> = (0..60)
        .map(|client| fleet.served_by(client, PORT))
        .collect();
    let changed = fleet
        .settings
        .clone()
        .without_group(2)
        .set("balance", "hash")
        .group_set(0, "weight", 9);
    proxy.reload_ok(&changed);
    for (client, before) in (0..).zip(&before) {
        let after = fleet.served_by(client, 5281);
        assert!(
            before == "g2" || after == *before,
            "client {client}: {before} to {after}"
        );
    }
}

#[test]
fn a_target_changed_by_a_reload_serves_new_connections_only() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    let (_, open) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    let _moved = Backend::echo("moved", fleet.block.backend(9), &[PORT]);
    let changed = fleet.settings.clone().group(0, fleet.block.backend(9));
    proxy.reload_ok(&changed);
    assert_eq!(fleet.served_by(0, PORT), "moved");
    client::exchange(&open, b"still here").unwrap();
    assert_eq!(fleet.backends[0].accepted(), 1);
}

#[test]
fn a_bad_file_is_refused_and_everything_goes_on() {
    let fleet = Fleet::new(2);
    let mut proxy = Proxy::start(&fleet.settings);
    let (_, open) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    let good = fleet.settings.text();
    let huge = format!("{good}\n# {}", "x".repeat(10_000_000));
    let bad = [
        ("empty", String::new()),
        ("garbage", "\u{1}\u{2}}}{{ not toml at all".to_owned()),
        ("truncated", good[..good.len() / 2].to_owned()),
        ("10 MB", huge),
        ("no groups", good.replace("groups", "grops")),
        ("a weight of zero", format!("{good}\nweight = 0\n")),
    ];
    for (what, text) in &bad {
        proxy.write_config(text);
        let answer = proxy.subcommand(&["reload"]);
        assert_eq!(answer.code, 1, "{what}: {}", answer.text);
        assert!(
            answer.text.contains("tcpffee.toml"),
            "{what}: {}",
            answer.text
        );
        // The signal says the same in the log.
        let mark = proxy.log.mark();
        proxy.signal(Signal::USR1);
        proxy
            .log
            .wait_after(mark, "an error that names the file", |line| {
                line.contains("ERROR") && line.contains("tcpffee.toml")
            });
        client::exchange(&open, b"still here").unwrap();
        assert_eq!(fleet.served_by(0, 5281), "g0", "{what}");
    }
    std::fs::remove_file(proxy.state().config_path()).unwrap();
    let answer = proxy.subcommand(&["reload"]);
    assert_eq!(answer.code, 1, "no file: {}", answer.text);
    assert_eq!(fleet.served_by(0, 5281), "g0");
}

#[test]
fn a_port_that_cannot_be_bound_leaves_the_running_configuration_whole() {
    let fleet = Fleet::on_ports(2, &[5280, 5281, 5282, 5283]);
    let settings = fleet.settings.clone().ports(&[5280, 5281]);
    let mut proxy = Proxy::start(&settings);
    let before = proxy.settled_descriptors();
    let taken = TcpListener::bind(fleet.listener(5283)).unwrap();
    let wanted = settings
        .ports(&[5280, 5282, 5283])
        .group_set(0, "disabled", true);
    let answer = proxy.reload(&wanted);
    assert_eq!(answer.code, 1, "{}", answer.text);
    let place = fleet.listener(5283).to_string();
    assert!(answer.text.contains(&place), "{}", answer.text);
    // Nothing of it is in force: no port opened or closed, no group disabled.
    assert!(!process::listens(proxy.pid(), fleet.listener(5282)));
    assert_eq!(fleet.served_by(0, 5281), "g0");
    eventually("no descriptor is left over", || {
        proxy.descriptors() <= before
    });
    // With the port free the same file is taken.
    drop(taken);
    proxy.reload_ok(&wanted);
    assert_eq!(fleet.served_by(0, 5283), "g1");
}

#[test]
fn a_setting_that_needs_a_restart_is_refused_and_named() {
    let fleet = Fleet::new(2);
    let mut proxy = Proxy::start(&fleet.settings);
    let wanted = fleet
        .settings
        .clone()
        .set("workers", 1)
        .group_set(0, "disabled", true);
    let answer = proxy.reload(&wanted);
    assert_eq!(answer.code, 1, "{}", answer.text);
    assert!(answer.text.contains("workers"), "{}", answer.text);
    assert!(answer.text.contains("restart"), "{}", answer.text);
    assert_eq!(fleet.served_by(0, PORT), "g0", "the group is not disabled");
    proxy.reload_ok(&wanted.set("workers", 2));
    assert_eq!(fleet.served_by(0, PORT), "g1");
}

#[test]
fn both_signals_reload() {
    let fleet = Fleet::on_ports(1, &[5280, 5281, 5282]);
    let mut proxy = Proxy::start(&fleet.settings.clone().ports(&[5280]));
    for (signal, ports) in [
        (Signal::USR1, &[5280, 5281][..]),
        (Signal::HUP, &[5280, 5282][..]),
    ] {
        proxy.write_config(&fleet.settings.clone().ports(ports).text());
        proxy.signal(signal);
        eventually("the new port serves", || fleet.ask(0, ports[1]).is_ok());
    }
}

#[test]
fn the_last_file_of_a_storm_of_signals_is_the_one_in_force() {
    let fleet = Fleet::on_ports(1, &[5280, 5281, 5282]);
    let mut proxy = Proxy::start(&fleet.settings.clone().ports(&[5280]));
    let mut traffic = Traffic::new();
    traffic.long(fleet.block.client(0), fleet.listener(5280));
    traffic.short(fleet.block.client(1), fleet.listener(5280));
    for round in 0..scaled(10, 100) {
        for storm in 0..40 {
            let port = 5281 + storm % 2;
            proxy.write_config(&fleet.settings.clone().ports(&[5280, port]).text());
            proxy.signal(Signal::USR1);
        }
        let last = 5281 + round % 2;
        proxy.write_config(&fleet.settings.clone().ports(&[5280, last]).text());
        proxy.signal(Signal::USR1);
        eventually("the last file is in force", || {
            process::listens(proxy.pid(), fleet.listener(last))
                && !process::listens(proxy.pid(), fleet.listener(5281 + (round + 1) % 2))
        });
    }
    traffic.finish();
}

#[test]
fn an_unchanged_file_is_a_reload_that_changes_nothing() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    let before = proxy.settled_descriptors();
    for _ in 0..5 {
        proxy.reload_ok(&fleet.settings);
    }
    assert_eq!(fleet.served_by(0, PORT), "g0");
    eventually("no descriptor is left over", || {
        proxy.descriptors() <= before
    });
}

#[test]
fn bind_addresses_come_and_go_with_a_reload() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    let second = fleet.block.address(0, 9);
    let from = fleet.block.client(0);
    let to = std::net::SocketAddr::new(second.into(), PORT);
    let (_, open) = client::greet(from, fleet.listener(PORT)).unwrap();
    proxy.reload_ok(&fleet.settings.clone().bind(&[second.into()]));
    assert_eq!(client::ask(from, to).unwrap(), "g0");
    eventually("the former address refuses", || {
        client::connect(from, fleet.listener(PORT)).is_err()
    });
    client::exchange(&open, b"still here").unwrap();
}
