//! Transparent proxying where every address is this host's: what servers see, who is refused, and
//! what is said where the capability is missing. The way of the answers is in `transparent_routes`.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV6};

use crate::support;
use rustix::thread::{CapabilitySet, capabilities};
use support::client::{self, StreamEnd};
use support::{Backend, Block, Fleet, Proxy, Settings, http, netns};
use tcpffee::proxy_protocol;

const PORT: u16 = 5280;

/// Starts a command that may have no address but its own.
const WITHOUT_CAPABILITIES: [&str; 4] = [
    "setpriv",
    "--bounding-set",
    "-net_admin,-net_raw",
    "--inh-caps=-net_admin,-net_raw",
];

/// Whether this process may do what the tests ask for; where not, they are skipped.
fn is_able() -> bool {
    let mine = capabilities(None).is_ok_and(|sets| {
        let either = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
        sets.effective.intersects(either)
    });
    if !mine {
        support::skip("no capability for transparent proxying");
    }
    mine
}

fn transparent(fleet: &Fleet) -> Settings {
    fleet.settings.clone().group_set(0, "transparent", true)
}

/// The addresses that a server has seen, in order.
fn seen(backend: &Backend) -> Vec<IpAddr> {
    backend
        .arrivals()
        .iter()
        .map(|(peer, _)| peer.ip())
        .collect()
}

#[test]
fn the_server_sees_the_clients_address_and_a_port_of_the_kernels_choice() {
    if !is_able() {
        return;
    }
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&transparent(&fleet));
    let mut expected = Vec::new();
    for number in [1, 2, 1, 3] {
        assert_eq!(fleet.served_by(number, PORT), "g0");
        expected.push(fleet.block.client(number));
    }
    assert_eq!(seen(&fleet.backends[0]), expected);
    // One client port towards two listened ports of one target: the client's own would be taken.
    let from = SocketAddr::new(fleet.block.client(4), 10_000);
    let open: Vec<_> = [PORT, 5281]
        .map(|port| {
            let reuse = |socket: &socket2::Socket| socket.set_reuse_address(true);
            let stream = client::connect_from(from, fleet.listener(port), reuse).unwrap();
            assert_eq!(client::read_line(&stream).unwrap(), "g0");
            stream
        })
        .into();
    for (peer, _) in &fleet.backends[0].arrivals()[4..] {
        assert_eq!(peer.ip(), from.ip());
    }
    drop(open);
    let ends = proxy.log.wait_sessions(6, "all", |_| true);
    assert!(ends.iter().all(|session| session.group == Some(0)));
}

#[test]
fn a_reload_changes_what_new_connections_show_and_no_open_one() {
    if !is_able() {
        return;
    }
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let (_, open) = client::greet(fleet.block.client(1), fleet.listener(PORT)).unwrap();
    proxy.reload_ok(&transparent(&fleet));
    assert_eq!(fleet.served_by(2, PORT), "g0");
    proxy.reload_ok(&fleet.settings);
    assert_eq!(fleet.served_by(3, PORT), "g0");
    let expected = [local, fleet.block.client(2), local];
    assert_eq!(seen(&fleet.backends[0]), expected);
    client::exchange(&open, b"still here").unwrap();
}

#[test]
fn only_the_groups_that_ask_for_it_are_transparent_and_health_checks_are_not() {
    if !is_able() {
        return;
    }
    let fleet = Fleet::new(2);
    let settings = transparent(&fleet)
        .set("balance", "round-robin")
        .check(0, "interval = 0.05\nport = 5282");
    let _proxy = Proxy::start(&settings);
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let names: Vec<String> = (0..4).map(|client| fleet.served_by(client, PORT)).collect();
    for (number, name) in (0..4).zip(&names) {
        let (backend, expected) = match name.as_str() {
            "g0" => (&fleet.backends[0], fleet.block.client(number)),
            _ => (&fleet.backends[1], local),
        };
        assert!(
            seen(backend).contains(&expected),
            "client {number} of {name}"
        );
    }
    assert!(names.contains(&"g0".to_owned()) && names.contains(&"g1".to_owned()));
    assert!(!seen(&fleet.backends[1]).contains(&fleet.block.client(1)));
    support::eventually("some checks", || fleet.backends[0].accepted() > 5);
    for (peer, port) in fleet.backends[0].arrivals() {
        assert_eq!(port == 5282, peer.ip() == local, "{peer} on {port}");
    }
}

