//! `kill -9`, restarts and power cuts.

use std::time::Duration;

use crate::cluster::{Habits, Plan, Stage};
use crate::support::scaled;

const ALL: [usize; 3] = [1, 2, 3];

#[test]
fn a_killed_leader_sends_no_key_elsewhere() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    stage.work(Habits::new(1_000, &ALL));
    stage.rounds(0);
    for _ in 0..2 {
        let leader = stage.leader();
        stage.kill(&[leader]);
        stage.rounds(1);
        stage.start(&[leader]);
    }
    stage.rounds(1);
    stage.assert_kept();
}

#[test]
fn killed_followers_send_no_key_elsewhere() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    stage.work(Habits::new(800, &ALL));
    for _ in 0..3 {
        let follower = stage.follower();
        stage.kill(&[follower]);
        stage.serves();
        stage.start(&[follower]);
        stage.rounds(0);
    }
    stage.assert_kept();
}

#[test]
fn two_of_five_are_killed_at_once() {
    let all = [1, 2, 3, 4, 5];
    let Some(mut stage) = Stage::running(5) else {
        return;
    };
    stage.work(Habits::new(600, &all));
    stage.rounds(0);
    let leader = stage.leader();
    let follower = stage.follower();
    stage.kill(&[leader, follower]);
    stage.rounds(1);
    stage.start(&[leader, follower]);
    stage.rounds(1);
    stage.assert_kept();
}

#[test]
fn a_power_cut_of_all_nodes_forgets_no_key() {
    let Some(mut stage) = Stage::running_with(Plan::cluster(&ALL, 4).set("expiration", 120), 3)
    else {
        return;
    };
    let keys = scaled(500, 2_000);
    stage.work(Habits::new(keys, &ALL));
    stage.rounds(0);
    // In the middle of it: what was answered last counts as well.
    stage.kill(&ALL);
    stage.rest();
    stage.start(&ALL);
    let answers = stage.ask_everyone(Habits::new(keys, &ALL));
    let unserved: Vec<_> = answers
        .iter()
        .filter(|answer| !answer.is_served())
        .collect();
    assert!(unserved.is_empty(), "{unserved:?}");
    stage.assert_kept();
}

#[test]
fn a_rolling_restart_sends_no_key_elsewhere() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    stage.work(Habits::new(500, &ALL));
    stage.rounds(0);
    for node in ALL {
        stage.node_mut(node).stop();
        stage.serves();
        stage.start(&[node]);
    }
    stage.rounds(1);
    stage.assert_kept();
}

#[test]
fn a_majority_that_is_gone_is_waited_for() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    let mut habits = Habits::new(300, &ALL);
    habits.patience = Duration::from_secs(2);
    stage.work(habits);
    stage.rounds(0);
    let leader = stage.leader();
    let follower = stage.follower();
    stage.kill(&[leader, follower]);
    stage.pass(Duration::from_secs(4));
    stage.start(&[leader, follower]);
    stage.rounds(1);
    stage.assert_kept();
}
