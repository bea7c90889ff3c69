//! Clients of the statistics server that are slow, silent or hostile, and who does not notice.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use support::{Fleet, Proxy, client, eventually, http, parallel, process, scaled, traffic};

const PORT: u16 = 5280;
/// Held by each test with a crowd: two at once would take the machine's time from one another.
static CROWD: Mutex<()> = Mutex::new(());
/// Clients that are let in at once, and some of their kind.
const FULL_HOUSE: usize = 256 + 32;

/// What a bad client does.
#[derive(Clone, Copy)]
enum Manner {
    /// Says nothing.
    Silent,
    /// Says a byte now and then.
    Dripping,
    /// Asks for much and reads nothing for a long while.
    Deaf,
}

/// Much: more than fits into the buffers of a connection.
const LARGE: &str = "/ui/v1/swagger-ui.js";
/// Steps that a deaf client reads nothing.
const DEAF_STEPS: u32 = 30;

/// A bad client, which comes back whenever it is thrown out.
struct Nuisance {
    manner: Manner,
    from: IpAddr,
    stream: Option<TcpStream>,
    /// Steps since it came.
    steps: u32,
}

impl Nuisance {
    fn step(&mut self, server: SocketAddr, come: &AtomicU64) {
        match &mut self.stream {
            None => {
                (self.stream, self.steps) = (self.connect(server), 0);
                if self.stream.is_some() {
                    come.fetch_add(1, Ordering::Relaxed);
                }
            }
            Some(stream) => {
                self.steps += 1;
                let is_gone = match self.manner {
                    // Looks whether it was thrown out.
                    Manner::Silent => is_closed(stream.read(&mut [0])),
                    Manner::Dripping => is_closed(stream.write(b"x")),
                    Manner::Deaf => self.steps > DEAF_STEPS && has_ended(stream),
                };
                if is_gone {
                    self.stream = None;
                }
            }
        }
    }

    fn connect(&self, server: SocketAddr) -> Option<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).ok()?;
        if matches!(self.manner, Manner::Deaf) {
            deafen(&socket).ok()?;
        }
        socket.bind(&SocketAddr::new(self.from, 0).into()).ok()?;
        socket
            .connect_timeout(&server.into(), Duration::from_millis(500))
            .ok()?;
        let mut stream = TcpStream::from(socket);
        stream.set_nonblocking(true).ok()?;
        let first: &[u8] = match self.manner {
            Manner::Silent => b"",
            Manner::Dripping => b"GET / HTTP/1.1\r\nHost: x\r\nA: ",
            Manner::Deaf => return asked_for_large(stream),
        };
        stream.write_all(first).ok()?;
        Some(stream)
    }
}

/// Buffers little, on both sides: the sender's buffer grows with its segments, which are large on
/// the loopback.
fn deafen(socket: &Socket) -> std::io::Result<()> {
    socket.set_tcp_mss(536)?;
    socket.set_recv_buffer_size(2_048)
}

fn asked_for_large(mut stream: TcpStream) -> Option<TcpStream> {
    let request = format!("GET {LARGE} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    Some(stream)
}

/// Reads what there is: is that the end?
fn has_ended(stream: &mut TcpStream) -> bool {
    let mut buffer = vec![0; 64 * 1_024];
    loop {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => {}
            outcome => return is_closed(outcome),
        }
    }
}

/// There is much to ask for.
fn large_answer(server: SocketAddr) -> usize {
    let answer = http::get(server, LARGE);
    assert_eq!(answer.status, 200, "{LARGE}");
    assert!(answer.body.len() > 1_000_000, "{}", answer.body.len());
    answer.body.len()
}

