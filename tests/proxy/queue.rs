//! `groups.N.max_connections`: who has a place with a group, who waits for one, and who gives up.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support;
use support::wait::holds_within;
use support::{Fleet, Proxy, Settings, client, eventually, http, parallel};

const PORT: u16 = 5280;
/// Connections one after the other, as fast as one client makes them.
const MANY: u32 = 10_000;
/// As many as may wait for one group.
const MAX_QUEUED: u32 = 1_024;

/// Group 0 with a bound.
fn bounded(fleet: &Fleet, max: u32) -> Settings {
    fleet.settings.clone().group_set(0, "max_connections", max)
}

/// Connections that wait for group 0.
fn queued(proxy: &Proxy) -> u64 {
    let group = http::json(proxy.statistics(), "/api/v1/groups/0");
    group["queued"].as_u64().unwrap()
}

fn eventually_queued(proxy: &Proxy, count: u64) {
    eventually("so many wait", || queued(proxy) == count);
}

/// A connection with its server.
fn held(fleet: &Fleet, client: u32) -> TcpStream {
    let greeted = client::greet(fleet.block.client(client), fleet.listener(PORT));
    greeted.unwrap().1
}

/// A connection that waits.
fn waiting(fleet: &Fleet, client: u32) -> TcpStream {
    client::connect(fleet.block.client(client), fleet.listener(PORT)).unwrap()
}

#[test]
fn who_finds_a_group_full_waits_and_is_served_when_a_place_is_free() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&bounded(&fleet, 2).set("queue_timeout", 60));
    let [one, other] = [held(&fleet, 0), held(&fleet, 1)];
    let waits = waiting(&fleet, 2);
    eventually_queued(&proxy, 1);
    let group = http::json(proxy.statistics(), "/api/v1/groups/0");
    assert_eq!(group["max_connections"], 2);
    let metrics = http::get(proxy.statistics(), "/metrics").text();
    assert!(
        metrics.contains("\ntcpffee_group_queued{group=\"0\"} 1\n"),
        "{metrics}"
    );
    let health = http::json(proxy.statistics(), "/api/v1/health");
    let warned = "group 0 is full (2 connections, max_connections): 1 more wait, of at most 1024";
    assert!(
        health["warnings"]
            .as_array()
            .unwrap()
            .contains(&warned.into()),
        "{health}"
    );
    assert_eq!(
        fleet.backends[0].accepted(),
        2,
        "the target has not heard of it"
    );
    drop(one);
    assert_eq!(client::read_line(&waits).unwrap(), "g0");
    client::exchange(&waits, b"hello").unwrap();
    client::exchange(&other, b"still here").unwrap();
    assert_eq!(queued(&proxy), 0);
}

#[test]
fn who_waits_too_long_is_reset() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&bounded(&fleet, 1).set("queue_timeout", 1));
    let stays = held(&fleet, 0);
    let begun = Instant::now();
    client::expect_reset(fleet.block.client(1), fleet.listener(PORT));
    assert!(begun.elapsed() > Duration::from_millis(900));
    let session = proxy.log.wait_session("the one in vain", |_| true);
    assert_eq!(
        (session.end.as_str(), session.group),
        ("group_full", Some(0))
    );
    proxy.log.wait("why", |line| {
        line.contains("had no place for it within queue_timeout")
    });
    client::exchange(&stays, b"still here").unwrap();
    drop(stays);
    assert_eq!(fleet.served_by(1, PORT), "g0");
}

#[test]
fn first_come_first_served_whichever_worker_has_whom() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&bounded(&fleet, 1).set("queue_timeout", 60));
    let mut before = held(&fleet, 0);
    let mut queue = Vec::new();
    for client in 1..=12 {
        queue.push(waiting(&fleet, client));
        eventually_queued(&proxy, u64::from(client));
    }
    for stream in queue {
        drop(before);
        // Had another one been served, this would wait in vain.
        assert_eq!(client::read_line(&stream).unwrap(), "g0");
        before = stream;
    }
}

