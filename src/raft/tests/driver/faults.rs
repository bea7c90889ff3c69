//! What becomes of a cluster when something breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tcpffee_raft::core::Role;
use tcpffee_raft::driver::{Event, Trouble, boot_time};
use tcpffee_raft::ids::{Index, LogTime};
use tcpffee_raft::proposals::ProposalError;

use crate::cluster::{Cluster, eventually};
use crate::register::VERSION;

#[test]
fn a_stopped_leader_is_replaced_and_catches_up_when_it_is_back() {
    let mut cluster = Cluster::start(3);
    assert_eq!(cluster.propose(0, "put a 1"), Ok("ok".to_owned()));
    let old = cluster.leader();
    cluster.stop(old);
    let new = cluster.leader();
    assert_eq!(cluster.propose(new, "put a 2"), Ok("ok".to_owned()));
    cluster.run(old);
    assert_eq!(cluster.propose(old, "get a"), Ok("ok 2".to_owned()));
    cluster.agree();
}

/// Counts what is answered while something happens to the cluster.
struct Load {
    goes_on: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<u64>,
}

impl Load {
    /// Adds 1 through the node, again and again; fails where an outcome is uncertain.
    fn begin(cluster: &Cluster, through: usize, command: &'static str) -> Load {
        let handle = cluster.handle(through).clone();
        let goes_on = Arc::new(AtomicBool::new(true));
        let answered = Arc::new(AtomicU64::new(0));
        let (running, count) = (Arc::clone(&goes_on), Arc::clone(&answered));
        let thread = std::thread::spawn(move || {
            while running.load(Ordering::Relaxed) {
                let body = Bytes::from_static(command.as_bytes());
                let deadline = boot_time().plus(20_000);
                match handle.propose_and_wait(body, VERSION, deadline) {
                    Ok(_) => count.fetch_add(1, Ordering::Relaxed),
                    Err(error) => panic!("{error}"),
                };
            }
            count.load(Ordering::Relaxed)
        });
        Load {
            goes_on,
            answered,
            thread,
        }
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    fn end(self) -> u64 {
        self.goes_on.store(false, Ordering::Relaxed);
        self.thread.join().expect("no outcome was uncertain")
    }
}

#[test]
fn proposals_are_applied_once_across_leader_changes() {
    let mut cluster = Cluster::start(3);
    let through = cluster.follower();
    let load = Load::begin(&cluster, through, "add n 1");
    for _ in 0..3 {
        let before = load.answered();
        eventually("proposals are answered", || load.answered() > before + 20);
        let leader = cluster.leader();
        if leader == through {
            let target = (0..3).find(|number| *number != leader).expect("three");
            let target = cluster.status(target).node;
            let _ = cluster.handle(leader).transfer_leadership(target);
            eventually("another leads", || {
                cluster.status(through).role != Role::Leader
            });
            continue;
        }
        cluster.stop(leader);
        let before = load.answered();
        eventually("proposals go on", || load.answered() > before + 20);
        cluster.run(leader);
    }
    let answered = load.end();
    assert_eq!(
        cluster.propose(through, "get n"),
        Ok(format!("ok {answered}"))
    );
    let changes = cluster.status(through).proposals.sent_again;
    assert!(changes > 0, "nothing was sent again");
    cluster.agree();
}

#[test]
fn a_wiped_node_gets_a_snapshot_while_proposals_go_on() {
    let mut cluster = Cluster::start_adjusted(3, |config| {
        config.snapshot_after_bytes = 256 * 1024;
        config.settings.tail_bytes = 64 * 1024;
        config.settings.snapshot_chunk_bytes = 16 * 1024;
    });
    let long = "x".repeat(2000);
    for number in 0..400 {
        let command = format!("put k{number} {long}");
        assert_eq!(cluster.propose(0, &command), Ok("ok".to_owned()));
    }
    let wiped = cluster.follower();
    let through = cluster.leader();
    eventually("the log was cut", || {
        cluster.status(through).first > Index(1)
    });
    let load = Load::begin(&cluster, through, "add n 1");
    cluster.stop(wiped);
    cluster.wipe(wiped);
    cluster.run(wiped);
    eventually("a snapshot has arrived", || {
        cluster.status(wiped).counters.snapshots_restored > 0
    });
    eventually("it votes again", || cluster.status(wiped).voters.len() == 3);
    let answered = load.end();
    assert_eq!(
        cluster.propose(wiped, "get n"),
        Ok(format!("ok {answered}"))
    );
    cluster.agree();
    assert_eq!(cluster.value(wiped, "k399"), Some(long));
    // What the snapshot replaced is gone from the disk, and the rest outlives a restart.
    cluster.stop(wiped);
    cluster.run(wiped);
    assert_eq!(
        cluster.propose(wiped, "get n"),
        Ok(format!("ok {answered}"))
    );
    cluster.agree();
}

#[test]
fn a_log_that_is_half_full_is_cut_before_the_usual_bytes_have_come_up() {
    let cluster = Cluster::start_adjusted(1, |config| {
        config.settings.max_log_bytes = 256 * 1024;
        config.settings.tail_bytes = 16 * 1024;
        config.settings.max_command_bytes = 16 * 1024;
    });
    let long = "x".repeat(8000);
    for _ in 0..100 {
        let put = cluster.propose_within(0, &format!("put a {long}"), 10_000);
        assert_eq!(put, Ok("ok".to_owned()));
    }
    assert!(cluster.status(0).counters.snapshots_taken > 0);
}

#[test]
fn sessions_travel_with_snapshots() {
    let mut cluster = Cluster::start_adjusted(1, |config| {
        config.settings.tail_bytes = 0;
    });
    for _ in 0..10 {
        cluster.propose(0, "add n 1").expect("it is answered");
    }
    cluster.handle(0).take_snapshot();
    eventually("a snapshot", || cluster.status(0).snapshot.is_some());
    cluster.stop(0);
    cluster.run(0);
    assert_eq!(cluster.propose(0, "add n 1"), Ok("ok 11".to_owned()));
}

#[test]
fn a_leader_whose_disk_fails_steps_down_and_another_takes_over() {
    let mut cluster = Cluster::start(3);
    assert_eq!(cluster.propose(0, "put a 1"), Ok("ok".to_owned()));
    let broken = cluster.leader();
    cluster.nodes[broken]
        .switches
        .broken
        .store(true, Ordering::Relaxed);
    let _ = cluster.propose_within(broken, "put a 2", 100);
    eventually("it knows", || {
        matches!(cluster.status(broken).trouble, Some(Trouble::Disk(_)))
    });
    assert_ne!(cluster.status(broken).role, Role::Leader);
    let answer = cluster.propose(broken, "put a 2");
    assert_eq!(answer, Err(ProposalError::DiskFailed));
    let events = cluster.nodes[broken]
        .events
        .lock()
        .expect("no panic")
        .clone();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::DiskFailed(_)))
    );
    let others: Vec<usize> = (0..3).filter(|number| *number != broken).collect();
    eventually("another leads", || {
        others
            .iter()
            .any(|number| cluster.status(*number).role == Role::Leader)
    });
    assert_eq!(cluster.propose(others[0], "put a 3"), Ok("ok".to_owned()));
    // Mended and restarted, it is one of them again.
    cluster.nodes[broken].switches.mend();
    cluster.stop(broken);
    cluster.run(broken);
    assert_eq!(cluster.propose(broken, "get a"), Ok("ok 3".to_owned()));
}

