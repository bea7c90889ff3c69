//! Targets that are Unix sockets (`unix:/path`).

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::support;
use support::bulk;
use support::client::{self, StreamEnd};
use support::{Backend, Block, PATIENCE, Proxy, Settings, eventually, http};
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;
const PORT: u16 = 5280;

/// A socket in a folder of its own.
struct Place {
    _directory: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.sock");
        Place {
            _directory: directory,
            path,
        }
    }

    fn target(&self) -> String {
        format!("unix:{}", self.path.display())
    }
}

/// Serves each connection in this way, in a thread of its own.
fn serve(path: &Path, serve: impl Fn(UnixStream) + Clone + Send + 'static) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, serve) = (stream.unwrap(), serve.clone());
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            thread::spawn(move || serve(stream));
        }
    });
}

/// A server that says `name` to each client, and then what it is told.
fn echo(path: &Path, name: &'static str) {
    serve(path, move |mut stream| {
        stream.write_all(format!("{name}\n").as_bytes()).unwrap();
        let mut other_way = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut other_way, &mut stream);
        let _ = stream.shutdown(Shutdown::Write);
    });
}

struct Scene {
    block: Block,
    place: Place,
    settings: Settings,
    proxy: Proxy,
}

impl Scene {
    /// One group, whose socket serves each connection in this way.
    fn new(served: impl Fn(UnixStream) + Clone + Send + 'static) -> Scene {
        let (block, place) = (Block::claim(), Place::new());
        serve(&place.path, served);
        let settings = Settings::new(&block)
            .ports(&[PORT])
            .group_set(0, "portmap", place.target());
        let proxy = Proxy::start(&settings);
        Scene {
            block,
            place,
            settings,
            proxy,
        }
    }

    fn connect(&self, number: u32) -> TcpStream {
        client::connect(self.block.client(number), self.block.listener(PORT)).unwrap()
    }
}