fn is_closed(outcome: std::io::Result<usize>) -> bool {
    match outcome {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// The value that so many of a hundred do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Times GETs of the health for a while, and counts those that were told to come back: the deaf ask
/// for as much as can be made.
fn honest(server: SocketAddr, from: IpAddr, lasting: Duration) -> (Vec<Duration>, usize) {
    let begun = Instant::now();
    let (mut times, mut busy) = (Vec::new(), 0);
    while begun.elapsed() < lasting {
        let asked = Instant::now();
        let request = b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = http::ask_from(from, server, request);
        let answer = answer.unwrap_or_else(|error| panic!("after {:?}: {error}", asked.elapsed()));
        match answer.status {
            200 => {}
            503 if answer.header("retry-after") == "1" => busy += 1,
            _ => panic!("{answer:?}"),
        }
        times.push(asked.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    times.sort();
    (times, busy)
}

#[test]
fn two_thousand_slow_clients_keep_nobody_out_and_do_not_touch_the_proxy() {
    let _alone = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let fleet = Fleet::on_ports(1, &[PORT]);
    let proxy = Proxy::start(&fleet.settings);
    let (server, to) = (proxy.statistics(), fleet.listener(PORT));
    large_answer(server);
    let before = proxy.settled_descriptors();
    let lasting = Duration::from_secs(scaled(6, 60));
    let quiet = traffic::round_trips(fleet.block.client(1), to, 2_000, || false);
    let (stop, come) = (AtomicBool::new(false), AtomicU64::new(0));
    let ((times, busy), loud, most) = std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let (stop, come, block) = (&stop, &come, &fleet.block);
            scope.spawn(move || {
                let nuisance = |number: u32| Nuisance {
                    manner: match number % 10 {
                        0..4 => Manner::Silent,
                        4..9 => Manner::Dripping,
                        _ => Manner::Deaf,
                    },
                    from: block.client(1_000 + thread * 500 + number),
                    stream: None,
                    steps: 0,
                };
                let mut crowd: Vec<Nuisance> = (0..500).map(nuisance).collect();
                while !stop.load(Ordering::Relaxed) {
                    for nuisance in &mut crowd {
                        nuisance.step(server, come);
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
        }
        let full = || proxy.descriptors() > before + 200;
        eventually("the house is full", full);
        let asking = scope.spawn(|| honest(server, fleet.block.client(2), lasting));
        let is_asking = || !asking.is_finished();
        let loud = traffic::round_trips(fleet.block.client(3), to, 2_000, is_asking);
        let most = proxy.descriptors();
        let times = asking.join();
        stop.store(true, Ordering::Relaxed);
        (
            times.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            loud,
            most,
        )
    });
    println!(
        "{} bad clients let in; {} honest requests ({busy} told to come back): \
         median {:?}, p99 {:?}, slowest {:?}; round trips \
         through the proxy: p99 {:?} in quiet, {:?} in the crowd; {before} descriptors, at most {most}",
        come.load(Ordering::Relaxed),
        times.len(),
        percentile(&times, 50),
        percentile(&times, 99),
        times[times.len() - 1],
        percentile(&quiet, 99),
        percentile(&loud, 99),
    );
    assert!(
        come.load(Ordering::Relaxed) > 2_000,
        "they come back when thrown out"
    );
    // The deaf keep all threads busy but the one that this goes by.
    assert_eq!(busy, 0, "of {}", times.len());
    assert!(percentile(&times, 99) < Duration::from_secs(1));
    assert!(times[times.len() - 1] < Duration::from_secs(5));
    let bound = (percentile(&quiet, 99) * 10).max(Duration::from_millis(250));
    assert!(
        percentile(&loud, 99) < bound,
        "p99 {:?}",
        percentile(&loud, 99)
    );
    assert!(most <= before + FULL_HOUSE);
    eventually("all descriptors are given back", || {
        proxy.descriptors() <= before + 1
    });
    assert_eq!(fleet.served_by(9, PORT), "g0");
    let threads = process::thread_names(proxy.pid());
    assert!(
        threads.len() < 40,
        "a bounded number of threads: {threads:?}"
    );
}

/// How long a connection to `server` lasts that says `first` and then `more` again and again.
fn lasts(server: SocketAddr, first: &[u8], more: &[u8]) -> Duration {
    let mut stream = client::connect(server.ip(), server).unwrap();
    let begun = Instant::now();
    stream.write_all(first).unwrap();
    if first.ends_with(b"\r\n\r\n") {
        assert_eq!(http::read_answer(&mut stream, false).unwrap().status, 200);
    }
    stream.set_nonblocking(true).unwrap();
    eventually("it is closed", || {
        std::thread::sleep(Duration::from_millis(50));
        is_closed(stream.read(&mut [0])) || is_closed(stream.write(more).map(|_| 1))
    });
    begun.elapsed()
}

#[test]
fn nobody_keeps_a_place_for_long_where_there_is_room_for_all() {
    const LIMIT: Duration = Duration::from_secs(5);
    let fleet = Fleet::on_ports(1, &[PORT]);
    let proxy = Proxy::start(&fleet.settings);
    let server = proxy.statistics();
    let whole = large_answer(server);
    let before = proxy.settled_descriptors();
    let deaf = client::connect_with(server.ip(), server, deafen).unwrap();
    let mut deaf = asked_for_large(deaf).unwrap();
    let idle = b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n";
    let dripping = b"GET / HTTP/1.1\r\nHost: x\r\nA: ";
    std::thread::scope(|scope| {
        for (name, first, more) in [
            ("silent", &b""[..], &b""[..]),
            ("dripping", dripping, b"x"),
            ("idle", idle, b""),
        ] {
            scope.spawn(move || {
                let lasted = lasts(server, first, more);
                println!("{name}: closed after {lasted:?}");
                assert!(
                    lasted > LIMIT / 2 && lasted < LIMIT * 4,
                    "{name}: {lasted:?}"
                );
            });
        }
    });
    eventually("the deaf one is closed", || proxy.descriptors() <= before);
    let mut read = Vec::new();
    // With the end of the stream, or with a reset: there is not all of it.
    let _ = deaf.read_to_end(&mut read);
    assert!(!read.is_empty() && read.len() < whole, "{}", read.len());
}

/// Asks until it has been answered five times: how often it was told to come back, and how often
/// dropped without a word.
fn insist(server: SocketAddr, from: IpAddr) -> (u32, u32) {
    let (mut answered, mut busy, mut dropped) = (0, 0, 0);
    eventually("it is answered five times", || {
        let request = b"GET /api/v1/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        match http::ask_from(from, server, request) {
            Ok(answer) if answer.status == 200 => answered += 1,
            Ok(answer) => {
                assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
                busy += 1;
                std::thread::sleep(Duration::from_secs(1));
            }
            Err(_) => dropped += 1,
        }
        answered == 5
    });
    (busy, dropped)
}

#[test]
fn hundreds_of_good_clients_at_once_are_all_answered_with_few_descriptors_too() {
    let _alone = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    for (limit, askers) in [(8_192, 240), (512, 40)] {
        let fleet = Fleet::on_ports(1, &[PORT]);
        let proxy = Proxy::builder(&fleet.settings).descriptors(limit).start();
        let server = proxy.statistics();
        let insist = |number| insist(server, fleet.block.client(number % 20));
        let threads = usize::try_from(askers).unwrap();
        let outcomes = parallel(threads, askers, insist);
        let busy: u32 = outcomes.iter().map(|(busy, _)| busy).sum();
        let dropped: u32 = outcomes.iter().map(|(_, dropped)| dropped).sum();
        println!("{askers} with {limit} descriptors: {busy} told to come back, {dropped} dropped");
        // In a full house, whoever has connected and not asked yet may be dropped.
        assert!(dropped <= askers, "{dropped} of {askers}");
        assert!(!proxy.log.text().contains("ERROR"), "{}", proxy.log.text());
    }
}

/// A small generator of numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

/// A request with some of its bytes changed, put in, or taken out.
fn mutilated(number: u32) -> Vec<u8> {
    let good = [
        "GET /api/v1/stick_table?limit=10&ip=10.0.0.1 HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n",
        "GET /api/v1/stick_table/10.0.0.1%2F%00 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
        "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "POST /api/v1/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    let mut dice = Dice(u64::from(number) * 0x9e37_79b9 + 88_172_645_463_325_252);
    let mut bytes = good[dice.roll(good.len())].as_bytes().to_vec();
    for _ in 0..=dice.roll(8) {
        let at = dice.roll(bytes.len());
        let byte = u8::try_from(dice.roll(256)).unwrap();
        match dice.roll(4) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 if bytes.len() > 1 => drop(bytes.remove(at)),
            _ => {
                let run = vec![byte; dice.roll(9_000)];
                bytes.splice(at..at, run);
            }
        }
    }
    bytes
}

#[test]
fn malformed_requests_by_the_hundred_harm_nobody() {
    let _alone = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let fleet = Fleet::on_ports(1, &[PORT]);
    let proxy = Proxy::start(&fleet.settings);
    let server = proxy.statistics();
    let statuses = parallel(8, scaled(600, 20_000), |number| {
        let mut stream = client::connect(fleet.block.client(number % 1_000), server).unwrap();
        let _ = stream.write_all(&mutilated(number));
        // What is no whole request stays without an answer; nobody waits for it here.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let answer = http::read_answer(&mut stream, false);
        answer.map_or(0, |answer| answer.status)
    });
    let mut counts = std::collections::BTreeMap::new();
    for status in statuses {
        *counts.entry(status).or_insert(0) += 1;
    }
    println!("statuses: {counts:?}");
    let expected = [0, 200, 308, 400, 404, 405, 413, 414, 421, 431, 505];
    assert!(
        counts.keys().all(|status| expected.contains(status)),
        "{counts:?}"
    );
    assert!(counts.contains_key(&400), "{counts:?}");
    assert_eq!(http::get(server, "/api/v1/health").status, 200);
    assert_eq!(fleet.served_by(0, PORT), "g0");
    assert!(!proxy.log.text().contains("ERROR"), "{}", proxy.log.text());
}
