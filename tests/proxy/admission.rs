//! Whose connections are taken: `allow`, `deny`, and how much one client may have.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support;
use support::backend::Unresponsive;
use support::{Backend, Fleet, Proxy, client, eventually, http, netns, parallel};

const PORT: u16 = 5280;
/// Connections one after the other, as fast as one client makes them.
const MANY: u32 = 10_000;

/// Connections that ended for a reason before a group was given to them.
fn refused(proxy: &Proxy, reason: &str) -> u64 {
    let name = format!("tcpffee_connections_ended_total{{group=\"none\",reason=\"{reason}\"}}");
    metric(proxy, &name)
}

/// The value of a series.
fn metric(proxy: &Proxy, series: &str) -> u64 {
    let text = http::get(proxy.statistics(), "/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    let value = line.unwrap_or_else(|| panic!("{series} is not told:\n{text}"));
    value.trim().parse().unwrap()
}

/// Lines of the log that tell of a refusal for this reason.
fn told(proxy: &Proxy, why: &str) -> usize {
    let is_told = |line: &&String| line.contains("is reset: ") && line.contains(why);
    proxy.log.lines().iter().filter(is_told).count()
}

/// One after the other, each must be reset.
fn all_reset(fleet: &Fleet, client: u32, count: u32) {
    for _ in 0..count {
        client::expect_reset(fleet.block.client(client), fleet.listener(PORT));
    }
}

#[test]
fn a_client_that_is_denied_is_reset_and_everybody_else_is_served() {
    let fleet = Fleet::new(1);
    let denied = fleet.block.client(0).to_string();
    let proxy = Proxy::start(&fleet.settings.clone().set("deny", denied));
    all_reset(&fleet, 0, 3);
    assert_eq!(fleet.served_by(1, PORT), "g0");
    let session = proxy.log.wait_session("a denied one", |_| true);
    assert_eq!((session.end.as_str(), session.group), ("denied", None));
    eventually("all are counted", || refused(&proxy, "denied") == 3);
    assert_eq!(fleet.backends[0].accepted(), 1, "no target met one");
}

#[test]
fn who_is_not_allowed_is_reset_and_deny_prevails() {
    let fleet = Fleet::new(1);
    let [one, other] = [0, 1].map(|client| fleet.block.client(client).to_string());
    let settings = fleet.settings.clone();
    let settings = settings.set("allow", vec![one, other.clone()]);
    let proxy = Proxy::start(&settings.set("deny", vec![other]));
    assert_eq!(fleet.served_by(0, PORT), "g0");
    all_reset(&fleet, 2, 1);
    let why = "its address is not to be served (it is not in allow)";
    eventually("the log names the list", || told(&proxy, why) == 1);
    all_reset(&fleet, 1, 1);
    eventually("both are counted", || refused(&proxy, "denied") == 2);
}

#[test]
fn ten_thousand_denied_connections_are_all_counted_and_hardly_logged() {
    let fleet = Fleet::new(1);
    let denied = fleet.block.client(0).to_string();
    let proxy = Proxy::start(&fleet.settings.clone().set("deny", denied));
    let before = proxy.settled_descriptors();
    all_reset(&fleet, 0, MANY);
    eventually("all are counted", || {
        refused(&proxy, "denied") == u64::from(MANY)
    });
    let lines = told(&proxy, "its address is not to be served (it is in deny)");
    assert!((1..20).contains(&lines), "{lines} lines");
    assert_eq!(fleet.backends[0].accepted(), 0);
    assert_eq!(fleet.served_by(1, PORT), "g0");
    eventually("all descriptors are closed", || {
        proxy.descriptors() <= before + 8
    });
}

#[test]
fn a_flood_of_one_refusal_leaves_the_others_their_lines_in_the_log() {
    let fleet = Fleet::new(1);
    let denied = fleet.block.client(0).to_string();
    let settings = fleet.settings.clone().set("deny", denied);
    let proxy = Proxy::start(&settings.set("max_connections_per_client", 1));
    all_reset(&fleet, 0, 100);
    let _held = open(&fleet, 1, 1);
    all_reset(&fleet, 1, 1);
    eventually("the log has a line of each", || {
        ["(it is in deny)", "(max_connections_per_client)"]
            .iter()
            .all(|why| told(&proxy, why) > 0)
    });
}

#[test]
fn a_reload_changes_who_is_served_and_cuts_nobody() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    let (_, open) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    let denied = fleet.block.client(0).to_string();
    proxy.reload_ok(&fleet.settings.clone().set("deny", denied));
    all_reset(&fleet, 0, 1);
    client::exchange(&open, b"still here").unwrap();
    proxy.reload_ok(&fleet.settings);
    assert_eq!(fleet.served_by(0, PORT), "g0");
    client::exchange(&open, b"still here").unwrap();
}

