//! A snapshot never delays a heartbeat.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::net::Net;
use crate::ids::{Index, LogTime, Position};
use crate::membership::Membership;
use crate::message::{Message, SnapshotMeta};
use crate::transport::Received;

const SNAPSHOT_BYTES: usize = 100 * 1024 * 1024;
const CHUNK_BYTES: usize = 128 * 1024;

/// What may stand between a heartbeat and its reader: the piece that is being written, the
/// kernel's buffers on both sides, what was read at once.
const BETWEEN_BYTES: usize = 2 * 1024 * 1024;

#[test]
fn heartbeats_overtake_a_snapshot_that_flows_to_a_slow_reader() {
    let mut net = Net::connected(2, |config| {
        // Much more than may stand between: without an order of its own it would show.
        config.limits.snapshot_queue_bytes = 32 * 1024 * 1024;
        config.limits.turn_bytes = 128 * 1024;
    });
    let meta = Arc::new(SnapshotMeta {
        last: Position::default(),
        time: LogTime(0),
        membership: Arc::new(Membership::default()),
        membership_index: Index(0),
        size_bytes: SNAPSHOT_BYTES as u64,
        checksum: 0,
    });
    let data = bytes::Bytes::from(vec![7; CHUNK_BYTES]);
    let (mut sent, mut arrived) = (0, 0);
    // For each heartbeat: when it was sent, and how much of the snapshot had arrived.
    let mut beats: Vec<(Instant, usize)> = Vec::new();
    let (mut worst, mut worst_between) = (Duration::ZERO, 0);
    let mut heard = 0;
    let start = Instant::now();
    let mut reads_at = start;
    while arrived < SNAPSHOT_BYTES {
        assert!(start.elapsed() < Duration::from_secs(60), "it still flows");
        while sent < SNAPSHOT_BYTES && sent - arrived < 24 * 1024 * 1024 {
            let (snapshot, offset) = (meta.clone(), sent as u64);
            let data = data.clone();
            net.node(1).send(
                2,
                Message::SnapshotChunk {
                    snapshot,
                    offset,
                    data,
                },
            );
            sent += CHUNK_BYTES;
        }
        if beats
            .last()
            .is_none_or(|(at, _)| at.elapsed() > Duration::from_millis(20))
        {
            let round = beats.len() as u64;
            beats.push((Instant::now(), arrived));
            net.node(1).send(
                2,
                Message::Heartbeat {
                    round,
                    commit: Index(0),
                    time: LogTime(0),
                    lease: None,
                },
            );
        }
        net.node(1).turn();
        // Some 32 MB/s.
        if Instant::now() >= reads_at {
            reads_at += Duration::from_millis(4);
            net.node(2).turn();
        }
        for received in std::mem::take(&mut net.node(2).received) {
            let Received::Message(envelope) = received else {
                continue;
            };
            match envelope.message {
                Message::SnapshotChunk { offset, data, .. } => {
                    assert_eq!(offset as usize, arrived, "pieces come in order");
                    arrived += data.len();
                }
                Message::Heartbeat { round, .. } => {
                    let (at, had_arrived) = beats[round as usize];
                    worst = worst.max(at.elapsed());
                    worst_between = worst_between.max(arrived - had_arrived);
                    heard += 1;
                }
                _ => {}
            }
        }
    }
    let dropped = net.node(1).status(2).outgoing[0].counters.dropped_messages;
    assert_eq!(dropped, 0);
    println!(
        "{heard} heartbeats while {SNAPSHOT_BYTES} bytes took {:?}: at most {worst:?} and \
         {worst_between} bytes of the snapshot late",
        start.elapsed()
    );
    assert!(heard > 20);
    assert!(
        worst_between <= BETWEEN_BYTES,
        "{worst_between} bytes came before"
    );
}
