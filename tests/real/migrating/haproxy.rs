//! From HAProxy: `stick on src` and `option httpchk`.

use std::time::Duration;

use super::old::{HAPROXY, Haproxy};
use super::*;
use crate::support::guide::changed;
use crate::support::health::Ward;

const BEFORE: &str = "# Before: /etc/haproxy/haproxy.cfg";
const AFTER: &str = "# After: /etc/tcpffee/tcpffee.toml, in place of stick on src";
const CHECK_BEFORE: &str = "# Before: /etc/haproxy/haproxy.cfg with an HTTP check";
const CHECK_AFTER: &str = "# After: /etc/tcpffee/tcpffee.toml with an HTTP check";
/// Several times the shortened expiration.
const A_WHILE: Duration = Duration::from_secs(4);

#[test]
fn a_client_of_haproxy_has_one_server_on_all_ports_and_so_it_has_here() {
    in_guide(HAPROXY, || {
        let _servers = servers();
        let old = Haproxy::start(&block(BEFORE), &PORTS);
        assert_spread(&PORTS);
        drop(old);
        let _proxy = tcpffee(AFTER);
        assert_spread(&PORTS);
    });
}

#[test]
fn a_drained_server_of_haproxy_keeps_its_clients_and_so_it_does_here() {
    in_guide(HAPROXY, || {
        let _servers = servers();
        let old = Haproxy::start(&block(BEFORE), &PORTS);
        assert_drains(&PORTS, || {
            let answer = old.order("set server licences/alder state drain");
            assert_eq!(answer.trim(), "");
        });
        drop(old);
        let proxy = tcpffee(AFTER);
        assert_drains(&PORTS, || {
            let answer = proxy.subcommand(&["drain", "alder"]);
            assert_eq!(answer.code, 0, "{}", answer.text);
        });
    });
}

#[test]
fn clients_of_a_server_that_fails_leave_it_for_good_with_haproxy_and_here() {
    in_guide(HAPROXY, || {
        let mut servers = servers();
        let old = Haproxy::start(&block(BEFORE), &PORTS);
        assert_leaves_for_good(&mut servers, &PORTS);
        drop(old);
        let _proxy = tcpffee(AFTER);
        assert_leaves_for_good(&mut servers, &PORTS);
    });
}

#[test]
fn an_open_connection_holds_an_entry_here_and_not_with_haproxy() {
    in_guide(HAPROXY, || {
        let _servers = servers();
        let text = changed(&block(BEFORE), "expire 300s", "expire 1s");
        let old = Haproxy::start(&text, &PORTS);
        let (_, stream) = open(0, PORTS[0]);
        eventually("HAProxy stores the entry, and forgets it", || {
            old.entries() == 0
        });
        client::exchange(&stream, b"still open").unwrap();
        drop((stream, old));

        let text = changed(&block(AFTER), "expiration = 300", "expiration = 1");
        let _proxy = tcpffee_with(&text, &State::new());
        let (_, stream) = open(0, PORTS[0]);
        let total = || http::json(STATISTICS, "/api/v1/stick_table")["total"].clone();
        assert!(!holds_within(A_WHILE, || total() != 1), "{}", total());
        client::exchange(&stream, b"still open").unwrap();
    });
}

#[test]
fn a_restart_or_reload_empties_the_table_of_haproxy_and_not_that_of_tcpffee() {
    in_guide(HAPROXY, || {
        let _servers = servers();
        let old = Haproxy::start(&block(BEFORE), &PORTS);
        servers_of(CLIENTS, &PORTS);
        assert_eq!(old.entries(), CLIENTS);
        drop(old);
        let old = Haproxy::start(&block(BEFORE), &PORTS);
        assert_eq!(old.entries(), 0, "after a restart");
        servers_of(CLIENTS, &PORTS);
        assert_eq!(old.entries(), CLIENTS);
        old.reload(&block(BEFORE));
        eventually("the table is empty after a reload", || {
            old.entries_if_asked() == Some(0)
        });
        drop(old);

        let state = State::new();
        let mut proxy = tcpffee_with(&block(AFTER), &state);
        let before = servers_of(CLIENTS, &PORTS);
        let answer = proxy.subcommand(&["reload"]);
        assert_eq!(answer.code, 0, "{}", answer.text);
        assert_eq!(servers_of(CLIENTS, &PORTS), before);
        assert_eq!(proxy.stop(), 0);
        let _proxy = tcpffee_with(&block(AFTER), &state);
        // In another order: a table that were empty would give other servers.
        for client in (0..CLIENTS).rev() {
            let name = server_of(client, &PORTS);
            assert_eq!(name, before[client as usize], "client {client}");
        }
    });
}

/// Alder says that it is not well: its open connection is cut, and its client goes elsewhere.
fn assert_cut_and_moved(alder: &Ward) {
    let (client, stream) = open_at("alder", PORTS[0]);
    alder.set_well(false);
    client::drain(&stream);
    let name = eventually_some("another serves it", || ask(client, PORTS[0]));
    assert_eq!(name, "birch");
}

#[test]
fn a_server_that_answers_503_loses_its_connections_with_haproxy_and_here() {
    in_guide(HAPROXY, || {
        let _servers = servers();
        let [alder, _birch] = ["alder", "birch"].map(|name| Ward::start(place(name)));
        let old = Haproxy::start(&block(CHECK_BEFORE), &PORTS[..1]);
        assert_cut_and_moved(&alder);
        drop(old);
        alder.set_well(true);
        let _proxy = tcpffee(CHECK_AFTER);
        assert_cut_and_moved(&alder);
    });
}

/// How many new clients get two servers when they come to two ports at once.
fn torn_apart(clients: std::ops::Range<u32>) -> usize {
    let is_torn = |client: &u32| {
        let start = std::sync::Barrier::new(2);
        let go = |port| {
            start.wait();
            ask(*client, port).unwrap_or_else(|| panic!("client {client} on {port}"))
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| go(PORTS[0]));
            let second = go(PORTS[1]);
            first.join().unwrap() != second
        })
    };
    clients.filter(is_torn).count()
}

#[test]
fn two_first_connections_at_once_may_part_with_haproxy_and_never_here() {
    in_guide(HAPROXY, || {
        let _servers = servers();
        let old = Haproxy::start(&block(BEFORE), &PORTS);
        println!(
            "HAProxy: {} of 500 clients have two servers",
            torn_apart(0..500)
        );
        drop(old);
        let _proxy = tcpffee(AFTER);
        assert_eq!(torn_apart(0..500), 0);
    });
}

#[test]
fn one_failure_at_the_start_is_enough_for_haproxy_and_not_here() {
    in_guide(HAPROXY, || {
        // Nobody is at alder's place.
        let _servers = ["birch", "cedar"].map(server);
        let text = changed(&block(BEFORE), "fall 3", "fall 1000");
        let old = Haproxy::start(&text, &PORTS);
        eventually("alder is DOWN", || {
            let statistics = old.order("show stat");
            let mut lines = statistics.lines();
            lines.any(|line| line.starts_with("licences,alder,") && line.contains(",DOWN,"))
        });
        drop(old);
        let proxy = tcpffee(AFTER);
        proxy.log.wait("alder is out", |line| {
            line.contains("(alder): Up -> Disabled") && line.contains("failed 3 times in a row")
        });
    });
}
