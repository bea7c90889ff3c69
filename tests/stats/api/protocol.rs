//! HTTP itself: problems, headers, connections, start and end.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use crate::api::{PORT, scene};
use crate::support::http::{self, Answer};
use crate::support::{Fleet, Proxy, client, eventually, netns};

fn problem(answer: &Answer, status: u16, word: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let value = answer.json();
    assert_eq!(
        (&value["status"], &value["type"]),
        (&json!(status), &json!("about:blank"))
    );
    assert!(value["title"].is_string());
    assert!(
        value["detail"].as_str().unwrap().contains(word),
        "no {word} in {value}"
    );
}

#[test]
fn what_is_wrong_with_a_request_is_said_as_a_problem_document() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let proxy = Proxy::start(&fleet.settings);
    let server = proxy.statistics();
    for (path, status, word) in [
        ("/nothing", 404, "/api/v1/"),
        ("/api/v2/", 404, "/api/v2/"),
        ("/api/v1/groups?limit=0", 400, "limit"),
        ("/api/v1/groups?limit=1001", 400, "1 to 1000"),
        ("/api/v1/groups?limits=1", 400, "limits"),
        ("/api/v1/groups?after=x", 400, "after"),
        ("/api/v1/groups/0?x=1", 400, "takes none"),
        ("/api/v1/?x", 400, "x"),
        ("/api/v1/stick_table?after=-1", 400, "after"),
        ("/api/v1/stick_table?group=x", 400, "group"),
        ("/api/v1/stick_table?ip=10.0.0", 400, "ip"),
        ("/api/v1/stick_table?ip=10.1.0.0/8", 400, "10.0.0.0/8"),
        ("/api/v1/stick_table?ip=10.0.0.0/33", 400, "0 to 32"),
        ("/api/v1/stick_table?limit=1&limit=2", 400, "twice"),
        ("/api/v1/stick_table/%zz", 400, "%"),
        ("/api/v1/stick_table/%ff", 400, "UTF-8"),
        ("/api/v1/events?before=x", 400, "before"),
    ] {
        problem(&http::get(server, path), status, word);
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"] {
        let request = format!("{method} /api/v1/ HTTP/1.1\r\nHost: {server}\r\n\r\n");
        let answer = http::ask(server, request.as_bytes()).unwrap();
        problem(&answer, 405, method);
        assert_eq!(
            (answer.header("allow"), answer.header("connection")),
            ("GET, HEAD", "close")
        );
    }
    let stranger = b"GET /api/v1/ HTTP/1.1\r\nHost: rebound.example:2340\r\n\r\n";
    problem(&http::ask(server, stranger).unwrap(), 421, "DNS rebinding");
    let body = b"GET /api/v1/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    problem(&http::ask(server, body).unwrap(), 413, "body");
    let mut stream = client::connect(server.ip(), server).unwrap();
    let refused = b"HEAD /api/v1/ HTTP/1.1\r\nHost: rebound.example\r\n\r\n";
    stream.write_all(refused).unwrap();
    assert_eq!(http::read_answer(&mut stream, true).unwrap().status, 421);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "no body");
    let own = rustix::system::uname();
    for host in [
        "localhost",
        "[::1]:1",
        "proxy",
        own.nodename().to_str().unwrap(),
    ] {
        let request = format!("GET /api/v1/health HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(
            http::ask(server, request.as_bytes()).unwrap().status,
            200,
            "{host}"
        );
    }
    let old = http::ask(server, b"GET /api/v1/health HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((old.status, old.header("connection")), (200, "close"));
}

#[test]
fn answers_have_the_headers_that_keep_them_safe_and_small() {
    let (_fleet, _ward, settings) = scene();
    let proxy = Proxy::start(&settings);
    let server = proxy.statistics();
    for path in [
        "/api/v1/",
        "/",
        "/spec/v1/",
        "/nothing",
        "/api/v1/stick_table?x=1",
    ] {
        let answer = http::get(server, path);
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        let cors = answer
            .headers
            .keys()
            .find(|name| name.starts_with("access-control"));
        assert_eq!(cors, None, "{path}");
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut stream = client::connect(server.ip(), server).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let head = http::read_answer(&mut stream, true).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "{path}: no body");
        let without_values = |answer: &Answer| {
            let names = answer.headers.keys().cloned();
            (answer.status, names.collect::<BTreeSet<String>>())
        };
        assert_eq!(without_values(&head), without_values(&answer), "{path}");
    }
    assert!(
        !http::get(server, "/")
            .header("content-security-policy")
            .is_empty()
    );
    let gzip = |path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        );
        http::ask(server, request.as_bytes()).unwrap()
    };
    let packed = gzip("/spec/v1/");
    assert_eq!(
        (packed.header("content-encoding"), packed.header("vary")),
        ("gzip", "Accept-Encoding")
    );
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&*packed.body)
        .read_to_string(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, http::get(server, "/spec/v1/").text());
    assert_eq!(
        gzip("/api/v1/health").header("content-encoding"),
        "",
        "too small to be worth it"
    );
    for (from, to) in [
        ("/api/v1", "/api/v1/"),
        ("/api/v1/groups/?limit=3", "/api/v1/groups?limit=3"),
        ("/ui/v1", "/ui/v1/"),
    ] {
        let moved = http::get(server, from);
        assert_eq!((moved.status, moved.header("location")), (308, to));
    }
}