#[test]
fn large_streams_arrive_whole_both_ways_at_once_and_each_end_by_itself() {
    let scene = Scene::new(|stream| {
        let sender = stream.try_clone().unwrap();
        let sending = thread::spawn(move || {
            bulk::send(&sender, 2, 24 * MIB).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let received = bulk::receive_to_end(&stream, 1);
        assert_eq!(received, (16 * MIB, StreamEnd::Finished));
        sending.join().unwrap();
    });
    let stream = scene.connect(0);
    let sender = stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        bulk::send(&sender, 1, 16 * MIB).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let received = bulk::receive_to_end(&stream, 2);
    assert_eq!(received, (24 * MIB, StreamEnd::Finished));
    sending.join().unwrap();
    let session = scene.proxy.log.wait_session("the session", |_| true);
    assert_eq!((session.bytes_in, session.bytes_out), (16 * MIB, 24 * MIB));
    assert_eq!(session.target, Some(scene.place.target()));
    assert!(["client_finished", "target_finished"].contains(&&*session.end));
}

#[test]
fn after_one_side_has_ended_the_other_can_still_send() {
    let scene = Scene::new(|stream| {
        assert_eq!(bulk::receive_to_end(&stream, 1), (MIB, StreamEnd::Finished));
        bulk::send(&stream, 2, MIB).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    });
    let stream = scene.connect(0);
    bulk::send(&stream, 1, MIB).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(bulk::receive_to_end(&stream, 2), (MIB, StreamEnd::Finished));
    let session = scene.proxy.log.wait_session("the session", |_| true);
    assert_eq!(session.end, "client_finished");

    let scene = Scene::new(|stream| {
        bulk::send(&stream, 1, MIB).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(bulk::receive_to_end(&stream, 2), (MIB, StreamEnd::Finished));
    });
    let stream = scene.connect(0);
    assert_eq!(bulk::receive_to_end(&stream, 1), (MIB, StreamEnd::Finished));
    bulk::send(&stream, 2, MIB).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let session = scene.proxy.log.wait_session("the session", |_| true);
    assert_eq!((&*session.end, session.bytes_in), ("target_finished", MIB));
}

#[test]
fn a_server_that_goes_with_bytes_unread_resets_its_client_once_that_has_everything() {
    let scene = Scene::new(|stream| {
        let mut first = [0];
        (&stream).read_exact(&mut first).unwrap();
        bulk::send(&stream, 1, 100_000).unwrap();
        // What came behind the first byte is unread: the kernel tells the peer of it (ECONNRESET).
    });
    let stream = scene.connect(0);
    (&stream).write_all(b"unread").unwrap();
    let received = bulk::receive_to_end(&stream, 1);
    assert_eq!(received, (100_000, StreamEnd::Reset));
    let session = scene.proxy.log.wait_session("the session", |_| true);
    assert_eq!(session.end, "target_reset");
}

#[test]
fn a_server_learns_of_a_clients_reset_by_the_end_of_the_stream_behind_every_byte() {
    let (sender, ends) = channel();
    let scene = Scene::new(move |stream| {
        (&stream).write_all(b"hello\n").unwrap();
        let end = bulk::receive_to_end(&stream, 1);
        sender
            .send((end, (&stream).write_all(b"anybody?")))
            .unwrap();
    });
    let stream = scene.connect(0);
    assert_eq!(client::read_line(&stream).unwrap(), "hello");
    bulk::send(&stream, 1, 5_000).unwrap();
    let inward = || {
        let groups = http::json(scene.proxy.statistics(), "/api/v1/groups");
        groups[0]["bytes_in"].as_u64()
    };
    eventually("the bytes are with the server", || inward() == Some(5_000));
    client::reset(stream);
    let (end, answered): (_, std::io::Result<()>) = ends.recv_timeout(PATIENCE).unwrap();
    assert_eq!(end, (5_000, StreamEnd::Finished));
    assert!(
        client::is_reset(&answered.unwrap_err()),
        "both ways are closed"
    );
    let session = scene.proxy.log.wait_session("the session", |_| true);
    assert_eq!(session.end, "client_reset");
}

/// A group with a socket that nobody listens at, and one that serves.
fn with_a_second_group(place: &Place) -> (Block, Backend, Settings) {
    let block = Block::claim();
    let second = Backend::echo("g1", block.backend(1), &[PORT]);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .set("balance", "least-sticks")
        .group_set(0, "portmap", place.target())
        .group(1, block.backend(1));
    (block, second, settings)
}

#[test]
fn a_new_client_moves_on_from_a_socket_that_is_not_there_or_that_nobody_listens_at() {
    for stale in [false, true] {
        let place = Place::new();
        if stale {
            drop(UnixListener::bind(&place.path).unwrap());
        }
        let (block, _second, settings) = with_a_second_group(&place);
        let proxy = Proxy::start(&settings);
        let served = client::ask(block.client(0), block.listener(PORT)).unwrap();
        assert_eq!(served, "g1");
        let why = match stale {
            false => "No such file or directory",
            true => "Connection refused",
        };
        let said = format!("group 0 does not answer at {}: {why}", place.target());
        proxy
            .log
            .wait("the failed connect", |line| line.contains(&said));
        let groups = http::json(proxy.statistics(), "/api/v1/groups");
        let target = &groups[0]["targets"][0];
        assert_eq!(target["target"], place.target());
        assert_eq!(target["address"], place.target());
        assert_eq!(target["connect_failures"], 1);
    }
}

#[test]
fn a_client_that_has_its_group_is_reset_while_the_socket_is_gone_and_finds_it_again() {
    let place = Place::new();
    let (block, _second, settings) = with_a_second_group(&place);
    serve(&place.path, |stream| {
        (&stream).write_all(b"unix\n").unwrap();
        let _ = client_gone(&stream);
    });
    let proxy = Proxy::start(&settings);
    let (name, open) = client::greet(block.client(0), block.listener(PORT)).unwrap();
    assert_eq!(name, "unix");
    fs::remove_file(&place.path).unwrap();
    client::expect_reset(block.client(0), block.listener(PORT));
    let session = proxy.log.wait_session("the refused one", |_| true);
    assert_eq!(
        (session.end.as_str(), session.group),
        ("connect_failed", Some(0))
    );
    echo(&place.path, "again");
    let served = client::ask(block.client(0), block.listener(PORT)).unwrap();
    assert_eq!(served, "again");
    drop(open);
}

/// Waits for the end of the stream.
fn client_gone(mut stream: &UnixStream) -> std::io::Result<usize> {
    stream.read_to_end(&mut Vec::new())
}

/// A listener whose queue is full: two connections fill one that has room for one.
fn crowded(path: &Path) -> (UnixListener, Vec<UnixStream>) {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&socket2::SockAddr::unix(path).unwrap())
        .unwrap();
    socket.listen(1).unwrap();
    let waiting = (0..2).map(|_| UnixStream::connect(path).unwrap());
    let waiting = waiting.collect();
    (socket.into(), waiting)
}

#[test]
fn a_client_waits_while_as_many_as_may_wait_to_be_accepted() {
    let (block, place) = (Block::claim(), Place::new());
    let (listener, waiting) = crowded(&place.path);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .set("connect_timeout", 60)
        .group_set(0, "portmap", place.target());
    let proxy = Proxy::start(&settings);
    let clients: Vec<TcpStream> = (0..3)
        .map(|number| client::connect(block.client(number), block.listener(PORT)).unwrap())
        .collect();
    let accepted = || {
        let totals = http::json(proxy.statistics(), "/api/v1/");
        totals["totals"]["connections"].as_u64()
    };
    eventually("all three are with the proxy", || accepted() == Some(3));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"at last\n");
        }
    });
    for stream in &clients {
        assert_eq!(client::read_line(stream).unwrap(), "at last");
    }
    drop(waiting);
}

