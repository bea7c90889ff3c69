//! The PROXY protocol: headers that name the client (`accept_proxy_from`), headers that tell the
//! server of it (`groups.N.send_proxy`), and both at once.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::support;
use rustix::process::Signal;
use support::client::{self, StreamEnd};
use support::{Backend, Block, Fleet, PATIENCE, Proxy, Settings, http, process};
use tcpffee::proxy_protocol::{self, Addresses, LOCAL_V1, LOCAL_V2, MAX_HEADER_BYTES, Tlvs};

const PORT: u16 = 5280;

/// A client's connection as a balancer in front would tell of it.
fn told(client: u8) -> Addresses {
    let source = SocketAddr::from((Ipv4Addr::new(203, 0, 113, client), 56_324));
    Addresses::new(source, SocketAddr::from(([198, 51, 100, 9], 443)))
}

fn v2(addresses: Addresses) -> Vec<u8> {
    proxy_protocol::v2(addresses, &Tlvs::default())
}

/// Version 2 over IPv4 with these TLVs.
fn v2_with(addresses: Addresses, tlvs: &[u8]) -> Vec<u8> {
    let mut header = v2(addresses);
    let length = u16::try_from(12 + tlvs.len()).unwrap();
    header[14..16].copy_from_slice(&length.to_be_bytes());
    header.extend_from_slice(tlvs);
    header
}

/// Settings under which the clients of a test speak for others.
fn accepting(fleet: &Fleet) -> Settings {
    let block = fleet.block.address(0, 0);
    fleet
        .settings
        .clone()
        .set("accept_proxy_from", format!("{block}/16"))
}

/// Connects and sends each piece by itself.
fn send(fleet: &Fleet, port: u16, pieces: &[&[u8]]) -> TcpStream {
    let stream = client::connect(fleet.block.client(0), fleet.listener(port)).unwrap();
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            // So that the proxy meets the pieces one by one; where it does not, nothing is lost.
            std::thread::sleep(Duration::from_millis(2));
        }
        (&stream).write_all(piece).unwrap();
    }
    stream
}

/// Who answers, and the echo of all that arrived at the server.
fn finish(stream: &TcpStream) -> (String, Vec<u8>) {
    let name = client::read_line(stream).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    (name, client::read_to_end(stream).unwrap())
}

fn exchange(fleet: &Fleet, port: u16, pieces: &[&[u8]]) -> (String, Vec<u8>) {
    finish(&send(fleet, port, pieces))
}

#[test]
fn the_address_of_a_header_is_the_clients_and_its_key() {
    let fleet = Fleet::new(3);
    let proxy = Proxy::start(&accepting(&fleet).set("balance", "round-robin"));
    let first: Vec<String> = (1..=30)
        .map(|number| {
            let header = proxy_protocol::v1(told(number));
            let (name, echo) = exchange(&fleet, PORT, &[&header, b"hello"]);
            assert_eq!(echo, b"hello", "the header is not forwarded");
            name
        })
        .collect();
    let met: BTreeSet<&String> = first.iter().collect();
    assert_eq!(met.len(), 3, "one connection's address, all groups");
    for number in 1..=30 {
        let header = v2(told(number));
        let stream = [&header[..], b"hello"].concat();
        let (name, echo) = exchange(&fleet, 5281, &[&stream]);
        assert_eq!(echo, b"hello");
        assert_eq!(name, first[usize::from(number) - 1], "client {number}");
    }
    let sessions = proxy
        .log
        .wait_sessions(2, "of client 7", |s| s.client == "203.0.113.7:56324");
    for session in sessions {
        assert_eq!(session.key, "203.0.113.7");
        assert_eq!((session.bytes_in, session.bytes_out), (5, 8));
        assert_eq!(session.end, "client_finished");
    }
}

#[test]
fn a_server_that_speaks_first_speaks_to_a_client_that_has_sent_its_header_alone() {
    let fleet = Fleet::new(1);
    let _proxy = Proxy::start(&accepting(&fleet));
    for header in [proxy_protocol::v1(told(1)), v2(told(1))] {
        let stream = send(&fleet, PORT, &[&header]);
        assert_eq!(client::read_line(&stream).unwrap(), "g0");
        client::exchange(&stream, b"and then").unwrap();
    }
}

