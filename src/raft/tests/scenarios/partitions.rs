//! Cut networks: pre-vote and check-quorum (thesis, sections 6.2 and 9.6; etcd's experience with
//! both together).

use tcpffee_raft::core::Role;

use crate::lab::Lab;

#[test]
fn a_leader_that_a_majority_does_not_answer_steps_down() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.isolate(1);
    lab.run(400);
    assert_ne!(lab.core(1).role(), Role::Leader);
}

#[test]
fn a_leader_that_hears_nobody_steps_down_although_everybody_hears_it() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.cut(2, 1);
    lab.cut(3, 1);
    lab.run(3000);
    let leader = lab.leader().expect("another leads");
    assert_ne!(leader, 1);
}

#[test]
fn a_node_that_was_cut_off_comes_back_without_an_election() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    let term = lab.core(1).term();
    lab.isolate(3);
    lab.run(10_000);
    lab.heal();
    lab.run(2000);
    assert_eq!(
        (lab.core(1).role(), lab.core(1).term()),
        (Role::Leader, term)
    );
    assert_eq!(lab.core(3).term(), term);
}

#[test]
fn a_node_that_hears_nobody_but_is_heard_disturbs_nobody() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    let term = lab.core(1).term();
    lab.cut(1, 3);
    lab.cut(2, 3);
    lab.run(10_000);
    assert_eq!(
        (lab.core(1).role(), lab.core(1).term()),
        (Role::Leader, term)
    );
}

#[test]
fn where_one_link_is_cut_one_leader_serves_all_it_reaches() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.cut(1, 3);
    lab.cut(3, 1);
    lab.run(5000);
    let leader = lab.leader().expect("the majority has a leader");
    let term = lab.core(leader).term();
    lab.propose(leader, "a").expect("the leader takes it");
    lab.run(5000);
    assert_eq!(lab.core(leader).term(), term, "leadership does not swing");
    assert_eq!(lab.applied(leader), ["a"]);
}

#[test]
fn a_minority_commits_nothing() {
    let mut lab = Lab::formed(5);
    lab.elect(1);
    lab.settle();
    let commit = lab.core(1).commit();
    for n in [3, 4, 5] {
        for other in [1, 2] {
            lab.cut(n, other);
            lab.cut(other, n);
        }
    }
    lab.propose(1, "lost").expect("it leads still");
    lab.run(2000);
    assert_eq!(lab.core(1).commit(), commit);
    let leader = lab.leader().expect("the majority has a leader");
    assert!([3, 4, 5].contains(&leader));
    lab.propose(leader, "kept").expect("the leader takes it");
    lab.heal();
    lab.run(2000);
    for n in lab.ids() {
        assert_eq!(lab.applied(n), ["kept"], "node {n}");
    }
}

#[test]
fn a_node_stuck_in_a_later_term_brings_the_leader_there() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.settle();
    // Its disk holds a later term: it stood for election right before a crash.
    lab.crash(3);
    lab.node(3).disk.hard_state.term = tcpffee_raft::ids::Term(40);
    lab.node(3).disk.hard_state.vote = None;
    lab.restart(3);
    lab.run(3000);
    let leader = lab.leader().expect("one leads");
    assert!(lab.core(leader).term().0 > 40);
    lab.propose(leader, "a").expect("the leader takes it");
    lab.run(500);
    for n in lab.ids() {
        assert_eq!(lab.applied(n), ["a"], "node {n}");
    }
}

#[test]
fn what_waits_for_an_answer_is_sent_again_as_soon_as_there_is_a_connection() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.run(100);
    lab.isolate(3);
    lab.with(1, |core| core.unreachable(tcpffee_raft::ids::NodeId(3)));
    lab.propose(1, "a").expect("the leader takes it");
    lab.settle();
    lab.heal();
    lab.with(1, |core| core.reachable(tcpffee_raft::ids::NodeId(3)));
    lab.settle();
    lab.run(60);
    assert_eq!(lab.applied(3), ["a"]);
}
