//! Every time-out of the configuration ends what it should, and nothing else.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support;
use support::backend::Unresponsive;
use support::client::{self, StreamEnd};
use support::wait::eventually_some;
use support::{Backend, Block, Fleet, Proxy, Settings, eventually, netns, process};

const PORT: u16 = 5280;

/// Not before `seconds` are over, give or take the clock's grain.
fn assert_took_at_least(started: Instant, seconds: f64) {
    let elapsed = started.elapsed().as_secs_f64();
    assert!(elapsed > seconds - 0.1, "already after {elapsed} s");
}

#[test]
fn connect_timeout_resets_a_client_whose_target_does_not_answer() {
    let block = Block::claim();
    let place = SocketAddr::new(block.backend(0).into(), PORT);
    let _unresponsive = Unresponsive::start(place);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .set("connect_timeout", 1)
        .group(0, block.backend(0));
    let proxy = Proxy::start(&settings);
    let started = Instant::now();
    let stream = client::connect(block.client(0), block.listener(PORT)).unwrap();
    assert_eq!(client::drain(&stream), (0, StreamEnd::Reset));
    assert_took_at_least(started, 1.0);
    let session = proxy.log.wait_session("the one in vain", |_| true);
    assert_eq!(session.end, "connect_timeout");
}

#[test]
fn idle_timeout_closes_the_silent_and_spares_the_busy() {
    let fleet = Fleet::new(1);
    let settings = fleet.settings.clone().set("idle_timeout", 2.5);
    let proxy = Proxy::start(&settings);
    let started = Instant::now();
    let silent = client::greet(fleet.block.client(0), fleet.listener(PORT))
        .unwrap()
        .1;
    let busy = client::greet(fleet.block.client(1), fleet.listener(PORT))
        .unwrap()
        .1;
    while started.elapsed() < Duration::from_secs(5) {
        client::exchange(&busy, b"still here").unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    let session = proxy.log.wait_session("the silent one", |_| true);
    assert_eq!(session.end, "idle_timeout");
    assert!(
        session
            .client
            .starts_with(&fleet.block.client(0).to_string())
    );
    client::drain(&silent);
    client::exchange(&busy, b"still here").unwrap();
    assert_eq!(proxy.log.sessions().len(), 1);
}

#[test]
fn without_idle_timeout_a_silent_connection_stays() {
    let fleet = Fleet::new(1);
    let settings = fleet.settings.clone().set("half_closed_timeout", 1);
    let proxy = Proxy::start(&settings);
    let silent = client::greet(fleet.block.client(0), fleet.listener(PORT))
        .unwrap()
        .1;
    std::thread::sleep(Duration::from_secs(3));
    client::exchange(&silent, b"still here").unwrap();
    assert_eq!(proxy.log.sessions().len(), 0);
}

#[test]
fn half_closed_timeout_closes_what_stays_silent_after_one_end() {
    let block = Block::claim();
    let _backend = Backend::never_reading("g0", block.backend(0), &[PORT]);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .set("half_closed_timeout", 1)
        .group(0, block.backend(0));
    let proxy = Proxy::start(&settings);
    let started = Instant::now();
    let stream = client::connect(block.client(0), block.listener(PORT)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let session = proxy.log.wait_session("the half-closed one", |_| true);
    assert_took_at_least(started, 1.0);
    assert_eq!(session.end, "half_closed_timeout");
    client::drain(&stream);
}

#[test]
fn drain_timeout_closes_the_connections_of_a_draining_group_only() {
    let fleet = Fleet::new(2);
    let settings = fleet.settings.clone().group_set(0, "drain_timeout", 1);
    let mut proxy = Proxy::start(&settings);
    let (name, of_g0) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    assert_eq!(name, "g0");
    let (name, of_g1) = client::greet(fleet.block.client(1), fleet.listener(PORT)).unwrap();
    assert_eq!(name, "g1");
    // While the group is Up its drain_timeout means nothing.
    std::thread::sleep(Duration::from_millis(1500));
    client::exchange(&of_g0, b"still here").unwrap();
    let started = Instant::now();
    proxy.reload_ok(&settings.clone().group_set(0, "drain", true));
    client::drain(&of_g0);
    assert_took_at_least(started, 1.0);
    let session = proxy.log.wait_session("the drained one", |_| true);
    assert_eq!(
        (session.end.as_str(), session.group),
        ("drain_timeout", Some(0))
    );
    client::exchange(&of_g1, b"still here").unwrap();
}

#[test]
fn a_group_that_is_up_again_keeps_its_connections() {
    let fleet = Fleet::new(2);
    let settings = fleet.settings.clone().group_set(0, "drain_timeout", 2);
    let mut proxy = Proxy::start(&settings);
    let (name, stream) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    assert_eq!(name, "g0");
    proxy.reload_ok(&settings.clone().group_set(0, "drain", true));
    proxy.reload_ok(&settings);
    std::thread::sleep(Duration::from_secs(3));
    client::exchange(&stream, b"still here").unwrap();
}

#[test]
fn timeouts_changed_by_a_reload_hold_for_new_connections() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    let former = client::greet(fleet.block.client(0), fleet.listener(PORT))
        .unwrap()
        .1;
    proxy.reload_ok(&fleet.settings.clone().set("idle_timeout", 1));
    let newer = client::greet(fleet.block.client(1), fleet.listener(PORT))
        .unwrap()
        .1;
    let session = proxy.log.wait_session("the newer one", |_| true);
    assert_eq!(session.end, "idle_timeout");
    assert!(
        session
            .client
            .starts_with(&fleet.block.client(1).to_string())
    );
    client::drain(&newer);
    client::exchange(&former, b"still here").unwrap();
}

#[test]
fn both_sides_of_a_connection_are_kept_alive() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&fleet.settings.clone().set("tcp_keepalive", 100));
    let from = fleet.block.client(0);
    let (_, stream) = client::greet(from, fleet.listener(PORT)).unwrap();
    let client = stream.local_addr().unwrap();
    let towards_target = fleet.backends[0].arrivals()[0].0;
    let target = SocketAddr::new(fleet.block.backend(0).into(), PORT);
    for (local, peer) in [(fleet.listener(PORT), client), (towards_target, target)] {
        // Set a moment after the start, so that short connections are spared the system call.
        let what = format!("keep-alive from {local} to {peer}");
        let seconds = eventually_some(&what, || process::keepalive_seconds(local, peer));
        assert!((50..=100).contains(&seconds), "first probe in {seconds} s");
    }
    drop((stream, proxy));
}