#[test]
fn from_anywhere_else_a_header_is_bytes_like_others() {
    let fleet = Fleet::new(1);
    let settings = fleet
        .settings
        .clone()
        .set("accept_proxy_from", "192.0.2.0/24");
    let proxy = Proxy::start(&settings);
    for header in [
        proxy_protocol::v1(told(1)),
        v2(told(1)),
        v2(told(1))[..9].to_vec(),
    ] {
        assert_eq!(exchange(&fleet, PORT, &[&header]).1, header);
    }
    let own = fleet.block.client(0).to_string();
    proxy
        .log
        .wait_sessions(3, "by their own address", |s| s.key == own);
}

#[test]
fn a_header_may_be_split_anywhere() {
    let fleet = Fleet::new(1);
    let _proxy = Proxy::start(&accepting(&fleet));
    for header in [
        proxy_protocol::v1(told(1)),
        v2_with(told(1), &[5, 0, 3, 1, 2, 3]),
    ] {
        let stream = [&header[..], b"data"].concat();
        for at in 1..stream.len() {
            let (_, echo) = exchange(&fleet, PORT, &[&stream[..at], &stream[at..]]);
            assert_eq!(echo, b"data", "split at {at}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(exchange(&fleet, PORT, &bytes).1, b"data");
    }
}

#[test]
fn headers_that_name_nobody_leave_the_connections_own_address() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&accepting(&fleet));
    let line = b"PROXY UNKNOWN ffff:: whatever this is\r\n";
    for header in [LOCAL_V1, LOCAL_V2, line] {
        assert_eq!(exchange(&fleet, PORT, &[header, b"data"]).1, b"data");
    }
    let own = fleet.block.client(0).to_string();
    let sessions = proxy
        .log
        .wait_sessions(3, "by their own address", |s| s.key == own);
    for session in sessions {
        assert!(session.client.starts_with(&format!("{own}:")));
    }
}

#[test]
fn the_longest_header_and_much_behind_it_arrive() {
    let fleet = Fleet::new(1);
    let _proxy = Proxy::start(&accepting(&fleet));
    let header = v2_with(told(1), &[&[0xE0, 0x0F, 0xE1][..], &[9; 4065]].concat());
    assert_eq!(header.len(), MAX_HEADER_BYTES);
    let data: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let stream = send(&fleet, PORT, &[&header]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&data).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        client::read_line(&stream).unwrap();
        assert!(client::read_to_end(&stream).unwrap() == data);
    });
}

#[test]
fn a_connection_without_a_valid_header_is_reset_for_that_reason() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&accepting(&fleet));
    let mut too_long = v2(told(1));
    too_long[14..16].copy_from_slice(&4081_u16.to_be_bytes());
    let mut wrong_sum = v2_with(told(1), &[3, 0, 4, 0, 0, 0, 0]);
    wrong_sum[20] ^= 1;
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    let bad: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 203.0.113.1 198.51.100.9 56324\r\n",
        b"PROXY TCP4 203.0.113.1 198.51.100.9 56324 443\n",
        &endless,
        &too_long,
        &wrong_sum,
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
    ];
    for (number, bytes) in bad.iter().enumerate() {
        let stream = send(&fleet, PORT, &[bytes]);
        assert_eq!(client::drain(&stream), (0, StreamEnd::Reset), "{number}");
    }
    // An end within the header.
    let stream = send(&fleet, PORT, &[&v2(told(1))[..20]]);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client::drain(&stream), (0, StreamEnd::Reset));
    // An end before it is somebody who looked whether the port is open.
    drop(send(&fleet, PORT, &[]));
    proxy.log.wait_sessions(8, "refused", |session| {
        session.end == "proxy_header_invalid" && session.group.is_none() && session.bytes_in == 0
    });
    proxy
        .log
        .wait_session("one that looked", |s| s.end == "client_left");
    proxy.log.wait("the reason", |line| {
        line.contains(
            "is reset: it has no valid PROXY protocol header (accept_proxy_from): it does not \
             begin with a PROXY protocol header",
        )
    });
    let metrics = http::get(proxy.statistics(), "/metrics").text();
    let counted =
        "tcpffee_connections_ended_total{group=\"none\",reason=\"proxy_header_invalid\"} 8";
    assert!(metrics.contains(counted), "{metrics}");
    assert_eq!(fleet.backends[0].accepted(), 0, "no server hears of them");
}

