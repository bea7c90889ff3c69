//! What a node warns of says of which Raft group it is.

use std::sync::atomic::Ordering;

use crate::cluster::{Cluster, eventually, has_warned};

#[test]
fn warnings_of_the_threads_for_log_and_snapshots_name_the_group() {
    let cluster = Cluster::start_adjusted(1, |config| {
        "named".clone_into(&mut config.group);
        config.snapshot_after_bytes = 64 * 1024;
        config.settings.tail_bytes = 0;
    });
    let long = "x".repeat(2000);
    let mut numbers = 0..;
    let mut until_warned = |start: &str| {
        eventually(start, || {
            let number: u32 = numbers.next().expect("without end");
            let command = format!("put k{} {long}", number % 100);
            assert_eq!(cluster.propose(0, &command), Ok("ok".to_owned()));
            has_warned(start)
        });
    };
    let switches = &cluster.nodes[0].switches;
    switches.keeps_files.store(true, Ordering::Relaxed);
    until_warned("raft named: snapshots older than ");
    until_warned("raft named: segments of the log before ");
    switches.keeps_files.store(false, Ordering::Relaxed);
    // It is made ahead in the middle of the current one, and missed at its end only.
    switches.makes_no_segment.store(true, Ordering::Relaxed);
    until_warned("raft named: the log's next segment cannot be made ahead: ");
    switches.makes_no_segment.store(false, Ordering::Relaxed);
}
