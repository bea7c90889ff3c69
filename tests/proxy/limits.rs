//! Every bound holds, and passing it is survived without a restart.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support;
use support::backend::Job;
use support::bulk;
use support::client::{self, StreamEnd};
use support::{Backend, Block, Fleet, Proxy, Settings, eventually, parallel, process, scaled};

const MIB: u64 = 1024 * 1024;
const PORT: u16 = 5280;

#[test]
fn more_connections_than_descriptors_wait_and_are_served_later() {
    let fleet = Fleet::new(2);
    let proxy = Proxy::builder(&fleet.settings).descriptors(300).start();
    let before = proxy.settled_descriptors();
    let mut clients: Vec<TcpStream> = (0..400)
        .map(|n| client::connect(fleet.block.client(n), fleet.listener(PORT)).unwrap())
        .collect();
    let served = |stream: &TcpStream| match client::read_line(stream) {
        Ok(name) => {
            assert!(name.starts_with('g'));
            true
        }
        Err(error) => {
            let waits = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
            assert!(
                waits.contains(&error.kind()),
                "reset while waiting: {error}"
            );
            false
        }
    };
    for stream in &clients {
        let patience = Some(Duration::from_millis(5));
        stream.set_read_timeout(patience).unwrap();
    }
    eventually("the proxy is full", || {
        let open: usize = fleet.backends.iter().map(Backend::open).sum();
        std::thread::sleep(Duration::from_millis(300));
        open >= 20 && fleet.backends.iter().map(Backend::open).sum::<usize>() == open
    });
    let (first, waiting): (Vec<_>, Vec<_>) = clients.drain(..).partition(served);
    assert!(
        !first.is_empty() && !waiting.is_empty(),
        "{} served",
        first.len()
    );
    assert!(proxy.descriptors() <= 300);

    // It waits without spinning and without a flood in the log.
    let (cpu, lines) = (process::cpu_seconds(proxy.pid()), proxy.log.mark());
    std::thread::sleep(Duration::from_secs(2));
    let used = process::cpu_seconds(proxy.pid()) - cpu;
    assert!(used < 1.0, "{used} s of CPU time in two seconds of waiting");
    assert!(proxy.log.mark() - lines < 10, "a flood in the log");

    // The first leave, the others are served, and so is everyone after them.
    drop(first);
    let mut left = waiting;
    eventually("everyone who waited is served", || {
        left.retain(|stream| !served(stream));
        left.is_empty()
    });
    for client in 1000..1100 {
        fleet.served_by(client, PORT);
    }
    eventually("all descriptors are closed", || {
        // Pipes stay in their pool.
        proxy.descriptors() <= before + 64
    });
}

#[test]
fn beyond_max_connections_clients_wait_in_the_backlog() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings.clone().set("max_connections", 10));
    let mut held: Vec<_> = (0..10)
        .map(|n| {
            client::greet(fleet.block.client(n), fleet.listener(PORT))
                .unwrap()
                .1
        })
        .collect();
    let eleventh = client::connect(fleet.block.client(10), fleet.listener(PORT)).unwrap();
    eleventh
        .set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    let error = client::read_line(&eleventh).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "it is not served yet");
    eleventh.set_read_timeout(Some(client::STALL)).unwrap();
    held.pop();
    assert_eq!(client::read_line(&eleventh).unwrap(), "g0");
    // Raised by a reload, the bound lets more in; nothing is cut.
    let twelfth = client::connect(fleet.block.client(11), fleet.listener(PORT)).unwrap();
    proxy.reload_ok(&fleet.settings.clone().set("max_connections", 11));
    assert_eq!(client::read_line(&twelfth).unwrap(), "g0");
    for stream in held.iter().chain([&eleventh, &twelfth]) {
        client::exchange(stream, b"still here").unwrap();
    }
}