#[test]
fn networks_and_limits_are_about_the_client_that_the_header_names() {
    let fleet = Fleet::new(1);
    let settings = accepting(&fleet)
        .set("deny", "203.0.113.1")
        .set("max_connections_per_client", 1);
    let proxy = Proxy::start(&settings);
    // The balancer itself may have as many connections as it has clients.
    let held = send(&fleet, PORT, &[&v2(told(2))]);
    client::read_line(&held).unwrap();
    assert!(!exchange(&fleet, PORT, &[&v2(told(3))]).0.is_empty());
    for refused in [1, 2] {
        let stream = send(&fleet, PORT, &[&v2(told(refused))]);
        assert_eq!(client::drain(&stream), (0, StreamEnd::Reset), "{refused}");
    }
    proxy
        .log
        .wait_session("denied", |session| session.end == "denied");
    proxy.log.wait_session("beyond its limit", |session| {
        session.end == "client_connections"
    });
}

#[test]
fn a_denied_host_speaks_for_nobody() {
    let fleet = Fleet::new(1);
    let [denied, other] = [0, 1].map(|number| fleet.block.client(number));
    let settings = accepting(&fleet);
    let mut proxy = Proxy::start(&settings.clone().set("deny", denied.to_string()));
    // What it has to say is not waited for, and may find it gone.
    client::expect_reset(denied, fleet.listener(PORT));
    let told_at_once = client::connect(denied, fleet.listener(PORT))
        .and_then(|mut stream| stream.write_all(&v2(told(1))).map(|()| stream));
    match told_at_once {
        Ok(stream) => assert_eq!(client::drain(&stream), (0, StreamEnd::Reset)),
        Err(error) => assert!(client::is_reset(&error), "{error}"),
    }
    let own = format!("{denied}:");
    let sessions = proxy.log.wait_sessions(2, "denied", |s| s.end == "denied");
    for session in sessions {
        assert!(session.client.starts_with(&own), "{session:?}");
    }
    let through = |balancer: IpAddr, header: &[u8]| {
        let stream = client::connect(balancer, fleet.listener(PORT)).unwrap();
        (&stream).write_all(header).unwrap();
        client::read_line(&stream)
    };
    assert_eq!(through(other, &v2(told(1))).unwrap(), "g0");
    proxy.reload_ok(&settings);
    assert_eq!(through(denied, &v2(told(1))).unwrap(), "g0");
    // `allow` is about clients, and a balancer is one only of its own connections.
    proxy.reload_ok(&settings.clone().set("allow", "203.0.113.0/24"));
    assert_eq!(through(denied, &v2(told(1))).unwrap(), "g0");
    assert!(through(denied, LOCAL_V2).is_err());
    assert_eq!(fleet.backends[0].accepted(), 3);
}

#[test]
fn a_network_of_balancers_may_be_spelled_in_the_form_of_ipv6() {
    let fleet = Fleet::new(1);
    let network = format!("::ffff:{}/112", fleet.block.address(0, 0));
    let settings = fleet.settings.clone().set("accept_proxy_from", network);
    let _proxy = Proxy::start(&settings);
    let (_, echo) = exchange(&fleet, PORT, &[&v2(told(1)), b"data"]);
    assert_eq!(echo, b"data");
}

/// The same as [`told`], of a client in an IPv6 network by itself.
fn told_v6(network: u16, host: u16) -> Addresses {
    let source = Ipv6Addr::new(0x2001, 0xdb8, 7, network, 0, 0, 0, host);
    let destination = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 1);
    Addresses::new((source, 56_324).into(), (destination, 443).into())
}

