//! Log time, leases and the fence (cluster design, sections 2 and 4).

use tcpffee_raft::entry::Payload;
use tcpffee_raft::ids::{LogTime, NodeTime};
use tcpffee_raft::message::Message;

use crate::lab::{Lab, id};

fn led() -> Lab {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.run(300);
    lab
}

fn lease_age(lab: &Lab, n: u64) -> u64 {
    let lease = lab.core(n).lease().expect("a lease");
    lab.now(n).since(lease.stamp)
}

#[test]
fn every_member_has_a_fresh_lease_while_a_majority_answers() {
    let mut lab = led();
    for _ in 0..50 {
        lab.run(100);
        for n in lab.ids() {
            assert!(lease_age(&lab, n) < 300, "node {n}");
        }
    }
}

#[test]
fn a_lease_is_granted_only_after_a_majority_answered_a_later_round() {
    let mut lab = led();
    lab.run(100);
    // The leader still hears node 3 and is heard by it; the other voter is silent. Node 3 and the
    // leader are a majority. With five, they are none.
    let mut lab5 = Lab::formed(5);
    lab5.elect(1);
    lab5.run(300);
    for n in [2, 4, 5] {
        lab5.isolate(n);
    }
    let cut_at = lab5.now(3);
    lab5.run(250);
    let stamp = lab5.core(3).lease().expect("from before").stamp;
    assert!(
        stamp <= cut_at.plus(60),
        "no stamp from after the cut is confirmed"
    );
}

#[test]
fn a_deposed_leader_grants_nothing_stamped_after_the_new_election() {
    let mut lab = Lab::formed(5);
    lab.elect(1);
    lab.run(300);
    // 1 and 5 on one side, 2, 3 and 4 on the other.
    for one in [1, 5] {
        for other in [2, 3, 4] {
            lab.cut(one, other);
            lab.cut(other, one);
        }
    }
    let mut elected = None;
    for _ in 0..300 {
        lab.run(10);
        if elected.is_none() && lab.leader().is_some_and(|n| n != 1) {
            elected = Some(lab.now(5));
        }
    }
    let elected = elected.expect("the majority elected another");
    assert!(lab.core(5).lease().expect("from before").stamp < elected);
    assert!(lab.core(1).lease().expect("from before").stamp.0 < lab.now(1).0 - 1000);
}

#[test]
fn a_lease_waits_until_what_was_committed_at_its_moment_is_applied() {
    let mut lab = led();
    lab.node(3).machine_waits = true;
    let before = lab.core(3).lease().expect("a lease").commit;
    let position = lab.propose(1, "a").expect("the leader takes it");
    lab.run(500);
    let lease = lab.core(3).lease().expect("the old one");
    assert!(lease.commit < position.index && lease.commit >= before);
    lab.node(3).machine_waits = false;
    lab.run(300);
    assert!(lab.core(3).lease().expect("a new one").commit >= position.index);
}

#[test]
fn the_fence_stands_until_every_member_has_applied_or_its_lease_has_run_out() {
    let mut lab = led();
    lab.run(2000);
    let position = lab.propose(1, "a").expect("the leader takes it");
    lab.run(200);
    assert!(lab.core(1).fence(position.index), "all have applied");
    lab.isolate(3);
    let position = lab.propose(1, "b").expect("the leader takes it");
    lab.run(1000);
    assert!(
        !lab.core(1).fence(position.index),
        "node 3 may still answer by its lease"
    );
    lab.run(700);
    assert!(lab.core(1).fence(position.index), "its lease has run out");
}

#[test]
fn a_new_leader_counts_every_lease_from_its_own_election() {
    let mut lab = led();
    lab.run(2000);
    lab.with(1, |core| core.transfer_leadership(id(2)))
        .expect("a voter");
    lab.settle();
    lab.run(300);
    let index = lab.core(2).commit();
    assert!(!lab.core(2).fence(index));
    lab.run(1300);
    assert!(lab.core(2).fence(index));
}