/// So many connections of a client, each with its server.
fn open(fleet: &Fleet, client: u32, count: u32) -> Vec<TcpStream> {
    let greet = |_| client::greet(fleet.block.client(client), fleet.listener(PORT));
    (0..count)
        .map(greet)
        .map(|greeted| greeted.unwrap().1)
        .collect()
}

/// Waits until a client is served again.
fn eventually_served(fleet: &Fleet, client: u32) {
    eventually("the client is served", || fleet.ask(client, PORT).is_ok());
}

/// Waits until a client is refused: a worker that has not looked at a reload yet does not know what
/// the others have counted.
fn eventually_refused(fleet: &Fleet, client: u32) {
    eventually("the client is refused", || fleet.ask(client, PORT).is_err());
}

#[test]
fn a_client_has_as_many_connections_as_it_may_over_all_workers() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&fleet.settings.clone().set("max_connections_per_client", 5));
    let mut held = open(&fleet, 0, 5);
    all_reset(&fleet, 0, 3);
    assert_eq!(
        fleet.served_by(1, PORT),
        "g0",
        "another client is not concerned"
    );
    let session = proxy
        .log
        .wait_session("a refused one", |session| session.group.is_none());
    assert_eq!(session.end, "client_connections");
    assert_eq!(told(&proxy, "(max_connections_per_client)"), 1);
    held.pop();
    eventually_served(&fleet, 0);
    for stream in &held {
        client::exchange(stream, b"still here").unwrap();
    }
}

#[test]
fn ten_thousand_connections_beyond_the_bound_are_refused_and_none_is_left_behind() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&fleet.settings.clone().set("max_connections_per_client", 2));
    let held = open(&fleet, 0, 2);
    all_reset(&fleet, 0, MANY);
    eventually("all are counted", || {
        refused(&proxy, "client_connections") == u64::from(MANY)
    });
    let lines = told(&proxy, "(max_connections_per_client)");
    assert!((1..20).contains(&lines), "{lines} lines");
    assert_eq!(metric(&proxy, "tcpffee_clients_tracked"), 1);
    drop(held);
    eventually("nobody is counted", || {
        metric(&proxy, "tcpffee_clients_tracked") == 0
    });
    assert_eq!(fleet.served_by(0, PORT), "g0");
}

#[test]
fn ten_thousand_connections_one_at_a_time_meet_no_bound() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&fleet.settings.clone().set("max_connections_per_client", 1));
    for _ in 0..MANY {
        assert_eq!(fleet.served_by(0, PORT), "g0");
    }
    assert_eq!(refused(&proxy, "client_connections"), 0);
}

#[test]
fn a_client_that_connects_too_fast_is_reset_until_its_time_has_come() {
    let fleet = Fleet::new(1);
    let rate = "max_new_connections_per_second_per_client";
    let mut proxy = Proxy::start(&fleet.settings.clone().set(rate, 0.01));
    assert_eq!(fleet.served_by(0, PORT), "g0");
    all_reset(&fleet, 0, 3);
    assert_eq!(
        fleet.served_by(1, PORT),
        "g0",
        "another client is not concerned"
    );
    let session = proxy
        .log
        .wait_session("a refused one", |session| session.group.is_none());
    assert_eq!(session.end, "client_rate");
    assert_eq!(
        told(&proxy, "(max_new_connections_per_second_per_client)"),
        1
    );
    // Another rate holds at once, and so does none.
    proxy.reload_ok(&fleet.settings.clone().set(rate, 1));
    eventually_served(&fleet, 1);
    proxy.reload_ok(&fleet.settings);
    assert_eq!(fleet.served_by(0, PORT), "g0");
    assert_eq!(fleet.served_by(0, PORT), "g0");
}

