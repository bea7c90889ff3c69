//! The PROXY protocol with HAProxy and nginx at the other end: in front of the proxy, behind it, and
//! on both sides.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};

use tempfile::TempDir;

use crate::real;
use crate::support;
use real::{Server, User};
use support::{Block, Fleet, Proxy, Settings, client, eventually};

const HAPROXY: (&str, &str) = ("haproxy", "haproxy");
/// The package of nginx's stream module puts a file here that has it loaded.
const STREAM_MODULE: &str = "/etc/nginx/modules-enabled/50-mod-stream.conf";
const NGINX: [(&str, &str); 2] = [("nginx", "nginx"), (STREAM_MODULE, "libnginx-mod-stream")];

/// The listened port of the proxy.
const PORT: u16 = 5280;

/// HAProxy or nginx, with its files.
struct Peer {
    server: Server,
    _directory: TempDir,
}

impl Peer {
    fn haproxy(sections: &str, places: &[SocketAddr]) -> Peer {
        let directory = real::directory();
        let file = directory.path().join("haproxy.cfg");
        let text = format!(
            "global\n    log stdout format raw local0\n\
             defaults\n    log global\n    option dontlog-normal\n    timeout connect 10s\n    \
             timeout client 60s\n    timeout server 60s\n{sections}"
        );
        fs::write(&file, text).unwrap();
        let mut command = real::command(&real::find(HAPROXY.0, HAPROXY.1), User::Same);
        command.arg("-db").arg("-f").arg(&file);
        Peer {
            server: Server::start(command, directory.path(), places),
            _directory: directory,
        }
    }

    /// What a client of it makes known is logged from `info` on.
    fn nginx(sections: &str, places: &[SocketAddr]) -> Peer {
        let directory = real::directory();
        real::open_to_all(directory.path());
        let path = directory.path().display();
        let user = if real::is_root() { "user root;" } else { "" };
        let text = format!(
            "{user} include {STREAM_MODULE}; daemon off; worker_processes 1;\n\
             pid {path}/nginx.pid; error_log stderr info; events {{ worker_connections 256; }}\n\
             {}",
            sections.replace("DIRECTORY", &path.to_string())
        );
        let file = directory.path().join("nginx.conf");
        fs::write(&file, text).unwrap();
        let mut command = real::command(&real::find("nginx", "nginx"), User::Same);
        command.arg("-c").arg(&file);
        Peer {
            server: Server::start(command, directory.path(), places),
            _directory: directory,
        }
    }
}

/// nginx's sections for an HTTP server that says who the client is, by its header.
fn nginx_says_who(place: impl std::fmt::Display) -> String {
    format!(
        "http {{ access_log off;
            client_body_temp_path DIRECTORY/body; proxy_temp_path DIRECTORY/proxy;
            fastcgi_temp_path DIRECTORY/fastcgi; uwsgi_temp_path DIRECTORY/uwsgi;
            scgi_temp_path DIRECTORY/scgi;
            server {{ listen {place} proxy_protocol;
                location / {{ return 200 '$proxy_protocol_addr:$proxy_protocol_port \
         $proxy_protocol_server_addr:$proxy_protocol_server_port'; }} }} }}"
    )
}

/// HAProxy's sections for the same; with the unique id that came in the header.
fn haproxy_says_who(place: SocketAddr) -> String {
    format!(
        "frontend who\n    mode http\n    bind {place} accept-proxy\n    http-request return \
         status 200 content-type text/plain lf-string \
         \"%[src]:%[src_port] %[dst]:%[dst_port]%[fc_pp_unique_id]\"\n"
    )
}

