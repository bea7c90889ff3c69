//! That the checker finds what it is for: nodes that assign without asking each other.

use crate::cluster::{Habits, Plan, Stage};

#[test]
fn nodes_that_skip_raft_are_caught() {
    let Some(mut stage) = Stage::new(3, 4, Plan::alone(4)) else {
        return;
    };
    stage.start(&[1, 2, 3]);
    stage.ask_everyone(Habits::new(1_000, &[1, 2, 3]));
    let verdict = stage.verdict();
    assert!(
        verdict.violations.len() > 100,
        "three lone nodes and four groups, yet few were caught: {verdict}"
    );
}

#[test]
fn one_lone_node_is_not() {
    let Some(mut stage) = Stage::new(1, 4, Plan::alone(4)) else {
        return;
    };
    stage.start(&[1]);
    stage.work(Habits::new(600, &[1]));
    stage.rounds(1);
    stage.disable(2);
    stage.rounds(1);
    stage.enable(2);
    stage.rounds(1);
    let verdict = stage.verdict();
    verdict.assert_kept();
    assert!(verdict.moves > 100, "group 2's keys moved: {verdict}");
}
