//! Health checks come from the addresses of `bind_source`, as connections of clients do.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use crate::support;
use support::health::{changes, http, story};
use support::{Backend, Block, Proxy, Settings, Ward, client, eventually, netns};

const PORT: u16 = 5280;
/// A failure by a busy machine alone would be a rare one; three of them are none.
const QUICK: &str = "interval = 0.3\ntimeout = 0.3\nfall = 3\nrise = 2";

/// Whom a server's connections came from, after the first so many.
fn peers(server: &Backend, after: usize) -> BTreeSet<String> {
    let arrivals = server.arrivals();
    let later = arrivals.iter().skip(after);
    later.map(|(peer, _)| peer.ip().to_string()).collect()
}

fn set(addresses: &[&String]) -> BTreeSet<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn last_check(proxy: &Proxy) -> serde_json::Value {
    let checks = support::http::json(proxy.statistics(), "/api/v1/healthchecks");
    checks[0]["targets"][0].clone()
}

#[test]
fn checks_come_from_bind_source_in_turn_and_from_another_after_a_reload() {
    for keys in ["", "http_target = \"/\""] {
        let block = Block::claim();
        let server = Backend::start("checked", block.backend(0), &[PORT], answer);
        let [one, other, third] = [1, 2, 3].map(|at| block.address(9, at).to_string());
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .group(0, block.backend(0))
            .check(0, &format!("{QUICK}\n{keys}"));
        let from = |list: &[&String]| {
            let list: Vec<String> = list.iter().map(ToString::to_string).collect();
            settings.clone().set("bind_source", list)
        };
        let mut proxy = Proxy::start(&from(&[&one, &other]));
        eventually("both are used", || server.accepted() >= 4);
        assert_eq!(peers(&server, 0), set(&[&one, &other]));
        proxy.reload_ok(&from(&[&third]));
        // One check may have been under way.
        let mark = server.accepted() + 1;
        eventually("it is checked on", || server.accepted() >= mark + 3);
        assert_eq!(peers(&server, mark), set(&[&third]));
        assert!(changes(&proxy, 0).is_empty(), "{:?}", story(&proxy, 0));
    }
}

fn answer(conn: support::backend::Conn) {
    use std::io::Read;
    let mut stream: &TcpStream = &conn.stream;
    if stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
}

#[test]
fn a_transparent_groups_checks_come_from_bind_source_and_its_clients_from_their_own() {
    netns::in_new_namespace(|| {
        let block = Block::claim();
        let server = Backend::start("checked", block.backend(0), &[PORT], answer);
        let source = block.address(9, 1).to_string();
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .set("bind_source", source.clone())
            .group(0, block.backend(0))
            .group_set(0, "transparent", true)
            .check(0, QUICK);
        let _proxy = Proxy::start(&settings);
        eventually("it is checked", || server.accepted() >= 3);
        assert_eq!(peers(&server, 0), set(&[&source]));
        let client = block.client(1);
        let _open = client::connect(client, block.listener(PORT)).unwrap();
        let client = client.to_string();
        eventually("the client is there", || {
            peers(&server, 0) == set(&[&source, &client])
        });
    });
}

#[test]
fn a_check_from_an_address_that_is_gone_is_not_run_and_the_status_stays() {
    netns::in_new_namespace(|| {
        netns::ip("address add 192.0.2.7/32 dev lo").unwrap();
        let block = Block::claim();
        let ward = Ward::start(block.backend(0));
        let _server = Backend::echo("g0", block.backend(0), &[PORT]);
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .set("bind_source", "192.0.2.7")
            .group(0, block.backend(0))
            .check(0, &http(QUICK));
        let proxy = Proxy::start(&settings);
        ward.wait_asked(3);
        netns::ip("address del 192.0.2.7/32 dev lo").unwrap();
        let line = proxy.log.wait("the address is named", |line| {
            line.contains("could not be run by this host")
        });
        let why = "bind_source: this host does not hold 192.0.2.7";
        assert!(line.contains(why), "{line}");
        eventually("statistics say so", || {
            let check = last_check(&proxy);
            check["last_result"] == "not_run" && check["last_error"] == why
        });
        assert_eq!(last_check(&proxy)["streak"], 0, "it counts as no failure");
        netns::ip("address add 192.0.2.7/32 dev lo").unwrap();
        ward.wait_asked(3);
        assert!(changes(&proxy, 0).is_empty(), "{:?}", story(&proxy, 0));
    });
}

#[test]
fn a_check_without_a_port_left_is_not_run_and_the_status_stays() {
    netns::in_new_namespace(|| {
        netns::sysctl("net.ipv4.ip_local_port_range", "40000 40003");
        let block = Block::claim();
        // Takes connections and keeps them: four of them are all that one address has ports for.
        let server = Backend::silent("silent", block.backend(0), &[PORT]);
        let source = block.address(9, 1);
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .set("bind_source", source.to_string())
            .group(0, block.backend(0))
            .check(0, QUICK);
        let held: Vec<TcpStream> = (40_000..=40_003)
            .map(|port| {
                let from = SocketAddr::new(source.into(), port);
                let to = SocketAddr::new(block.backend(0).into(), PORT);
                client::connect_from(from, to, |_| Ok(())).unwrap()
            })
            .collect();
        let proxy = Proxy::start(&settings);
        let line = proxy.log.wait("the want is told", |line| {
            line.contains("could not be run by this host")
        });
        let why = format!("bind_source: no port of {source} is left");
        assert!(line.contains(&why), "{line}");
        let before = server.accepted();
        // Without a wait for the ports afterwards.
        held.into_iter().for_each(client::reset);
        eventually("it is checked again", || server.accepted() >= before + 3);
        assert!(changes(&proxy, 0).is_empty(), "{:?}", story(&proxy, 0));
    });
}

#[test]
fn a_check_that_connects_to_itself_has_met_nobody() {
    netns::in_new_namespace(|| {
        // With two ports to choose from, connects to one of them meet themselves half the time.
        netns::sysctl("net.ipv4.ip_local_port_range", "40000 40001");
        let block = Block::claim();
        let source = block.address(9, 1).to_string();
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .set("bind_source", source.clone())
            .group_ports(0, &[(PORT, format!("{source}:40000"))])
            .check(0, "interval = 0.02\nfall_action = \"Up\"");
        let proxy = Proxy::start(&settings);
        // From ports of their own: those of the range are for the checks.
        let mut ports = 10_000..;
        let mut check = || {
            let from = SocketAddr::new(block.client(1), ports.next().unwrap());
            let mut stream = client::connect_from(from, proxy.statistics(), |_| Ok(())).unwrap();
            let request =
                b"GET /api/v1/healthchecks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            stream.write_all(request).unwrap();
            let answer = support::http::read_answer(&mut stream, false);
            answer.unwrap().json()[0]["targets"][0].clone()
        };
        eventually("many checks", || check()["failed"].as_u64() > Some(20));
        assert_eq!(check()["passed"], 0);
    });
}
