//! Clients that say nothing, targets that misbehave: each ends as it should and harms nobody.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use crate::support;
use support::backend::Unresponsive;
use support::client::{self, StreamEnd};
use support::{Backend, Block, Fleet, Proxy, Settings, eventually};

const PORT: u16 = 5280;

#[test]
fn a_silent_client_is_connected_at_once_when_its_address_is_its_key() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&fleet.settings);
    let from = fleet.block.client(0);
    let (name, stream) = client::greet(from, fleet.listener(PORT)).unwrap();
    assert_eq!(name, "g0");
    drop(stream);
    let session = proxy.log.wait_session("the silent client", |_| true);
    assert_eq!(session.key, from.to_string());
    assert_eq!((session.bytes_in, session.bytes_out), (0, 3));
}

#[test]
fn a_silent_client_is_known_by_its_address_after_the_first_message_timeout() {
    let fleet = Fleet::new(1);
    let settings = fleet.settings.clone().set("first_message_timeout", 1);
    let proxy = Proxy::builder(&settings).slice_key(0, 8).start();
    let from = fleet.block.client(0);
    let started = std::time::Instant::now();
    let (name, stream) = client::greet(from, fleet.listener(PORT)).unwrap();
    assert_eq!(name, "g0");
    assert!(started.elapsed() > Duration::from_millis(900), "too early");
    drop(stream);
    let session = proxy.log.wait_session("the silent client", |_| true);
    assert_eq!(session.key, from.to_string());
}

#[test]
fn a_client_that_says_too_little_is_known_by_its_address_and_loses_no_byte() {
    let fleet = Fleet::new(1);
    let settings = fleet.settings.clone().set("first_message_timeout", 1);
    let proxy = Proxy::builder(&settings).slice_key(0, 8).start();
    let from = fleet.block.client(0);
    let stream = client::connect(from, fleet.listener(PORT)).unwrap();
    (&stream).write_all(b"abc").unwrap();
    assert_eq!(client::read_line(&stream).unwrap(), "g0");
    let mut echo = [0; 3];
    (&stream).read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"abc");
    drop(stream);
    let session = proxy.log.wait_session("the short client", |_| true);
    assert_eq!(session.key, from.to_string());
}

#[test]
fn a_client_that_ends_without_a_word_still_reaches_its_target() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::builder(&fleet.settings).slice_key(0, 8).start();
    let from = fleet.block.client(0);
    let stream = client::connect(from, fleet.listener(PORT)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client::read_line(&stream).unwrap(), "g0");
    assert_eq!(client::drain(&stream), (0, StreamEnd::Finished));
    let session = proxy.log.wait_session("the wordless client", |_| true);
    assert_eq!(session.end, "client_finished");
}

#[test]
fn a_client_that_ends_before_its_slice_is_whole_is_known_by_what_came() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::builder(&fleet.settings).slice_key(1, 8).start();
    let from = fleet.block.client(0);
    let stream = client::connect(from, fleet.listener(PORT)).unwrap();
    (&stream).write_all(b"xabc").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client::read_line(&stream).unwrap(), "g0");
    assert_eq!(client::drain(&stream), (4, StreamEnd::Finished));
    let session = proxy.log.wait_session("the short client", |_| true);
    assert_eq!(session.key, format!("{from}/abc"));
}

#[test]
fn a_client_that_resets_before_its_slice_is_whole_reaches_no_target() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::builder(&fleet.settings).slice_key(0, 8).start();
    let stream = client::connect(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    (&stream).write_all(b"abc").unwrap();
    client::reset(stream);
    let session = proxy.log.wait_session("the client that left", |_| true);
    assert_eq!(session.group, None);
    assert!(
        ["client_left", "client_reset"].contains(&session.end.as_str()),
        "{session:?}"
    );
    assert_eq!(fleet.backends[0].accepted(), 0);
}

#[test]
fn many_silent_clients_do_not_hold_up_others() {
    let fleet = Fleet::new(2);
    let settings = fleet.settings.clone().set("first_message_timeout", 60);
    let _proxy = Proxy::builder(&settings).slice_key(0, 4).start();
    let silent: Vec<_> = (0..300)
        .map(|n| client::connect(fleet.block.client(n), fleet.listener(PORT)).unwrap())
        .collect();
    let stream = client::connect(fleet.block.client(999), fleet.listener(PORT)).unwrap();
    (&stream).write_all(b"here").unwrap();
    assert!(client::read_line(&stream).unwrap().starts_with('g'));
    drop(silent);
}

#[test]
fn a_target_that_refuses_ends_in_a_reset_and_leaves_no_stick() {
    let block = Block::claim();
    let settings = Settings::new(&block).group(0, block.backend(0));
    let proxy = Proxy::start(&settings);
    client::expect_reset(block.client(0), block.listener(PORT));
    let session = proxy.log.wait_session("the refused one", |_| true);
    assert_eq!(session.end, "connect_failed");
    // Once it listens, it serves.
    let _backend = Backend::echo("g0", block.backend(0), &[PORT]);
    let name = client::ask(block.client(0), block.listener(PORT)).unwrap();
    assert_eq!(name, "g0");
}

