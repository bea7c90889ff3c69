//! Bytes arrive whole and in order, whatever their number, size and speed.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support;
use socket2::SockRef;
use support::bulk::{self, Pattern};
use support::client::{self, StreamEnd};
use support::{Backend, Block, Fleet, Job, Proxy, Settings, eventually, process, scaled};

const MIB: u64 = 1024 * 1024;
const PORT: u16 = 5280;

/// One worker in front of one backend that serves [`Job`]s.
fn bulk_scene() -> (Block, Backend, Proxy) {
    let block = Block::claim();
    let backend = Backend::bulk("g0", block.backend(0), &[PORT]);
    let proxy = Proxy::start(&settings(&block));
    (block, backend, proxy)
}

fn settings(block: &Block) -> Settings {
    Settings::new(block)
        .ports(&[PORT])
        .set("workers", 1)
        .group(0, block.backend(0))
}

fn connect(block: &Block) -> TcpStream {
    client::connect(block.client(0), block.listener(PORT)).unwrap()
}

#[test]
fn a_gigabyte_each_way_at_once_arrives_whole() {
    let (block, _backend, proxy) = bulk_scene();
    let size = scaled(1024 * MIB, 8 * 1024 * MIB);
    let job = Job {
        seed: 1,
        up: size,
        down: size,
        abort: false,
    };
    job.run(&connect(&block));
    let session = proxy.log.wait_session("the session", |_| true);
    assert_eq!(session.bytes_out, size);
    assert!(session.bytes_in > size, "the job's own line comes on top");
}

#[test]
fn many_heavy_flows_share_few_descriptors() {
    let block = Block::claim();
    let _backend = Backend::bulk("g0", block.backend(0), &[PORT]);
    let proxy = Proxy::builder(&settings(&block)).descriptors(150).start();
    let allowed = 150;
    support::parallel(12, 12, |number| {
        let job = Job {
            seed: u64::from(number) * 2,
            up: 16 * MIB,
            down: 16 * MIB,
            abort: false,
        };
        job.run(&client::connect(block.client(number), block.listener(PORT)).unwrap());
        assert!(proxy.descriptors() <= allowed);
    });
}

#[test]
fn bytes_sent_one_at_a_time_come_back_one_at_a_time() {
    let fleet = Fleet::new(1);
    let _proxy = Proxy::start(&fleet.settings);
    let (_, stream) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    for byte in 0..scaled(3_000_u32, 50_000) {
        client::exchange(&stream, &[byte.to_le_bytes()[0]]).unwrap();
    }
}

#[test]
fn messages_of_every_size_come_back_as_they_were() {
    let fleet = Fleet::new(1);
    let _proxy = Proxy::start(&fleet.settings);
    support::parallel(8, 8, |client| {
        let from = fleet.block.client(client);
        let (_, stream) = client::greet(from, fleet.listener(PORT)).unwrap();
        let mut pattern = Pattern::new(u64::from(client));
        let mut size = 1;
        while size < 40_000 {
            client::exchange(&stream, pattern.take(size)).unwrap();
            size += 1 + size / 7;
        }
    });
}

#[test]
fn one_byte_segments_pile_up_and_arrive_in_the_middle_of_a_heavy_flow() {
    let block = Block::claim();
    let heavy = 8 * MIB;
    let ones = 6_000;
    let _backend = Backend::start("g0", block.backend(0), &[PORT], move |conn| {
        let mut pattern = Pattern::new(3);
        read_checked(&conn.stream, &mut pattern, heavy);
        // Nothing is read for a while, so that the single bytes queue up all the way back.
        std::thread::sleep(Duration::from_millis(700));
        read_checked(&conn.stream, &mut pattern, ones + heavy);
        conn.say_name().unwrap();
    });
    let _proxy = Proxy::start(&settings(&block));
    let stream = connect(&block);
    let mut pattern = Pattern::new(3);
    bulk::send_on(&stream, &mut pattern, heavy).unwrap();
    for _ in 0..ones {
        (&stream).write_all(pattern.take(1)).unwrap();
    }
    bulk::send_on(&stream, &mut pattern, heavy).unwrap();
    assert_eq!(client::read_line(&stream).unwrap(), "g0");
}

/// Reads and checks the next `length` bytes.
fn read_checked(mut stream: &TcpStream, pattern: &mut Pattern, length: u64) {
    let end = pattern.position() + length;
    let mut buffer = vec![0; 64 * 1024];
    while pattern.position() < end {
        let left = usize::try_from(end - pattern.position()).unwrap();
        let part = left.min(buffer.len());
        let read = stream.read(&mut buffer[..part]).unwrap();
        assert_ne!(read, 0, "the stream ended at {}", pattern.position());
        pattern.check(&buffer[..read]);
    }
}

#[test]
fn an_urgent_byte_arrives_in_its_place_in_a_heavy_flow() {
    let block = Block::claim();
    let half = 8 * MIB;
    let _backend = Backend::start("g0", block.backend(0), &[PORT], move |conn| {
        read_checked(&conn.stream, &mut Pattern::new(4), 2 * half + 1);
        send_with_urgent_byte(&conn.stream, 5, half);
    });
    let _proxy = Proxy::start(&settings(&block));
    let stream = connect(&block);
    send_with_urgent_byte(&stream, 4, half);
    let received = bulk::receive_to_end(&stream, 5);
    assert_eq!(received, (2 * half + 1, StreamEnd::Finished));
}

/// `half` bytes, an urgent one, `half` bytes.
fn send_with_urgent_byte(stream: &TcpStream, seed: u64, half: u64) {
    let mut pattern = Pattern::new(seed);
    bulk::send_on(stream, &mut pattern, half).unwrap();
    let sent = SockRef::from(stream).send_out_of_band(pattern.take(1));
    assert_eq!(sent.unwrap(), 1);
    bulk::send_on(stream, &mut pattern, half).unwrap();
}

