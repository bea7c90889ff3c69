//! Changes of the membership (thesis, chapter 4, and the correction of single-server changes).

use tcpffee_raft::core::{Change, ChangeError, CoreEvent, Role};
use tcpffee_raft::ids::Index;
use tcpffee_raft::membership::Role as MemberRole;

use crate::lab::{Disk, Lab, id};

fn members(lab: &Lab, n: u64) -> Vec<u64> {
    lab.core(n)
        .membership()
        .members
        .keys()
        .map(|id| id.0)
        .collect()
}

fn add_learner(n: u64) -> Change {
    Change::AddLearner {
        node: id(n),
        promote: true,
    }
}

#[test]
fn a_newcomer_learns_before_it_votes() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.propose(1, "a").expect("the leader takes it");
    lab.add(4, Disk::default());
    lab.node(4).disk_waits = true;
    lab.change(1, add_learner(4));
    lab.run(500);
    assert_eq!(lab.core(1).membership().majority(), 2);
    assert!(!lab.core(1).is_voter(id(4)));
    lab.node(4).disk_waits = false;
    lab.run_until("it votes", |lab| lab.core(4).is_voter(id(4)));
    assert_eq!(lab.applied(4), ["a"]);
}

#[test]
fn learners_count_for_nothing() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.settle();
    lab.add(4, Disk::default());
    lab.change(
        1,
        Change::AddLearner {
            node: id(4),
            promote: false,
        },
    );
    lab.run(200);
    lab.crash(2);
    lab.crash(3);
    let before = lab.core(1).commit();
    lab.propose(1, "a").expect("the leader takes it");
    lab.settle();
    assert_eq!(lab.core(1).commit(), before, "a learner's copy is none");
    lab.run(2000);
    assert_ne!(
        lab.core(1).role(),
        Role::Leader,
        "nor does its answer keep a leader"
    );
    assert_eq!(lab.core(4).role(), Role::Learner);
}

#[test]
fn a_learner_that_lags_is_not_made_a_voter() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.settle();
    lab.add(4, Disk::default());
    lab.node(4).disk_waits = true;
    lab.change(
        1,
        Change::AddLearner {
            node: id(4),
            promote: false,
        },
    );
    lab.run(200);
    let refused = lab.with(1, |core| core.change_membership(Change::Promote(id(4))));
    assert_eq!(refused, Err(ChangeError::NotCaughtUp(id(4))));
}

#[test]
fn one_change_of_voters_at_a_time() {
    let mut lab = Lab::formed(5);
    lab.elect(1);
    lab.settle();
    for n in [2, 3, 4, 5] {
        lab.node(n).disk_waits = true;
    }
    lab.change(1, Change::Remove(id(5)));
    let at = lab.core(1).last().index;
    let refused = lab.with(1, |core| core.change_membership(Change::Remove(id(4))));
    assert_eq!(refused, Err(ChangeError::Pending(at)));
}

/// The bug of single-server changes: two leaders that change the same membership differently,
/// each before anything of its term is committed, would have majorities without a common node.
#[test]
fn no_change_before_an_entry_of_the_leaders_own_term_is_committed() {
    let mut lab = Lab::formed(4);
    for n in [2, 3, 4] {
        lab.node(n).disk_waits = true;
    }
    lab.elect_by_votes(1, 2, &[2, 3]);
    assert_eq!(lab.core(1).role(), Role::Leader);
    let refused = lab.with(1, |core| core.change_membership(Change::Remove(id(4))));
    assert_eq!(refused, Err(ChangeError::NotReady));
    for n in [2, 3, 4] {
        lab.node(n).disk_waits = false;
    }
    lab.run(1000);
    lab.change(1, Change::Remove(id(4)));
}

#[test]
fn a_membership_is_in_force_where_it_stands_and_goes_with_its_entry() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.settle();
    lab.isolate(1);
    lab.change(1, Change::Remove(id(3)));
    assert_eq!(members(&lab, 1), [1, 2], "in force before it is committed");
    lab.elect(2);
    lab.heal();
    lab.run(1000);
    assert_eq!(members(&lab, 1), [1, 2, 3], "and gone with its entry");
}

#[test]
fn a_removed_node_is_told_and_disturbs_nobody() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.settle();
    lab.isolate(3);
    lab.change(1, Change::Remove(id(3)));
    lab.run(2000);
    let term = lab.core(1).term();
    lab.heal();
    lab.run(5000);
    assert!(lab.core(3).is_dismissed());
    assert!(lab.has_event(3, |event| *event == CoreEvent::Dismissed));
    assert_eq!(
        (lab.core(1).role(), lab.core(1).term()),
        (Role::Leader, term)
    );
}