/// A client connected from 10.9.0.2, which can be taken away: packets to 10.9.0.0/24 vanish in a
/// pair of interfaces whose other end nobody reads, except to addresses held here.
fn vanishing_client() -> Option<(Fleet, Proxy, TcpStream)> {
    if let Err(reason) = netns::ip("link add void0 type veth peer name void1") {
        support::skip(reason);
        return None;
    }
    for words in [
        "address add 10.9.0.1/24 dev void0",
        "address add 10.9.0.2/24 dev void0",
        "link set void0 up",
        "link set void1 up",
        "neighbour add 10.9.0.2 lladdr 02:00:00:00:00:01 dev void0",
    ] {
        netns::ip(words).unwrap();
    }
    let fleet = Fleet::new(1);
    let settings = fleet
        .settings
        .clone()
        .bind(&["10.9.0.1".parse().unwrap()])
        .set("tcp_keepalive", 1);
    let proxy = Proxy::start(&settings);
    let from = "10.9.0.2".parse().unwrap();
    let listener = SocketAddr::new("10.9.0.1".parse().unwrap(), PORT);
    let (_, stream) = client::greet(from, listener).unwrap();
    Some((fleet, proxy, stream))
}

#[test]
fn a_client_that_vanishes_is_noticed_by_keep_alive() {
    netns::in_new_namespace(|| {
        let Some((fleet, proxy, stream)) = vanishing_client() else {
            return;
        };
        netns::ip("address del 10.9.0.2/24 dev void0").unwrap();
        let session = proxy.log.wait_session("the vanished one", |_| true);
        assert_eq!(session.end, "client_lost");
        eventually("the target is told", || fleet.backends[0].open() == 0);
        drop(stream);
    });
}

#[test]
fn a_client_that_vanishes_with_bytes_on_their_way_is_noticed_by_the_user_timeout() {
    netns::in_new_namespace(|| {
        let Some((fleet, proxy, stream)) = vanishing_client() else {
            return;
        };
        // The echo of this comes after the client has gone, and is never acknowledged.
        let target = fleet.backends[0].arrivals()[0].0;
        (&stream).write_all(b"last words").unwrap();
        let server = SocketAddr::new(fleet.block.backend(0).into(), PORT);
        netns::ip("address del 10.9.0.2/24 dev void0").unwrap();
        let session = proxy.log.wait_session("the vanished one", |_| true);
        assert_eq!(session.end, "client_lost");
        eventually("the target is told", || {
            process::queues(server, target).is_none()
        });
    });
}
