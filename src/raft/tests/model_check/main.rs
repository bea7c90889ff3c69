//! Every order of messages, writes, time-outs and crashes for three real cores, up to a depth.
//!
//! Each test is one exploration (see `exploration`): breadth first, by one thread, so that the
//! depth is exact. The network of the model keeps every message for ever and delivers any of them
//! at any time, so that loss, doubling and reordering are all in it. `MODEL_DEPTH=+n` goes `n`
//! steps deeper, `LONG_TESTS=1` to the depth of a long run.

mod cluster;
mod exploration;
mod node;
mod print;
mod properties;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::cluster::Taken;
use crate::exploration::{Exploration, Start};
use crate::node::Disk;
use crate::properties::{ONE_LEADER, Sight};

/// No step but messages and writes.
const NOTHING: Taken = Taken {
    time_outs: [0; node::NODES],
    beats: 0,
    proposals: 0,
    transfers: 0,
    crashes: 0,
};

#[test]
fn two_candidates_after_forming_with_a_crash() {
    explore(&Exploration {
        name: "two candidates after forming, with a crash",
        start: Start::Formed,
        disk: Disk::Honest,
        most: Taken {
            time_outs: [1, 1, 0],
            crashes: 1,
            ..NOTHING
        },
        sights: &[Sight::Leader],
        depth: 12,
        long_depth: 16,
    });
}

#[test]
fn commands_under_one_leader() {
    explore(&Exploration {
        name: "commands under one leader, with a crash",
        start: Start::Led,
        disk: Disk::Honest,
        most: Taken {
            proposals: 2,
            crashes: 1,
            ..NOTHING
        },
        sights: &[Sight::AppliedTwice],
        depth: 11,
        long_depth: 16,
    });
}

#[test]
fn a_leader_deposed_between_two_commands() {
    explore(&Exploration {
        name: "a leader deposed between two commands",
        start: Start::HalfCommitted,
        disk: Disk::Honest,
        most: Taken {
            time_outs: [0, 1, 1],
            proposals: 1,
            crashes: 1,
            ..NOTHING
        },
        sights: &[Sight::OldLeader, Sight::ChangeAfterCommit],
        depth: 10,
        long_depth: 15,
    });
}

#[test]
fn logs_that_differ_at_one_place() {
    explore(&Exploration {
        name: "logs that differ at one place, with a crash",
        start: Start::Diverged,
        disk: Disk::Honest,
        most: Taken {
            time_outs: [1, 0, 1],
            beats: 1,
            crashes: 1,
            ..NOTHING
        },
        sights: &[Sight::Overwritten],
        depth: 11,
        long_depth: 16,
    });
}

#[test]
fn an_earlier_terms_command_on_a_majority() {
    explore(&Exploration {
        name: "an earlier term's command on a majority",
        start: Start::Reelected,
        disk: Disk::Honest,
        most: Taken {
            time_outs: [0, 1, 1],
            ..NOTHING
        },
        sights: &[Sight::CommittedLater, Sight::Overwritten],
        depth: 13,
        long_depth: 20,
    });
}

#[test]
fn leadership_handed_over_with_heartbeats() {
    explore(&Exploration {
        name: "leadership handed over, with heartbeats",
        start: Start::Led,
        disk: Disk::Honest,
        most: Taken {
            beats: 1,
            proposals: 1,
            transfers: 1,
            ..NOTHING
        },
        sights: &[Sight::OldLeader],
        depth: 11,
        long_depth: 16,
    });
}

/// What shows that the explorations would see a defect: the disk says "durable" too early, and a
/// crash makes a node forget its vote.
#[test]
fn a_disk_that_lies_is_found_out() {
    let exploration = Exploration {
        name: "a disk that lies",
        start: Start::Formed,
        disk: Disk::Lying,
        most: Taken {
            time_outs: [1, 1, 0],
            crashes: 1,
            ..NOTHING
        },
        sights: &[],
        depth: 14,
        long_depth: 14,
    };
    let found = exploration
        .checker()
        .target_max_depth(14)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let path = found
        .discovery(ONE_LEADER)
        .expect("two leaders of one term");
    println!("{} states", found.unique_state_count());
    for action in path.into_actions() {
        println!("{action:?}");
    }
}

fn explore(exploration: &Exploration) {
    let start = Instant::now();
    let depth = match std::env::var("MODEL_DEPTH") {
        Ok(more) => exploration.depth + more.parse::<usize>().expect("MODEL_DEPTH is a number"),
        Err(_) if std::env::var_os("LONG_TESTS").is_some() => exploration.long_depth,
        Err(_) => exploration.depth,
    };
    // The checker counts the first state as depth 1.
    let checker = exploration
        .clone()
        .checker()
        .target_max_depth(depth + 1)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!(
        "{}: {} states, {} of them different, depth {depth}, {:.1} s",
        exploration.name,
        checker.state_count(),
        checker.unique_state_count(),
        start.elapsed().as_secs_f64()
    );
    checker.assert_properties();
}