#[test]
fn clients_in_the_backlog_of_a_port_that_closes_are_served_when_there_is_room() {
    let fleet = Fleet::on_ports(1, &[5280, 5281]);
    let settings = fleet.settings.clone().set("max_connections", 4);
    let mut proxy = Proxy::start(&settings);
    let (from, to) = (fleet.block.client(0), fleet.listener(5281));
    let held: Vec<_> = (0..4).map(|_| client::greet(from, to).unwrap().1).collect();
    let waiting: Vec<TcpStream> = (0..12)
        .map(|_| client::connect(from, to).unwrap())
        .collect();
    proxy.reload_ok(&settings.clone().ports(&[5280]));
    // Time enough to close a listener that did not wait for them.
    std::thread::sleep(Duration::from_millis(1500));
    for stream in &held {
        client::exchange(stream, b"still here").unwrap();
    }
    drop(held);
    parallel(12, 12, |n| {
        let stream = &waiting[n as usize];
        assert_eq!(client::read_line(stream).unwrap(), "g0");
        stream.shutdown(std::net::Shutdown::Both).unwrap();
    });
    eventually("the port refuses", || client::connect(from, to).is_err());
    assert_eq!(fleet.served_by(0, 5280), "g0");
}

#[test]
fn max_buffered_bytes_bounds_memory_and_loses_nothing() {
    let block = Block::claim();
    let _backend = Backend::bulk("g0", block.backend(0), &[PORT]);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .set("max_buffered_bytes", 2 * 1024 * 1024)
        .group(0, block.backend(0));
    let proxy = Proxy::start(&settings);
    let before = proxy.resident_bytes();
    let flows = 60;
    let size = scaled(6, 24) * MIB;
    let streams: Vec<TcpStream> = (0..flows)
        .map(|n| {
            let from = block.client(n);
            let stream = client::connect_with(from, block.listener(PORT), |socket| {
                socket.set_recv_buffer_size(16 * 1024)
            });
            let stream = stream.unwrap();
            let job = Job {
                seed: u64::from(n) * 2,
                up: 0,
                down: size,
                abort: false,
            };
            job.ask(&stream).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(1500));
    let growth = proxy.resident_bytes().saturating_sub(before);
    assert!(growth < 12 * MIB, "grew by {growth} bytes");
    parallel(6, flows, |n| {
        let stream = &streams[n as usize];
        let received = bulk::receive_to_end(stream, u64::from(n) * 2 + 1);
        assert_eq!(received, (size, StreamEnd::Finished));
    });
}

#[test]
fn a_standard_error_that_nobody_reads_does_not_slow_traffic_down() {
    let fleet = Fleet::new(2);
    let mut proxy = Proxy::builder(&fleet.settings).unread_stderr().start();
    // Some 200 bytes of session lines for each of them, into a pipe of 64 KiB.
    let started = Instant::now();
    parallel(8, 4_000, |client| {
        fleet.served_by(client % 500, PORT);
    });
    assert!(started.elapsed() < Duration::from_secs(60));
    let (_, stream) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    for _ in 0..500 {
        client::exchange(&stream, &[9; 1000]).unwrap();
    }
    drop(stream);
    proxy.reload_ok(&fleet.settings.clone().group_set(1, "drain", true));
    assert_eq!(proxy.stop(), 0, "the log holds up no stop");
}

#[test]
fn an_idle_connection_keeps_no_memory_of_a_heavy_past() {
    let block = Block::claim();
    let backend = Backend::start("g0", block.backend(0), &[PORT], |conn| {
        let _ = conn.echo();
    });
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .group(0, block.backend(0));
    let proxy = Proxy::start(&settings);
    let before = (proxy.resident_bytes(), proxy.settled_descriptors());
    let connections = 400;
    let streams = parallel(4, connections, |n| {
        let stream = client::connect(block.client(n), block.listener(PORT)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| bulk::send(&stream, 1, MIB).unwrap());
            bulk::receive(&stream, 1, MIB).unwrap();
        });
        stream
    });
    assert_eq!(backend.open(), connections as usize);
    eventually("only the sockets and the pool are left open", || {
        proxy.descriptors() <= before.1 + 2 * connections as usize + 128
    });
    let growth = proxy.resident_bytes().saturating_sub(before.0);
    assert!(growth < 16 * MIB, "grew by {growth} bytes");
    drop(streams);
}