#[test]
fn the_ipv6_address_of_a_header_is_the_clients_and_its_key() {
    let fleet = Fleet::new(3);
    let settings = accepting(&fleet)
        .set("balance", "round-robin")
        .set("key_ipv6_prefix", 64)
        .set("deny", "2001:db8:7:d::/64");
    let proxy = Proxy::start(&settings);
    let first: Vec<String> = (1..=9)
        .map(|network| {
            let header = proxy_protocol::v1(told_v6(network, 1));
            assert!(header.starts_with(b"PROXY TCP6 2001:db8:7:"));
            let (name, echo) = exchange(&fleet, PORT, &[&header, b"hello"]);
            assert_eq!(echo, b"hello");
            name
        })
        .collect();
    let met: BTreeSet<&String> = first.iter().collect();
    assert_eq!(met.len(), 3, "one connection's address, all groups");
    for (network, expected) in (1..).zip(&first) {
        // Another host of the network, by the other version, on another port.
        let whole = [&v2(told_v6(network, 2))[..], b"hello"].concat();
        let (name, echo) = exchange(&fleet, 5281, &[&whole]);
        assert_eq!((&name, &echo[..]), (expected, &b"hello"[..]), "{network}");
    }
    for host in [1, 2] {
        let client = format!("[2001:db8:7:5::{host}]:56324");
        let session = proxy
            .log
            .wait_session(&client, |session| session.client == client);
        assert_eq!(session.key, "2001:db8:7:5::");
    }
    for header in [proxy_protocol::v1(told_v6(0xd, 1)), v2(told_v6(0xd, 2))] {
        let stream = send(&fleet, PORT, &[&header]);
        assert_eq!(client::drain(&stream), (0, StreamEnd::Reset));
    }
    proxy
        .log
        .wait_sessions(2, "denied", |session| session.end == "denied");
}

#[test]
fn balancers_of_either_family_speak_for_clients_of_either() {
    let block = Block::claim();
    let port = block.port(0);
    let _backend = Backend::echo("g0", block.backend(0), &[7000]);
    let network = format!("{}/16", block.address(0, 0));
    let settings = Settings::new(&block)
        .bind(&[IpAddr::V6(Ipv6Addr::UNSPECIFIED)])
        .ports(&[port])
        .set("accept_proxy_from", vec!["::1".to_owned(), network])
        .group_ports(0, &[(port, format!("{}:7000", block.backend(0)))])
        .group_set(0, "send_proxy", "v2");
    let _proxy = Proxy::start(&settings);
    let [v4, v6] = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ];
    for (from, to) in [(v6, v6), (block.client(0), v4)] {
        for addresses in [told(1), told_v6(1, 1)] {
            for header in [proxy_protocol::v1(addresses), v2(addresses)] {
                let stream = client::connect(from, SocketAddr::new(to, port)).unwrap();
                (&stream).write_all(&header).unwrap();
                (&stream).write_all(b"data").unwrap();
                let (name, echo) = finish(&stream);
                assert_eq!(name, "g0");
                assert_eq!(echo, [&v2(addresses)[..], b"data"].concat(), "{from}");
            }
        }
    }
}

#[test]
fn what_a_header_said_is_forgotten_once_its_client_is_connected() {
    const CONNECTIONS: usize = 600;
    let fleet = Fleet::on_ports(1, &[PORT]);
    let proxy = Proxy::start(&accepting(&fleet).set("workers", 1));
    let open = |header: &[u8]| -> Vec<TcpStream> {
        let greeted = |_| {
            let stream = send(&fleet, PORT, &[header]);
            client::read_line(&stream).unwrap();
            stream
        };
        (0..CONNECTIONS).map(greeted).collect()
    };
    let all_left = || {
        support::eventually("all have left", || fleet.backends[0].open() == 0);
    };
    // What so many connections need is there from the second time on.
    drop(open(&v2(told(1))));
    all_left();
    let held = open(&v2(told(1)));
    let before = proxy.resident_bytes();
    drop(held);
    all_left();
    let long = v2_with(told(1), &[&[0xE0, 0x0F, 0xE1][..], &[9; 4065]].concat());
    let held = open(&long);
    let growth = proxy.resident_bytes().saturating_sub(before);
    assert!(growth < 2048 * CONNECTIONS as u64, "grew by {growth} bytes");
    drop(held);
}

