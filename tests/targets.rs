//! Targets beyond one address, in network namespaces: names with several addresses, and connections
//! from several addresses.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use support::client;
use support::health::BlackHole;
use support::host::Host;
use support::wait::eventually;
use support::{Backend, Block, Proxy, Settings, netns};

const PORT: u16 = 5280;
const NAME: &str = "pair.test";

/// Runs `body` on a host of its own, where [`NAME`] is what [`name_is`] makes of it.
fn on_a_host(body: impl FnOnce() + Send + 'static) {
    match Host::new() {
        Ok(host) => host.run(body),
        Err(reason) => support::skip(format_args!("no host: {reason}")),
    }
}

/// Gives the name these addresses on the host of the calling thread.
fn name_is(addresses: &[IpAddr]) {
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    let lines = addresses
        .iter()
        .map(|address| format!("{address} {NAME}\n"));
    fs::write(&hosts, lines.collect::<String>()).unwrap();
    let mut mount = Command::new("mount");
    mount.arg("--bind").arg(&hosts).arg("/etc/hosts");
    let status = mount.status().unwrap();
    assert!(status.success(), "mount: {status}");
}

fn block_with_name() -> (Block, [Ipv4Addr; 2], Settings) {
    let block = Block::claim();
    let pair = [block.backend(0), block.backend(1)];
    name_is(&pair.map(IpAddr::V4));
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .set("balance", "round-robin")
        .group_set(0, "portmap", NAME)
        .group(1, block.backend(7));
    (block, pair, settings)
}

#[test]
fn a_name_with_several_addresses_uses_them_in_turn_on_failed_connects() {
    on_a_host(|| {
        let (block, [one, other], settings) = block_with_name();
        let _other_group = Backend::echo("g1", block.backend(7), &[PORT]);
        let served_by = |client| client::ask(block.client(client), block.listener(PORT));
        let first = Backend::echo("one", one, &[PORT]);
        let proxy = Proxy::start(&settings);
        // Whichever address the resolver puts first: one of the two is nobody's.
        assert_eq!(served_by(0).unwrap(), "one");
        assert_eq!(served_by(1).unwrap(), "g1");
        drop(first);
        let second = Backend::echo("other", other, &[PORT]);
        let mark = proxy.log.mark();
        for client in [0, 0, 2] {
            assert_eq!(served_by(client).unwrap(), "other", "client {client}");
        }
        let next = format!("group 0 does not answer at {one}:{PORT}");
        proxy
            .log
            .wait_after(mark, "the turn of the next address", |line| {
                line.contains(&next) && line.contains(&format!("{other}:{PORT} is tried next"))
            });
        drop(second);
        let _first = Backend::echo("one", one, &[PORT]);
        assert_eq!(served_by(0).unwrap(), "one");
        // It was a success each time: no key moved, no target has failed.
        for session in proxy.log.wait_sessions(6, "all", |_| true) {
            assert_ne!(session.end, "connect_failed");
        }
        let group = support::http::json(proxy.statistics(), "/api/v1/groups/0");
        assert_eq!(group["targets"][0]["connect_failures"], 0);
        assert_eq!(
            group["targets"][0]["address"],
            format!("{one}:{PORT}"),
            "the one in use"
        );
    });
}

#[test]
fn where_no_address_of_a_name_answers_the_group_has_failed() {
    on_a_host(|| {
        let (block, _, settings) = block_with_name();
        let _other_group = Backend::echo("g1", block.backend(7), &[PORT]);
        let proxy = Proxy::start(&settings);
        for client in 0..4 {
            let answer = client::ask(block.client(client), block.listener(PORT));
            assert_eq!(answer.unwrap(), "g1", "a new key goes elsewhere");
        }
        let group = support::http::json(proxy.statistics(), "/api/v1/groups/0");
        let failures = group["targets"][0]["connect_failures"].as_u64().unwrap();
        assert!(
            (1..=4).contains(&failures),
            "{failures}: once for all addresses"
        );
    });
}