#[test]
fn new_clients_prefer_groups_with_room() {
    for balance in ["least-sticks", "least-connections", "round-robin", "hash"] {
        let fleet = Fleet::new(2);
        let settings = bounded(&fleet, 1).group_set(0, "weight", 1_000_000);
        let settings = settings.set("balance", balance).set("queue_timeout", 60);
        let proxy = Proxy::start(&settings);
        let (name, stays) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
        assert_eq!(name, "g0", "{balance}");
        for client in 1..20 {
            assert_eq!(fleet.served_by(client, PORT), "g1", "{balance}");
        }
        // Who is stuck to the full group waits for it.
        let stuck = waiting(&fleet, 0);
        eventually_queued(&proxy, 1);
        drop(stays);
        assert_eq!(client::read_line(&stuck).unwrap(), "g0", "{balance}");
    }
}

#[test]
fn who_leaves_while_waiting_is_taken_out_of_the_queue() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&bounded(&fleet, 1).set("queue_timeout", 60));
    let stays = held(&fleet, 0);
    let leaves = waiting(&fleet, 1);
    eventually_queued(&proxy, 1);
    let next = waiting(&fleet, 2);
    eventually_queued(&proxy, 2);
    client::reset(leaves);
    let session = proxy.log.wait_session("the one that left", |_| true);
    assert_eq!(session.end, "client_left");
    assert_eq!(queued(&proxy), 1);
    drop(stays);
    assert_eq!(client::read_line(&next).unwrap(), "g0");
}

#[test]
fn ten_thousand_that_leave_the_queue_at_once_leave_nothing_behind() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&bounded(&fleet, 1).set("queue_timeout", 60));
    let stays = held(&fleet, 0);
    for client in 0..MANY {
        client::reset(waiting(&fleet, client % 50));
    }
    eventually_queued(&proxy, 0);
    let waits = waiting(&fleet, 1);
    drop(stays);
    assert_eq!(client::read_line(&waits).unwrap(), "g0");
    eventually("only that one has a target", || {
        fleet.backends[0].open() == 1
    });
}

#[test]
fn ten_thousand_connections_one_at_a_time_need_no_queue() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&bounded(&fleet, 1).set("queue_timeout", 60));
    for client in 0..MANY {
        assert_eq!(fleet.served_by(client % 50, PORT), "g0");
    }
    assert_eq!(queued(&proxy), 0);
}

#[test]
fn a_crowd_is_served_through_few_places_and_every_place_comes_back() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&bounded(&fleet, 3).set("queue_timeout", 60));
    let served = parallel(16, 2_000, |client| fleet.served_by(client % 500, PORT));
    assert!(served.iter().all(|name| name == "g0"));
    let all: Vec<TcpStream> = (0..3).map(|client| held(&fleet, client)).collect();
    let waits = waiting(&fleet, 9);
    eventually_queued(&proxy, 1);
    drop(all);
    assert_eq!(client::read_line(&waits).unwrap(), "g0");
}

#[test]
fn when_as_many_wait_as_may_the_next_one_is_reset() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&bounded(&fleet, 1).set("queue_timeout", 60));
    let stays = held(&fleet, 0);
    let mut queue: Vec<_> = (0..MAX_QUEUED).map(|_| waiting(&fleet, 1)).collect();
    eventually_queued(&proxy, u64::from(MAX_QUEUED));
    client::expect_reset(fleet.block.client(2), fleet.listener(PORT));
    let session = proxy.log.wait_session("the one too many", |_| true);
    assert_eq!(session.end, "queue_full");
    client::reset(queue.pop().unwrap());
    eventually_queued(&proxy, u64::from(MAX_QUEUED) - 1);
    queue.push(waiting(&fleet, 2));
    eventually_queued(&proxy, u64::from(MAX_QUEUED));
    client::exchange(&stays, b"still here").unwrap();
}