#[test]
fn a_link_local_client_keeps_its_interface() {
    if !is_able() {
        return;
    }
    netns::in_new_namespace(|| {
        for last in [1, 5, 12] {
            netns::ip(&format!("address add fe80::{last:x}/64 dev lo nodad")).unwrap();
        }
        // The loopback interface is the first of every network.
        let on_lo = |last: u16, port: u16| {
            let ip = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
            SocketAddr::from(SocketAddrV6::new(ip, port, 0, 1))
        };
        let block = Block::claim();
        let server = Backend::echo("g0", Ipv6Addr::UNSPECIFIED, &[7000]);
        let settings = Settings::new(&block)
            .bind(&[Ipv6Addr::UNSPECIFIED.into()])
            .ports(&[PORT])
            .group_ports(0, &[(PORT, on_lo(5, 7000).to_string())])
            .group_set(0, "transparent", true);
        let proxy = Proxy::start(&settings);
        let stream = client::connect_from(on_lo(12, 0), on_lo(1, PORT), |_| Ok(())).unwrap();
        assert_eq!(client::read_line(&stream).unwrap(), "g0");
        let own = stream.local_addr().unwrap();
        drop(stream);
        assert_eq!(seen(&server), [own.ip()]);
        let session = proxy.log.wait_session("its session", |_| true);
        assert_eq!(session.client, own.to_string());
        assert!(session.client.starts_with("[fe80::c%1]:"), "{own}");
    });
}

#[test]
fn a_client_of_another_family_is_reset_counted_and_named() {
    if !is_able() {
        return;
    }
    let fleet = Fleet::new(1);
    let port = fleet.block.port(0);
    let v6: IpAddr = "::1".parse().unwrap();
    let target = format!("{}:{PORT}", fleet.block.backend(0));
    let settings = fleet
        .settings
        .clone()
        .bind(&[v6, fleet.block.proxy().into()])
        .ports(&[port])
        .group_ports(0, &[(port, target.clone())])
        .group_set(0, "transparent", true)
        // The place of who is reset is free again.
        .group_set(0, "max_connections", 1);
    let proxy = Proxy::start(&settings);
    client::expect_reset(v6, SocketAddr::new(v6, port));
    let session = proxy.log.wait_session("the one refused", |_| true);
    assert_eq!(session.end, "not_transparent");
    assert_eq!(session.group, Some(0));
    proxy.log.wait("who, and where to", |line| {
        line.contains("[::1]:") && line.contains(&target) && line.contains("(transparent)")
    });
    let page = http::get(proxy.statistics(), "/metrics").text();
    let figure = "tcpffee_connections_ended_total{group=\"0\",reason=\"not_transparent\"} 1";
    assert!(page.contains(figure), "{page}");
    assert_eq!(fleet.backends[0].accepted(), 0);
    // No target is blamed, and the other family is served.
    assert!(!proxy.log.text().contains("does not answer"));
    assert_eq!(fleet.served_by(1, port), "g0");
}

