//! How connections end: half-closes and resets are passed on as they came.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support;
use support::backend::Conn;
use support::bulk;
use support::client::{self, StreamEnd};
use support::{Backend, Block, Fleet, Proxy, Settings, eventually, netns, process};

const MIB: u64 = 1024 * 1024;
const PORT: u16 = 5280;

/// A proxy in front of one backend that serves each connection in this way.
fn scene(serve: impl Fn(Conn) + Send + Sync + 'static) -> (Block, Backend, Proxy) {
    let block = Block::claim();
    let backend = Backend::start("g0", block.backend(0), &[PORT], serve);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .group(0, block.backend(0));
    let proxy = Proxy::start(&settings);
    (block, backend, proxy)
}

fn connect(block: &Block) -> TcpStream {
    client::connect(block.client(0), block.listener(PORT)).unwrap()
}

#[test]
fn after_the_client_has_ended_the_target_can_still_answer() {
    let (block, _backend, proxy) = scene(|conn| {
        let received = bulk::receive_to_end(&*conn.stream, 1);
        assert_eq!(received, (MIB, StreamEnd::Finished));
        bulk::send(&*conn.stream, 2, MIB).unwrap();
    });
    let stream = connect(&block);
    bulk::send(&stream, 1, MIB).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let received = bulk::receive_to_end(&stream, 2);
    assert_eq!(received, (MIB, StreamEnd::Finished));
    let session = proxy.log.wait_session("the session", |_| true);
    assert_eq!(session.end, "client_finished");
    assert_eq!((session.bytes_in, session.bytes_out), (MIB, MIB));
}

#[test]
fn after_the_target_has_ended_the_client_can_still_send() {
    let received = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&received);
    let (block, _backend, proxy) = scene(move |conn| {
        bulk::send(&*conn.stream, 1, MIB).unwrap();
        conn.stream.shutdown(Shutdown::Write).unwrap();
        let received = bulk::receive_to_end(&*conn.stream, 2);
        assert_eq!(received, (MIB, StreamEnd::Finished));
        seen.store(true, Ordering::Relaxed);
    });
    let stream = connect(&block);
    let got = bulk::receive_to_end(&stream, 1);
    assert_eq!(got, (MIB, StreamEnd::Finished));
    bulk::send(&stream, 2, MIB).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    eventually("the target has everything", || {
        received.load(Ordering::Relaxed)
    });
    let session = proxy.log.wait_session("the session", |_| true);
    assert_eq!(session.end, "target_finished");
}

#[test]
fn a_half_close_without_a_byte_reaches_the_other_side() {
    let (block, _backend, _proxy) = scene(|conn| {
        assert_eq!(client::drain(&conn.stream), (0, StreamEnd::Finished));
        conn.say_name().unwrap();
    });
    let stream = connect(&block);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client::read_line(&stream).unwrap(), "g0");
    assert_eq!(client::drain(&stream), (0, StreamEnd::Finished));
}

#[test]
fn a_target_that_closes_at_once_ends_the_client_in_order() {
    let (block, _backend, proxy) = scene(drop);
    let stream = connect(&block);
    assert_eq!(client::drain(&stream), (0, StreamEnd::Finished));
    drop(stream);
    let session = proxy.log.wait_session("the session", |_| true);
    assert_eq!(session.end, "target_finished");
}

#[test]
fn a_client_that_resets_in_mid_stream_resets_the_target() {
    let ends = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&ends);
    let (block, _backend, proxy) = scene(move |conn| {
        conn.say_name().unwrap();
        let end = client::drain(&conn.stream);
        seen.lock().unwrap().push(end);
    });
    let stream = connect(&block);
    client::read_line(&stream).unwrap();
    (&stream).write_all(&[7; 5000]).unwrap();
    let local = stream.local_addr().unwrap();
    eventually("the bytes are with the proxy", || sent(&stream, local));
    client::reset(stream);
    eventually("the target has seen the end", || {
        ends.lock().unwrap().len() == 1
    });
    assert_eq!(ends.lock().unwrap()[0], (5000, StreamEnd::Reset));
    let session = proxy.log.wait_session("the session", |_| true);
    assert_eq!(session.end, "client_reset");
}

