//! Processes that stand still for longer than an election takes, and go on as if nothing were.

use std::time::Duration;

use crate::cluster::{Habits, Stage};

const ALL: [usize; 3] = [1, 2, 3];

/// Longer than an election, than a lease, and than the others wait before they end its session.
const LONG: Duration = Duration::from_millis(3_500);

#[test]
fn a_stopped_leader_that_goes_on_sends_no_key_elsewhere() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    stage.work(Habits::new(500, &ALL));
    stage.rounds(0);
    for _ in 0..2 {
        let leader = stage.leader();
        stage.pause(leader, LONG);
        stage.serves();
    }
    stage.rounds(1);
    stage.assert_kept();
}

#[test]
fn a_stopped_follower_does_not_know_what_changed_meanwhile() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    stage.work(Habits::new(500, &ALL));
    stage.rounds(0);
    let follower = stage.follower();
    stage.chronicle.fault_begins(follower);
    stage.node(follower).pause();
    stage.pass(Duration::from_secs(1));
    // Its own table says that the keys of group 1 are there still.
    let mut others = ALL.to_vec();
    others.retain(|node| *node != follower);
    stage.chronicle.outage_begins(1);
    let plan = stage.plan.clone().group_set(1, "disabled", true);
    stage.reload(&plan, &others);
    stage.pass(LONG);
    stage.node(follower).resume();
    stage.wait_healthy(&[follower]);
    stage.chronicle.fault_ends(follower);
    stage.reload(&plan, &[follower]);
    stage.rounds(1);
    stage.enable(1);
    stage.rounds(1);
    stage.assert_kept();
}
