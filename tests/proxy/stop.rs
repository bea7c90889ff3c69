//! A stop takes no client unawares, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support;
use rustix::process::Signal;
use support::client::{self, StreamEnd};
use support::{Fleet, PATIENCE, Proxy, Traffic, eventually};

const PORT: u16 = 5280;

#[test]
fn a_proxy_without_connections_stops_at_once_and_removes_its_pid_file() {
    let fleet = Fleet::new(1);
    for signal in [Signal::TERM, Signal::INT] {
        let mut proxy = Proxy::start(&fleet.settings);
        fleet.served_by(0, PORT);
        proxy.log.wait_session("the client has left", |_| true);
        proxy.signal(signal);
        let status = proxy.wait_exit(PATIENCE);
        assert_eq!(status.code(), Some(0));
        assert!(!proxy.state().pid_path().exists());
        assert!(proxy.state().stick_table_path().exists(), "the save");
    }
}

#[test]
fn open_connections_may_finish_within_the_grace() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    let from = fleet.block.client(0);
    let (_, stream) = client::greet(from, fleet.listener(PORT)).unwrap();
    proxy.signal(Signal::TERM);
    eventually("new clients are refused", || {
        client::connect(from, fleet.listener(PORT))
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    client::exchange(&stream, b"still here").unwrap();
    assert!(proxy.poll_exit().is_none());
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client::drain(&stream), (0, StreamEnd::Finished));
    let status = proxy.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn connections_that_outstay_the_grace_are_cut() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings.clone().set("shutdown_grace", 1));
    let from = fleet.block.client(0);
    let (_, stream) = client::greet(from, fleet.listener(PORT)).unwrap();
    let started = Instant::now();
    proxy.signal(Signal::TERM);
    client::drain(&stream);
    assert!(started.elapsed() > Duration::from_millis(900), "too early");
    let status = proxy.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(5));
    let session = proxy.log.wait_session("the one that was cut", |_| true);
    assert_eq!(session.end, "shutdown");
    assert!(!proxy.state().pid_path().exists());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings.clone().set("shutdown_grace", 300));
    let from = fleet.block.client(0);
    let (_, stream) = client::greet(from, fleet.listener(PORT)).unwrap();
    proxy.signal(Signal::TERM);
    eventually("it is stopping", || {
        client::connect(from, fleet.listener(PORT)).is_err()
    });
    client::exchange(&stream, b"still here").unwrap();
    proxy.signal(Signal::TERM);
    proxy.wait_exit(PATIENCE);
}

#[test]
fn a_second_stop_command_waits_with_the_first_and_cuts_nothing() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings.clone().set("shutdown_grace", 300));
    let from = fleet.block.client(0);
    let (_, stream) = client::greet(from, fleet.listener(PORT)).unwrap();
    std::thread::scope(|scope| {
        let ask = || proxy.subcommand(&["stop"]);
        let commands = [scope.spawn(ask), scope.spawn(ask)];
        eventually("it is stopping", || {
            client::connect(from, fleet.listener(PORT)).is_err()
        });
        client::exchange(&stream, b"still here").unwrap();
        drop(stream);
        for command in commands {
            let answer = command.join().unwrap();
            assert_eq!(answer.code, 0, "{}", answer.text);
        }
    });
    proxy.wait_exit(PATIENCE);
}

#[test]
fn a_stop_resets_no_client_that_the_kernel_has_taken() {
    for _ in 0..support::scaled(4, 40) {
        let fleet = Fleet::new(1);
        let mut proxy = Proxy::start(&fleet.settings);
        let served = Arc::new(AtomicUsize::new(0));
        let mut traffic = Traffic::new();
        for client in 0..8 {
            let (from, to) = (fleet.block.client(client), fleet.listener(PORT));
            let served = Arc::clone(&served);
            traffic.spawn(move || match client::connect(from, to) {
                Ok(stream) => {
                    client::read_line(&stream).expect("who is connected is served");
                    served.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    let gone = [ErrorKind::ConnectionRefused, ErrorKind::TimedOut];
                    assert!(gone.contains(&error.kind()), "{error}");
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        eventually("clients are served", || {
            served.load(Ordering::Relaxed) > 100
        });
        assert_eq!(proxy.stop(), 0);
        traffic.finish();
    }
}

#[test]
fn clients_in_the_backlog_at_a_stop_are_served_when_there_is_room() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings.clone().set("max_connections", 4));
    let (from, to) = (fleet.block.client(0), fleet.listener(PORT));
    let held: Vec<_> = (0..4).map(|_| client::greet(from, to).unwrap().1).collect();
    let waiting: Vec<_> = (0..12)
        .map(|_| client::connect(from, to).unwrap())
        .collect();
    proxy.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(1000));
    drop(held);
    support::parallel(12, 12, |n| {
        let stream = &waiting[n as usize];
        assert_eq!(client::read_line(stream).unwrap(), "g0");
        stream.shutdown(Shutdown::Both).unwrap();
    });
    assert_eq!(proxy.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn a_stop_while_a_target_is_being_connected_does_not_hang() {
    let block = support::Block::claim();
    let place = std::net::SocketAddr::new(block.backend(0).into(), PORT);
    let _unresponsive = support::backend::Unresponsive::start(place);
    let settings = support::Settings::new(&block)
        .ports(&[PORT])
        .set("connect_timeout", 60)
        .set("shutdown_grace", 1)
        .group(0, block.backend(0));
    let mut proxy = Proxy::start(&settings);
    let stream = client::connect(block.client(0), block.listener(PORT)).unwrap();
    assert_eq!(proxy.stop(), 5, "one connection was cut");
    assert_eq!(client::drain(&stream).0, 0);
}

#[test]
fn a_reload_during_a_stop_does_not_reopen_listeners() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    let from = fleet.block.client(0);
    let (_, stream) = client::greet(from, fleet.listener(PORT)).unwrap();
    proxy.signal(Signal::TERM);
    eventually("it is stopping", || {
        client::connect(from, fleet.listener(PORT)).is_err()
    });
    proxy.signal(Signal::USR1);
    std::thread::sleep(Duration::from_millis(500));
    assert!(client::connect(from, fleet.listener(PORT)).is_err());
    drop(stream);
    assert_eq!(proxy.wait_exit(PATIENCE).code(), Some(0));
}