/// Of two addresses, the first or the other silent, and a server at the one that is left.
fn one_silent([one, other]: [Ipv4Addr; 2], hole_is_first: bool) -> (BlackHole, Backend) {
    let (hole, lives) = match hole_is_first {
        true => (one, other),
        false => (other, one),
    };
    (
        BlackHole::open(SocketAddr::new(IpAddr::V4(hole), PORT)),
        Backend::echo("alive", lives, &[PORT]),
    )
}

#[test]
fn an_address_that_is_silent_takes_its_share_of_connect_timeout_and_no_more() {
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
    for hole_is_first in [true, false] {
        on_a_host(move || {
            let (block, [one, other], settings) = block_with_name();
            let _one_lives = one_silent([one, other], hole_is_first);
            let settings = settings.set("connect_timeout", CONNECT_TIMEOUT.as_secs_f64());
            let proxy = Proxy::start(&settings.without_group(1));
            let begun = Instant::now();
            for client in 0..3 {
                let answer = client::ask(block.client(client), block.listener(PORT));
                assert_eq!(answer.unwrap(), "alive");
            }
            // The first may have waited for the hole; those after it begin where it ended.
            assert!(begun.elapsed() < CONNECT_TIMEOUT, "{:?}", begun.elapsed());
            for session in proxy.log.wait_sessions(3, "all", |_| true) {
                assert_eq!(session.end, "client_finished");
            }
        });
    }
}

#[test]
fn a_health_check_of_a_name_passes_where_one_of_its_addresses_does() {
    for keys in ["", "http_target = \"/\""] {
        on_a_host(move || {
            let (_block, [one, other], settings) = block_with_name();
            let settings = settings.without_group(1);
            let check = format!("interval = 0.1\ntimeout = 0.1\nfall = 1\nrise = 1\n{keys}");
            let first = Backend::start("one", one, &[PORT], answer_http);
            let proxy = Proxy::start(&settings.check(0, &check));
            let status = || {
                let group = support::http::json(proxy.statistics(), "/api/v1/groups/0");
                group["status"].clone()
            };
            drop(first);
            eventually("no address passes", || status() == "Draining");
            let _second = Backend::start("other", other, &[PORT], answer_http);
            eventually("the second address passes", || status() == "Up");
        });
    }
}

