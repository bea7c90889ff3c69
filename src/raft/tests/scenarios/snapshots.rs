//! Compaction and snapshots (paper, section 7).

use tcpffee_raft::ids::Index;
use tcpffee_raft::message::Message;

use crate::lab::{Lab, settings};

/// Node 3 was away while the log was cut behind a snapshot of 45 bytes, sent by pieces of 10.
fn behind() -> Lab {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.run(100);
    lab.isolate(3);
    for text in ["a", "b", "c"] {
        lab.propose(1, text).expect("the leader takes it");
    }
    lab.run(100);
    lab.snapshot(1, 45);
    assert!(lab.core(1).first_index() > lab.core(3).last().index.next());
    lab
}

#[test]
fn a_follower_behind_the_log_gets_a_snapshot_and_then_the_rest() {
    let mut lab = behind();
    lab.propose(1, "d").expect("the leader takes it");
    lab.heal();
    lab.run_until("it has caught up", |lab| {
        lab.core(3).commit() == lab.core(1).commit()
    });
    assert_eq!(lab.applied(3), ["d"], "the rest is in the snapshot");
    assert_eq!(lab.core(3).first_index(), lab.core(1).first_index());
}

#[test]
fn a_snapshot_that_was_interrupted_goes_on_where_it_was() {
    let mut lab = behind();
    lab.heal();
    let offsets = |lab: &Lab| -> Vec<u64> {
        let said = lab.said(1, 3);
        said.iter()
            .filter_map(|message| match message {
                Message::SnapshotChunk { offset, .. } => Some(*offset),
                _ => None,
            })
            .collect()
    };
    let mut seen = Vec::new();
    for _ in 0..10_000 {
        if lab.wire.is_empty() {
            for n in lab.ids() {
                lab.tick(n, 10);
                lab.sync(n);
            }
        }
        seen.extend(offsets(&lab));
        if seen.contains(&20) {
            break;
        }
        lab.deliver_one();
    }
    // The third piece is lost with the receiver; two are on its disk.
    lab.crash(3);
    lab.wire.clear();
    lab.restart(3);
    let mut resumed = Vec::new();
    for _ in 0..10_000 {
        if lab.wire.is_empty() {
            for n in lab.ids() {
                lab.tick(n, 10);
                lab.sync(n);
                lab.apply(n);
            }
        }
        resumed.extend(offsets(&lab));
        lab.deliver_one();
        if lab.core(3).commit() == lab.core(1).commit() {
            break;
        }
    }
    resumed.dedup();
    assert_eq!(lab.core(3).commit(), lab.core(1).commit());
    assert!(
        !resumed.contains(&10),
        "sent again although it was there: {resumed:?}"
    );
    assert!(resumed.contains(&20), "{resumed:?}");
}

#[test]
fn a_lost_piece_is_sent_again() {
    let mut lab = behind();
    lab.heal();
    for _ in 0..1000 {
        lab.run(10);
        // Every second of its messages is lost.
        let mut keep = false;
        lab.wire.retain(|_| {
            keep = !keep;
            keep
        });
        if lab.core(3).commit() == lab.core(1).commit() {
            return;
        }
    }
    panic!("it never caught up");
}

#[test]
fn a_new_leader_goes_on_with_its_own_snapshot() {
    let mut lab = behind();
    lab.snapshot(2, 45);
    lab.crash(1);
    lab.heal();
    lab.run_until("the other leads and node 3 has caught up", |lab| {
        lab.leader() == Some(2) && lab.core(3).commit() == lab.core(2).commit()
    });
}

#[test]
fn a_snapshot_of_what_is_committed_already_changes_nothing() {
    let mut lab = behind();
    lab.heal();
    lab.run_until("it has caught up", |lab| {
        lab.core(3).commit() == lab.core(1).commit()
    });
    lab.propose(1, "d").expect("the leader takes it");
    lab.run(100);
    let (commit, last) = (lab.core(3).commit(), lab.core(3).last());
    let old = lab.nodes[&1].disk.snapshot.clone().expect("taken above");
    let term = lab.core(1).term().0;
    let chunk = Message::SnapshotChunk {
        snapshot: std::sync::Arc::new(old),
        offset: 0,
        data: bytes::Bytes::from_static(&[7; 10]),
    };
    lab.say(1, 3, term, chunk);
    lab.settle();
    assert_eq!((lab.core(3).commit(), lab.core(3).last()), (commit, last));
    assert_eq!(lab.applied(3), ["d"]);
}