#[test]
fn a_removed_member_is_counted_until_its_lease_has_run_out() {
    let mut lab = led();
    lab.run(2000);
    lab.isolate(3);
    lab.change(1, tcpffee_raft::core::Change::Remove(id(3)));
    let position = lab.propose(1, "a").expect("the leader takes it");
    lab.run(1000);
    assert!(!lab.core(1).fence(position.index));
    lab.run(700);
    assert!(lab.core(1).fence(position.index));
}

#[test]
fn log_time_is_that_of_the_leaders_clock_and_never_goes_back() {
    let mut lab = led();
    let before = lab.core(1).log_time();
    lab.run(5000);
    let passed = lab.core(1).log_time().0 - before.0;
    assert!((4900..=5000).contains(&passed), "{passed} ms");
    let told = lab.core(2).log_time();
    lab.crash(1);
    lab.run_until("another leads", |lab| lab.leader().is_some());
    let leader = lab.leader().expect("just seen");
    lab.propose(leader, "a").expect("the leader takes it");
    lab.run(100);
    for n in [2, 3] {
        let times: Vec<LogTime> = lab.nodes[&n]
            .applied
            .iter()
            .map(|entry| entry.time)
            .collect();
        assert!(times.is_sorted(), "node {n}: {times:?}");
    }
    // Time stood still while there was no leader, and began at the highest in the log.
    assert!(lab.core(leader).log_time().0 <= told.0 + 200);
}

#[test]
fn time_is_logged_where_nothing_else_is() {
    let mut lab = led();
    let before = lab.core(2).commit();
    lab.run(5500);
    let entries: Vec<_> = (before.0 + 1..=lab.core(2).commit().0)
        .filter_map(|index| lab.core(2).entry(tcpffee_raft::ids::Index(index)))
        .collect();
    assert!((4..=6).contains(&entries.len()), "{entries:?}");
    assert!(entries.iter().all(|entry| entry.payload == Payload::Time));
}

#[test]
fn a_leader_that_was_stopped_does_not_make_time_jump() {
    let mut lab = led();
    let before = lab.core(1).log_time();
    lab.tick(1, 250);
    lab.settle();
    assert!(lab.core(1).log_time().0 - before.0 <= 200);
}

#[test]
fn time_stands_still_without_a_majority() {
    let mut lab = led();
    lab.isolate(1);
    let before = lab.core(1).log_time();
    lab.run(1000);
    assert!(
        lab.core(1).log_time().0 - before.0 <= 300,
        "until it stepped down"
    );
}

#[test]
fn a_stamp_from_another_boot_of_the_machine_is_not_believed() {
    let mut lab = led();
    let term = lab.core(1).term().0;
    let before = lab.core(3).lease();
    for stamp in [NodeTime(5), lab.now(3).plus(1_000_000)] {
        let grant = tcpffee_raft::message::LeaseGrant {
            stamp,
            time: LogTime(1),
            commit: tcpffee_raft::ids::Index(1),
        };
        let beat = Message::Heartbeat {
            round: 1_000,
            commit: tcpffee_raft::ids::Index(1),
            time: LogTime(1),
            lease: Some(grant),
        };
        lab.say(1, 3, term, beat);
        assert_eq!(lab.core(3).lease(), before);
    }
}

#[test]
fn an_echo_for_an_earlier_boot_is_no_lease() {
    let mut lab = led();
    let term = lab.core(1).term().0;
    let beat = |lease| Message::Heartbeat {
        round: 1_000,
        commit: tcpffee_raft::ids::Index(1),
        time: LogTime(1),
        lease,
    };
    lab.isolate(3);
    lab.say(1, 3, term, beat(None));
    let stamp = lab.said(3, 1).into_iter().find_map(|said| match said {
        Message::HeartbeatReply { stamp, .. } => Some(*stamp),
        _ => None,
    });
    // After the reboot its clock shows the time of that stamp once more.
    lab.reboot(3, 500);
    lab.tick(3, 250);
    lab.tick(3, 260);
    let grant = tcpffee_raft::message::LeaseGrant {
        stamp: stamp.expect("it has answered"),
        time: LogTime(1),
        commit: tcpffee_raft::ids::Index(1),
    };
    lab.say(1, 3, term, beat(Some(grant)));
    lab.settle();
    assert_eq!(lab.core(3).lease(), None);
}
