//! A thousand checks a second.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::yardstick::Yardstick;
use support::{Backend, Block, Proxy, Settings, eventually, process};

const PORT: u16 = 5280;
const SERVERS: usize = 4;
const INTERVAL: Duration = Duration::from_secs(1);

/// When each check came, by its local address and port.
type Arrivals = Arc<Mutex<HashMap<SocketAddr, Vec<Instant>>>>;

/// How often it is tried: a machine whose processors are taken away for a second keeps no pace,
/// whatever runs on it.
const ATTEMPTS: usize = 3;

/// That so many checks keep their pace, in one of the attempts.
fn run(checks: usize, keys: &str, answers_http: bool, most_cpu: f64) {
    let failures: Vec<String> = (0..ATTEMPTS)
        .map_while(|_| measure(checks, keys, answers_http, most_cpu).err())
        .collect();
    assert!(failures.len() < ATTEMPTS, "{failures:?}");
}

/// As many groups as `checks`, checked every second with at most `most_cpu` of a core. They share
/// four servers.
fn measure(checks: usize, keys: &str, answers_http: bool, most_cpu: f64) -> Result<(), String> {
    let block = Block::claim();
    let arrivals: Arrivals = Arc::default();
    let mut settings = Settings::new(&block).ports(&[PORT]);
    let mut servers = Vec::new();
    for server in 0..SERVERS {
        let address = block.backend(u8::try_from(server).unwrap());
        let ports: Vec<u16> = (7_000..).take(checks / SERVERS).collect();
        for &port in &ports {
            let id = u32::try_from(server * ports.len()).unwrap() + u32::from(port - 7_000);
            settings = settings
                .group(id, address)
                .check(id, &format!("interval = 1\nport = {port}\n{keys}"));
        }
        let arrivals = Arc::clone(&arrivals);
        servers.push(Backend::start("server", address, &ports, move |conn| {
            let place = SocketAddr::new(address.into(), conn.port);
            arrivals
                .lock()
                .unwrap()
                .entry(place)
                .or_default()
                .push(Instant::now());
            if answers_http {
                read_request(&conn.stream);
                let _ = (&*conn.stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }));
    }
    let yardstick = Yardstick::begin();
    let proxy = Proxy::start(&settings);
    let rounds = |count: usize| {
        let arrivals = arrivals.lock().unwrap();
        arrivals.len() == checks && arrivals.values().all(|times| times.len() >= count)
    };
    eventually("every check has come twice", || rounds(2));
    let (cpu, begun) = (process::cpu_seconds(proxy.pid()), Instant::now());
    eventually("every check has come ten times", || rounds(10));
    let late = yardstick.lateness().as_secs_f64() / INTERVAL.as_secs_f64();
    let share = (process::cpu_seconds(proxy.pid()) - cpu) / begun.elapsed().as_secs_f64();
    let arrivals = arrivals.lock().unwrap();
    let mut errors: Vec<f64> = arrivals
        .values()
        .map(|times| {
            // Over nine intervals: what counts is the pace, not one arrival on a busy machine.
            let whole = times[9].duration_since(times[0]).as_secs_f64();
            (whole / 9.0 / INTERVAL.as_secs_f64() - 1.0).abs()
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    let mut gaps: Vec<f64> = arrivals
        .values()
        .flat_map(|times| times.windows(2).map(|pair| pair[1].duration_since(pair[0])))
        .map(|gap| (gap.as_secs_f64() / INTERVAL.as_secs_f64() - 1.0).abs())
        .collect();
    gaps.sort_by(f64::total_cmp);
    let threads = process::thread_names(proxy.pid())
        .iter()
        .filter(|name| name.starts_with("check-"))
        .count();
    println!(
        "{checks} checks a second: pace off by {:.4} at most; single intervals off by {:.4} \
         (median), {:.4} (99 %), {:.4} (most), a thread that sleeps by {late:.4} (99 %); {threads} \
         threads, {:.1} % of a core",
        errors[errors.len() - 1],
        gaps[gaps.len() / 2],
        gaps[gaps.len() * 99 / 100],
        gaps[gaps.len() - 1],
        share * 100.0
    );
    let ninety_nine = gaps[gaps.len() * 99 / 100];
    let turned = proxy.log.text().contains(" -> ");
    let holds = [
        (!turned, "a check failed"),
        (errors[errors.len() - 1] < 0.1, "the pace is off"),
        // Scheduler, checking thread and server are woken one after the other.
        (ninety_nine < 0.1 + 3.0 * late, "single intervals are off"),
        // On a busy machine quick checks are not all quick.
        (
            threads <= checks / 10,
            "as many threads as if each check hung",
        ),
        (share < most_cpu, "much of a core, if without optimisation"),
    ];
    match holds.iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err((*what).to_owned()),
        None => Ok(()),
    }
}

fn read_request(mut stream: &TcpStream) {
    let (mut request, mut piece) = (Vec::new(), [0; 512]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend(&piece[..count]),
        }
    }
}

/// One after the other: together they would measure each other. In a build without optimisation
/// an HTTP check takes five times what it takes in a release.
#[test]
fn checks_by_the_thousand_keep_their_pace_with_few_threads() {
    // The servers' listeners are this process's own.
    tcpffee::proxy::raise_limit();
    run(1_000, "", false, 0.8);
    run(1_000, "http_target = \"/\"", true, 1.6);
}