#[test]
fn a_log_that_holds_the_snapshots_end_keeps_what_follows_it() {
    let mut lab = behind();
    let snapshot = lab.nodes[&1].disk.snapshot.clone().expect("taken above");
    // Node 2 holds the same entries and more, and has not heard that they are committed.
    lab.crash(2);
    lab.node(2).disk.hard_state.commit = Index(1);
    lab.restart(2);
    let last = lab.core(2).last();
    let term = lab.core(1).term().0;
    for offset in [0, 10, 20, 30, 40] {
        let length = 10.min(45 - offset) as usize;
        let chunk = Message::SnapshotChunk {
            snapshot: std::sync::Arc::new(snapshot.clone()),
            offset,
            data: bytes::Bytes::from(vec![7; length]),
        };
        lab.say(1, 2, term, chunk);
    }
    assert_eq!(lab.core(2).last(), last);
    assert_eq!(lab.core(2).commit(), snapshot.last.index);
}

#[test]
fn a_tail_behind_the_snapshot_serves_followers_that_lag_a_little() {
    let mut settings = settings();
    settings.tail_bytes = 100_000;
    let mut lab = Lab::formed_with(3, settings);
    lab.elect(1);
    lab.run(100);
    lab.isolate(3);
    lab.propose(1, "a").expect("the leader takes it");
    lab.run(100);
    lab.snapshot(1, 45);
    assert_eq!(
        lab.core(1).first_index(),
        Index(1),
        "the tail holds everything"
    );
    lab.heal();
    lab.run(500);
    assert_eq!(lab.applied(3), ["a"], "from the log, not by a snapshot");
}

#[test]
fn a_restart_begins_at_the_snapshot() {
    let mut lab = behind();
    lab.propose(1, "d").expect("the leader takes it");
    lab.run(100);
    let commit = lab.core(1).commit();
    lab.crash(1);
    lab.restart(1);
    assert!(lab.core(1).applied_index() >= Index(4));
    lab.run(3000);
    assert!(lab.core(1).commit() >= commit);
    assert_eq!(lab.applied(1), ["d"]);
}

#[test]
fn a_log_left_from_before_a_snapshot_arrived_is_not_taken_for_its_continuation() {
    // The snapshot's file is durable, the record that voids the old log is not: a crash between.
    let mut lab = behind();
    let snapshot = lab.nodes[&1].disk.snapshot.clone();
    lab.crash(3);
    let index = snapshot.as_ref().expect("taken above").last.index;
    let entries = &mut lab.node(3).disk.entries;
    for at in entries.len() as u64 + 1..index.0 + 3 {
        let payload = tcpffee_raft::entry::Payload::Time;
        entries.push(crate::lab::entry(at, 2, payload));
    }
    // Make the place of the snapshot's end one of another term.
    for entry in entries.iter_mut().filter(|entry| entry.index.0 >= 2) {
        entry.term = tcpffee_raft::ids::Term(1);
    }
    lab.node(3).disk.snapshot = snapshot;
    lab.restart(3);
    assert_eq!(lab.core(3).last().index, index);
    lab.heal();
    lab.run(1000);
    assert_eq!(lab.terms(3), lab.terms(1));
}

#[test]
fn snapshots_do_not_hold_up_heartbeats_or_the_log() {
    let mut lab = behind();
    // Node 3 stores nothing of what arrives, and the others go on.
    lab.heal();
    lab.cut(3, 1);
    lab.propose(1, "d").expect("the leader takes it");
    lab.run(3000);
    assert_eq!(lab.leader(), Some(1));
    assert_eq!(lab.applied(2), ["a", "b", "c", "d"]);
}
