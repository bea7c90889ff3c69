//! Heavy clients do not starve light ones, even on one worker.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::bulk;
use support::client;
use support::traffic::round_trips;
use support::{Backend, Block, Fleet, Proxy, Settings, scaled};

const MIB: u64 = 1024 * 1024;

/// "At once" for someone who waits; the figures proper are measured, not asserted.
const PROMPT: Duration = Duration::from_secs(1);

#[test]
fn a_ping_pong_beside_eight_bulk_flows_on_one_worker_stays_prompt() {
    let block = Block::claim();
    let _light = Backend::echo("light", block.backend(0), &[5280]);
    let _heavy = Backend::start("heavy", block.backend(1), &[5281], |conn| {
        let _ = conn.echo();
    });
    let settings = Settings::new(&block)
        .ports(&[5280, 5281])
        .set("workers", 1)
        .group_ports(0, &[(5280, format!("{}:5280", block.backend(0)))])
        .group_ports(1, &[(5281, format!("{}:5281", block.backend(1)))]);
    let _proxy = Proxy::start(&settings);
    let size = scaled(64, 512) * MIB;
    let running = AtomicUsize::new(8);
    let times = std::thread::scope(|scope| {
        for n in 0..8_u32 {
            let (block, running) = (&block, &running);
            scope.spawn(move || {
                let stream = client::connect(block.client(n), block.listener(5281)).unwrap();
                let seed = u64::from(n);
                std::thread::scope(|scope| {
                    scope.spawn(|| bulk::send(&stream, seed, size).unwrap());
                    bulk::receive(&stream, seed, size).unwrap();
                });
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        round_trips(block.client(100), block.listener(5280), 100, || {
            running.load(Ordering::Relaxed) > 0
        })
    });
    let p99 = times[times.len() * 99 / 100];
    println!("{} round trips, p99 {p99:?}", times.len());
    assert!(
        p99 < PROMPT,
        "p99 of {} round trips is {p99:?}",
        times.len()
    );
}

#[test]
fn an_accept_storm_leaves_established_traffic_prompt() {
    let fleet = Fleet::new(1);
    let _proxy = Proxy::start(&fleet.settings.clone().set("workers", 1));
    let left = AtomicUsize::new(scaled(4_000, 8_000));
    let times = std::thread::scope(|scope| {
        for n in 0..4_u32 {
            let (fleet, left) = (&fleet, &left);
            scope.spawn(move || {
                let take = |n: usize| n.checked_sub(1);
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_ok()
                {
                    let from = fleet.block.client(n);
                    drop(client::connect(from, fleet.listener(5281)).unwrap());
                }
            });
        }
        round_trips(fleet.block.client(100), fleet.listener(5280), 100, || {
            left.load(Ordering::Relaxed) > 0
        })
    });
    let p99 = times[times.len() * 99 / 100];
    println!("{} round trips, p99 {p99:?}", times.len());
    assert!(
        p99 < PROMPT,
        "p99 of {} round trips is {p99:?}",
        times.len()
    );
}