#[test]
fn a_header_has_its_time_and_a_slow_one_within_it_is_served() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&accepting(&fleet));
    let line = proxy_protocol::v1(told(1));
    std::thread::scope(|scope| {
        // A byte each second never gets there, nor does silence.
        scope.spawn(|| {
            let stream = send(&fleet, PORT, &[]);
            let begun = Instant::now();
            for byte in line.chunks(1) {
                if (&stream).write_all(byte).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_secs(1));
            }
            assert!(begun.elapsed() > Duration::from_secs(4), "{begun:?}");
        });
        scope.spawn(|| {
            let stream = send(&fleet, PORT, &[]);
            let begun = Instant::now();
            assert_eq!(client::drain(&stream), (0, StreamEnd::Reset));
            let took = begun.elapsed().as_secs();
            assert!((4..12).contains(&took), "{took} s in place of 5");
        });
        // Two seconds in all.
        scope.spawn(|| {
            let stream = send(&fleet, PORT, &[]);
            for byte in line.chunks(1) {
                (&stream).write_all(byte).unwrap();
                std::thread::sleep(Duration::from_secs(2) / u32::try_from(line.len()).unwrap());
            }
            assert_eq!(finish(&stream), ("g0".to_owned(), Vec::new()));
        });
    });
    proxy.log.wait_sessions(2, "given up", |session| {
        session.end == "proxy_header_timeout"
    });
    proxy.log.wait_session("the slow one", |session| {
        session.key == "203.0.113.1" && session.end == "client_finished"
    });
}

#[test]
fn the_key_slice_is_read_behind_the_header() {
    let fleet = Fleet::new(3);
    let settings = accepting(&fleet)
        .set("balance", "round-robin")
        .set("first_message_timeout", 1)
        .set("first_message_ports", vec![5280, 5281]);
    let proxy = Proxy::builder(&settings).slice_key(6, 12).start();
    let header = v2(told(1));
    let message = |user: u8| format!("HELLO user{user:02} and the rest\n").into_bytes();
    let long = |user: u8| [message(user), vec![b'x'; 3_000]].concat();
    let names: Vec<String> = (0..6)
        .map(|user| {
            let whole = [header.clone(), message(user)].concat();
            let (name, echo) = exchange(&fleet, 5280, &[&whole]);
            assert_eq!(echo, message(user));
            name
        })
        .collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 3);
    for user in 0..6 {
        let expected = &names[usize::from(user)];
        // Within the slice, and more than the slice needs.
        let whole = [header.clone(), message(user)].concat();
        let cut = header.len() + 8;
        let pieces: [&[&[u8]]; 3] = [
            &[&header, &message(user)],
            &[&whole[..cut], &whole[cut..]],
            &[&[header.clone(), long(user)].concat()],
        ];
        for pieces in pieces {
            assert_eq!(&exchange(&fleet, 5281, pieces).0, expected, "user {user}");
        }
        // A port without slices follows the latest one of the header's address.
        let (name, echo) = exchange(&fleet, 5282, &[&header, b"data"]);
        assert_eq!((&name, &echo[..]), (expected, &b"data"[..]));
    }
    proxy
        .log
        .wait_session("a key", |s| s.key == "203.0.113.1/user03");
    // Without a message the key is the header's address alone, after first_message_timeout.
    let stream = send(&fleet, 5280, &[&v2(told(9))]);
    client::read_line(&stream).unwrap();
    drop(stream);
    proxy
        .log
        .wait_session("the address alone", |s| s.key == "203.0.113.9");
}

#[test]
fn a_reload_changes_who_may_speak_for_others() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    let header = proxy_protocol::v1(told(1));
    assert_eq!(exchange(&fleet, PORT, &[&header]).1, header);
    proxy.reload_ok(&accepting(&fleet));
    assert_eq!(exchange(&fleet, PORT, &[&header]).1, b"");
    proxy.reload_ok(&fleet.settings);
    assert_eq!(exchange(&fleet, PORT, &[&header]).1, header);
}