#[test]
fn the_client_is_who_a_proxy_header_names_or_nobody() {
    netns::in_new_namespace(|| {
        netns::ip("route add local 203.0.113.0/24 dev lo").unwrap();
        let fleet = Fleet::new(1);
        let front = fleet.block.client(0);
        let settings = transparent(&fleet).set("accept_proxy_from", format!("{front}/32"));
        let proxy = Proxy::start(&settings);
        let send = |header: &[u8]| {
            let stream = client::connect(front, fleet.listener(PORT)).unwrap();
            (&stream).write_all(header).unwrap();
            stream
        };
        for (header, expected) in [
            (
                "PROXY TCP4 203.0.113.9 198.51.100.9 5 80\r\n",
                "203.0.113.9",
            ),
            ("PROXY UNKNOWN\r\n", &front.to_string()),
        ] {
            let stream = send(header.as_bytes());
            assert_eq!(client::read_line(&stream).unwrap(), "g0");
            stream.shutdown(Shutdown::Write).unwrap();
            let last = *seen(&fleet.backends[0]).last().unwrap();
            assert_eq!(last, expected.parse::<IpAddr>().unwrap());
        }
        // Addresses that no host has: for most of them the kernel would take this host's own.
        netns::ip("address add 192.0.2.1/24 broadcast 192.0.2.255 dev lo").unwrap();
        for nobody in [
            [0, 0, 0, 0],
            [0, 1, 2, 3],
            [224, 0, 0, 1],
            [255, 255, 255, 255],
            BROADCAST,
        ] {
            assert_eq!(
                client::drain(&send(&named(nobody))),
                (0, StreamEnd::Reset),
                "{nobody:?}"
            );
            let shown = format!("{}:5", Ipv4Addr::from(nobody));
            let session = proxy
                .log
                .wait_session("the one refused", |session| session.client == shown);
            assert_eq!(session.end, "not_transparent");
        }
        assert_eq!(fleet.backends[0].accepted(), 2);
        assert!(!proxy.log.text().contains("does not answer"));
        // Next to it there is a host.
        netns::ip("route add local 192.0.2.254 dev lo").unwrap();
        let stream = send(&named([192, 0, 2, 254]));
        assert_eq!(client::read_line(&stream).unwrap(), "g0");
    });
}

/// The broadcast address of a network of the tests' hosts.
const BROADCAST: [u8; 4] = [192, 0, 2, 255];

/// A header that names this client.
fn named(client: [u8; 4]) -> Vec<u8> {
    let client = SocketAddr::from((client, 5));
    let to = SocketAddr::from(([198, 51, 100, 9], 80));
    proxy_protocol::v1(proxy_protocol::Addresses::new(client, to))
}

#[test]
fn a_header_that_names_a_broadcast_address_leads_a_new_key_to_another_group() {
    netns::in_new_namespace(|| {
        netns::ip("address add 192.0.2.1/24 broadcast 192.0.2.255 dev lo").unwrap();
        let fleet = Fleet::new(2);
        let front = fleet.block.client(0);
        let settings = transparent(&fleet)
            .set("accept_proxy_from", format!("{front}/32"))
            .set("balance", "round-robin")
            .group_set(0, "weight", 100);
        let proxy = Proxy::start(&settings);
        let stream = client::connect(front, fleet.listener(PORT)).unwrap();
        (&stream).write_all(&named(BROADCAST)).unwrap();
        assert_eq!(client::read_line(&stream).unwrap(), "g1");
        let metrics = http::get(proxy.statistics(), "/metrics").text();
        assert!(
            metrics.contains("tcpffee_stick_moves_total 1\n"),
            "{metrics}"
        );
        assert_eq!(fleet.backends[0].accepted(), 0);
        let group = http::json(proxy.statistics(), "/api/v1/groups/0");
        assert_eq!(group["targets"][0]["connect_failures"], 0);
    });
}

#[test]
fn who_cannot_be_seen_waits_for_no_place() {
    netns::in_new_namespace(|| {
        netns::ip("address add 192.0.2.1/24 broadcast 192.0.2.255 dev lo").unwrap();
        let fleet = Fleet::new(1);
        let front = fleet.block.client(0);
        let settings = transparent(&fleet)
            .set("accept_proxy_from", format!("{front}/32"))
            .set("queue_timeout", 3_600)
            .group_set(0, "max_connections", 1);
        let proxy = Proxy::start(&settings);
        let (_open, _) = client::greet(fleet.block.client(1), fleet.listener(PORT)).unwrap();
        for nobody in [[255, 255, 255, 255], BROADCAST] {
            let stream = client::connect(front, fleet.listener(PORT)).unwrap();
            (&stream).write_all(&named(nobody)).unwrap();
            assert_eq!(client::drain(&stream), (0, StreamEnd::Reset), "{nobody:?}");
        }
        let ends = proxy
            .log
            .wait_sessions(2, "both", |session| session.end == "not_transparent");
        assert!(ends.iter().all(|session| session.queued_ms == 0));
    });
}