#[test]
fn of_ten_thousand_fast_connections_the_rate_lets_its_share_in() {
    const RATE: f64 = 50.0;
    let fleet = Fleet::new(1);
    let settings = fleet.settings.clone();
    let settings = settings.set("max_new_connections_per_second_per_client", RATE);
    let proxy = Proxy::start(&settings);
    let begun = Instant::now();
    let served = (0..MANY).filter(|_| fleet.ask(0, PORT).is_ok()).count();
    let share = begun.elapsed().as_secs_f64() * RATE;
    // A burst of one second's worth, and the rate for as long as it took.
    let most = RATE + share + 2.0;
    assert!(
        served as f64 >= RATE && served as f64 <= most,
        "{served} of {most}"
    );
    eventually("all others are counted", || {
        refused(&proxy, "client_rate") == u64::from(MANY) - served as u64
    });
    let lines = told(&proxy, "(max_new_connections_per_second_per_client)");
    assert!((1..20).contains(&lines), "{lines} lines");
}

#[test]
fn a_rate_holds_over_all_workers_together() {
    const RATE: u32 = 1_000;
    let fleet = Fleet::new(1);
    let settings = fleet.settings.clone().set("workers", 4);
    let settings = settings.set("max_new_connections_per_second_per_client", RATE);
    let proxy = Proxy::start(&settings);
    let begun = Instant::now();
    let asked: u32 = parallel(16, 16, |_| {
        let mut asked = 0;
        while begun.elapsed() < Duration::from_secs(3) {
            let _ = fleet.ask(0, PORT);
            asked += 1;
        }
        asked
    })
    .into_iter()
    .sum();
    let took = begun.elapsed().as_secs_f64();
    let served = fleet.backends[0].accepted();
    let most = f64::from(RATE) * (1.0 + took) + 10.0;
    assert!(
        (served as f64) <= most,
        "{served} of {asked} in {took} s, {most} at most"
    );
    eventually("all others are counted", || {
        refused(&proxy, "client_rate") == u64::from(asked) - served as u64
    });
}

#[test]
fn who_is_refused_for_its_rate_does_not_count_in_its_connections() {
    let fleet = Fleet::new(1);
    let bounded = fleet.settings.clone().set("max_connections_per_client", 2);
    let rate = "max_new_connections_per_second_per_client";
    let mut proxy = Proxy::start(&bounded.clone().set(rate, 0.001));
    let mut held = open(&fleet, 0, 1);
    all_reset(&fleet, 0, 5);
    assert_eq!(refused(&proxy, "client_connections"), 0);
    proxy.reload_ok(&bounded);
    held.extend(open(&fleet, 0, 1));
    all_reset(&fleet, 0, 1);
    eventually("all are counted", || {
        refused(&proxy, "client_rate") == 5 && refused(&proxy, "client_connections") == 1
    });
    held.clear();
    eventually("nobody is counted", || {
        metric(&proxy, "tcpffee_clients_tracked") == 0
    });
}

#[test]
fn clients_whose_rate_is_forgotten_early_are_counted() {
    // With three times as many as there are sets of eight places, some sets have nine of them.
    const CLIENTS: u32 = 24_000;
    let fleet = Fleet::new(1);
    let balancer = fleet.block.client(0);
    let settings = fleet.settings.clone().group_set(0, "disabled", true);
    let settings = settings.set("accept_proxy_from", balancer.to_string());
    let rate = "max_new_connections_per_second_per_client";
    let proxy = Proxy::start(&settings.set(rate, 0.001));
    let forgotten = "tcpffee_client_rates_forgotten_total";
    assert_eq!(metric(&proxy, forgotten), 0);
    parallel(16, CLIENTS, |number| {
        let client = Ipv4Addr::from(0x0a00_0000 + number);
        let mut stream = client::connect(balancer, fleet.listener(PORT)).unwrap();
        let header = format!("PROXY TCP4 {client} 192.0.2.1 40000 5280\r\n");
        stream.write_all(header.as_bytes()).unwrap();
        client::drain(&stream);
    });
    assert_eq!(refused(&proxy, "no_group"), u64::from(CLIENTS));
    let count = metric(&proxy, forgotten);
    assert!((1..u64::from(CLIENTS) / 2).contains(&count), "{count}");
}

