//! Wall clocks that are an hour off on one node.

use crate::cluster::{Habits, Stage, wall_clock};

const ALL: [usize; 3] = [1, 2, 3];

#[test]
fn a_node_whose_clock_is_an_hour_off_sends_no_key_elsewhere() {
    if !wall_clock::can_be_shifted() {
        return;
    }
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    stage.work(Habits::new(400, &ALL));
    stage.rounds(0);
    let shifted = stage.leader();
    for by in ["+3600s", "-3600s"] {
        stage.kill(&[shifted]);
        wall_clock::shift(stage.node_mut(shifted), by);
        stage.start(&[shifted]);
        stage.serves();
        // Sooner or later it leads, and its time is the log's.
        for _ in 0..4 {
            let leader = stage.leader();
            if leader == shifted {
                break;
            }
            stage.kill(&[leader]);
            stage.serves();
            stage.start(&[leader]);
        }
        stage.rounds(0);
    }
    stage.assert_kept();
}