#[test]
fn a_connect_of_a_client_to_itself_is_refused() {
    netns::in_new_namespace(|| {
        // With two ports to choose from, connects to one of them meet themselves half the time.
        netns::sysctl("net.ipv4.ip_local_port_range", "40000 40001");
        let block = Block::claim();
        let target = format!("{}:40000", block.client(0));
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .group_ports(0, &[(PORT, target)])
            .group_set(0, "transparent", true);
        let proxy = Proxy::start(&settings);
        for number in 0..40 {
            let from = SocketAddr::new(block.client(0), 10_000 + number);
            let stream = client::connect_from(from, block.listener(PORT), |_| Ok(()));
            if let Ok(stream) = stream {
                // A relay to itself would send this back.
                match (&stream).write_all(b"anybody there?") {
                    Ok(()) => assert_eq!(client::drain(&stream), (0, StreamEnd::Reset)),
                    Err(error) => assert!(client::is_reset(&error), "{error}"),
                }
            }
        }
        for session in proxy.log.wait_sessions(40, "all of them", |_| true) {
            let expected = ["connect_failed", "no_port"];
            assert!(expected.contains(&session.end.as_str()), "{session:?}");
        }
    });
}

#[test]
fn without_a_free_port_no_target_is_blamed_and_the_log_names_the_client() {
    netns::in_new_namespace(|| {
        netns::sysctl("net.ipv4.ip_local_port_range", "40000 40003");
        let fleet = Fleet::new(1);
        let proxy = Proxy::start(&transparent(&fleet));
        let to = fleet.listener(PORT);
        // The ports of one client are used up, and no other client's.
        let connect = |to: SocketAddr, number: u32, port: u16| {
            let from = SocketAddr::new(fleet.block.client(number), port);
            let stream = client::connect_from(from, to, |_| Ok(()))?;
            client::read_line(&stream).map(|_| stream)
        };
        let held: Vec<_> = (10_000..10_020)
            .map_while(|port| connect(to, 1, port).ok())
            .collect();
        assert!((1..=4).contains(&held.len()), "{} connections", held.len());
        let failed = proxy
            .log
            .wait_session("one in vain", |session| session.end == "no_port");
        assert_eq!(failed.group, Some(0));
        let client = fleet.block.client(1);
        proxy.log.wait("who it was", |line| {
            line.contains(&format!("every port of {client} (transparent) is in use"))
        });
        connect(to, 2, 10_000).unwrap();
        // A port that is in use towards one target is free towards another.
        connect(fleet.listener(5281), 1, 10_100).unwrap();
        assert!(!proxy.log.text().contains("does not answer"));
    });
}

#[test]
fn without_the_capability_the_start_fails_and_names_setting_and_remedy() {
    if !is_able() {
        return;
    }
    let fleet = Fleet::new(1);
    for (settings, named) in [
        (transparent(&fleet), "groups.0.transparent = true needs"),
        (
            fleet.settings.clone().set("transparent_listen", true),
            "transparent_listen = true needs",
        ),
    ] {
        let builder = Proxy::builder(&settings).wrapped(&WITHOUT_CAPABILITIES);
        let (code, said) = builder.expect_failure();
        assert_eq!(code, 3, "{said}");
        for words in [named, "CAP_NET_ADMIN or CAP_NET_RAW", "transparent.conf"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}

#[test]
fn without_the_capability_a_reload_is_refused_and_all_goes_on() {
    if !is_able() {
        return;
    }
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::builder(&fleet.settings)
        .wrapped(&WITHOUT_CAPABILITIES)
        .start();
    let listening = fleet.settings.clone().set("transparent_listen", true);
    for (settings, named) in [
        (transparent(&fleet), "groups.0.transparent = true needs"),
        (listening, "transparent_listen = true needs"),
    ] {
        let answer = proxy.reload(&settings);
        assert_ne!(answer.code, 0, "{}", answer.text);
        assert!(answer.text.contains(named), "{}", answer.text);
        assert!(answer.text.contains("CAP_NET_ADMIN"), "{}", answer.text);
        assert_eq!(fleet.served_by(1, PORT), "g0");
    }
    // What does not ask for it is taken.
    proxy.reload_ok(&fleet.settings.clone().set("connect_timeout", 4));
}