#[test]
fn whom_a_header_names_is_judged_by_what_is_in_force_when_it_comes() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&accepting(&fleet));
    let [one, other] = [1, 2].map(|client| (send(&fleet, PORT, &[]), v2(told(client))));
    support::eventually("both are there", || {
        let node = http::json(proxy.statistics(), "/api/v1/");
        node["totals"]["connections"] == 2
    });
    proxy.reload_ok(&accepting(&fleet).set("deny", "203.0.113.1"));
    for (stream, header) in [&one, &other] {
        (&*stream).write_all(header).unwrap();
    }
    assert_eq!(client::drain(&one.0), (0, StreamEnd::Reset));
    assert_eq!(client::read_line(&other.0).unwrap(), "g0");
    proxy
        .log
        .wait_session("the denied one", |session| session.end == "denied");
}

/// Who a header towards the server must name: a client's connection as it is.
fn own(stream: &TcpStream) -> Addresses {
    Addresses::new(stream.local_addr().unwrap(), stream.peer_addr().unwrap())
}

#[test]
fn servers_get_a_header_with_both_ends_of_the_clients_connection() {
    let fleet = Fleet::new(2);
    let settings = fleet
        .settings
        .clone()
        .set("balance", "round-robin")
        .group_set(0, "send_proxy", "v1")
        .group_set(1, "send_proxy", "v2");
    let proxy = Proxy::start(&settings);
    for number in 0..20 {
        let from = fleet.block.client(number);
        let stream = client::connect(from, fleet.listener(PORT)).unwrap();
        // Every other one says nothing: the header does not wait for it.
        let data: &[u8] = if number % 4 < 2 { b"hello" } else { b"" };
        (&stream).write_all(data).unwrap();
        let name = client::read_line(&stream).unwrap();
        let header = match name.as_str() {
            "g0" => proxy_protocol::v1(own(&stream)),
            _ => v2(own(&stream)),
        };
        let mut echo = vec![0; header.len() + data.len()];
        (&stream).read_exact(&mut echo).unwrap();
        assert_eq!(echo, [&header[..], data].concat(), "{name}");
        client::exchange(&stream, b"and more").unwrap();
        let client = stream.local_addr().unwrap().to_string();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(client::read_to_end(&stream).unwrap().is_empty());
        let session = proxy.log.wait_session("it", |s| s.client == client);
        let counted = u64::try_from(data.len()).unwrap() + 8;
        assert_eq!(session.bytes_in, counted, "the header is not the client's");
    }
}

/// A server that says nothing, and tells what each connection held and in how many segments it came.
fn recorder(block: &Block, ports: &[u16]) -> (Backend, Receiver<(u32, Vec<u8>)>) {
    let (sender, receiver) = channel();
    let backend = Backend::start("recorder", block.backend(0), ports, move |conn| {
        let mut all = Vec::new();
        let _ = (&*conn.stream).read_to_end(&mut all);
        let _ = sender.send((client::data_segments(&conn.stream), all));
    });
    (backend, receiver)
}

#[test]
fn the_header_and_the_clients_first_bytes_travel_together() {
    let block = Block::claim();
    let (backend, received) = recorder(&block, &[PORT]);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .set("workers", 1)
        .group(0, block.backend(0))
        .group_set(0, "send_proxy", "v2");
    let proxy = Proxy::start(&settings);
    let connect = || client::connect(block.client(0), block.listener(PORT)).unwrap();
    // These teach the proxy that clients of the port are silent at first.
    for number in 0..40 {
        let silent = connect();
        support::eventually("it is passed on", || backend.accepted() > number);
        drop(silent);
        received.recv_timeout(PATIENCE).unwrap();
    }
    for _ in 0..40 {
        // The bytes are there before the proxy sees the connection.
        proxy.signal(Signal::STOP);
        support::eventually("it stops", || process::is_stopped(proxy.pid()));
        let stream = connect();
        (&stream).write_all(b"hello").unwrap();
        proxy.signal(Signal::CONT);
        let expected = [&v2(own(&stream))[..], b"hello"].concat();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(received.recv_timeout(PATIENCE).unwrap(), (1, expected));
    }
}