#[test]
fn one_connection_carries_many_requests_one_after_the_other() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let proxy = Proxy::start(&fleet.settings);
    let server = proxy.statistics();
    let mut stream = client::connect(server.ip(), server).unwrap();
    for _ in 0..50 {
        stream
            .write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let answer = http::read_answer(&mut stream, false).unwrap();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (200, "keep-alive")
        );
    }
    // Sent at once: the first is answered, and the connection ends.
    let twice =
        b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\nGET /api/v1/ HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(twice).unwrap();
    let answer = http::read_answer(&mut stream, false).unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    // A side that ends behind its request is answered all the same.
    let mut stream = client::connect(server.ip(), server).unwrap();
    stream
        .write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(http::read_answer(&mut stream, false).unwrap().status, 200);
}

#[test]
fn a_taken_socket_is_a_reason_not_to_start_and_is_named() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let address = fleet.block.statistics(0);
    let _taken = std::net::TcpListener::bind(address).unwrap();
    let (code, log) = Proxy::builder(&fleet.settings).expect_failure();
    assert_eq!(code, 3, "{log}");
    for word in [
        "stats_bind_socket",
        &address.to_string(),
        "another program has the port",
    ] {
        assert!(log.contains(word), "{word} is missing in {log}");
    }
}

#[test]
fn the_server_ends_with_the_process_and_leaves_nothing_behind() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let mut proxy = Proxy::start(&fleet.settings);
    let server = proxy.statistics();
    assert_eq!(http::get(server, "/api/v1/health").status, 200);
    let directory = proxy.state().pid_path().parent().unwrap().to_owned();
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&directory).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert!(
        !names().iter().any(|name| name.contains("stats")),
        "{:?}",
        names()
    );
    assert_eq!(proxy.stop(), 0);
    assert!(std::net::TcpStream::connect_timeout(&server, Duration::from_secs(5)).is_err());
    assert!(
        !names().iter().any(|name| name.contains("stats")),
        "{:?}",
        names()
    );
    assert!(!proxy.log.text().contains("ERROR"), "{}", proxy.log.text());
}

#[test]
fn the_longest_key_fits_into_a_request() {
    const LONGEST: usize = 4_096;
    let fleet = Fleet::on_ports(1, &[PORT]);
    let proxy = Proxy::builder(&fleet.settings)
        .slice_key(0, LONGEST)
        .start();
    let server = proxy.statistics();
    let mut stream = client::connect(fleet.block.client(1), fleet.listener(PORT)).unwrap();
    stream.write_all(&[0; LONGEST]).unwrap();
    let mut entries = json!(null);
    eventually("the key is there", || {
        entries = http::json(server, "/api/v1/stick_table")["entries"].take();
        entries[0]["key"].is_string()
    });
    let key = entries[0]["key"].as_str().unwrap();
    let encoded = key.replace('\\', "%5C").replace('/', "%2F");
    assert!(encoded.len() > 6 * LONGEST, "{}", encoded.len());
    let found = http::json(server, &format!("/api/v1/stick_table/{encoded}"));
    assert_eq!(found["key"], key);
    let longer = format!("/api/v1/stick_table/{encoded}{encoded}");
    let mut stream = client::connect(server.ip(), server).unwrap();
    stream
        .write_all(format!("GET {longer}").as_bytes())
        .unwrap();
    problem(
        &http::read_answer(&mut stream, false).unwrap(),
        414,
        "28672",
    );
}

#[test]
fn any_address_of_a_network_that_makes_one_key_names_it() {
    netns::in_new_namespace(|| {
        let fleet = Fleet::on_ports(1, &[PORT]);
        let here = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let settings = fleet.settings.clone().bind(&[here]);
        let proxy = Proxy::start(&settings.set("key_ipv6_prefix", 64));
        client::ask(here, SocketAddr::new(here, PORT)).unwrap();
        for address in ["::1", "::7"] {
            let path = format!("/api/v1/stick_table/{address}");
            assert_eq!(
                http::json(proxy.statistics(), &path)["key"],
                "::",
                "{address}"
            );
        }
    });
}