#[test]
fn bounds_changed_by_a_reload_count_what_is_open_and_cut_nobody() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    let mut held = open(&fleet, 0, 3);
    let most = |max: u32| {
        fleet
            .settings
            .clone()
            .set("max_connections_per_client", max)
    };
    proxy.reload_ok(&most(3));
    eventually_refused(&fleet, 0);
    proxy.reload_ok(&most(4));
    eventually_served(&fleet, 0);
    proxy.reload_ok(&most(1));
    for stream in &held {
        client::exchange(stream, b"still here").unwrap();
    }
    held.truncate(1);
    eventually("two have ended", || fleet.backends[0].open() == 1);
    eventually_refused(&fleet, 0);
    held.clear();
    eventually_served(&fleet, 0);
    // Without the bound, and with it again: nothing is counted twice or kept.
    held.extend(open(&fleet, 0, 1));
    proxy.reload_ok(&fleet.settings);
    held.extend(open(&fleet, 0, 1));
    proxy.reload_ok(&most(2));
    eventually_refused(&fleet, 0);
    held.clear();
    eventually("nobody is counted", || {
        metric(&proxy, "tcpffee_clients_tracked") == 0
    });
}

#[test]
fn however_a_connection_ends_its_client_counts_it_no_longer() {
    let [closed, silent, closing, unmapped] = [5281, 5282, 5283, 5284];
    let fleet = Fleet::on_ports(1, &[PORT]);
    let block = &fleet.block;
    let at = |group: u8, port: u16| SocketAddr::new(block.backend(group).into(), port);
    let _silent = Unresponsive::start(at(1, silent));
    let _closing = Backend::closing("closing", block.backend(2), &[closing]);
    let portmap = [
        (PORT, at(0, PORT).to_string()),
        (closed, at(1, closed).to_string()),
        (silent, at(1, silent).to_string()),
        (closing, at(2, closing).to_string()),
    ];
    let settings = fleet.settings.clone();
    let settings = settings
        .ports(&[PORT, closed, silent, closing, unmapped])
        .group_ports(0, &portmap)
        .group_set(0, "on_disabled", "reset")
        .set("connect_timeout", 1)
        .set("idle_timeout", 2)
        .set("max_connections_per_client", 2);
    let mut proxy = Proxy::start(&settings);
    let from = |client: u32| block.client(client);

    assert_eq!(fleet.served_by(0, PORT), "g0");
    let finished = client::connect(from(1), fleet.listener(closing)).unwrap();
    client::drain(&finished);
    drop(finished);
    client::reset(client::greet(from(2), fleet.listener(PORT)).unwrap().1);
    client::expect_reset(from(3), fleet.listener(closed));
    client::expect_reset(from(4), fleet.listener(unmapped));
    let late = client::connect(from(5), fleet.listener(silent)).unwrap();
    client::reset(client::connect(from(6), fleet.listener(silent)).unwrap());
    client::drain(&late);
    let held = open(&fleet, 7, 2);
    all_reset(&fleet, 7, 1);
    for stream in &held {
        client::drain(stream);
    }
    let cut = open(&fleet, 8, 2);
    proxy.reload_ok(&settings.clone().group_set(0, "disabled", true));
    for stream in &cut {
        client::drain(stream);
    }

    for end in [
        "client_finished",
        "target_finished",
        "client_reset",
        "connect_failed",
        "no_group",
        "connect_timeout",
        "client_left",
        "client_connections",
        "idle_timeout",
        "group_disabled",
    ] {
        proxy.log.wait_session(end, |session| session.end == end);
    }
    eventually("nobody is counted", || {
        metric(&proxy, "tcpffee_clients_tracked") == 0
    });
}

