//! Disks that are empty all at once, or full.

use std::time::Duration;

use crate::cluster::{Habits, Plan, Stage};
use crate::support::wait::holds_within;

const ALL: [usize; 3] = [1, 2, 3];

#[test]
fn a_wiped_node_comes_back_and_sends_no_key_elsewhere() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    stage.work(Habits::new(500, &ALL));
    stage.rounds(0);
    for _ in 0..2 {
        let leader = stage.leader();
        stage.kill(&[leader]);
        stage.node_mut(leader).wipe();
        stage.start(&[leader]);
        // It votes again, so that the next one may be wiped.
        stage.wait_all_vote();
        stage.serves();
    }
    stage.rounds(1);
    stage.assert_kept();
}

#[test]
fn a_full_disk_on_one_node_sends_no_key_elsewhere() {
    let Some(mut stage) = Stage::new(3, 4, Plan::cluster(&ALL, 4)) else {
        return;
    };
    let small = 2;
    stage.node(small).use_small_disk(256 * 1024 * 1024);
    stage.start(&ALL);
    stage.work(Habits::new(500, &ALL));
    stage.rounds(0);
    stage.chronicle.fault_begins(small);
    stage.node(small).fill_disk();
    stage.rounds(1);
    stage.node(small).free_disk();
    // It goes on by itself or has ended with an error; either way it comes back.
    if !holds_within(Duration::from_secs(10), || {
        stage.node_mut(small).reap() || stage.node(small).is_healthy()
    }) {
        stage.node_mut(small).kill9();
    }
    if !stage.node(small).runs() {
        stage.start(&[small]);
    }
    stage.wait_healthy(&[small]);
    stage.chronicle.fault_ends(small);
    stage.rounds(1);
    stage.assert_kept();
}