#[test]
fn a_new_client_moves_on_from_a_target_that_refuses() {
    let mut fleet = Fleet::new(3);
    let proxy = Proxy::start(&fleet.settings);
    fleet.backends[0].stop_listening();
    fleet.backends[1].stop_listening();
    for client in 0..20 {
        assert_eq!(fleet.served_by(client, PORT), "g2");
    }
    let sessions = proxy.log.wait_sessions(20, "all clients", |_| true);
    assert!(sessions.iter().all(|session| session.group == Some(2)));
}

#[test]
fn a_client_that_has_a_group_is_not_moved_by_a_refused_connect() {
    let mut fleet = Fleet::new(2);
    let _proxy = Proxy::start(&fleet.settings);
    assert_eq!(fleet.served_by(0, PORT), "g0");
    fleet.backends[0].stop_listening();
    for _ in 0..5 {
        client::expect_reset(fleet.block.client(0), fleet.listener(PORT));
    }
    let again = Backend::echo("back", fleet.block.backend(0), &[PORT]);
    assert_eq!(fleet.served_by(0, PORT), "back");
    drop(again);
}

#[test]
fn a_target_that_never_reads_harms_nobody_else() {
    let block = Block::claim();
    let _deaf = Backend::never_reading("deaf", block.backend(0), &[5280]);
    let _well = Backend::echo("well", block.backend(1), &[5281]);
    let settings = Settings::new(&block)
        .ports(&[5280, 5281])
        .set("workers", 1)
        .group_ports(0, &[(5280, format!("{}:5280", block.backend(0)))])
        .group_ports(1, &[(5281, format!("{}:5281", block.backend(1)))]);
    let _proxy = Proxy::start(&settings);
    let stuck: Vec<_> = (0..10)
        .map(|n| {
            let stream = client::connect(block.client(n), block.listener(5280)).unwrap();
            stream
                .set_write_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            while (&stream).write_all(&[0; 65536]).is_ok() {}
            stream
        })
        .collect();
    for client in 100..150 {
        let (name, stream) = client::greet(block.client(client), block.listener(5281)).unwrap();
        assert_eq!(name, "well");
        client::exchange(&stream, &[3; 30_000]).unwrap();
    }
    drop(stuck);
}

#[test]
fn a_client_that_leaves_while_its_target_is_connected_is_noticed() {
    let block = Block::claim();
    let place = SocketAddr::new(block.backend(0).into(), PORT);
    let _unresponsive = Unresponsive::start(place);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .set("connect_timeout", 30)
        .group(0, block.backend(0));
    let proxy = Proxy::start(&settings);
    let stream = client::connect(block.client(0), block.listener(PORT)).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    client::reset(stream);
    let session = proxy.log.wait_session("the client that left", |_| true);
    assert_eq!(session.end, "client_left");
}

#[test]
fn repeated_faults_are_logged_at_a_bounded_rate() {
    let block = Block::claim();
    let settings = Settings::new(&block).group(0, block.backend(0));
    let proxy = Proxy::builder(&settings)
        .env("RUST_LOG", "info,tcpffee::session=off")
        .start();
    let before = proxy.log.mark();
    support::parallel(4, 400, |n| {
        client::expect_reset(block.client(n), block.listener(PORT));
    });
    eventually("the fault is in the log", || proxy.log.mark() > before);
    let lines = proxy.log.mark() - before;
    assert!(lines < 20, "{lines} lines for 400 refused connects");
}

#[test]
fn a_client_reaches_a_target_by_its_host_name() {
    let block = Block::claim();
    let port = block.port(0);
    let _backends = (
        Backend::echo("named", std::net::Ipv4Addr::LOCALHOST, &[port]),
        Backend::echo("named", std::net::Ipv6Addr::LOCALHOST, &[port]),
    );
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .group_ports(0, &[(PORT, format!("localhost:{port}"))]);
    let _proxy = Proxy::start(&settings);
    let name = client::ask(block.client(0), block.listener(PORT)).unwrap();
    assert_eq!(name, "named");
}

#[test]
fn a_name_that_does_not_resolve_leaves_the_others_working() {
    let fleet = Fleet::new(2);
    let settings = fleet
        .settings
        .clone()
        .group_set(0, "portmap", "no-such-host.invalid");
    let proxy = Proxy::start(&settings);
    proxy.log.wait("a warning that names the host", |line| {
        line.contains("WARN") && line.contains("no-such-host.invalid")
    });
    for client in 0..10 {
        assert_eq!(fleet.served_by(client, PORT), "g1");
    }
}
