//! Networks that let nothing pass, in one direction or in both, while `no_quorum` is `"refuse"`.

use std::time::{Duration, Instant};

use crate::cluster::{Habits, Outcome, Plan, Stage};

const ALL: [usize; 3] = [1, 2, 3];

/// Longer than a lease and than `no_quorum_after`, so that a side without a leader knows.
const LONG: Duration = Duration::from_millis(2_500);

fn running(nodes: &[usize]) -> Option<Stage> {
    let plan = Plan::cluster(nodes, 4).set("no_quorum_after", 1);
    Stage::running_with(plan, nodes.len())
}

fn impatient(keys: u32, nodes: &[usize]) -> Habits {
    let mut habits = Habits::new(keys, nodes);
    habits.patience = Duration::from_secs(4);
    habits
}

#[test]
fn a_leader_that_is_cut_off_sends_no_key_elsewhere() {
    let Some(mut stage) = running(&ALL) else {
        return;
    };
    stage.work(impatient(500, &ALL));
    stage.rounds(0);
    for _ in 0..2 {
        let leader = stage.leader();
        stage.cut_off(&[leader]);
        stage.pass(LONG);
        stage.heal();
        stage.serves();
    }
    stage.rounds(1);
    stage.assert_kept();
}

#[test]
fn a_node_that_is_cut_off_refuses_after_a_while_and_says_so() {
    let Some(mut stage) = running(&ALL) else {
        return;
    };
    let group = stage.group_of(1, 2);
    let follower = stage.follower();
    stage.cut_off(&[follower]);
    let node = stage.node(follower);
    crate::support::eventually("it may get no traffic", || !node.is_healthy());
    // The checks' log may have fallen silent first: as long as the stick table's lease lasts, a
    // known key is answered.
    let patience = Duration::from_secs(10);
    let deadline = Instant::now() + patience;
    while stage.ask(1, &[follower], patience)[0].outcome != Outcome::Reset {
        assert!(Instant::now() < deadline, "a known key is not refused");
    }
    for key in [1, 2] {
        let answer = stage.ask(key, &[follower], patience)[0];
        assert_eq!(answer.outcome, Outcome::Reset, "{answer}");
    }
    stage.heal();
    assert_eq!(stage.group_of(1, follower), group);
    stage.assert_kept();
}

#[test]
fn one_way_cuts_send_no_key_elsewhere() {
    let Some(mut stage) = running(&ALL) else {
        return;
    };
    stage.work(impatient(500, &ALL));
    stage.rounds(0);
    let (leader, follower) = (stage.leader(), stage.follower());
    // The leader speaks into the void, then the follower does.
    for (from, to) in [(leader, follower), (follower, leader)] {
        stage.cut(from, to);
        stage.pass(LONG);
        stage.heal();
        stage.serves();
    }
    // The leader is heard by nobody, then hears nobody.
    for is_deaf in [false, true] {
        let leader = stage.leader();
        for other in ALL.into_iter().filter(|node| *node != leader) {
            let (from, to) = if is_deaf {
                (other, leader)
            } else {
                (leader, other)
            };
            stage.cut(from, to);
        }
        stage.pass(LONG);
        stage.heal();
        stage.serves();
    }
    stage.rounds(1);
    stage.assert_kept();
}

#[test]
fn five_nodes_in_two_parts_send_no_key_elsewhere() {
    let all = [1, 2, 3, 4, 5];
    let Some(mut stage) = running(&all) else {
        return;
    };
    stage.work(impatient(500, &all));
    stage.rounds(0);
    let (leader, follower) = (stage.leader(), stage.follower());
    stage.cut_off(&[leader, follower]);
    stage.pass(LONG);
    stage.serves();
    stage.heal();
    stage.rounds(1);
    stage.assert_kept();
}