fn answer_http(conn: support::backend::Conn) {
    use std::io::{Read, Write};
    let mut stream: &TcpStream = &conn.stream;
    let _ = stream.read(&mut [0; 1024]);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

/// Held connections to group 0 from as many clients as it takes, until one is reset.
fn fill(block: &Block, port: u16, most: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    loop {
        assert!(held.len() <= most, "more connections than ports");
        // Bound below the range: the kernel keeps a bound port from connects of others.
        let from = SocketAddr::new(block.client(0), 10_000 + held.len() as u16);
        let stream = client::connect_from(from, block.listener(port), |_| Ok(()));
        match stream.and_then(|stream| Ok((client::read_line(&stream)?, stream))) {
            Ok((_, stream)) => held.push(stream),
            Err(error) => {
                assert!(client::is_reset(&error), "{error}");
                return held;
            }
        }
    }
}

#[test]
fn one_target_takes_more_connections_than_one_address_has_ports() {
    netns::in_new_namespace(|| {
        const PORTS_EACH: usize = 50;
        netns::sysctl("net.ipv4.ip_local_port_range", "40000 40049");
        let block = Block::claim();
        let server = Backend::echo("g0", block.backend(0), &[PORT]);
        let _other = Backend::echo("g1", block.backend(1), &[5281]);
        let sources: Vec<String> = (1..=3).map(|at| block.address(9, at).to_string()).collect();
        let settings = Settings::new(&block)
            .ports(&[PORT, 5281])
            .set(
                "bind_source",
                vec![format!("{}-{}", sources[0], sources[1]), sources[2].clone()],
            )
            .group_ports(
                0,
                &[
                    (PORT, format!("{}:{PORT}", block.backend(0))),
                    (5281, format!("{}:5281", block.backend(1))),
                ],
            );
        let proxy = Proxy::start(&settings);
        let held = fill(&block, PORT, 3 * PORTS_EACH);
        assert!(held.len() > 2 * PORTS_EACH, "{} connections", held.len());
        for source in &sources {
            let from = server
                .arrivals()
                .into_iter()
                .filter(|(peer, _)| peer.ip().to_string() == *source);
            let from = from.count();
            assert!(
                (1..=PORTS_EACH).contains(&from),
                "{from} connections from {source}"
            );
        }
        let total = server.arrivals().len();
        assert_eq!(total, held.len(), "all came from these addresses");

        // Exhaustion is called so, counted so, and blames nobody.
        let failed = proxy
            .log
            .wait_session("one in vain", |session| session.end == "no_port");
        assert_eq!(failed.group, Some(0));
        let line = proxy
            .log
            .wait("the log says why", |line| line.contains("no port is left"));
        assert!(
            line.contains("bind_source") && line.contains("all 3 addresses"),
            "{line}"
        );
        let metrics = support::http::get(proxy.statistics(), "/metrics").text();
        let counted = "tcpffee_connections_ended_total{group=\"0\",reason=\"no_port\"} 1";
        assert!(metrics.contains(counted), "{counted}");
        // Another target has ports of its own.
        assert_eq!(
            client::ask(block.client(1), block.listener(5281)).unwrap(),
            "g1"
        );
    });
}

#[test]
fn a_source_that_this_host_does_not_hold_is_refused_at_start_and_reload() {
    netns::in_new_namespace(|| {
        let block = Block::claim();
        let _server = Backend::echo("g0", block.backend(0), &[PORT]);
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .group(0, block.backend(0));
        let refused = ["192.0.2.7", "2001:db8::7"].map(|source| {
            let expected = format!("bind_source: this host does not hold {source}");
            (settings.clone().set("bind_source", source), expected)
        });
        for (elsewhere, expected) in &refused {
            let (code, text) = Proxy::builder(elsewhere).expect_failure();
            assert!(code != 0 && text.contains(expected), "{code}: {text}");
        }
        let mut proxy = Proxy::start(&settings);
        for (elsewhere, expected) in &refused {
            let answer = proxy.reload(elsewhere);
            assert_ne!(answer.code, 0, "{answer:?}");
            proxy
                .log
                .wait("the reload is refused", |line| line.contains(expected));
        }
        assert_eq!(
            client::ask(block.client(0), block.listener(PORT)).unwrap(),
            "g0"
        );
    });
}

#[test]
fn a_source_that_is_gone_is_named_and_the_others_serve() {
    netns::in_new_namespace(|| {
        netns::ip("address add 192.0.2.7/32 dev lo").unwrap();
        netns::ip("address add 192.0.2.8/32 dev lo").unwrap();
        let block = Block::claim();
        let server = Backend::echo("g0", block.backend(0), &[PORT]);
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .set("bind_source", "192.0.2.7-192.0.2.8")
            .group(0, block.backend(0));
        let mut proxy = Proxy::start(&settings);
        netns::ip("address del 192.0.2.8/32 dev lo").unwrap();
        for client in 0..4 {
            let answer = client::ask(block.client(client), block.listener(PORT));
            assert_eq!(answer.unwrap(), "g0");
        }
        let arrivals = server.arrivals();
        assert!(
            arrivals
                .iter()
                .all(|(peer, _)| peer.ip().to_string() == "192.0.2.7")
        );
        proxy.log.wait("the one that is gone is named", |line| {
            line.contains("from 192.0.2.8 (bind_source)")
        });
        // It is asked for again when the key is another one.
        proxy.reload_ok(&settings.set("connect_timeout", 4));
    });
}

#[test]
fn without_any_source_left_a_connection_ends_with_local_error_and_no_target_is_blamed() {
    netns::in_new_namespace(|| {
        netns::ip("address add 192.0.2.7/32 dev lo").unwrap();
        let block = Block::claim();
        let _servers = [0, 1].map(|at| Backend::echo("g", block.backend(at), &[PORT]));
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .set("bind_source", "192.0.2.7")
            .group(0, block.backend(0))
            .group(1, block.backend(1));
        let proxy = Proxy::start(&settings);
        netns::ip("address del 192.0.2.7/32 dev lo").unwrap();
        client::expect_reset(block.client(0), block.listener(PORT));
        let session = proxy.log.wait_session("the one in vain", |_| true);
        assert_eq!(session.end, "local_error");
        let groups = support::http::json(proxy.statistics(), "/api/v1/groups");
        for group in 0..2 {
            assert_eq!(groups[group]["targets"][0]["connect_failures"], 0);
        }
        eventually("the warning", || {
            let health = support::http::json(proxy.statistics(), "/api/v1/health");
            health["warnings"].to_string().contains("(local_error)")
        });
    });
}

#[test]
fn a_source_that_cannot_reach_a_target_is_named_and_is_this_hosts_fault() {
    netns::in_new_namespace(|| {
        for words in [
            "link add far type veth peer name away",
            "address add 198.51.100.1/24 dev far",
            "link set far up",
        ] {
            netns::ip(words).unwrap();
        }
        let block = Block::claim();
        let source = block.address(9, 1);
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .set("bind_source", source.to_string())
            .group_set(0, "portmap", "198.51.100.2");
        let proxy = Proxy::start(&settings);
        // No packet leaves this host from a loopback address.
        client::expect_reset(block.client(0), block.listener(PORT));
        let session = proxy.log.wait_session("the one in vain", |_| true);
        assert_eq!(session.end, "local_error");
        proxy.log.wait("the source is named", |line| {
            line.contains(&format!("from {source} (bind_source)"))
        });
        let group = support::http::json(proxy.statistics(), "/api/v1/groups/0");
        assert_eq!(group["targets"][0]["connect_failures"], 0);
    });
}

#[test]
fn a_reload_changes_where_new_connections_come_from_and_no_open_one() {
    let block = Block::claim();
    let server = Backend::echo("g0", block.backend(0), &[PORT]);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .group(0, block.backend(0));
    let sources = [1, 2].map(|at| block.address(9, at).to_string());
    let from = |at: usize| settings.clone().set("bind_source", sources[at].clone());
    let mut proxy = Proxy::start(&from(0));
    let (_, open) = client::greet(block.client(0), block.listener(PORT)).unwrap();
    for next in [from(1), settings.clone(), from(0)] {
        proxy.reload_ok(&next);
        let answer = client::ask(block.client(1), block.listener(PORT));
        assert_eq!(answer.unwrap(), "g0");
    }
    let arrivals = server.arrivals().into_iter();
    let seen: Vec<String> = arrivals.map(|(peer, _)| peer.ip().to_string()).collect();
    let kernels = "127.0.0.1".to_owned();
    let [one, other] = sources;
    assert_eq!(seen, [one.clone(), other, kernels, one]);
    client::exchange(&open, b"still here").unwrap();
}

#[test]
fn sources_are_of_either_ip_family_and_for_a_family_without_any_the_kernel_chooses() {
    netns::in_new_namespace(|| {
        for last in [5, 7, 8] {
            netns::ip(&format!("address add fd00::{last}/128 dev lo nodad")).unwrap();
        }
        let block = Block::claim();
        let six: IpAddr = "fd00::5".parse().unwrap();
        let by_six = Backend::echo("six", six, &[PORT]);
        let by_four = Backend::echo("four", block.backend(0), &[5281]);
        let portmap = [
            (PORT, format!("[{six}]:{PORT}")),
            (5281, format!("{}:5281", block.backend(0))),
        ];
        let settings = Settings::new(&block)
            .ports(&[PORT, 5281])
            .set("workers", 1)
            .set("bind_source", "fd00::7-fd00::8")
            .group_ports(0, &portmap);
        let _proxy = Proxy::start(&settings);
        for (port, name) in [(PORT, "six"), (PORT, "six"), (5281, "four")] {
            let answer = client::ask(block.client(0), block.listener(port));
            assert_eq!(answer.unwrap(), name);
        }
        let seen = |server: &Backend| -> BTreeSet<String> {
            let arrivals = server.arrivals().into_iter();
            arrivals.map(|(peer, _)| peer.ip().to_string()).collect()
        };
        let both = ["fd00::7", "fd00::8"].map(str::to_owned);
        assert_eq!(seen(&by_six), BTreeSet::from(both), "in turn");
        assert_eq!(seen(&by_four), BTreeSet::from(["127.0.0.1".to_owned()]));
    });
}

#[test]
fn with_freebind_a_source_may_come_later() {
    netns::in_new_namespace(|| {
        netns::ip("address add 192.0.2.7/32 dev lo").unwrap();
        let block = Block::claim();
        let server = Backend::echo("g0", block.backend(0), &[PORT]);
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .set("freebind", true)
            .set("bind_source", "192.0.2.7-192.0.2.8")
            .group(0, block.backend(0));
        let proxy = Proxy::start(&settings);
        proxy.log.wait("the one that is to come is named", |line| {
            line.contains("bind_source: this host does not hold 192.0.2.8 yet")
        });
        let ask = |client| client::ask(block.client(client), block.listener(PORT)).unwrap();
        let sources = || -> BTreeSet<String> {
            let arrivals = server.arrivals().into_iter();
            arrivals.map(|(peer, _)| peer.ip().to_string()).collect()
        };
        (0..4).for_each(|client| assert_eq!(ask(client), "g0"));
        assert_eq!(sources(), BTreeSet::from(["192.0.2.7".to_owned()]));
        netns::ip("address add 192.0.2.8/32 dev lo").unwrap();
        (0..8).for_each(|client| assert_eq!(ask(client), "g0"));
        assert!(sources().contains("192.0.2.8"));
    });
}

#[test]
fn exhausted_ports_are_warned_of_for_a_while() {
    netns::in_new_namespace(|| {
        netns::sysctl("net.ipv4.ip_local_port_range", "40000 40009");
        let block = Block::claim();
        let _server = Backend::echo("g0", block.backend(0), &[PORT]);
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .set("bind_source", block.address(9, 1).to_string())
            .group(0, block.backend(0));
        let proxy = Proxy::start(&settings);
        let _held = fill(&block, PORT, 12);
        for port in 10_000..10_050 {
            let from = SocketAddr::new(block.client(1), port);
            match client::connect_from(from, block.listener(PORT), |_| Ok(())) {
                Ok(stream) => assert_eq!(client::drain(&stream).0, 0),
                Err(error) => assert!(client::is_reset(&error), "{error}"),
            }
        }
        proxy
            .log
            .wait_sessions(51, "in vain", |session| session.end == "no_port");
        let log = proxy.log.lines();
        let lines = log.iter().filter(|line| line.contains("no port is left"));
        let lines = lines.count();
        assert!((1..10).contains(&lines), "{lines} lines for 51 connections");
        netns::sysctl("net.ipv4.ip_local_port_range", "40000 49999"); // for the test itself
        eventually("the warning", || {
            let health = support::http::json(proxy.statistics(), "/api/v1/health");
            let warnings = health["warnings"].as_array().unwrap();
            let is_told = |line: &serde_json::Value| {
                let line = line.as_str().unwrap();
                line.contains("every source port towards a target was in use (no_port)")
            };
            warnings.iter().any(is_told)
        });
    });
}

/// A client of each IP family, and where it connects to.
fn ask_by_family(block: &Block, is_ipv6: bool) -> std::io::Result<String> {
    let here = IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
    match is_ipv6 {
        true => client::ask(here, SocketAddr::new(here, PORT)),
        false => client::ask(block.client(0), block.listener(PORT)),
    }
}

#[test]
fn a_transparent_group_reaches_each_client_at_the_address_of_its_own_ip_family() {
    for six_first in [false, true] {
        on_a_host(move || reaches_each_family(six_first));
    }
}

fn reaches_each_family(six_first: bool) {
    netns::ip("address add fd00::5/128 dev lo nodad").unwrap();
    let block = Block::claim();
    let (four, six) = (IpAddr::V4(block.backend(0)), "fd00::5".parse().unwrap());
    let here = IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
    let settings = Settings::new(&block)
        .bind(&[block.listener(PORT).ip(), here])
        .ports(&[PORT])
        .set("expiration", 0.001)
        .group_set(0, "portmap", NAME)
        .group_set(0, "transparent", true);
    name_is(&if six_first { [six, four] } else { [four, six] });
    let by_four = Backend::echo("four", four, &[PORT]);
    let by_six = Backend::echo("six", six, &[PORT]);
    let proxy = Proxy::start(&settings);
    for _ in 0..3 {
        assert_eq!(ask_by_family(&block, false).unwrap(), "four");
        assert_eq!(ask_by_family(&block, true).unwrap(), "six");
    }
    assert!(
        by_four
            .arrivals()
            .iter()
            .all(|(peer, _)| peer.ip() == block.client(0))
    );
    assert!(by_six.arrivals().iter().all(|(peer, _)| peer.ip() == here));
    // Where its own does not answer, the other is not asked, and the target is to blame.
    drop(by_four);
    client::expect_reset(block.client(0), block.listener(PORT));
    let end = proxy.log.wait_session("the refused one", |session| {
        !session.end.ends_with("finished")
    });
    assert_eq!(end.end, "connect_failed");
    assert_eq!(by_six.arrivals().len(), 3);
}

#[test]
fn a_new_client_goes_to_a_transparent_group_that_can_see_it() {
    on_a_host(|| {
        netns::ip("address add fd00::5/128 dev lo nodad").unwrap();
        let block = Block::claim();
        let here = IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
        let _four = Backend::echo("four", block.backend(0), &[PORT]);
        let six: IpAddr = "fd00::5".parse().unwrap();
        let _six = Backend::echo("six", six, &[PORT]);
        let settings = Settings::new(&block)
            .bind(&[block.listener(PORT).ip(), here])
            .ports(&[PORT])
            .set("expiration", 0.001)
            .set("balance", "round-robin")
            .group(0, block.backend(0))
            .group_set(0, "transparent", true)
            .group_set(1, "portmap", "fd00::5")
            .group_set(1, "transparent", true);
        let proxy = Proxy::start(&settings);
        for _ in 0..6 {
            assert_eq!(ask_by_family(&block, false).unwrap(), "four");
            assert_eq!(ask_by_family(&block, true).unwrap(), "six");
        }
        let groups = support::http::json(proxy.statistics(), "/api/v1/groups");
        for group in 0..2 {
            assert_eq!(groups[group]["targets"][0]["connect_failures"], 0);
        }
    });
}

#[test]
fn a_group_that_comes_back_gets_new_keys_by_and_by() {
    const KEYS: u32 = 40;
    let block = Block::claim();
    let servers = [0, 1].map(|at| Backend::echo(&format!("g{at}"), block.backend(at), &[PORT]));
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .set("balance", "round-robin")
        .group(0, block.backend(0))
        .group(1, block.backend(1))
        .group_set(1, "slow_start", 3600);
    let mut proxy = Proxy::start(&settings);
    let mut clients = 0..;
    let mut given_to_g1 = |keys: u32| {
        let asked = clients.by_ref().take(keys as usize);
        let names = asked.map(|client| client::ask(block.client(client), block.listener(PORT)));
        let names = names.map(Result::unwrap);
        names.filter(|name| name == servers[1].name()).count() as u32
    };
    let left = |proxy: &Proxy| {
        let group = support::http::json(proxy.statistics(), "/api/v1/groups/1");
        group["slow_start_seconds_left"].as_f64()
    };
    assert_eq!(given_to_g1(KEYS), KEYS / 2, "not at the start");
    assert_eq!(left(&proxy), None);
    // Nor by a reload, which finds it Up.
    proxy.reload_ok(&settings.clone().set("connect_timeout", 4));
    assert_eq!(left(&proxy), None);
    assert_eq!(given_to_g1(KEYS), KEYS / 2);

    // An operator takes it out and in; a check, and a reload, do the same to a status.
    assert_eq!(proxy.subcommand(&["drain", "1"]).code, 0);
    assert_eq!(given_to_g1(KEYS), 0);
    assert_eq!(proxy.subcommand(&["enable", "1"]).code, 0);
    proxy.log.wait("it is back", |line| {
        line.contains("group 1: Draining -> Up")
    });
    assert!(given_to_g1(KEYS) <= KEYS / 10, "a hundredth of its share");
    let seconds = left(&proxy).unwrap();
    assert!((3_500.0..=3_600.0).contains(&seconds), "{seconds}");
    let metrics = support::http::get(proxy.statistics(), "/metrics").text();
    let told = "\ntcpffee_group_slow_start_seconds{group=\"1\"} ";
    let rest = metrics
        .split(told)
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let seconds: f64 = rest.unwrap().parse().unwrap();
    assert!((3_500.0..=3_600.0).contains(&seconds), "{seconds}");
    let known = client::ask(block.client(1), block.listener(PORT)).unwrap();
    assert_eq!(known, "g1", "it keeps the keys that it has");

    // The time is live: with less of it the share is whole.
    proxy.reload_ok(&settings.clone().group_set(1, "slow_start", 0.001));
    assert_eq!(left(&proxy), None);
    let share = given_to_g1(KEYS);
    assert!(share.abs_diff(KEYS / 2) <= 2, "{share}");

    // A group that a reload adds begins in the same way.
    proxy.reload_ok(&settings.clone().without_group(1));
    proxy.reload_ok(&settings);
    assert!(given_to_g1(KEYS) <= KEYS / 10);
}

#[test]
fn a_group_that_a_check_or_a_reload_brings_back_starts_slowly() {
    let block = Block::claim();
    let _other = Backend::echo("g0", block.backend(0), &[PORT]);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .group(0, block.backend(0))
        .group(1, block.backend(1))
        .group_set(1, "slow_start", 3600)
        .check(1, "interval = 0.1\nfall = 1\nrise = 1");
    let server = Backend::echo("g1", block.backend(1), &[PORT]);
    let mut proxy = Proxy::start(&settings);
    let has = |proxy: &Proxy, status: &str, is_slow: bool| {
        let group = support::http::json(proxy.statistics(), "/api/v1/groups/1");
        group["status"] == status && group["slow_start_seconds_left"].is_number() == is_slow
    };
    assert!(has(&proxy, "Up", false));
    drop(server);
    eventually("the check fails", || has(&proxy, "Draining", false));
    let _server = Backend::echo("g1", block.backend(1), &[PORT]);
    eventually("it passes again", || has(&proxy, "Up", true));
    proxy.reload_ok(&settings.clone().group_set(1, "slow_start", 0.001));
    assert!(has(&proxy, "Up", false));
    proxy.reload_ok(&settings.clone().group_set(1, "drain", true));
    assert!(has(&proxy, "Draining", false));
    proxy.reload_ok(&settings);
    assert!(has(&proxy, "Up", true));
}

#[test]
fn a_health_check_of_a_name_asks_the_next_address_where_one_is_silent() {
    for hole_is_first in [true, false] {
        on_a_host(move || {
            let (_block, [one, other], settings) = block_with_name();
            let _one_lives = one_silent([one, other], hole_is_first);
            let settings = settings.without_group(1);
            let proxy = Proxy::start(&settings.check(0, "interval = 2\ntimeout = 2"));
            let check = || {
                let checks = support::http::json(proxy.statistics(), "/api/v1/healthchecks");
                checks[0]["targets"][0].clone()
            };
            eventually("some pass", || check()["passed"].as_u64() > Some(1));
            assert_eq!(check()["failed"], 0);
        });
    }
}
