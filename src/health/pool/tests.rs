//! How many threads there are, at times that the tests make up.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::net::{SocketAddr, TcpListener};

use super::*;
use crate::config::{CheckHeader, FallAction, HealthCheck, TargetAddr};

const LONG: Duration = Duration::from_secs(30);

/// A check of a server that accepts and says nothing.
fn hanging(listener: &TcpListener) -> (Arc<Probe>, SocketAddr) {
    let address = listener.local_addr().unwrap();
    let check = HealthCheck {
        fall: 1,
        rise: 1,
        fall_action: FallAction::Draining,
        interval: LONG,
        timeout: LONG,
        port: None,
        send_proxy: CheckHeader::AsConnections,
        http: Some(crate::config::HttpCheck {
            target: "/".to_owned(),
            method: crate::config::HttpMethod::Get,
            headers: std::collections::BTreeMap::new(),
            body: None,
            status: 200,
        }),
    };
    let probe = Probe::new(&check, &TargetAddr::Socket(address), None);
    (Arc::new(probe), address)
}

/// A pool with `checks` submitted that no answer comes to, and the receiver of its results.
fn busy(checks: u64, max: usize, now: Instant) -> (Pool, Receiver<Done>, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (probe, address) = hanging(&listener);
    let (mut pool, results) = Pool::new(max, now);
    for number in 0..checks {
        pool.submit(Job {
            key: TargetKey::numbered(number + 1),
            probe: Arc::clone(&probe),
            endpoints: vec![address.into()],
            sources: Arc::default(),
            submitted: now,
        });
    }
    (pool, results, listener)
}

#[test]
fn checks_that_hang_get_a_thread_each_within_ten_reviews() {
    let begun = Instant::now();
    let (mut pool, _results, _listener) = busy(100, 1_000, begun);
    pool.tend(begun).unwrap();
    assert_eq!(pool.threads(), FEW_THREADS);
    let mut threads = vec![];
    for step in 1..=6 {
        pool.tend(begun + PATIENCE * step).unwrap();
        threads.push(pool.threads());
    }
    assert_eq!(threads, [4, 8, 16, 32, 64, 100]);
}

#[test]
fn there_are_never_more_threads_than_allowed() {
    let begun = Instant::now();
    let (mut pool, _results, _listener) = busy(100, 10, begun);
    for step in 0..20 {
        pool.tend(begun + PATIENCE * step).unwrap();
    }
    assert_eq!(pool.threads(), 10);
}

/// On a busy processor checks wait although none hangs: more threads would make it busier.
#[test]
fn a_queue_that_moves_gets_no_more_threads() {
    let begun = Instant::now();
    let (mut pool, _results, _listener) = busy(100, 1_000, begun);
    pool.tend(begun).unwrap();
    for step in 1..=20 {
        for _ in 0..FEW_THREADS {
            pool.note_done();
        }
        pool.tend(begun + PATIENCE * step).unwrap();
        assert_eq!(pool.threads(), FEW_THREADS);
    }
    // It stops moving.
    pool.tend(begun + PATIENCE * 21).unwrap();
    assert_eq!(pool.threads(), FEW_THREADS * 2);
}

/// A removed check that hangs must not keep the others from being made.
#[test]
fn checks_that_are_no_more_take_no_thread_from_the_others() {
    let begun = Instant::now();
    let (mut pool, _results, _listener) = busy(5, 10, begun);
    pool.set_max_threads(1);
    pool.abandon(4);
    for step in 0..10 {
        pool.tend(begun + PATIENCE * step).unwrap();
    }
    assert_eq!(pool.threads(), 5);
}

#[test]
fn threads_that_nobody_needs_end_at_the_next_but_one_review() {
    let begun = Instant::now();
    let (mut pool, _results, _listener) = busy(50, 1_000, begun);
    for step in 0..10 {
        pool.tend(begun + PATIENCE * step).unwrap();
    }
    assert_eq!(pool.threads(), 50);
    for _ in 0..50 {
        pool.note_done();
    }
    pool.tend(begun + REVIEW).unwrap();
    assert_eq!(pool.threads(), 50, "they were needed since the last review");
    pool.tend(begun + REVIEW * 2).unwrap();
    assert_eq!(pool.threads(), 0);
}