#[test]
fn a_client_that_is_gone_at_once_still_leaves_its_header_and_bytes() {
    let block = Block::claim();
    let (_backend, received) = recorder(&block, &[PORT]);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .group(0, block.backend(0))
        .group_set(0, "send_proxy", "v1");
    let _proxy = Proxy::start(&settings);
    for _ in 0..20 {
        let stream = client::connect(block.client(0), block.listener(PORT)).unwrap();
        (&stream).write_all(b"bye").unwrap();
        let expected = [&proxy_protocol::v1(own(&stream))[..], b"bye"].concat();
        drop(stream);
        assert_eq!(received.recv_timeout(PATIENCE).unwrap().1, expected);
    }
}

#[test]
fn ipv6_ends_are_named_as_such_and_mapped_ones_as_ipv4() {
    let block = Block::claim();
    let port = block.port(0);
    let _backend = Backend::echo("g0", block.backend(0), &[7000]);
    let settings = Settings::new(&block)
        .bind(&[IpAddr::V6(Ipv6Addr::UNSPECIFIED)])
        .ports(&[port])
        .group_ports(0, &[(port, format!("{}:7000", block.backend(0)))])
        .group_set(0, "send_proxy", "v1");
    let _proxy = Proxy::start(&settings);
    for (from, to) in [
        (
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ),
        (block.client(0), IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ] {
        let stream = client::connect(from, SocketAddr::new(to, port)).unwrap();
        let family = if from.is_ipv6() { "TCP6" } else { "TCP4" };
        let own_port = stream.local_addr().unwrap().port();
        let expected = format!("PROXY {family} {from} {to} {own_port} {port}\r\n");
        assert_eq!(String::from_utf8(finish(&stream).1).unwrap(), expected);
    }
}

#[test]
fn what_came_by_a_header_goes_on_by_a_header() {
    let fleet = Fleet::new(1);
    let settings = accepting(&fleet);
    // The server name, a unique id, padding, the sender's namespace.
    let kept = [&[2, 0, 3, b'a', b'.', b'b'][..], &[5, 0, 2, 7, 7]].concat();
    let tlvs = [&kept[..], &[4, 0, 1, 0], &[0x30, 0, 1, b'n']].concat();
    let header = v2_with(told(1), &tlvs);
    let mut proxy = Proxy::start(&settings.clone().group_set(0, "send_proxy", "v2"));
    let (_, echo) = exchange(&fleet, PORT, &[&header, b"data"]);
    assert_eq!(echo, [&v2_with(told(1), &kept)[..], b"data"].concat());
    let (_, echo) = exchange(&fleet, PORT, &[&proxy_protocol::v1(told(1)), b"data"]);
    assert_eq!(echo, [&v2(told(1))[..], b"data"].concat());

    proxy.reload_ok(&settings.clone().group_set(0, "send_proxy", "v1"));
    let (_, echo) = exchange(&fleet, PORT, &[&header, b"data"]);
    assert_eq!(echo, [&proxy_protocol::v1(told(1))[..], b"data"].concat());
    // A connection of the balancer's own is one of its own address.
    let stream = send(&fleet, PORT, &[LOCAL_V2]);
    let expected = proxy_protocol::v1(own(&stream));
    assert_eq!(finish(&stream).1, expected);
}

#[test]
fn a_client_moved_to_another_group_is_introduced_there_as_that_group_wants_it() {
    let mut fleet = Fleet::new(2);
    fleet.backends[0].stop_listening();
    let settings = fleet
        .settings
        .clone()
        .group_set(0, "send_proxy", "v1")
        .group_set(1, "send_proxy", "v2");
    let _proxy = Proxy::start(&settings);
    for number in 0..10 {
        let from = fleet.block.client(number);
        let stream = client::connect(from, fleet.listener(PORT)).unwrap();
        (&stream).write_all(b"hello").unwrap();
        let expected = [&v2(own(&stream))[..], b"hello"].concat();
        assert_eq!(finish(&stream), ("g1".to_owned(), expected));
    }
}

#[test]
fn a_client_moved_to_another_group_is_introduced_by_all_that_its_header_said() {
    let mut fleet = Fleet::new(2);
    fleet.backends[0].stop_listening();
    let settings = accepting(&fleet)
        .set("balance", "round-robin")
        .group_set(1, "send_proxy", "v2");
    let proxy = Proxy::start(&settings);
    for number in 1..=10 {
        let header = v2_with(told(number), &[5, 0, 2, 7, number]);
        let (name, echo) = exchange(&fleet, PORT, &[&header, b"data"]);
        assert_eq!(name, "g1");
        assert_eq!(echo, [&header[..], b"data"].concat());
    }
    let metrics = http::get(proxy.statistics(), "/metrics").text();
    assert!(
        !metrics.contains("tcpffee_stick_moves_total 0\n"),
        "{metrics}"
    );
}

#[test]
fn health_checks_by_tcp_begin_as_the_groups_connections_do() {
    let block = Block::claim();
    let (_backend, received) = recorder(&block, &[PORT]);
    let off = Settings::new(&block)
        .ports(&[PORT])
        .group(0, block.backend(0))
        .check(
            0,
            "interval = 0.1\ntimeout = 0.1\nfall_action = \"Disabled\"",
        );
    let mut proxy = Proxy::start(&off);
    let wait_for = |expected: &[u8]| {
        support::eventually("a check with this header", || {
            received.recv_timeout(PATIENCE).unwrap().1 == expected
        });
        // And so are those that follow.
        assert_eq!(received.recv_timeout(PATIENCE).unwrap().1, expected);
    };
    wait_for(b"");
    // The same check, put differently.
    for (version, header) in [("v1", LOCAL_V1), ("v2", LOCAL_V2)] {
        proxy.reload_ok(&off.clone().group_set(0, "send_proxy", version));
        wait_for(header);
    }
    proxy.reload_ok(&off);
    wait_for(b"");
}

#[test]
fn a_check_with_a_header_or_a_port_of_its_own_does_not_send_its_groups() {
    const PAGE: u16 = 5290;
    let block = Block::claim();
    let (_backend, received) = recorder(&block, &[PORT]);
    let (sender, at_page) = channel();
    let _page = Backend::start("page", block.backend(0), &[PAGE], move |conn| {
        let mut all = Vec::new();
        let _ = (&*conn.stream).read_to_end(&mut all);
        let _ = sender.send(all);
    });
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .group(0, block.backend(0))
        .group_set(0, "send_proxy", "v2")
        .check(0, "interval = 0.1\nsend_proxy = \"v1\"")
        .check(0, &format!("interval = 0.1\nport = {PAGE}"));
    let _proxy = Proxy::start(&settings);
    for _ in 0..3 {
        assert_eq!(received.recv_timeout(PATIENCE).unwrap().1, LOCAL_V1);
        assert_eq!(at_page.recv_timeout(PATIENCE).unwrap(), b"");
    }
}

#[test]
fn health_checks_by_http_ask_behind_a_header() {
    let block = Block::claim();
    let (sender, received) = channel();
    let _backend = Backend::start("asked", block.backend(0), &[PORT], move |conn| {
        let mut bytes = vec![0; 4096];
        let length = (&*conn.stream).read(&mut bytes).unwrap_or(0);
        bytes.truncate(length);
        let answer = b"HTTP/1.1 204 None\r\nConnection: close\r\n\r\n";
        let _ = (&*conn.stream).write_all(answer);
        let _ = sender.send(bytes);
    });
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .group(0, block.backend(0))
        .check(
            0,
            "interval = 0.5\ntimeout = 0.5\nhttp_target = \"/health\"\nhttp_status = 204",
        );
    let mut proxy = Proxy::start(&settings.clone().group_set(0, "send_proxy", "v2"));
    let ask = received.recv_timeout(PATIENCE).unwrap();
    let request = ask.strip_prefix(LOCAL_V2).expect("a header in front");
    assert!(request.starts_with(b"GET /health HTTP/1.1\r\n"), "{ask:?}");
    proxy.reload_ok(&settings.group_set(0, "send_proxy", "v1"));
    support::eventually("a check of the other version", || {
        let ask = received.recv_timeout(PATIENCE).unwrap();
        let request = ask.strip_prefix(LOCAL_V1);
        request.is_some_and(|request| request.starts_with(b"GET /health HTTP/1.1\r\n"))
    });
    assert!(support::health::changes(&proxy, 0).is_empty(), "it passes");
}