#[test]
fn bounds_changed_by_a_reload_count_what_is_open_and_cut_nobody() {
    let fleet = Fleet::new(1);
    let set = |max: u32| bounded(&fleet, max).set("queue_timeout", 60);
    let mut proxy = Proxy::start(&fleet.settings);
    let mut open: Vec<TcpStream> = (0..3).map(|client| held(&fleet, client)).collect();
    proxy.reload_ok(&set(3));
    eventually("every worker has counted what is open", || {
        let probe = waiting(&fleet, 9);
        let waits = holds_within(Duration::from_millis(500), || queued(&proxy) == 1);
        client::reset(probe);
        waits
    });
    eventually_queued(&proxy, 0);
    let queue: Vec<TcpStream> = (3..6).map(|client| waiting(&fleet, client)).collect();
    eventually_queued(&proxy, 3);
    let mut queue = queue.into_iter();
    // More places: who waits is served. Fewer: nobody is cut, and nobody served until there is room.
    proxy.reload_ok(&set(4));
    eventually_queued(&proxy, 2);
    proxy.reload_ok(&set(1));
    for stream in &open {
        client::exchange(stream, b"still here").unwrap();
    }
    open.clear();
    eventually("three have ended", || fleet.backends[0].open() == 1);
    assert_eq!(queued(&proxy), 2);
    // None: everybody is served.
    proxy.reload_ok(&fleet.settings);
    eventually_queued(&proxy, 0);
    assert!(queue.all(|stream| client::read_line(&stream).unwrap() == "g0"));
}

#[test]
fn who_waits_for_a_group_that_is_disabled_or_gone_is_served_by_another() {
    for is_gone in [false, true] {
        let fleet = Fleet::new(2);
        let settings = bounded(&fleet, 1).set("queue_timeout", 60);
        let mut proxy = Proxy::start(&settings.clone().group_set(1, "disabled", true));
        let stays = held(&fleet, 0);
        let waits = waiting(&fleet, 1);
        eventually_queued(&proxy, 1);
        proxy.reload_ok(&match is_gone {
            true => settings.without_group(0),
            false => settings.group_set(0, "disabled", true),
        });
        assert_eq!(client::read_line(&waits).unwrap(), "g1");
        client::exchange(&stays, b"still here").unwrap();
    }
}

#[test]
fn who_waits_for_a_group_that_drains_goes_on_waiting_for_it() {
    let fleet = Fleet::new(2);
    let settings = bounded(&fleet, 1).set("queue_timeout", 60);
    let mut proxy = Proxy::start(&settings.clone().group_set(1, "disabled", true));
    let stays = held(&fleet, 0);
    let waits = waiting(&fleet, 0);
    eventually_queued(&proxy, 1);
    proxy.reload_ok(&settings.group_set(0, "drain", true));
    drop(stays);
    assert_eq!(client::read_line(&waits).unwrap(), "g0");
}

#[test]
fn a_failed_connect_gives_its_place_back() {
    let mut fleet = Fleet::new(1);
    let proxy = Proxy::start(&bounded(&fleet, 1).set("queue_timeout", 60));
    fleet.backends[0].stop_listening();
    for client in 0..5 {
        client::expect_reset(fleet.block.client(client), fleet.listener(PORT));
    }
    proxy
        .log
        .wait_sessions(5, "all", |session| session.end == "connect_failed");
    assert_eq!(queued(&proxy), 0);
}

#[test]
fn a_stop_does_not_wait_for_those_who_wait() {
    let fleet = Fleet::new(1);
    let settings = bounded(&fleet, 1).set("queue_timeout", 60);
    let mut proxy = Proxy::start(&settings.set("shutdown_grace", 1));
    let _stays = held(&fleet, 0);
    let _waits = waiting(&fleet, 1);
    eventually_queued(&proxy, 1);
    let begun = Instant::now();
    assert_eq!(proxy.stop(), 5, "two connections were cut");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let sessions = proxy.log.sessions();
    let ends: Vec<&str> = sessions
        .iter()
        .map(|session| session.end.as_str())
        .collect();
    assert_eq!(ends, ["shutdown"; 2]);
}

#[test]
fn groups_without_a_bound_are_not_concerned() {
    let fleet = Fleet::new(2);
    let proxy = Proxy::start(&bounded(&fleet, 1).group_set(0, "disabled", true));
    let to: SocketAddr = fleet.listener(PORT);
    let open: Vec<_> = (0..50)
        .map(|n| client::greet(fleet.block.client(n), to).unwrap())
        .collect();
    assert!(open.iter().all(|(name, _)| name == "g1"));
    assert_eq!(queued(&proxy), 0);
}
