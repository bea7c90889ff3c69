//! Which cluster a node belongs to, and whether that cluster takes it.

use std::sync::atomic::Ordering;

use tcpffee_raft::driver::{Event, Trouble};
use tcpffee_raft::ids::Index;

use crate::cluster::{Cluster, eventually};
use crate::faults::copy_folder;

/// Short logs, so that a wiped node needs a snapshot.
fn short_logs() -> Cluster {
    let cluster = Cluster::start_adjusted(3, |config| {
        config.snapshot_after_bytes = 64 * 1024;
        config.settings.tail_bytes = 0;
        config.settings.snapshot_chunk_bytes = 4 * 1024;
    });
    let long = "x".repeat(2000);
    for number in 0..100 {
        let command = format!("put k{number} {long}");
        assert_eq!(cluster.propose(0, &command), Ok("ok".to_owned()));
    }
    let leader = cluster.leader();
    eventually("the log was cut", || {
        cluster.status(leader).first > Index(1)
    });
    cluster
}

#[test]
fn a_node_that_dies_with_a_whole_snapshot_and_no_log_knows_its_cluster() {
    let mut cluster = short_logs();
    let joined = cluster.status(0).cluster;
    let victim = cluster.follower();
    cluster.stop(victim);
    cluster.wipe(victim);
    cluster.nodes[victim]
        .switches
        .breaks_with_snapshot
        .store(true, Ordering::Relaxed);
    cluster.run(victim);
    eventually("its disk fails", || {
        matches!(cluster.status(victim).trouble, Some(Trouble::Disk(_)))
    });
    for number in 0..3 {
        cluster.stop(number);
    }
    cluster.nodes[victim].switches.mend();
    cluster.run(victim);
    // Nobody is there to tell it.
    let status = cluster.status(victim);
    assert!(status.first > Index(1), "it has no snapshot: {status:?}");
    assert_eq!(status.cluster, joined);
    for number in (0..3).filter(|number| *number != victim) {
        cluster.run(number);
    }
    assert_eq!(cluster.propose(victim, "put a 1"), Ok("ok".to_owned()));
    cluster.agree();
}

#[test]
fn a_store_that_was_retired_and_is_put_back_begins_anew() {
    let mut cluster = Cluster::start(3);
    let victim = cluster.follower();
    assert_eq!(cluster.propose(victim, "put a 1"), Ok("ok".to_owned()));
    cluster.stop(victim);
    let folder = cluster.folder_of(victim);
    let old = folder.with_extension("old");
    copy_folder(&folder, &old);
    cluster.wipe(victim);
    cluster.run(victim);
    eventually("its new store votes", || {
        let status = cluster.status(victim);
        status.voters.contains(&status.node)
    });
    cluster.stop(victim);
    cluster.wipe(victim);
    copy_folder(&old, &folder);
    cluster.run(victim);
    eventually("it begins anew", || {
        let events = cluster.nodes[victim].events.lock().expect("no panic");
        events
            .iter()
            .any(|event| matches!(event, Event::BegunAnew { .. }))
    });
    eventually("it votes again", || {
        let status = cluster.status(victim);
        status.voters.contains(&status.node)
    });
    assert_eq!(cluster.propose(victim, "get a"), Ok("ok 1".to_owned()));
}
