//! What is done to the nodes while clients work.

use std::time::{Duration, Instant};

use crate::process::{Cluster, NODES};
use crate::random::Random;
use crate::wait::eventually;
use crate::workload::Workload;

/// A stopped node stays so: longer than the longest election time-out, so that another leads
/// when it goes on.
const STOPPED: Duration = Duration::from_millis(900);

/// Operations that must be answered after each fault before the next one.
const BETWEEN: u64 = 30;

/// One fault, all of it until the cluster works again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// `kill -9` of the leader, restarted once another leads.
    KillLeader,
    /// `kill -9` of a follower, restarted after some work without it.
    KillFollower,
    /// The leader is stopped for longer than an election takes, then goes on as if it still led.
    StopLeader,
    /// A follower is stopped for as long.
    StopFollower,
    /// `kill -9` of the leader and a follower: nothing works until one is back.
    KillMajority,
    /// `kill -9` of all at once.
    KillAll,
    /// The leader is stopped, its successor is killed, the old leader goes on.
    StopLeaderThenKillNext,
}

/// Every kind of fault.
pub const ALL: [Fault; 7] = [
    Fault::KillLeader,
    Fault::KillFollower,
    Fault::StopLeader,
    Fault::StopFollower,
    Fault::KillMajority,
    Fault::KillAll,
    Fault::StopLeaderThenKillNext,
];

/// Inflicts every kind of fault in an order from the seed, again and again until `duration` is
/// over, each at least once; gives the number of faults.
pub fn inflict(
    cluster: &mut Cluster,
    workload: &Workload,
    random: &mut Random,
    duration: Duration,
) -> usize {
    let end = Instant::now() + duration;
    let mut inflicted = 0;
    work_goes_on(cluster, workload);
    loop {
        let mut faults = ALL;
        random.shuffle(&mut faults);
        for fault in faults {
            if inflicted >= ALL.len() && Instant::now() >= end {
                return inflicted;
            }
            eprintln!("{fault:?}");
            one(cluster, workload, random, fault);
            cluster.heal();
            work_goes_on(cluster, workload);
            inflicted += 1;
        }
    }
}

fn one(cluster: &mut Cluster, workload: &Workload, random: &mut Random, fault: Fault) {
    let leader = cluster.leader();
    let follower = (leader + 1 + usize::try_from(random.below(2)).expect("small")) % NODES;
    match fault {
        Fault::KillLeader => {
            cluster.kill(leader);
            work_goes_on(cluster, workload);
        }
        Fault::KillFollower => {
            cluster.kill(follower);
            work_goes_on(cluster, workload);
        }
        Fault::StopLeader => stop_for_a_while(cluster, leader),
        Fault::StopFollower => stop_for_a_while(cluster, follower),
        Fault::KillMajority => {
            cluster.kill(leader);
            cluster.kill(follower);
            cluster.restart(follower);
            work_goes_on(cluster, workload);
        }
        Fault::KillAll => (0..NODES).for_each(|node| cluster.kill(node)),
        Fault::StopLeaderThenKillNext => {
            stop_for_a_while(cluster, leader);
            let next = cluster.leader();
            cluster.kill(next);
            work_goes_on(cluster, workload);
        }
    }
}

/// The one sleep here is the fault itself.
fn stop_for_a_while(cluster: &mut Cluster, node: usize) {
    cluster.stop(node);
    std::thread::sleep(STOPPED);
    cluster.go_on(node);
}

/// Waits until some operations have been answered, with a limit.
fn work_goes_on(cluster: &mut Cluster, workload: &Workload) {
    let enough = workload.answered() + BETWEEN;
    eventually("operations are answered", || {
        (0..NODES).for_each(|node| cluster.assert_alive(node));
        workload.answered() >= enough
    });
}