#[test]
fn a_slow_disk_delays_answers_and_no_heartbeats() {
    let cluster = Cluster::start(3);
    let term = cluster.status(0).term;
    for node in &cluster.nodes {
        node.switches.sync_ms.store(1000, Ordering::Relaxed);
    }
    // Well beyond the longest election time-out, for each sync.
    assert_eq!(cluster.propose(0, "put a 1"), Ok("ok".to_owned()));
    assert_eq!(cluster.propose(1, "put a 2"), Ok("ok".to_owned()));
    for number in 0..3 {
        assert_eq!(cluster.status(number).term, term, "an election was held");
    }
}

#[test]
fn a_node_that_is_cut_off_loses_its_lease_and_refuses_in_time() {
    let mut cluster = Cluster::start(3);
    let left = cluster.follower();
    let lease = cluster.handle(left).lease();
    let far = LogTime(1 << 40);
    eventually("a lease", || lease.may_hit_now(far, 1000));
    for number in 0..3 {
        if number != left {
            cluster.stop(number);
        }
    }
    let until = lease.until(boot_time());
    eventually("it has run out", || !lease.may_hit_now(far, 1000));
    assert!(until.is_none_or(|until| boot_time() > until));
    let answer = cluster.propose_within(left, "put a 1", 200);
    assert_eq!(answer, Err(ProposalError::TimedOut));
}

#[test]
fn a_node_put_back_from_a_copy_begins_anew() {
    let mut cluster = Cluster::start(3);
    let victim = cluster.follower();
    assert_eq!(cluster.propose(victim, "put a 1"), Ok("ok".to_owned()));
    cluster.stop(victim);
    let folder = cluster.folder_of(victim);
    let copy = folder.with_extension("copy");
    copy_folder(&folder, &copy);
    // It lives on, and what it promises then is not in the copy.
    cluster.run(victim);
    assert_eq!(cluster.propose(victim, "put a 2"), Ok("ok".to_owned()));
    cluster.leader();
    cluster.stop(victim);
    cluster.wipe(victim);
    copy_folder(&copy, &folder);
    cluster.run(victim);
    cluster.begins_anew(victim);
    assert_eq!(cluster.propose(victim, "get a"), Ok("ok 2".to_owned()));
    assert!(folder.join("set-aside-1").is_dir());
}

pub fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

#[test]
fn a_proposal_ends_at_its_deadline_when_nobody_leads() {
    let mut cluster = Cluster::start(3);
    let left = cluster.follower();
    for number in 0..3 {
        if number != left {
            cluster.stop(number);
        }
    }
    let begun = std::time::Instant::now();
    let answer = cluster.propose_within(left, "put a 1", 300);
    assert_eq!(answer, Err(ProposalError::TimedOut));
    assert!(begun.elapsed() >= Duration::from_millis(299));
}