#[test]
fn a_target_that_resets_in_mid_stream_resets_the_client() {
    let (block, _backend, proxy) = scene(|conn| {
        conn.say_name().unwrap();
        let local = conn.stream.local_addr().unwrap();
        eventually("the name is with the proxy", || sent(&conn.stream, local));
        client::read_line(&conn.stream).unwrap();
        socket2::SockRef::from(&conn.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let stream = connect(&block);
    client::read_line(&stream).unwrap();
    (&stream).write_all(b"go\n").unwrap();
    assert_eq!(client::drain(&stream), (0, StreamEnd::Reset));
    let session = proxy.log.wait_session("the session", |_| true);
    assert_eq!(session.end, "target_reset");
}

/// Whether everything written to a stream has been acknowledged.
fn sent(stream: &TcpStream, local: SocketAddr) -> bool {
    let peer = stream.peer_addr().unwrap();
    process::queues(local, peer).is_none_or(|(unsent, _)| unsent == 0)
}

/// A server that answers `size` bytes, waits until its kernel has handed them over, and closes
/// with the request unread: its kernel sends RST.
fn answer_and_reset(conn: &Conn, size: u64) {
    conn.stream.peek(&mut [0]).unwrap();
    bulk::send(&*conn.stream, 9, size).unwrap();
    let local = conn.stream.local_addr().unwrap();
    eventually("the answer is with the proxy", || sent(&conn.stream, local));
}

#[test]
fn a_slow_reader_gets_every_byte_before_the_reset() {
    slow_reader_before_a_reset();
}

#[test]
fn bytes_that_the_proxy_has_not_read_yet_when_the_reset_arrives_are_delivered() {
    netns::in_new_namespace(|| {
        // Small send buffers: most of the answer is still to be read when the reset arrives.
        netns::sysctl("net.ipv4.tcp_wmem", "4096 16384 65536");
        slow_reader_before_a_reset();
    });
}

fn slow_reader_before_a_reset() {
    let (block, _backend, proxy) = scene(|conn| answer_and_reset(&conn, MIB));
    let from = block.client(0);
    let stream = client::connect_with(from, block.listener(PORT), |socket| {
        socket.set_recv_buffer_size(16 * 1024)
    })
    .unwrap();
    (&stream).write_all(b"a request that nobody reads").unwrap();
    let mut pattern = bulk::Pattern::new(9);
    let mut buffer = vec![0; 8 * 1024];
    let error = loop {
        std::thread::sleep(Duration::from_millis(3));
        match (&stream).read(&mut buffer) {
            Ok(0) => panic!("ended in order after {} bytes", pattern.position()),
            Ok(read) => pattern.check(&buffer[..read]),
            Err(error) => break error,
        }
    };
    assert!(client::is_reset(&error), "{error}");
    assert_eq!(pattern.position(), MIB);
    let session = proxy.log.wait_session("the session", |_| true);
    assert_eq!(
        (session.end.as_str(), session.bytes_out),
        ("target_reset", MIB)
    );
}

#[test]
fn a_reader_that_starts_after_the_reset_still_gets_every_byte() {
    let size = 60 * 1024;
    let (block, backend, _proxy) = scene(move |conn| answer_and_reset(&conn, size));
    let from = block.client(0);
    let stream = client::connect_with(from, block.listener(PORT), |socket| {
        socket.set_recv_buffer_size(8 * 1024)
    })
    .unwrap();
    (&stream).write_all(b"a request that nobody reads").unwrap();
    eventually("the target has reset", || {
        backend.accepted() == 1 && backend.open() == 0
    });
    std::thread::sleep(Duration::from_millis(500));
    let received = bulk::receive_to_end(&stream, 9);
    assert_eq!(received, (size, StreamEnd::Reset));
}

#[test]
fn a_reader_that_never_reads_after_a_reset_is_given_up() {
    let (block, _backend, proxy) = scene(|conn| answer_and_reset(&conn, 60 * 1024));
    let before = proxy.settled_descriptors();
    let stream = client::connect_with(block.client(0), block.listener(PORT), |socket| {
        socket.set_recv_buffer_size(8 * 1024)
    })
    .unwrap();
    (&stream).write_all(b"a request that nobody reads").unwrap();
    proxy.log.wait_session("the session", |_| true);
    eventually("its descriptors are closed", || {
        proxy.descriptors() <= before + 8
    });
    drop(stream);
}

#[test]
fn what_a_client_sends_and_ends_before_its_target_is_connected_arrives() {
    let (block, backend, _proxy) = scene(|conn| {
        let received = bulk::receive_to_end(&*conn.stream, 6);
        assert_eq!(received, (100_000, StreamEnd::Finished));
        conn.say_name().unwrap();
    });
    for _ in 0..50 {
        let stream = connect(&block);
        bulk::send(&stream, 6, 100_000).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client::read_line(&stream).unwrap(), "g0");
    }
    assert_eq!(backend.accepted(), 50);
}

#[test]
fn ten_thousand_bytes_and_an_end_in_one_go_arrive() {
    let fleet = Fleet::new(1);
    let _proxy = Proxy::start(&fleet.settings);
    for client in 0..50 {
        let (_, stream) = client::greet(fleet.block.client(client), fleet.listener(PORT)).unwrap();
        (&stream).write_all(&[5; 10_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client::drain(&stream), (10_000, StreamEnd::Finished));
    }
}