#[test]
fn a_client_that_leaves_while_it_waits_for_room_is_gone_at_once() {
    let (block, place) = (Block::claim(), Place::new());
    let (_listener, _waiting) = crowded(&place.path);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .set("connect_timeout", 3600)
        .group_set(0, "portmap", place.target());
    let proxy = Proxy::start(&settings);
    let stream = client::connect(block.client(0), block.listener(PORT)).unwrap();
    let open = || {
        let totals = http::json(proxy.statistics(), "/api/v1/");
        totals["totals"]["connections"].as_u64()
    };
    eventually("it is with the proxy", || open() == Some(1));
    client::reset(stream);
    let session = proxy.log.wait_session("the one that left", |_| true);
    assert_eq!(session.end, "client_left");
}

#[test]
fn a_client_that_waits_for_room_at_a_socket_counts_in_a_bound_that_comes_then() {
    let (block, place) = (Block::claim(), Place::new());
    let (_listener, _waiting) = crowded(&place.path);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .set("connect_timeout", 3600)
        .set("queue_timeout", 600)
        .group_set(0, "portmap", place.target());
    let mut proxy = Proxy::start(&settings);
    let connect = |number| client::connect(block.client(number), block.listener(PORT)).unwrap();
    let first = connect(0);
    let open = || http::json(proxy.statistics(), "/api/v1/")["totals"]["connections"] == 1;
    eventually("it is with the proxy", open);
    proxy.reload_ok(&settings.group_set(0, "max_connections", 1));
    let figures = |proxy: &Proxy| {
        let group = http::json(proxy.statistics(), "/api/v1/groups/0");
        [&group["places_taken"], &group["queued"]].map(|figure| figure.as_u64().unwrap())
    };
    eventually("its place is taken", || figures(&proxy) == [1, 0]);
    let _second = connect(1);
    eventually("another one waits for it", || figures(&proxy) == [1, 1]);
    client::reset(first);
    eventually("and has it", || figures(&proxy) == [1, 0]);
}

#[test]
fn a_socket_that_has_no_room_within_connect_timeout_loses_a_new_client_to_another_group() {
    let place = Place::new();
    let (_listener, _waiting) = crowded(&place.path);
    let (block, _second, settings) = with_a_second_group(&place);
    let proxy = Proxy::start(&settings.set("connect_timeout", 0.5));
    let begun = Instant::now();
    let served = client::ask(block.client(0), block.listener(PORT)).unwrap();
    assert_eq!(served, "g1");
    assert!(begun.elapsed() >= Duration::from_millis(450));
    let said = "as many connections as may wait there to be accepted";
    proxy.log.wait("why", |line| line.contains(said));
}

