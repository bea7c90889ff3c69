//! What happens to a connection that is under way to its target when something changes.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::support;
use socket2::{Domain, Socket, Type};
use support::{Fleet, Proxy, client, eventually, netns};

const PORT: u16 = 5280;

#[test]
fn a_client_whose_first_group_refuses_still_gets_an_orderly_end() {
    let mut fleet = Fleet::new(2);
    fleet.backends[0].stop_listening();
    let proxy = Proxy::start(&fleet.settings);
    for number in 0..60 {
        let from = fleet.block.client(number);
        let mut stream = client::connect(from, fleet.listener(PORT)).unwrap();
        stream.write_all(b"hello\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = client::read_to_end(&stream).unwrap();
        assert_eq!(answer, b"g1\nhello\n", "client {number}");
    }
    proxy
        .log
        .wait_sessions(60, "all ended in order", |session| {
            session.end.ends_with("_finished")
        });
}

/// A listener whose queue is full, and the connections in it.
fn full_listener(place: SocketAddr) -> (Socket, Vec<TcpStream>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&place.into()).unwrap();
    listener.listen(0).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&place, Duration::from_millis(300)) {
        queued.push(stream);
    }
    (listener, queued)
}

#[test]
fn a_connect_that_succeeds_after_its_group_was_disabled_goes_to_another_group() {
    let fleet = Fleet::new(2);
    let slow = fleet.block.backend(100);
    let place = SocketAddr::new(slow.into(), PORT);
    let (listener, queued) = full_listener(place);
    let settings = fleet
        .settings
        .clone()
        .without_group(0)
        .group(0, slow)
        .group_set(0, "on_disabled", "reset")
        .set("connect_timeout", 60);
    let mut proxy = Proxy::start(&settings);
    // The new key goes to group 0, the lower id among equals, and its connect hangs.
    let stream = client::connect(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    eventually("the connect is under way", || {
        std::fs::read_to_string("/proc/net/tcp")
            .unwrap()
            .lines()
            .any(|line| {
                let remote = format!("{:08X}:{PORT:04X}", u32::from_le_bytes(slow.octets()));
                let mut words = line.split_whitespace().skip(2);
                words.next() == Some(&remote) && words.next() == Some("02")
            })
    });
    proxy.reload_ok(&settings.clone().group_set(0, "disabled", true));
    // Room in the queue: the kernel's next attempt gets through.
    for _ in &queued {
        listener.accept().unwrap();
    }
    assert_eq!(client::read_line(&stream).unwrap(), "g1");
    drop(queued);
}

#[test]
fn a_reload_that_leaves_no_descriptors_for_connections_is_refused() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::builder(&fleet.settings).descriptors(400).start();
    let ports: Vec<u16> = (18_000..18_400).collect();
    let answer = proxy.reload(&fleet.settings.clone().ports(&ports));
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(
        format!("{answer:?}").contains("none would be left for connections"),
        "{answer:?}"
    );
    assert_eq!(fleet.served_by(0, PORT), "g0");
}

#[test]
fn a_reload_may_turn_the_ipv6_wildcard_dual_stack_and_back() {
    netns::in_new_namespace(|| {
        let fleet = Fleet::new(1);
        let target = format!("{}:{PORT}", fleet.block.backend(0));
        let settings = fleet.settings.clone().ports(&[5290]);
        let settings = settings.group_ports(0, &[(5290, target)]);
        let v4 = "127.0.0.1:5290".parse().unwrap();
        let v6 = "[::1]:5290".parse().unwrap();
        let ask = |place: SocketAddr| client::ask(place.ip(), place);
        let both = settings
            .clone()
            .bind(&["127.0.0.9".parse().unwrap(), "::".parse().unwrap()]);
        let dual = settings.bind(&["::".parse().unwrap()]);
        let mut proxy = Proxy::start(&both);
        assert!(ask(v4).is_err());
        assert_eq!(ask(v6).unwrap(), "g0");
        proxy.reload_ok(&dual);
        assert_eq!(ask(v4).unwrap(), "g0");
        assert_eq!(ask(v6).unwrap(), "g0");
        proxy.reload_ok(&both);
        eventually("IPv4 is refused again", || ask(v4).is_err());
        assert_eq!(ask(v6).unwrap(), "g0");
    });
}

#[test]
fn a_wildcard_may_take_the_place_of_one_address_by_reload() {
    netns::in_new_namespace(|| {
        let fleet = Fleet::new(1);
        let target = format!("{}:{PORT}", fleet.block.backend(0));
        let settings = fleet.settings.clone().ports(&[5290]);
        let settings = settings.group_ports(0, &[(5290, target)]);
        let mut proxy = Proxy::start(&settings.clone().bind(&["127.0.0.9".parse().unwrap()]));
        proxy.reload_ok(&settings.bind(&["0.0.0.0".parse().unwrap()]));
        let elsewhere: SocketAddr = "127.0.0.77:5290".parse().unwrap();
        assert_eq!(client::ask(elsewhere.ip(), elsewhere).unwrap(), "g0");
    });
}

#[test]
fn a_closed_way_to_one_group_sends_new_keys_to_another() {
    for kind in ["prohibit", "blackhole", "unreachable"] {
        netns::in_new_namespace(|| {
            netns::ip(&format!("route add {kind} 10.79.0.0/16")).unwrap();
            let fleet = Fleet::new(2);
            let closed = "10.79.0.1".parse().unwrap();
            let settings = fleet.settings.clone().without_group(0).group(0, closed);
            let _proxy = Proxy::start(&settings);
            for number in 0..8 {
                assert_eq!(fleet.served_by(number, PORT), "g1", "{kind}");
            }
        });
    }
}
