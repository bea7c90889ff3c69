//! Real processes under kill, stop and restart keep their registers linearizable.
//!
//! Three processes of the example `node` on loopback addresses of their own; client threads in
//! this process; every answer goes into one history, which `checker` judges. `LONG_TESTS=1` makes
//! it minutes instead of seconds; `SEED=n` repeats the order of the faults.

#[path = "../../../../tests/support/block.rs"]
#[expect(dead_code, reason = "shared with the tests of the whole program")]
mod block;
mod checker;
mod checker_tests;
mod client;
mod faults;
mod history;
mod process;
mod random;
#[path = "../../../../tests/support/wait.rs"]
mod wait;
mod workload;

use std::time::{Duration, Instant};

use crate::checker::check;
use crate::client::{Answer, Connection};
use crate::faults::inflict;
use crate::history::{Call, Operation, Outcome};
use crate::process::{Cluster, NODES, Reads};
use crate::random::Random;
use crate::workload::Workload;

const CLIENTS: usize = 6;

/// How long an answer may take where nothing is wrong with the nodes.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn registers_stay_linearizable_through_kills_stops_and_restarts() {
    let duration = if std::env::var_os("LONG_TESTS").is_some() {
        Duration::from_secs(300)
    } else {
        Duration::from_secs(15)
    };
    let seed = seed();
    println!("SEED={seed}");
    let mut cluster = Cluster::start(Reads::Agreed);
    let addresses: Vec<_> = (0..NODES).map(|node| cluster.clients(node)).collect();
    let workload = Workload::start(&addresses, CLIENTS, seed);
    let faults = inflict(&mut cluster, &workload, &mut Random::new(seed), duration);
    let history = workload.end();
    let unknown = history.iter().filter(|op| !op.is_answered()).count();
    println!(
        "{} operations, {unknown} of them without an answer, {faults} faults",
        history.len()
    );
    judge(&cluster, &history);
}

#[test]
fn reads_from_a_nodes_own_copy_are_found_not_to_be_linearizable() {
    let mut cluster = Cluster::start(Reads::Local);
    let leader = cluster.leader();
    let follower = (leader + 1) % NODES;
    let mut history = Vec::new();
    let start = Instant::now();
    // A follower that was stopped while a write was answered has not heard of it when it goes
    // on. It may hear before it reads, so it gets several tries.
    for round in 0..200 {
        let mut leading = open(&cluster, leader);
        let mut following = open(&cluster, follower);
        record(&mut history, start, &mut leading, Call::Put(2 * round + 1));
        record(&mut history, start, &mut following, Call::Get);
        cluster.stop(follower);
        record(&mut history, start, &mut leading, Call::Put(2 * round + 2));
        std::thread::scope(|scope| {
            let read = scope.spawn(|| record(&mut history, start, &mut following, Call::Get));
            cluster.go_on(follower);
            read.join().expect("the read is answered");
        });
        if check(&history).is_err() {
            return;
        }
    }
    panic!("no stale read in {} operations", history.len());
}

#[test]
fn a_true_history_with_one_answer_changed_is_found_not_to_be_linearizable() {
    let cluster = Cluster::start(Reads::Agreed);
    let addresses: Vec<_> = (0..NODES).map(|node| cluster.clients(node)).collect();
    let workload = Workload::start(&addresses, CLIENTS, 1);
    wait::eventually("some work", || workload.answered() >= 500);
    let mut history = workload.end();
    judge(&cluster, &history);
    history.sort_by_key(|op| op.asked_ns);
    let read = history
        .iter()
        .rposition(|op| matches!(op.outcome, Outcome::Read(Some(_))))
        .expect("a read");
    let older = history[..read]
        .iter()
        .find(|op| {
            op.key == history[read].key
                && matches!(op.outcome, Outcome::Read(Some(_)))
                && op.outcome != history[read].outcome
        })
        .expect("an older value");
    history[read].outcome = older.outcome;
    assert!(check(&history).is_err(), "{:?}", history[read]);
}

fn judge(cluster: &Cluster, history: &[Operation]) {
    if let Err(violation) = check(history) {
        panic!("{violation}\n{}", cluster.logs());
    }
}

fn open(cluster: &Cluster, node: usize) -> Connection {
    Connection::open(cluster.clients(node), PATIENCE).expect("the node listens")
}

/// One operation on register 0 that is answered.
fn record(history: &mut Vec<Operation>, start: Instant, connection: &mut Connection, call: Call) {
    let now_ns = || u64::try_from(start.elapsed().as_nanos()).expect("centuries");
    let asked_ns = now_ns();
    let answer = connection.call(0, call).expect("an answer");
    let Answer::Outcome(outcome) = answer else {
        panic!("{call:?} was refused");
    };
    history.push(Operation {
        client: 0,
        key: 0,
        call,
        outcome,
        asked_ns,
        answered_ns: now_ns(),
    });
}

/// The seed from the environment, or one of this run's own.
fn seed() -> u64 {
    match std::env::var("SEED") {
        Ok(text) => text.parse().expect("SEED is a number"),
        Err(_) => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs(),
    }
}
