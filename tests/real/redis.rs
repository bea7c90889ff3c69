//! redis-server behind the proxy, redis-benchmark in front of it.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use crate::real;
use crate::support;
use real::Server;
use support::{Block, Proxy, Settings, client};
use tempfile::TempDir;

const REDIS_PORT: u16 = 6379;
const PORTS: [u16; 2] = [5280, 5281];

struct Redis {
    _server: Server,
    _directory: TempDir,
    address: SocketAddr,
}

impl Redis {
    fn start(block: &Block, number: u8) -> Redis {
        let directory = real::directory();
        let address = SocketAddr::new(block.backend(number).into(), REDIS_PORT);
        let program = real::find("redis-server", "redis-server");
        let mut command = real::command(&program, real::User::Same);
        command
            .args(["--bind", &address.ip().to_string()])
            .args(["--port", &REDIS_PORT.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            // Redis would else serve 127.0.0.1 only.
            .args(["--protected-mode", "no"])
            .arg("--dir")
            .arg(directory.path());
        Redis {
            _server: Server::start(command, directory.path(), &[address]),
            _directory: directory,
            address,
        }
    }

    /// A number from its `INFO`, or of its keys.
    fn number(&self, block: &Block, ask: &str, field: &str) -> u64 {
        let answer = command(block.client(0), self.address, ask);
        let value = answer.lines().find_map(|line| line.strip_prefix(field));
        let value = value.unwrap_or_else(|| panic!("no {field} in {answer}"));
        value.trim().parse().expect("a number")
    }
}

struct Setting {
    block: Block,
    servers: [Redis; 2],
    proxy: Proxy,
}

/// Two servers; both listened ports lead to the one port of the group's server.
fn start() -> Setting {
    let block = Block::claim();
    let servers = [0, 1].map(|number| Redis::start(&block, number));
    let mut settings = Settings::new(&block).ports(&PORTS);
    for (id, server) in (0..).zip(&servers) {
        let portmap = PORTS.map(|port| (port, server.address.to_string()));
        settings = settings.group_ports(id, &portmap);
    }
    let proxy = Proxy::start(&settings);
    Setting {
        block,
        servers,
        proxy,
    }
}

/// Sends one inline command and `QUIT`; the answer up to the end of the stream.
fn command(from: IpAddr, to: SocketAddr, words: &str) -> String {
    let stream = client::connect(from, to).unwrap();
    (&stream)
        .write_all(format!("{words}\r\nQUIT\r\n").as_bytes())
        .unwrap();
    String::from_utf8(client::read_to_end(&stream).unwrap()).unwrap()
}

fn benchmark(to: SocketAddr, arguments: &[&str]) -> String {
    let program = real::find("redis-benchmark", "redis-tools");
    let mut command = real::command(&program, real::User::Same);
    command
        .args([
            "-h",
            &to.ip().to_string(),
            "-p",
            &to.port().to_string(),
            "--csv",
        ])
        .args(arguments);
    real::run(command)
}

/// What the tests need.
const PROGRAMS: &[(&str, &str)] = &[
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("redis-benchmark", "redis-tools"),
];

#[test]
fn redis_benchmark_runs_whole_against_one_server() {
    if !real::has_all(PROGRAMS) {
        return;
    }
    let setting = start();
    let requests = support::scaled("5000", "200000");
    let tests = "set,get,incr,lpush,rpop,mset";
    for (port, more) in [
        (5280, &["-c", "50"][..]),
        (5281, &["-c", "20", "-P", "16", "-d", "20000"]),
    ] {
        let to = setting.block.listener(port);
        let mut arguments = vec!["-n", requests, "-t", tests];
        arguments.extend(more);
        let report = benchmark(to, &arguments);
        let rows = report.lines().filter(|line| line.starts_with('"'));
        let names: Vec<&str> = rows.filter_map(|row| row.split('"').nth(1)).collect();
        for name in ["SET", "GET", "INCR", "LPUSH", "RPOP"] {
            assert!(names.contains(&name), "{name} is missing in {report}");
        }
    }
    // INFO's own connections come directly, from another address, and store nothing.
    let [one, other] = &setting.servers;
    let keys = |server: &Redis| server.number(&setting.block, "DBSIZE", ":");
    let (one, other) = (keys(one), keys(other));
    assert!(
        one > 0 && other == 0 || one == 0 && other > 0,
        "{one} and {other} keys"
    );
    let sessions = setting
        .proxy
        .log
        .wait_sessions(70, "of the benchmark", |_| true);
    assert!(
        sessions
            .iter()
            .all(|session| session.group == sessions[0].group)
    );
}

#[test]
fn each_client_finds_its_value_again_on_either_port() {
    if !real::has_all(PROGRAMS) {
        return;
    }
    let setting = start();
    for number in 1..=40 {
        let from = setting.block.client(number);
        let set = format!("SET mine{number} value{number}");
        assert!(command(from, setting.block.listener(5280), &set).starts_with("+OK"));
    }
    for number in 1..=40 {
        let from = setting.block.client(number);
        let got = command(
            from,
            setting.block.listener(5281),
            &format!("GET mine{number}"),
        );
        assert!(
            got.contains(&format!("\r\nvalue{number}\r\n")),
            "client {number}: {got}"
        );
    }
    let keys = setting
        .servers
        .each_ref()
        .map(|server| server.number(&setting.block, "DBSIZE", ":"));
    assert_eq!(keys, [20, 20]);
}

/// Servers that listen at Unix sockets and nowhere else.
#[test]
fn redis_benchmark_runs_whole_over_unix_sockets() {
    if !real::has_all(PROGRAMS) {
        return;
    }
    let block = Block::claim();
    let mut settings = Settings::new(&block).ports(&PORTS);
    let mut servers = Vec::new();
    for id in 0..2 {
        let directory = real::directory();
        let socket = directory.path().join("redis.sock");
        let program = real::find("redis-server", "redis-server");
        let mut command = real::command(&program, real::User::Same);
        command
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .args(["--daemonize", "no", "--unixsocketperm", "777"])
            .arg("--unixsocket")
            .arg(&socket)
            .arg("--dir")
            .arg(directory.path());
        let server = Server::start(command, directory.path(), &[]);
        support::eventually("redis listens", || socket.exists());
        settings = settings.group_set(id, "portmap", format!("unix:{}", socket.display()));
        servers.push((server, directory));
    }
    let proxy = Proxy::start(&settings);
    let to = block.listener(PORTS[0]);
    let requests = support::scaled("3000", "100000");
    let report = benchmark(
        to,
        &["-n", requests, "-t", "set,get", "-c", "30", "-d", "5000"],
    );
    assert!(
        report.contains("\"SET\"") && report.contains("\"GET\""),
        "{report}"
    );
    for number in 1..=20 {
        let from = block.client(number);
        let set = format!("SET mine{number} value{number}");
        assert!(command(from, to, &set).starts_with("+OK"));
        let get = format!("GET mine{number}");
        let got = command(from, block.listener(PORTS[1]), &get);
        assert!(got.contains(&format!("\r\nvalue{number}\r\n")), "{got}");
    }
    let sessions = proxy.log.wait_sessions(90, "of the clients", |_| true);
    let by_target = |id: usize| {
        let target = format!("unix:{}", servers[id].1.path().join("redis.sock").display());
        sessions
            .iter()
            .filter(move |s| s.target.as_ref() == Some(&target))
            .count()
    };
    assert!(by_target(0) > 0 && by_target(1) > 0);
    assert_eq!(by_target(0) + by_target(1), sessions.len());
}
