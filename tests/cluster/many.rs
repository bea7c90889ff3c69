//! More entries than fit into a few messages: a wiped node gets them by snapshot while new keys are
//! assigned.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::cluster::{Answer, Habits, Plan, Stage, lone_table, network};
use crate::support::{eventually, process, scaled};

const ALL: [usize; 3] = [1, 2, 3];
const GROUPS: u32 = 4;

/// Of the entries, those of clients that ask.
const KNOWN: u32 = 1_000;

/// What a node may have in memory besides its entries: log, snapshots under way, buffers.
const BESIDES: u64 = 160 << 20;
/// And for each entry, the pages kept for a snapshot included.
const OF_AN_ENTRY: u64 = 500;

fn entries(count: u32) -> Vec<(Ipv4Addr, u32)> {
    let known = (0..KNOWN).map(|key| (network::client(key), key % GROUPS));
    let others = (KNOWN..count).map(|key| (Ipv4Addr::from(0x1400_0000 + key), key % GROUPS));
    known.chain(others).collect()
}

fn longest<'a>(answers: impl Iterator<Item = &'a Answer>) -> Duration {
    let waits = answers.map(|answer| answer.answered - answer.asked);
    waits.max().unwrap_or_default()
}

#[test]
fn a_wiped_node_gets_many_entries_by_snapshot_while_keys_are_assigned() {
    let count = scaled(100_000, 1_000_000);
    let plan = Plan::cluster(&ALL, GROUPS)
        .set("expiration", 3_600)
        .set("stick_table_max_entries", 2_000_000);
    let Some(mut stage) = Stage::new(3, GROUPS, plan) else {
        return;
    };
    let begin = Instant::now();
    let left = Duration::from_secs(3_600);
    lone_table::write(&stage.node(1).path("stick_table"), &entries(count), left);
    stage.start(&ALL);
    let has_all = |stage: &Stage, node: usize| stage.node(node).sticks() >= u64::from(count);
    for node in ALL {
        eventually(&format!("node {node} has them"), || has_all(&stage, node));
    }
    println!("{count} entries on three nodes after {:?}", begin.elapsed());
    for key in 0..30 {
        let group = stage.group_of(key, ALL[key as usize % 3]);
        assert_eq!(group, key % GROUPS, "key {key}");
    }
    let wiped = stage.follower();
    let mut others = ALL.to_vec();
    others.retain(|node| *node != wiped);
    // Every burst is a new key's: there are more of them than can be asked for meanwhile.
    let mut habits = Habits::new(60_000, &others);
    habits.first_key = KNOWN;
    habits.rest = Duration::ZERO;
    stage.work(habits);
    stage.serves();
    stage.kill(&[wiped]);
    stage.node_mut(wiped).wipe();
    let from = stage.chronicle.now();
    stage.start(&[wiped]);
    stage.wait_all_vote();
    eventually("it has them again", || has_all(&stage, wiped));
    let until = stage.chronicle.now();
    stage.serves();
    let history = stage.history();
    let meanwhile =
        |answer: &&Answer| answer.is_served() && answer.asked >= from && answer.asked <= until;
    let served: Vec<&Answer> = history.answers.iter().filter(meanwhile).collect();
    let longest = longest(served.iter().copied());
    println!(
        "node {wiped} has them again and votes after {:?}; meanwhile {} new connections were served \
         on two nodes, the longest after {longest:?}",
        until - from,
        served.len()
    );
    let standing = stage.node(wiped).standing().expect("it answers");
    assert!(standing.first > 1, "the log begins with {}", standing.first);
    for node in ALL {
        let most = process::peak_resident_bytes(stage.node(node).running().pid());
        println!("node {node}: VmHWM {} MB", most >> 20);
        let allowed = BESIDES + OF_AN_ENTRY * stage.node(node).sticks();
        assert!(
            most < allowed,
            "node {node}: {most} bytes, {allowed} allowed"
        );
    }
    assert!(
        served.len() > 100,
        "{} connections were served",
        served.len()
    );
    // Other clusters share the machine.
    assert!(
        longest < Duration::from_secs(5),
        "one waited for {longest:?}"
    );
    for key in 0..300 {
        let group = stage.group_of(key, wiped);
        assert_eq!(group, key % GROUPS, "key {key} at node {wiped}");
    }
    stage.assert_kept();
}