#[test]
fn a_leader_that_removes_itself_leads_until_that_is_committed_and_hands_over() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.settle();
    for n in [2, 3] {
        lab.node(n).disk_waits = true;
    }
    lab.change(1, Change::Remove(id(1)));
    lab.settle();
    assert_eq!(lab.core(1).role(), Role::Leader);
    lab.node(2).disk_waits = false;
    lab.settle();
    assert_eq!(
        lab.core(1).role(),
        Role::Leader,
        "its own copy counts no more: one of two"
    );
    lab.node(3).disk_waits = false;
    lab.settle();
    assert_ne!(lab.core(1).role(), Role::Leader);
    assert!(lab.core(1).is_dismissed());
    let leader = lab
        .leader()
        .expect("its successor was made to stand at once");
    assert!([2, 3].contains(&leader));
    lab.propose(leader, "a").expect("the successor takes it");
    lab.run(100);
    assert_eq!(lab.applied(5 - leader), ["a"]);
}

#[test]
fn the_last_voter_stays() {
    let mut lab = Lab::formed(1);
    lab.time_out(1);
    lab.settle();
    let refused = lab.with(1, |core| core.change_membership(Change::Remove(id(1))));
    assert_eq!(refused, Err(ChangeError::LastVoter(id(1))));
}

#[test]
fn a_cluster_grows_from_one_to_five_and_shrinks_by_what_its_members_state() {
    let mut lab = Lab::formed(1);
    lab.state(1, &[1, 2, 3, 4, 5]);
    for n in 2..=5 {
        lab.add(n, Disk::default());
        lab.state(n, &[1, 2, 3, 4, 5]);
    }
    lab.run_until("all five vote", |lab| {
        lab.leader()
            .is_some_and(|n| lab.core(n).membership().voters().count() == 5)
    });
    for n in 1..=5 {
        lab.state(n, &[3, 4, 5]);
    }
    lab.run_until("three are left", |lab| {
        lab.leader().is_some_and(|n| members(lab, n) == [3, 4, 5])
    });
    lab.run(3000);
    assert!(lab.core(1).is_dismissed() && lab.core(2).is_dismissed());
}

#[test]
fn nothing_changes_until_a_majority_states_the_same_peers() {
    let mut lab = Lab::formed(3);
    for n in [1, 2, 3] {
        lab.state(n, &[1, 2, 3]);
    }
    lab.elect(1);
    lab.run(500);
    lab.state(1, &[1, 2]);
    lab.run(2000);
    assert_eq!(members(&lab, 1), [1, 2, 3], "one of three");
    lab.state(2, &[2, 1, 9]);
    lab.run(2000);
    assert_eq!(members(&lab, 1), [1, 2, 3], "two, but not alike");
    lab.state(2, &[1, 2]);
    lab.run_until("the third has left", |lab| members(lab, 1) == [1, 2]);
}

#[test]
fn a_machine_is_replaced_first_the_lost_one_leaves_then_the_new_one_learns() {
    let mut lab = Lab::formed(3);
    for n in [1, 2, 3] {
        lab.state(n, &[1, 2, 3]);
    }
    lab.elect(1);
    lab.run(500);
    lab.crash(3);
    lab.add(4, Disk::default());
    lab.node(4).disk_waits = true;
    for n in [1, 2, 4] {
        lab.state(n, &[1, 2, 4]);
    }
    lab.run_until("the lost one is gone", |lab| members(lab, 1) == [1, 2, 4]);
    assert_eq!(
        lab.core(1).membership().members[&id(4)].role,
        MemberRole::Learner { promote: true }
    );
    lab.node(4).disk_waits = false;
    lab.run_until("the new one votes", |lab| lab.core(1).is_voter(id(4)));
}

#[test]
fn the_newest_version_of_commands_is_what_all_members_understand() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    for n in [1, 2] {
        lab.state(n, &[1, 2, 3]);
    }
    lab.run(500);
    assert_eq!(lab.core(1).version(), 1);
    let newer = |version| {
        let mut command = crate::lab::command("a");
        command.version = version;
        command
    };
    assert!(lab.with(1, |core| core.propose(newer(1))).is_ok());
    assert!(lab.with(1, |core| core.propose(newer(2))).is_err());
}

#[test]
fn a_membership_survives_a_restart_and_a_snapshot() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.settle();
    lab.change(1, Change::Remove(id(3)));
    lab.run(200);
    lab.snapshot(1, 0);
    for n in [1, 2] {
        lab.crash(n);
        lab.restart(n);
        assert_eq!(members(&lab, n), [1, 2], "node {n}");
    }
    assert!(lab.core(1).first_index() > Index(1));
}