#[test]
fn an_ipv6_client_is_as_many_bits_as_keys_have() {
    netns::in_new_namespace(|| {
        let [one, same, other] = ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1"];
        for address in [one, same, other] {
            netns::ip(&format!("address add {address}/128 dev lo nodad")).unwrap();
        }
        let [one, same, other] = [one, same, other].map(|ip| ip.parse::<IpAddr>().unwrap());
        let fleet = Fleet::new(1);
        let listener = SocketAddr::new("::1".parse().unwrap(), PORT);
        let settings = fleet.settings.clone().bind(&[listener.ip()]);
        let settings = settings.set("key_ipv6_prefix", 64);
        let rate = "max_new_connections_per_second_per_client";
        for limited in [
            settings.clone().set("max_connections_per_client", 1),
            settings.clone().set(rate, 0.001),
        ] {
            let _proxy = Proxy::start(&limited);
            let (_, held) = client::greet(one, listener).unwrap();
            client::expect_reset(same, listener);
            assert_eq!(client::ask(other, listener).unwrap(), "g0");
            client::exchange(&held, b"still here").unwrap();
        }
    });
}

#[test]
fn a_rate_is_waited_for_and_not_longer() {
    let fleet = Fleet::new(1);
    let settings = fleet.settings.clone();
    let settings = settings.set("max_new_connections_per_second_per_client", 0.5);
    let _proxy = Proxy::start(&settings);
    let begun = Instant::now();
    assert_eq!(fleet.served_by(0, PORT), "g0");
    eventually_served(&fleet, 0);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1_900), "{took:?}");
}

#[test]
fn a_connection_whose_header_comes_after_a_reload_is_counted_once_with_its_client() {
    let fleet = Fleet::new(1);
    let balancer = fleet.block.client(0);
    let settings = fleet.settings.clone();
    let settings = settings.set("accept_proxy_from", balancer.to_string());
    let mut proxy = Proxy::start(&settings);
    let comes = || client::connect(balancer, fleet.listener(PORT)).unwrap();
    let introduce = |mut stream: &TcpStream| {
        let header = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 5280\r\n";
        stream.write_all(header).unwrap();
        client::read_line(stream)
    };
    let served = comes();
    introduce(&served).unwrap();
    let waiting = comes();
    eventually("both are there", || {
        metric(&proxy, "tcpffee_open_connections") == 2
    });
    let most = |max: u32| settings.clone().set("max_connections_per_client", max);
    proxy.reload_ok(&most(2));
    eventually("the one that is served is counted", || {
        metric(&proxy, "tcpffee_clients_tracked") == 1
    });
    introduce(&waiting).unwrap();
    eventually("a third is refused", || introduce(&comes()).is_err());
    drop(served);
    eventually("there is room for one", || introduce(&comes()).is_ok());
    drop(waiting);
    eventually("nobody is counted", || {
        metric(&proxy, "tcpffee_clients_tracked") == 0
    });
}

#[test]
fn a_client_named_by_a_proxy_header_is_judged_by_the_address_in_it() {
    let fleet = Fleet::new(1);
    let balancer = fleet.block.client(0);
    let settings = fleet.settings.clone();
    let settings = settings.set("accept_proxy_from", balancer.to_string());
    let settings = settings.set("deny", "203.0.113.7");
    let proxy = Proxy::start(&settings.set("max_connections_per_client", 1));
    let comes = |client: &str| {
        let mut stream = client::connect(balancer, fleet.listener(PORT)).unwrap();
        let header = format!("PROXY TCP4 {client} 192.0.2.1 40000 5280\r\n");
        stream.write_all(header.as_bytes()).unwrap();
        client::read_line(&stream).map(|name| (name, stream))
    };
    assert!(comes("203.0.113.7").is_err(), "it is denied");
    let (name, held) = comes("203.0.113.8").unwrap();
    assert_eq!(name, "g0");
    assert!(comes("203.0.113.8").is_err(), "it has a connection already");
    let (_, other) = comes("203.0.113.9").unwrap();
    eventually("both refusals are counted", || {
        refused(&proxy, "denied") == 1 && refused(&proxy, "client_connections") == 1
    });
    assert_eq!(metric(&proxy, "tcpffee_clients_tracked"), 2);
    drop((held, other));
    eventually("nobody is counted", || {
        metric(&proxy, "tcpffee_clients_tracked") == 0
    });
}
