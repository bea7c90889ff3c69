//! What makes a key: the address, or the address and a slice of the first message.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::support;
use support::client;
use support::{Backend, Block, Fleet, Proxy, Settings, netns};

/// Sends a message and learns who answers; the echo must be the whole message.
fn say(fleet: &Fleet, client: u32, port: u16, message: &[u8]) -> String {
    let from = fleet.block.client(client);
    let stream = client::connect(from, fleet.listener(port)).unwrap();
    (&stream).write_all(message).unwrap();
    finish(&stream, message)
}

fn finish(stream: &TcpStream, message: &[u8]) -> String {
    let name = client::read_line(stream).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let echo = client::read_to_end(stream).unwrap();
    assert!(echo == message, "the message did not arrive untouched");
    name
}

#[test]
fn clients_of_one_address_are_told_apart_by_their_first_message() {
    let fleet = Fleet::new(3);
    let proxy = Proxy::builder(&fleet.settings).slice_key(6, 12).start();
    let message = |user: u32| format!("HELLO user{user:02} and the rest\n").into_bytes();
    let first: Vec<String> = (0..30)
        .map(|user| say(&fleet, 0, 5280, &message(user)))
        .collect();
    let met: BTreeSet<&String> = first.iter().collect();
    assert_eq!(met.len(), 3, "one address, all groups");
    for user in 0..30 {
        let again = say(&fleet, 0, 5281, &message(user));
        assert_eq!(again, first[user as usize], "user {user}");
    }
    let key = format!("{}/user07", fleet.block.client(0));
    proxy
        .log
        .wait_session("a session of user07", |s| s.key == key);
}

#[test]
fn the_same_slice_from_two_addresses_makes_two_keys() {
    let fleet = Fleet::new(2);
    let settings = fleet.settings.clone().set("balance", "round-robin");
    let _proxy = Proxy::builder(&settings).slice_key(0, 4).start();
    let names = [0, 1].map(|client| say(&fleet, client, 5280, b"same"));
    assert_ne!(names[0], names[1]);
}

#[test]
fn a_slice_that_comes_byte_by_byte_is_the_same_key() {
    let fleet = Fleet::new(3);
    let settings = fleet.settings.clone().set("first_message_timeout", 20);
    let _proxy = Proxy::builder(&settings).slice_key(2, 10).start();
    for user in 0..10_u8 {
        let message = format!("..user-{user:03}..more");
        let at_once = say(&fleet, 0, 5280, message.as_bytes());
        let stream = client::connect(fleet.block.client(0), fleet.listener(5280)).unwrap();
        for byte in message.as_bytes() {
            (&stream).write_all(&[*byte]).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(finish(&stream, message.as_bytes()), at_once);
    }
}

#[test]
fn a_long_first_message_is_forwarded_whole() {
    let fleet = Fleet::new(2);
    let _proxy = Proxy::builder(&fleet.settings)
        .slice_key(4000, 4096)
        .start();
    let message: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let stream = client::connect(fleet.block.client(0), fleet.listener(5280)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&message).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        });
        client::read_line(&stream).unwrap();
        let echo = client::read_to_end(&stream).unwrap();
        assert!(echo == message, "the message did not arrive untouched");
    });
}

#[test]
fn a_slice_of_any_bytes_is_one_word_in_the_log() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::builder(&fleet.settings).slice_key(0, 4).start();
    say(&fleet, 0, 5280, b"a \n\xff");
    let key = format!("{}/a\\x20\\x0a\\xff", fleet.block.client(0));
    proxy.log.wait_session("the session", |s| s.key == key);
}

#[test]
fn ports_without_a_slice_follow_the_latest_slice_of_the_address() {
    let fleet = Fleet::new(3);
    let settings = fleet
        .settings
        .clone()
        .set("balance", "round-robin")
        .set("first_message_ports", vec![5280]);
    let _proxy = Proxy::builder(&settings).slice_key(0, 5).start();
    for user in 0..9 {
        let name = say(&fleet, 0, 5280, format!("user{user}").as_bytes());
        // Nothing needs to be said on the other ports.
        for port in [5281, 5282] {
            assert_eq!(fleet.served_by(0, port), name, "user {user} on port {port}");
        }
    }
    // Without any slice entry the address alone is the key.
    let alone = fleet.served_by(1, 5281);
    assert_eq!(fleet.served_by(1, 5282), alone);
}

#[test]
fn a_mapped_address_is_the_ipv4_address() {
    let block = Block::claim();
    let port = block.port(0);
    let _backend = Backend::echo("g0", block.backend(0), &[7000]);
    let settings = Settings::new(&block)
        .bind(&[IpAddr::V6(Ipv6Addr::UNSPECIFIED)])
        .ports(&[port])
        .group_ports(0, &[(port, format!("{}:7000", block.backend(0)))]);
    let proxy = Proxy::start(&settings);
    let from = block.client(0);
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    assert_eq!(client::ask(from, to).unwrap(), "g0");
    let session = proxy.log.wait_session("the session", |_| true);
    assert_eq!(session.key, from.to_string());
    assert!(
        session.client.starts_with(&format!("{from}:")),
        "{}",
        session.client
    );
}

#[test]
fn an_ipv6_prefix_makes_one_key_of_a_network() {
    netns::in_new_namespace(|| {
        for network in ["fd00:1", "fd00:2"] {
            for host in 1..=5 {
                let words = format!("address add {network}::{host}/64 dev lo nodad");
                netns::ip(&words).unwrap();
            }
        }
        let fleet = Fleet::new(2);
        let settings = fleet
            .settings
            .clone()
            .bind(&[IpAddr::V6(Ipv6Addr::LOCALHOST)])
            .set("balance", "round-robin")
            .set("key_ipv6_prefix", 64);
        let _proxy = Proxy::start(&settings);
        let to = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 5280);
        let names = ["fd00:1", "fd00:2"].map(|network| {
            let from = |host| format!("{network}::{host}").parse().unwrap();
            let names: BTreeSet<String> = (1..=5)
                .map(|host| client::ask(from(host), to).unwrap())
                .collect();
            assert_eq!(names.len(), 1, "{network}: {names:?}");
            names.into_iter().next().unwrap()
        });
        assert_ne!(names[0], names[1]);
    });
}
