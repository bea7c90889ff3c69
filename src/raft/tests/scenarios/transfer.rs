//! Handing leadership over (thesis, section 3.10).

use tcpffee_raft::core::{ProposeError, Role, TransferError};

use crate::lab::{Disk, Lab, id};

#[test]
fn leadership_goes_to_whoever_is_named_although_the_leader_is_alive() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.run(100);
    lab.with(1, |core| core.transfer_leadership(id(3)))
        .expect("a voter");
    lab.settle();
    assert_eq!(lab.leader(), Some(3));
    assert_eq!(lab.core(1).role(), Role::Follower);
}

#[test]
fn a_lagging_node_first_catches_up() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.run(100);
    lab.node(3).disk_waits = true;
    lab.propose(1, "a").expect("the leader takes it");
    lab.settle();
    lab.with(1, |core| core.transfer_leadership(id(3)))
        .expect("a voter");
    lab.settle();
    assert_eq!(lab.leader(), Some(1), "it has not got everything");
    lab.node(3).disk_waits = false;
    lab.settle();
    assert_eq!(lab.leader(), Some(3));
    lab.run(200);
    assert_eq!(lab.applied(3), ["a"]);
}

#[test]
fn no_proposal_is_taken_meanwhile_and_a_hand_over_that_fails_is_given_up() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.run(100);
    lab.isolate(3);
    lab.with(1, |core| core.transfer_leadership(id(3)))
        .expect("a voter");
    assert_eq!(
        lab.propose(1, "a"),
        Err(ProposeError::Transferring { to: id(3) })
    );
    lab.run(700);
    assert_eq!(lab.leader(), Some(1));
    lab.propose(1, "a").expect("it was given up");
}

#[test]
fn only_a_voter_can_be_handed_leadership() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.add(4, Disk::default());
    let mut ask = |from: u64, to: u64| lab.with(from, |core| core.transfer_leadership(id(to)));
    assert_eq!(ask(1, 4), Err(TransferError::NotEligible(id(4))));
    assert_eq!(ask(1, 1), Err(TransferError::NotEligible(id(1))));
    assert_eq!(ask(2, 3), Err(TransferError::NotLeader));
}

#[test]
fn only_its_leader_makes_a_node_stand_at_once() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    let term = lab.core(3).term();
    lab.say(2, 3, term.0, tcpffee_raft::message::Message::TimeoutNow);
    assert_eq!(
        (lab.core(3).role(), lab.core(3).term()),
        (Role::Follower, term)
    );
}