#[test]
fn a_header_of_the_proxy_protocol_comes_first() {
    for version in ["v1", "v2"] {
        let (sender, heads): (_, Receiver<Vec<u8>>) = channel();
        let scene = Scene::new(move |mut stream| {
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).unwrap();
            head.truncate(length);
            sender.send(head).unwrap();
            stream.write_all(b"seen\n").unwrap();
            let _ = client_gone(&stream);
        });
        let mut proxy = scene.proxy;
        let sends = scene.settings.clone().group_set(0, "send_proxy", version);
        proxy.reload_ok(&sends);
        let to = scene.block.listener(PORT);
        let stream = client::connect(scene.block.client(0), to).unwrap();
        let from = stream.local_addr().unwrap();
        (&stream).write_all(b"GET").unwrap();
        assert_eq!(client::read_line(&stream).unwrap(), "seen");
        let head = heads.recv_timeout(PATIENCE).unwrap();
        let addresses = tcpffee::proxy_protocol::Addresses::new(from, to);
        let expected = match version {
            "v1" => tcpffee::proxy_protocol::v1(addresses),
            _ => tcpffee::proxy_protocol::v2(addresses, &Default::default()),
        };
        assert!(head.starts_with(&expected), "{version}: {head:?}");
    }
}

#[test]
fn a_reload_leads_new_connections_from_tcp_to_a_socket_and_back_and_keeps_those_that_are_up() {
    let (block, place) = (Block::claim(), Place::new());
    let _tcp = Backend::echo("tcp", block.backend(0), &[PORT]);
    echo(&place.path, "unix");
    let by_tcp = Settings::new(&block)
        .ports(&[PORT])
        .group(0, block.backend(0));
    let by_unix = by_tcp.clone().group_set(0, "portmap", place.target());
    let mut proxy = Proxy::start(&by_tcp);
    let greet = || client::greet(block.client(0), block.listener(PORT)).unwrap();
    let mut open = Vec::new();
    for (settings, expected) in [(&by_tcp, "tcp"), (&by_unix, "unix"), (&by_tcp, "tcp")] {
        proxy.reload_ok(settings);
        let (name, stream) = greet();
        assert_eq!(name, expected);
        open.push(stream);
        for stream in &open {
            client::exchange(stream, b"still here").unwrap();
        }
    }
}

#[test]
fn one_socket_serves_every_port_or_one_of_them() {
    let (block, place) = (Block::claim(), Place::new());
    echo(&place.path, "unix");
    let _tcp = Backend::echo("tcp", block.backend(0), &[5281]);
    let settings = Settings::new(&block).ports(&[PORT, 5281]);
    let every = settings.clone().group_set(0, "portmap", place.target());
    let mut proxy = Proxy::start(&every);
    let served = |port| client::ask(block.client(0), block.listener(port)).unwrap();
    assert_eq!([served(PORT), served(5281)], ["unix", "unix"]);
    let checked = proxy.subcommand(&["check"]);
    assert!(
        checked
            .text
            .contains(&format!("5280-5281 → {}", place.target())),
        "{}",
        checked.text
    );
    let tcp = format!("{}:5281", block.backend(0));
    proxy.reload_ok(&settings.group_ports(0, &[(PORT, place.target()), (5281, tcp)]));
    assert_eq!([served(PORT), served(5281)], ["unix", "tcp"]);
}

#[test]
fn an_idle_connection_to_a_socket_is_told_its_end_and_holds_nothing_when_it_is_over() {
    let scene = Scene::new(|stream| {
        (&stream).write_all(b"hello\n").unwrap();
        let _ = client_gone(&stream);
    });
    let before = scene.proxy.settled_descriptors();
    let clients: Vec<TcpStream> = (0..50).map(|number| scene.connect(number)).collect();
    for stream in &clients {
        assert_eq!(client::read_line(stream).unwrap(), "hello");
    }
    assert!(scene.proxy.descriptors() >= before + 100);
    drop(clients);
    let sessions = scene
        .proxy
        .log
        .wait_sessions(50, "of the clients", |_| true);
    assert!(
        sessions
            .iter()
            .all(|session| session.end == "client_finished")
    );
    assert_eq!(scene.proxy.settled_descriptors(), before);
}
