//! The control socket: `reload`, `stop` and `cluster form` say what really happened.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::support;
use support::{Backend, Block, Proxy, Settings, client, eventually};

fn settings(block: &Block) -> Settings {
    Settings::new(block).group(0, block.backend(0))
}

fn connect(proxy: &Proxy) -> UnixStream {
    let path = proxy.state().pid_path().with_extension("sock");
    let stream = UnixStream::connect(path).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

#[test]
fn a_reload_tells_what_changed() {
    let block = Block::claim();
    let mut proxy = Proxy::start(&settings(&block));
    let drained = settings(&block)
        .group_set(0, "drain", true)
        .set("expiration", 90);
    let answer = proxy.reload(&drained);
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert!(
        answer.text.contains("groups.0.drain: false → true"),
        "{}",
        answer.text
    );
    assert!(answer.text.contains("expiration"), "{}", answer.text);
    let answer = proxy.reload(&drained);
    assert_eq!(answer.code, 0);
    assert!(
        answer.text.contains("nothing has changed"),
        "{}",
        answer.text
    );
}

#[test]
fn a_refused_reload_tells_why_and_changes_nothing() {
    let block = Block::claim();
    let backend = Backend::echo("alder", block.backend(0), &support::settings::PORTS);
    let mut proxy = Proxy::start(&settings(&block));
    let bad = settings(&block)
        .set("expiration", "soon")
        .group_set(0, "wieght", 2);
    let answer = proxy.reload(&bad);
    assert_eq!(answer.code, 1, "{}", answer.text);
    for part in ["expiration", "soon", "wieght", "weight"] {
        assert!(
            answer.text.contains(part),
            "{part} is missing in {}",
            answer.text
        );
    }
    let answer = proxy.reload(&settings(&block).set("workers", 1));
    assert_eq!(answer.code, 1, "{}", answer.text);
    assert!(answer.text.contains("workers"), "{}", answer.text);
    assert_eq!(
        client::ask(block.client(0), block.listener(5280)).unwrap(),
        backend.name()
    );
}

#[test]
fn a_stop_returns_when_the_process_has_gone() {
    let block = Block::claim();
    let mut proxy = Proxy::start(&settings(&block));
    let answer = proxy.subcommand(&["stop"]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert!(answer.text.contains("stopped"), "{}", answer.text);
    // Files and lock are gone when it returns; the process itself a moment later.
    assert!(!proxy.state().pid_path().exists());
    assert_eq!(proxy.wait_exit(Duration::from_secs(20)).code(), Some(0));
}

#[test]
fn a_stop_that_cut_connections_says_so() {
    let block = Block::claim();
    let _backend = Backend::echo("alder", block.backend(0), &support::settings::PORTS);
    let mut proxy = Proxy::start(&settings(&block).set("shutdown_grace", 0.2));
    let (_, stream) = client::greet(block.client(0), block.listener(5280)).unwrap();
    let answer = proxy.subcommand(&["stop"]);
    assert_eq!(answer.code, 5, "{}", answer.text);
    assert!(answer.text.contains("1 connection cut"), "{}", answer.text);
    drop(stream);
    assert_eq!(proxy.wait_exit(Duration::from_secs(20)).code(), Some(5));
}

#[test]
fn a_stop_waits_for_connections_that_end_in_time() {
    let block = Block::claim();
    let _backend = Backend::echo("alder", block.backend(0), &support::settings::PORTS);
    let mut proxy = Proxy::start(&settings(&block));
    let (_, stream) = client::greet(block.client(0), block.listener(5280)).unwrap();
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| proxy.subcommand(&["stop"]));
        proxy.log.wait("it stops", |line| line.contains("stopping"));
        client::exchange(&stream, b"still here").unwrap();
        drop(stream);
        let answer = stop.join().unwrap();
        assert_eq!(answer.code, 0, "{}", answer.text);
    });
    assert_eq!(proxy.wait_exit(Duration::from_secs(20)).code(), Some(0));
}

#[test]
fn the_socket_is_for_the_owner_and_the_group() {
    let block = Block::claim();
    let proxy = Proxy::start(&settings(&block));
    let path = proxy.state().pid_path().with_extension("sock");
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn hostile_clients_harm_nobody() {
    let block = Block::claim();
    let _backend = Backend::echo("alder", block.backend(0), &support::settings::PORTS);
    let mut proxy = Proxy::start(&settings(&block));
    let before = proxy.descriptors();
    let mut silent: Vec<_> = (0..10).map(|_| connect(&proxy)).collect();
    for text in ["\0\0\0\n", "{\"command\":\"explode\"}\n", "[[[[[[\n"] {
        let mut stream = connect(&proxy);
        stream.write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert!(line.contains("\"failed\""), "{line}");
    }
    let started = Instant::now();
    let answer = proxy.reload(&settings(&block).set("expiration", 30));
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "silent clients held up a reload"
    );
    assert_eq!(
        client::ask(block.client(0), block.listener(5280)).unwrap(),
        "alder"
    );
    silent.clear();
    eventually("no descriptor is left", || {
        proxy.descriptors() <= before + 1
    });
    assert_eq!(proxy.stop(), 0);
}

#[test]
fn a_process_killed_in_a_stop_is_told() {
    let block = Block::claim();
    let _backend = Backend::echo("alder", block.backend(0), &support::settings::PORTS);
    let mut proxy = Proxy::start(&settings(&block));
    let _open = client::greet(block.client(0), block.listener(5280)).unwrap();
    let log = proxy.log.clone();
    let arguments = (proxy.state().clone(), proxy.pid());
    std::thread::scope(|scope| {
        let stop = scope.spawn(move || {
            let output = std::process::Command::new(support::proxy::BINARY)
                .arg("stop")
                .env("TCPFFEE_PID_PATH", arguments.0.pid_path())
                .output()
                .unwrap();
            (
                output.status.code(),
                String::from_utf8(output.stderr).unwrap(),
            )
        });
        log.wait("it stops", |line| line.contains("stopping"));
        proxy.kill9();
        let (code, text) = stop.join().unwrap();
        assert_eq!(code, Some(4), "{text}");
        assert!(text.contains("ended without saying how"), "{text}");
    });
}

#[test]
fn a_lone_node_says_that_there_is_no_cluster_to_form_and_goes_on() {
    let block = Block::claim();
    let mut proxy = Proxy::start(&settings(&block));
    for arguments in [&["cluster", "form"][..], &["cluster", "form", "--yes"]] {
        let answer = proxy.subcommand(arguments);
        assert_eq!(answer.code, 1, "{}", answer.text);
        assert!(
            answer.text.contains("this node runs alone"),
            "{}",
            answer.text
        );
    }
    proxy.reload_ok(&settings(&block));
}