#[test]
fn a_slow_reader_is_waited_for_with_bounded_memory() {
    let (block, _backend, proxy) = bulk_scene();
    let flows = 20;
    let size = 24 * MIB;
    let before = proxy.resident_bytes();
    let streams: Vec<TcpStream> = (0..flows)
        .map(|seed| {
            let stream = connect(&block);
            let job = Job {
                seed,
                up: 0,
                down: size,
                abort: false,
            };
            job.ask(&stream).unwrap();
            stream
        })
        .collect();
    // Everything between the backends and the readers is full when no CPU time is used any more.
    wait_until_quiet(&proxy);
    let growth = proxy.resident_bytes().saturating_sub(before);
    assert!(
        growth < 32 * MIB,
        "grew by {growth} bytes for {flows} flows"
    );
    for (seed, stream) in (0..).zip(&streams) {
        let received = bulk::receive_to_end(stream, seed + 1);
        assert_eq!(received, (size, StreamEnd::Finished));
    }
}

/// Waits until the proxy has used no CPU time for half a second.
fn wait_until_quiet(proxy: &Proxy) {
    eventually("the proxy is quiet", || {
        let before = process::cpu_seconds(proxy.pid());
        std::thread::sleep(Duration::from_millis(500));
        process::cpu_seconds(proxy.pid()) - before < 0.02
    });
}

#[test]
fn a_target_that_reads_slowly_holds_the_client_back_and_gets_everything() {
    let block = Block::claim();
    let size = 48 * MIB;
    let released = Arc::new(AtomicU64::new(0));
    let gate = Arc::clone(&released);
    let _backend = Backend::start("g0", block.backend(0), &[PORT], move |conn| {
        eventually("the gate opens", || gate.load(Ordering::Relaxed) == 1);
        assert_eq!(
            bulk::receive_to_end(&*conn.stream, 8),
            (size, StreamEnd::Finished)
        );
    });
    let proxy = Proxy::start(&settings(&block));
    let stream = connect(&block);
    let before = proxy.resident_bytes();
    let sender = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        bulk::send(&sender, 8, size).unwrap();
        sender.shutdown(std::net::Shutdown::Write).unwrap();
    });
    wait_until_quiet(&proxy);
    assert!(!sending.is_finished(), "48 MiB went nowhere");
    let growth = proxy.resident_bytes().saturating_sub(before);
    assert!(growth < 16 * MIB, "grew by {growth} bytes");
    released.store(1, Ordering::Relaxed);
    sending.join().unwrap();
    assert_eq!(client::drain(&stream), (0, StreamEnd::Finished));
}

#[test]
fn sessions_aborted_in_a_heavy_flow_leave_nothing_to_later_ones() {
    let (block, _backend, proxy) = bulk_scene();
    let idle_descriptors = proxy.settled_descriptors();
    let rounds = scaled(12, 200);
    for round in 0..rounds {
        support::parallel(4, 8, |number| {
            let seed = u64::from(round * 100 + number) * 10;
            let stream = connect(&block);
            let job = Job {
                seed,
                up: 3 * MIB,
                down: 3 * MIB,
                abort: number % 2 == 0,
            };
            match number {
                // Aborted by the backend after half of it.
                0 | 2 => {
                    job.ask(&stream).unwrap();
                    let (received, _) = bulk::receive_to_end(&stream, seed + 1);
                    assert!(received <= job.down / 2);
                }
                // Aborted by the client with bytes on their way in both directions.
                1 | 3 => {
                    job.ask(&stream).unwrap();
                    bulk::send(&stream, seed, MIB).unwrap();
                    bulk::receive(&stream, seed + 1, 64 * 1024 * u64::from(number)).unwrap();
                    client::reset(stream);
                }
                _ => Job {
                    abort: false,
                    ..job
                }
                .run(&stream),
            }
        });
    }
    let sessions = proxy
        .log
        .wait_sessions(8 * rounds as usize, "all of them", |_| true);
    let count = |end| sessions.iter().filter(|session| session.end == end).count();
    let aborted = 2 * rounds as usize;
    assert_eq!(count("client_reset"), aborted);
    assert_eq!(count("target_reset"), aborted);
    eventually("the descriptors of all sessions are closed", || {
        // Pipes stay in their pool.
        proxy.descriptors() <= idle_descriptors + 64
    });
}

#[test]
fn a_client_that_resets_under_back_pressure_frees_its_session() {
    let block = Block::claim();
    let backend = Backend::never_reading("g0", block.backend(0), &[PORT]);
    let proxy = Proxy::start(&settings(&block));
    let stream = connect(&block);
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let error = bulk::send(&stream, 1, 1024 * MIB).unwrap_err();
    assert!(matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    client::reset(stream);
    let session = proxy.log.wait_session("the aborted one", |_| true);
    assert_eq!(session.end, "client_reset");
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_target_that_resets_under_back_pressure_frees_its_session() {
    let (block, _backend, proxy) = bulk_scene();
    let stream = connect(&block);
    let job = Job {
        seed: 1,
        up: 0,
        down: 64 * MIB,
        abort: true,
    };
    job.ask(&stream).unwrap();
    // Read nothing until the backend must be stuck, then a little, so that it comes to its reset.
    wait_until_quiet(&proxy);
    let (received, end) = bulk::receive_to_end(&stream, 2);
    assert_eq!(end, StreamEnd::Reset);
    assert!(received <= job.down / 2);
    let session = proxy.log.wait_session("the aborted one", |_| true);
    assert_eq!(session.end, "target_reset");
}
