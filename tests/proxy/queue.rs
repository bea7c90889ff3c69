//! `groups.N.max_connections`: who has a place with a group, who waits for one, and who gives up.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support;
use support::backend::Unresponsive;
use support::wait::holds_within;
use support::{Backend, Fleet, Proxy, Settings, client, eventually, http, netns, parallel};

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

/// Connections that have a place with group 0.
fn taken(proxy: &Proxy) -> u64 {
    let group = http::json(proxy.statistics(), "/api/v1/groups/0");
    group["places_taken"].as_u64().unwrap()
}

fn eventually_taken(proxy: &Proxy, count: u64) {
    eventually("so many places are taken", || taken(proxy) == count);
}

/// Waits until the health page and `tcpffee status` say that clients were reset for want of a place.
fn eventually_warned(proxy: &Proxy) {
    let why = "because their group had no place for them (group_full, queue_full)";
    eventually("the health page says so", || {
        let health = http::json(proxy.statistics(), "/api/v1/health");
        health["warnings"].to_string().contains(why)
    });
    let status = proxy.subcommand(&["status"]).text;
    assert!(status.contains(why), "{status}");
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
    for figure in [
        "queued{group=\"0\"} 1",
        "places_taken{group=\"0\"} 2",
        "max_connections{group=\"0\"} 2",
    ] {
        let line = format!("\ntcpffee_group_{figure}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    assert_eq!(group["places_taken"], 2);
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
    assert_eq!((queued(&proxy), taken(&proxy)), (0, 2));
    drop((waits, other));
    eventually_taken(&proxy, 0);
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
    assert!(session.queued_ms >= 1_000, "{session:?}");
    assert_eq!(session.connect_ms, None);
    proxy.log.wait("why", |line| {
        line.contains("had no place for it within queue_timeout")
    });
    let metrics = http::get(proxy.statistics(), "/metrics").text();
    let counted = "tcpffee_connections_ended_total{group=\"0\",reason=\"group_full\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
    eventually_warned(&proxy);
    client::exchange(&stays, b"still here").unwrap();
    drop(stays);
    assert_eq!(fleet.served_by(1, PORT), "g0");
}

#[test]
fn another_queue_timeout_holds_for_those_who_come_then() {
    let fleet = Fleet::new(1);
    let set = |seconds: u32| bounded(&fleet, 1).set("queue_timeout", seconds);
    let mut proxy = Proxy::start(&set(600));
    let stays = held(&fleet, 0);
    let before = waiting(&fleet, 1);
    eventually_queued(&proxy, 1);
    proxy.reload_ok(&set(1));
    client::expect_reset(fleet.block.client(2), fleet.listener(PORT));
    let session = proxy.log.wait_session("the one in vain", |_| true);
    assert_eq!(session.end, "group_full");
    assert_eq!(queued(&proxy), 1, "who came before waits on");
    drop(stays);
    assert_eq!(client::read_line(&before).unwrap(), "g0");
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
        // At once: none of them has waited for the other group first.
        let sessions = proxy
            .log
            .wait_sessions(19, "all of them", |session| session.group == Some(1));
        assert!(
            sessions.iter().all(|session| session.queued_ms == 0),
            "{balance}: {sessions:?}"
        );
        // Who is stuck to the full group waits for it.
        let stuck = waiting(&fleet, 0);
        eventually_queued(&proxy, 1);
        drop(stays);
        assert_eq!(client::read_line(&stuck).unwrap(), "g0", "{balance}");
    }
}

/// Two groups of one place each, both taken: the servers' streams by group.
fn both_full(fleet: &Fleet) -> [TcpStream; 2] {
    let streams = [0, 1]
        .map(|client| client::greet(fleet.block.client(client), fleet.listener(PORT)).unwrap());
    let [(one, first), (other, second)] = streams;
    match (one.as_str(), other.as_str()) {
        ("g0", "g1") => [first, second],
        ("g1", "g0") => [second, first],
        both => panic!("{both:?}"),
    }
}

/// A connection that waits, and the group that it waits for.
fn waiting_for(fleet: &Fleet, proxy: &Proxy, client: u32, before: [u64; 2]) -> (TcpStream, usize) {
    let stream = waiting(fleet, client);
    let mut group = None;
    eventually("it waits", || {
        let groups = http::json(proxy.statistics(), "/api/v1/groups");
        let queued = [0, 1].map(|group: usize| groups[group]["queued"].as_u64().unwrap());
        group = [0, 1].into_iter().find(|&at| queued[at] > before[at]);
        group.is_some()
    });
    (stream, group.unwrap())
}

#[test]
fn a_new_client_that_waits_gets_whichever_group_has_room_first() {
    for workers in [1, 4] {
        let fleet = Fleet::new(2);
        let settings = bounded(&fleet, 1)
            .group_set(1, "max_connections", 1)
            .set("workers", workers)
            .set("queue_timeout", 600);
        let mut proxy = Proxy::start(&settings);
        let mut held = both_full(&fleet).map(Some);
        let (new, waits_for) = waiting_for(&fleet, &proxy, 2, [0, 0]);
        let other = 1 - waits_for;
        held[other] = None;
        let name = client::read_line(&new).unwrap();
        assert_eq!(name, format!("g{other}"), "{workers} workers");
        // It is stuck there from now on, and waits for nobody else.
        drop(new);
        assert_eq!(fleet.served_by(2, PORT), name);
        assert_eq!(queued(&proxy), 0);
        // It was a move.
        let metrics = http::get(proxy.statistics(), "/metrics").text();
        let moves = "tcpffee_stick_moves_total 1\n";
        assert!(metrics.contains(moves), "{metrics}");
        drop(held);
        assert_eq!(proxy.stop(), 0);
        proxy.log.wait("the end says so too", |line| {
            line.contains(" 1 moves to another group")
        });
    }
}

#[test]
fn of_the_new_clients_that_wait_the_first_gets_the_room_of_another_group() {
    let fleet = Fleet::new(2);
    let settings = bounded(&fleet, 1)
        .group_set(0, "weight", 1_000_000)
        .group_set(1, "max_connections", 1)
        .set("workers", 1)
        .set("queue_timeout", 600);
    let proxy = Proxy::start(&settings);
    let [_stays, mut with_other] = both_full(&fleet);
    let mut queue = Vec::new();
    for client in 2..8 {
        queue.push(waiting(&fleet, client));
        eventually_queued(&proxy, u64::from(client) - 1); // all of them wait for group 0
    }
    for stream in queue {
        drop(with_other);
        // Had another one been given the room, this would wait in vain.
        assert_eq!(client::read_line(&stream).unwrap(), "g1");
        with_other = stream;
    }
}

#[test]
fn backup_groups_do_not_take_what_the_others_have_no_room_for() {
    let fleet = Fleet::new(2);
    let settings = bounded(&fleet, 1).group_set(1, "backup", true);
    let proxy = Proxy::start(&settings.set("queue_timeout", 60));
    let stays = held(&fleet, 0);
    let waits = waiting(&fleet, 1);
    eventually_queued(&proxy, 1);
    drop(stays);
    assert_eq!(client::read_line(&waits).unwrap(), "g0");
    assert_eq!(fleet.backends[1].accepted(), 0);
}

#[test]
fn a_client_that_has_its_group_waits_for_it_whoever_else_has_room() {
    let fleet = Fleet::new(2);
    let settings = bounded(&fleet, 1)
        .group_set(1, "max_connections", 1)
        .set("queue_timeout", 600);
    let proxy = Proxy::start(&settings);
    let [one, other] = both_full(&fleet);
    // Both connections of a new client have been told one group: it may have no other any more.
    let (first, group) = waiting_for(&fleet, &proxy, 2, [0, 0]);
    let mut before = [0, 0];
    before[group] = 1;
    let (second, same) = waiting_for(&fleet, &proxy, 2, before);
    assert_eq!(same, group, "one key, one group");
    let (its, others) = match group {
        0 => (one, other),
        _ => (other, one),
    };
    drop(others);
    // Several looks for room later both wait still.
    let waited = Instant::now();
    while waited.elapsed() < Duration::from_millis(600) {
        let groups = http::json(proxy.statistics(), "/api/v1/groups");
        assert_eq!(groups[group]["queued"], 2);
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(its);
    let name = format!("g{group}");
    assert_eq!(client::read_line(&first).unwrap(), name);
    drop(first);
    assert_eq!(client::read_line(&second).unwrap(), name);
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
    drop(waits);
    eventually_taken(&proxy, 0);
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
    eventually_warned(&proxy);
    client::reset(queue.pop().unwrap());
    eventually_queued(&proxy, u64::from(MAX_QUEUED) - 1);
    queue.push(waiting(&fleet, 2));
    eventually_queued(&proxy, u64::from(MAX_QUEUED));
    client::exchange(&stays, b"still here").unwrap();
    queue.into_iter().for_each(client::reset);
    eventually_queued(&proxy, 0);
    drop(stays);
    eventually_taken(&proxy, 0);
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
fn who_waits_is_served_where_a_reload_has_moved_the_group_to() {
    let fleet = Fleet::new(3);
    let at = |group: u32, backend: u8| {
        let settings = bounded(&fleet, 1).without_group(2);
        settings
            .group_set(1, "max_connections", 1)
            .group_set(0, "weight", 1_000_000)
            .set("queue_timeout", 600)
            .group_set(group, "portmap", fleet.block.backend(backend).to_string())
    };
    // Once it has a place with the group that it waits for, and once another group has room.
    for (freed, is_stuck) in [(0, true), (1, false)] {
        let mut proxy = Proxy::start(&at(0, 0));
        let mut open = both_full(&fleet).map(Some);
        let client = if is_stuck { 0 } else { 2 };
        let waits = waiting(&fleet, client);
        eventually_queued(&proxy, 1);
        proxy.reload_ok(&at(freed, 2));
        open[freed as usize] = None;
        assert_eq!(client::read_line(&waits).unwrap(), "g2", "group {freed}");
        drop((open, waits));
        assert_eq!(proxy.stop(), 0);
    }
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
    assert_eq!((queued(&proxy), taken(&proxy)), (0, 0));
}

#[test]
fn a_stop_does_not_wait_for_those_who_wait() {
    let fleet = Fleet::new(1);
    // Enough of both for each worker to have some.
    let settings = bounded(&fleet, 8).set("queue_timeout", 60);
    let mut proxy = Proxy::start(&settings.set("shutdown_grace", 1));
    let _stay: Vec<_> = (0..8).map(|client| held(&fleet, client)).collect();
    let _wait: Vec<_> = (8..28).map(|client| waiting(&fleet, client)).collect();
    eventually_queued(&proxy, 20);
    let begun = Instant::now();
    assert_eq!(proxy.stop(), 5, "connections were cut");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let sessions = proxy.log.sessions();
    assert_eq!(sessions.len(), 28);
    assert!(sessions.iter().all(|session| session.end == "shutdown"));
    // The places that were free for a moment were for nobody.
    assert_eq!(fleet.backends[0].accepted(), 8);
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

#[test]
fn however_a_connection_ends_its_place_is_given_back() {
    let [closed, silent, closing] = [5281, 5282, 5283];
    let fleet = Fleet::on_ports(2, &[PORT]);
    let block = &fleet.block;
    let at = |group: u8, port: u16| SocketAddr::new(block.backend(group).into(), port);
    let _silent = Unresponsive::start(at(2, silent));
    let _closing = Backend::closing("closing", block.backend(3), &[closing]);
    let portmap = [
        (PORT, at(0, PORT).to_string()),
        (closed, at(2, closed).to_string()),
        (silent, at(2, silent).to_string()),
        (closing, at(3, closing).to_string()),
    ];
    let settings = bounded(&fleet, 2)
        .ports(&[PORT, closed, silent, closing])
        .group_ports(0, &portmap)
        .group_set(1, "disabled", true)
        .set("connect_timeout", 1)
        .set("queue_timeout", 1)
        .set("idle_timeout", 5);
    let mut proxy = Proxy::start(&settings);
    let from = |client: u32| block.client(client);
    let both = |client: u32| [held(&fleet, client), held(&fleet, client)];

    assert_eq!(fleet.served_by(0, PORT), "g0");
    let finished = client::connect(from(1), fleet.listener(closing)).unwrap();
    client::drain(&finished);
    drop(finished);
    client::reset(held(&fleet, 2));
    client::expect_reset(from(3), fleet.listener(closed));
    let late = client::connect(from(4), fleet.listener(silent)).unwrap();
    let leaves = client::connect(from(5), fleet.listener(silent)).unwrap();
    eventually_taken(&proxy, 2);
    client::reset(leaves);
    client::drain(&late);
    eventually_taken(&proxy, 0);
    let idle = both(6);
    client::reset(waiting(&fleet, 7));
    client::expect_reset(from(8), fleet.listener(PORT));
    for stream in &idle {
        client::drain(stream);
    }
    eventually_taken(&proxy, 0);
    let cut = both(9);
    let resets = settings.clone().group_set(0, "on_disabled", "reset");
    proxy.reload_ok(&resets.group_set(0, "disabled", true));
    for stream in &cut {
        client::drain(stream);
    }
    proxy.reload_ok(&settings);
    let drained = both(10);
    let drains = settings.clone().group_set(0, "drain_timeout", 1);
    proxy.reload_ok(&drains.group_set(0, "drain", true));
    for stream in &drained {
        client::drain(stream);
    }
    proxy.reload_ok(&settings);
    let left = both(11);
    proxy.reload_ok(&settings.clone().without_group(0));
    drop(left);
    proxy
        .log
        .wait_sessions(2, "of a group that is gone", |session| {
            session.key == from(11).to_string()
        });
    proxy.reload_ok(&settings);

    for end in [
        "client_finished",
        "target_finished",
        "client_reset",
        "connect_failed",
        "connect_timeout",
        "group_full",
        "idle_timeout",
        "group_disabled",
        "drain_timeout",
    ] {
        proxy.log.wait_session(end, |session| session.end == end);
    }
    let one = |session: &support::Session| session.end == "client_left";
    proxy.log.wait_sessions(2, "queued and connecting", one);
    eventually_taken(&proxy, 0);
    assert_eq!(queued(&proxy), 0);
}

#[test]
fn who_finds_no_port_or_has_no_valid_header_leaves_no_place_taken() {
    netns::in_new_namespace(|| {
        netns::sysctl("net.ipv4.ip_local_port_range", "40000 40199");
        let fleet = Fleet::new(1);
        let block = fleet.block.address(0, 0);
        let settings = bounded(&fleet, 1_000).set("accept_proxy_from", format!("{block}/16"));
        let mut proxy = Proxy::start(&settings);
        let connect = |port: u16| {
            // Bound below the range: the kernel keeps a bound port from connects of others.
            let from = SocketAddr::new(fleet.block.client(1), port);
            client::connect_from(from, fleet.listener(PORT), |_| Ok(()))
        };
        let silent = connect(10_000).unwrap();
        let wrong = connect(10_001).unwrap();
        (&wrong).write_all(b"hello\r\n").unwrap();
        client::drain(&wrong);
        client::drain(&silent);
        for end in ["proxy_header_invalid", "proxy_header_timeout"] {
            proxy.log.wait_session(end, |session| session.end == end);
        }
        assert_eq!(taken(&proxy), 0);
        proxy.reload_ok(&bounded(&fleet, 1_000));
        let served = |port| {
            let stream = connect(port).ok()?;
            client::read_line(&stream).ok().map(|_| stream)
        };
        let held: Vec<TcpStream> = (10_010..10_400).map_while(served).collect();
        proxy
            .log
            .wait_session("no port", |session| session.end == "no_port");
        let count = u64::try_from(held.len()).unwrap();
        eventually_taken(&proxy, count);
        held.into_iter().for_each(client::reset);
        eventually_taken(&proxy, 0);
    });
}

#[test]
fn who_has_ended_its_side_in_order_while_it_waits_gets_its_answer() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&bounded(&fleet, 1).set("queue_timeout", 60));
    let stays = held(&fleet, 0);
    let waits = waiting(&fleet, 1);
    (&waits).write_all(b"the request").unwrap();
    waits.shutdown(Shutdown::Write).unwrap();
    eventually_queued(&proxy, 1);
    drop(stays);
    assert_eq!(client::read_to_end(&waits).unwrap(), b"g0\nthe request");
    let prefix = format!("{}:", fleet.block.client(1));
    let session = proxy.log.wait_session("the one that waited", |session| {
        session.client.starts_with(&prefix)
    });
    assert_eq!(session.end, "client_finished");
    assert!(
        session.connect_ms.unwrap() >= session.queued_ms,
        "{session:?}"
    );
}

/// Two groups of which each has one connection, its only one, and two of a client that wait for one
/// of them longer than its stick lives, in which neither may be sent elsewhere for want of room: who
/// waits, the connections by group, and the group that is waited for.
fn outlived(
    fleet: &Fleet,
    queue_timeout: u32,
) -> (Proxy, [TcpStream; 2], [Option<TcpStream>; 2], usize) {
    let settings = bounded(fleet, 1).group_set(1, "max_connections", 1);
    let settings = settings
        .set("expiration", 2)
        .set("queue_timeout", queue_timeout);
    let proxy = Proxy::start(&settings);
    let mut open = [None, None];
    for client in 0..2 {
        let (name, stream) =
            client::greet(fleet.block.client(client), fleet.listener(PORT)).unwrap();
        open[usize::from(name == "g1")] = Some(stream);
    }
    let of = |group: usize, count: u64| {
        http::json(proxy.statistics(), &format!("/api/v1/groups/{group}"))["queued"] == count
    };
    let waits = waiting(fleet, 5);
    let group = support::wait::eventually_some("it waits", || {
        [0, 1].into_iter().find(|&group| of(group, 1))
    });
    let another = waiting(fleet, 5);
    eventually("it waits behind", || of(group, 2));
    std::thread::sleep(Duration::from_millis(2_200)); // nothing tells that a stick has lapsed
    (proxy, [waits, another], open, group)
}

#[test]
fn who_has_waited_longer_than_its_stick_lives_is_served_where_it_waited() {
    let fleet = Fleet::new(2);
    let (_proxy, [waits, _another], mut open, group) = outlived(&fleet, 60);
    open[group] = None;
    assert_eq!(client::read_line(&waits).unwrap(), format!("g{group}"));
}

#[test]
fn whose_key_has_gone_elsewhere_while_it_waited_follows_it_and_no_server_sees_it_in_vain() {
    let fleet = Fleet::new(2);
    let (_proxy, [waits, _another], mut open, group) = outlived(&fleet, 60);
    let other = 1 - group;
    open[other] = None;
    let (name, stays) = client::greet(fleet.block.client(5), fleet.listener(PORT)).unwrap();
    assert_eq!(name, format!("g{other}"));
    let accepted = fleet.backends[group].accepted();
    open[group] = None;
    // The place that it was given is another's now.
    let (name, _open) = client::greet(fleet.block.client(9), fleet.listener(PORT)).unwrap();
    assert_eq!(name, format!("g{group}"));
    drop(stays);
    assert_eq!(client::read_line(&waits).unwrap(), format!("g{other}"));
    assert_eq!(fleet.backends[group].accepted(), accepted + 1);
}

#[test]
fn all_waits_of_a_client_together_are_no_longer_than_queue_timeout() {
    let fleet = Fleet::new(2);
    let (proxy, [waits, _another], mut open, group) = outlived(&fleet, 6);
    open[1 - group] = None;
    let (_, _stays) = client::greet(fleet.block.client(5), fleet.listener(PORT)).unwrap();
    std::thread::sleep(Duration::from_millis(2_500)); // most of its time, at the first group
    open[group] = None;
    client::drain(&waits);
    let session = proxy
        .log
        .wait_session("in vain", |session| session.end == "group_full");
    let in_all = 5_900..8_500;
    assert!(in_all.contains(&session.queued_ms), "{session:?}");
}

#[test]
fn bounds_that_come_and_go_while_clients_connect_count_every_connection() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    let (is_over, set) = (
        std::sync::atomic::AtomicBool::new(false),
        bounded(&fleet, 100_000),
    );
    let open: Vec<TcpStream> = std::thread::scope(|scope| {
        let connect = || {
            let mut open = Vec::new();
            for client in 0.. {
                if is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                open.push(held(&fleet, client % 50));
                if open.len() > 50 {
                    open.clear();
                }
            }
            open
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(connect)).collect();
        for _ in 0..15 {
            proxy.reload_ok(&set);
            proxy.reload_ok(&fleet.settings);
        }
        proxy.reload_ok(&set);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    eventually_taken(&proxy, u64::try_from(open.len()).unwrap());
    drop(open);
    eventually_taken(&proxy, 0);
}