/// The body of an answer to a request on a stream.
fn ask(stream: &TcpStream) -> String {
    let request = b"GET / HTTP/1.1\r\nHost: who\r\nConnection: close\r\n\r\n";
    (&*stream).write_all(request).unwrap();
    let answer = String::from_utf8(client::read_to_end(stream).unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn haproxy_and_nginx_in_front_name_clients_that_each_have_one_group() {
    if !real::has_all(&[HAPROXY, NGINX[0], NGINX[1]]) {
        return;
    }
    let fleet = Fleet::new(3);
    let block = &fleet.block;
    let front = block.address(2, 1);
    let place = |port| SocketAddr::new(front.into(), port);
    let own = SocketAddr::new(block.proxy().into(), PORT);
    let settings = fleet
        .settings
        .clone()
        .set("balance", "round-robin")
        .set("accept_proxy_from", front.to_string());
    let proxy = Proxy::start(&settings);
    let section = |port, words: &str| {
        let at = place(port);
        format!(
            "listen of{port}\n    mode tcp\n    bind {at}\n    unique-id-format %ci-%cp\n    \
             server tcpffee {own} source {front} {words}\n"
        )
    };
    let sections = [
        section(1001, "send-proxy"),
        section(1002, "send-proxy-v2"),
        section(1003, "send-proxy-v2 proxy-v2-options crc32c,unique-id"),
    ];
    let ports = [1001, 1002, 1003, 1004];
    let _haproxy = Peer::haproxy(&sections.concat(), &ports.map(place)[..3]);
    let sections = format!(
        "stream {{ server {{ listen {}; proxy_pass {own}; proxy_bind {front}; proxy_protocol on; }} }}",
        place(1004)
    );
    let _nginx = Peer::nginx(&sections, &[place(1004)]);
    let mut met = BTreeSet::new();
    for number in 0..9 {
        let from = block.client(number);
        let names: BTreeSet<String> = ports
            .map(|port| {
                let (name, stream) = client::greet(from, place(port)).unwrap();
                client::exchange(&stream, b"hello").unwrap();
                let client = stream.local_addr().unwrap().to_string();
                stream.shutdown(Shutdown::Write).unwrap();
                assert!(client::read_to_end(&stream).unwrap().is_empty());
                let session = proxy
                    .log
                    .wait_session("of the client", |s| s.client == client);
                assert_eq!(session.key, from.to_string());
                assert_eq!(session.bytes_in, 5);
                name
            })
            .into();
        assert_eq!(names.len(), 1, "client {number}: {names:?}");
        met.extend(names);
    }
    assert_eq!(met.len(), 3, "all groups have clients");
}

/// The proxy before one server that takes headers of both versions.
fn before(block: &Block, version: &str) -> Settings {
    Settings::new(block)
        .ports(&[PORT])
        .group(0, block.backend(0))
        .group_set(0, "send_proxy", version)
        .check(
            0,
            "interval = 0.3\ntimeout = 0.3\nfall_action = \"Disabled\"",
        )
        .check(
            0,
            "interval = 0.3\ntimeout = 0.3\nhttp_target = \"/\"\nfall_action = \"Disabled\"",
        )
}

/// Both versions are understood, and health checks of both kinds pass and leave no trace in
/// the server's log.
fn is_understood(start: impl FnOnce(SocketAddr) -> Peer) {
    let block = Block::claim();
    let peer = start(SocketAddr::new(block.backend(0).into(), PORT));
    let mut proxy = Proxy::start(&before(&block, "v1"));
    for version in ["v1", "v2"] {
        proxy.reload_ok(&before(&block, version));
        for number in 0..10 {
            let to = block.listener(PORT);
            let stream = client::connect(block.client(number), to).unwrap();
            let expected = format!("{} {to}", stream.local_addr().unwrap());
            assert_eq!(ask(&stream), expected, "{version}");
        }
        let passed = || {
            let checks = support::http::json(proxy.statistics(), "/api/v1/healthchecks");
            let checks = checks.as_array().unwrap().clone();
            assert_eq!(checks.len(), 2);
            let passed = checks.iter().map(|check| &check["targets"][0]["passed"]);
            passed.map(|count| count.as_u64().unwrap()).min().unwrap()
        };
        let before = passed();
        eventually("both checks pass", || passed() > before + 3);
    }
    assert!(support::health::changes(&proxy, 0).is_empty(), "it passes");
    let said = peer.server.output();
    for trouble in [
        "broken header",
        "PROXY",
        "proxy_protocol",
        "Connection reset",
    ] {
        assert!(!said.contains(trouble), "{said}");
    }
}

#[test]
fn nginx_behind_understands_both_versions_and_its_log_is_quiet() {
    if real::has_all(&NGINX) {
        is_understood(|place| Peer::nginx(&nginx_says_who(place), &[place]));
    }
}

#[test]
fn haproxy_behind_understands_both_versions_and_its_log_is_quiet() {
    if real::has_all(&[HAPROXY]) {
        is_understood(|place| Peer::haproxy(&haproxy_says_who(place), &[place]));
    }
}

#[test]
fn between_two_haproxies_the_clients_address_and_unique_id_arrive() {
    if !real::has_all(&[HAPROXY]) {
        return;
    }
    let block = Block::claim();
    let front = block.address(2, 1);
    let entrance = SocketAddr::new(Ipv4Addr::into(front), 1001);
    let server = SocketAddr::new(block.backend(0).into(), PORT);
    let own = block.listener(PORT);
    let _behind = Peer::haproxy(&haproxy_says_who(server), &[server]);
    let settings = before(&block, "v2").set("accept_proxy_from", front.to_string());
    let _proxy = Proxy::start(&settings);
    let sections = format!(
        "listen front\n    mode tcp\n    bind {entrance}\n    unique-id-format id-%ci-%cp\n    \
         server tcpffee {own} source {front} send-proxy-v2 proxy-v2-options crc32c,unique-id\n"
    );
    let _front = Peer::haproxy(&sections, &[entrance]);
    for number in 0..10 {
        let from = block.client(number);
        let stream = client::connect(from, entrance).unwrap();
        let client = stream.local_addr().unwrap();
        let id = format!("id-{}-{}", client.ip(), client.port());
        assert_eq!(ask(&stream), format!("{client} {entrance}{id}"));
    }
}

/// nginx at a Unix socket learns of the client by its header, and checks of both kinds pass there.
#[test]
fn nginx_at_a_unix_socket_knows_the_client() {
    if !real::has_all(&NGINX) {
        return;
    }
    let block = Block::claim();
    let place = real::directory();
    let socket = format!("unix:{}", place.path().join("nginx.sock").display());
    let _nginx = Peer::nginx(&nginx_says_who(&socket), &[]);
    eventually("nginx listens", || place.path().join("nginx.sock").exists());
    for version in ["v1", "v2"] {
        let settings = before(&block, version).group_set(0, "portmap", socket.clone());
        let proxy = Proxy::start(&settings);
        for number in 0..10 {
            let to = block.listener(PORT);
            let stream = client::connect(block.client(number), to).unwrap();
            let expected = format!("{} {to}", stream.local_addr().unwrap());
            assert_eq!(ask(&stream), expected, "{version}");
        }
        eventually("both checks have passed", || {
            let checks = support::http::json(proxy.statistics(), "/api/v1/healthchecks");
            let checks = checks.as_array().unwrap();
            let passed = |check: &serde_json::Value| {
                let target = &check["targets"][0];
                assert_eq!(target["target"], socket.as_str());
                target["passed"].as_u64() > Some(1) && target["failed"] == 0
            };
            checks.len() == 2 && checks.iter().all(passed)
        });
    }
}
