//! Crashes at every step between persist, send and apply.

use tcpffee_raft::core::Role;
use tcpffee_raft::ids::Index;
use tcpffee_raft::message::Message;

use crate::lab::{Lab, at};

fn led() -> Lab {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.run(100);
    lab
}

#[test]
fn a_proposal_that_reached_no_disk_is_gone() {
    let mut lab = led();
    lab.propose(1, "a").expect("the leader takes it");
    lab.crash(1);
    lab.wire.clear();
    lab.restart(1);
    lab.run(3000);
    for n in lab.ids() {
        assert!(lab.applied(n).is_empty(), "node {n}");
    }
}

#[test]
fn a_proposal_that_was_sent_and_written_by_nobody_else_may_go_or_stay_but_alike_everywhere() {
    for lose in [true, false] {
        let mut lab = led();
        lab.propose(1, "a").expect("the leader takes it");
        lab.sync(1);
        lab.crash(1);
        if lose {
            lab.wire.clear();
        }
        lab.run(2000);
        lab.restart(1);
        lab.run(2000);
        let kept = lab.applied(2);
        for n in lab.ids() {
            assert_eq!(lab.applied(n), kept, "node {n}");
        }
    }
}

#[test]
fn what_a_majority_wrote_survives_the_crash_of_all() {
    let mut lab = led();
    lab.propose(1, "a").expect("the leader takes it");
    lab.node(3).disk_waits = true;
    lab.settle();
    assert_eq!(lab.applied(1), ["a"]);
    for n in lab.ids() {
        lab.crash(n);
    }
    lab.wire.clear();
    lab.node(3).disk_waits = false;
    for n in lab.ids() {
        lab.restart(n);
    }
    lab.run(3000);
    for n in lab.ids() {
        assert_eq!(lab.applied(n), ["a"], "node {n}");
    }
}

#[test]
fn a_crash_between_writing_and_acknowledging_loses_nothing() {
    let mut lab = led();
    let position = lab.propose(1, "a").expect("the leader takes it");
    for n in [2, 3] {
        lab.node(n).disk_waits = true;
    }
    lab.settle();
    // Durable at 2 and 3, and both die before saying so.
    for n in [2, 3] {
        lab.sync(n);
        lab.crash(n);
    }
    lab.wire.clear();
    assert!(lab.core(1).commit() < position.index);
    for n in [2, 3] {
        lab.node(n).disk_waits = false;
        lab.restart(n);
    }
    lab.run(3000);
    for n in lab.ids() {
        assert_eq!(lab.applied(n), ["a"], "node {n}");
    }
}

#[test]
fn a_crash_between_committing_and_applying_applies_after_the_restart() {
    let mut lab = led();
    lab.node(2).machine_waits = true;
    lab.propose(1, "a").expect("the leader takes it");
    lab.run(200);
    assert!(lab.applied(2).is_empty());
    lab.crash(2);
    lab.node(2).machine_waits = false;
    lab.restart(2);
    lab.run(1000);
    assert_eq!(lab.applied(2), ["a"]);
}

#[test]
fn a_crash_between_applying_and_telling_applies_once_in_the_new_life() {
    let mut lab = led();
    lab.propose(1, "a").expect("the leader takes it");
    lab.run(200);
    assert_eq!(lab.applied(2), ["a"]);
    lab.crash(2);
    lab.restart(2);
    lab.run(1000);
    assert_eq!(lab.applied(2), ["a"]);
}

#[test]
fn a_candidate_that_dies_before_its_vote_is_durable_has_asked_nobody() {
    let mut lab = Lab::formed(3);
    lab.node(1).disk_waits = true;
    lab.time_out(1);
    lab.settle();
    assert_eq!(lab.core(1).role(), Role::Candidate);
    assert!(lab.said(1, 2).is_empty());
    lab.crash(1);
    lab.restart(1);
    assert_eq!(lab.core(1).term().0, 1);
}

#[test]
fn a_leader_comes_back_as_a_follower_of_its_term() {
    let mut lab = led();
    let term = lab.core(1).term();
    lab.crash(1);
    lab.restart(1);
    assert_eq!(
        (lab.core(1).role(), lab.core(1).term()),
        (Role::Follower, term)
    );
    // And votes for nobody else in it.
    let vote = Message::Vote {
        last: at(99, 99),
        transfer: false,
    };
    lab.say(2, 1, term.0, vote);
    assert_eq!(
        lab.said(1, 2).last(),
        Some(&&Message::VoteReply { granted: false })
    );
}

#[test]
fn a_commit_index_known_before_a_crash_is_known_after_it() {
    let mut lab = led();
    lab.propose(1, "a").expect("the leader takes it");
    lab.run(100);
    lab.propose(1, "b").expect("the leader takes it");
    lab.run(100);
    for n in lab.ids() {
        lab.crash(n);
    }
    lab.restart(2);
    assert!(lab.core(2).commit() > Index(1));
    lab.settle();
    assert!(!lab.applied(2).is_empty(), "without hearing anybody");
}

#[test]
fn a_node_whose_disk_failed_leads_votes_and_acknowledges_no_more() {
    let mut lab = led();
    lab.with(1, |core| core.write_failed());
    assert_ne!(lab.core(1).role(), Role::Leader);
    lab.run(3000);
    let leader = lab.leader().expect("another leads");
    assert_ne!(leader, 1);
    assert!(lab.propose(1, "a").is_err());
    lab.propose(leader, "b").expect("the leader takes it");
    lab.run(500);
    assert!(lab.applied(1).is_empty());
    assert_eq!(lab.applied(leader), ["b"]);
    lab.crash(5 - leader);
    lab.run(100);
    lab.propose(leader, "c")
        .expect("it leads for a little while");
    lab.run(2000);
    assert_eq!(
        lab.applied(leader),
        ["b"],
        "one healthy node of three is no majority"
    );
}

#[test]
fn a_torn_write_makes_nothing_committed_that_it_was_to_replace() {
    // Node 3 holds entries of term 2 that were never committed. A write that replaces them is
    // torn: its hard state is on the disk, its entries are not.
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(3, &[2, 2, 2])]);
    let entries = (2..=4)
        .map(|index| crate::lab::entry(index, 3, tcpffee_raft::entry::Payload::Empty))
        .collect();
    let append = Message::Append {
        previous: at(1, 1),
        commit: Index(4),
        entries,
    };
    lab.say(1, 3, 3, append);
    assert_eq!(lab.core(3).commit(), Index(4));
    lab.tear(3);
    lab.crash(3);
    lab.restart(3);
    assert_eq!(
        lab.terms(3),
        [1, 2, 2, 2],
        "what was to be replaced is there"
    );
    assert_eq!(
        lab.core(3).commit(),
        Index(1),
        "and is not committed for that"
    );
}

#[test]
fn a_leader_that_must_stop_leads_no_more() {
    let mut lab = led();
    let beat = Message::Heartbeat {
        round: 1,
        commit: Index(0),
        time: tcpffee_raft::ids::LogTime(0),
        lease: None,
    };
    let term = lab.core(1).term().0;
    lab.say(2, 1, term, beat);
    assert!(lab.core(1).is_stopped());
    assert_ne!(lab.core(1).role(), Role::Leader);
    assert!(lab.propose(1, "a").is_err());
    assert!(!lab.core(1).fence(Index(1)));
}

#[test]
fn a_candidate_whose_disk_is_slow_waits_for_it_instead_of_standing_again() {
    let mut lab = Lab::formed(3);
    lab.node(1).disk_waits = true;
    lab.time_out(1);
    lab.settle();
    let term = lab.core(1).term();
    for _ in 0..5 {
        lab.time_out(1);
        lab.settle();
    }
    assert_eq!(lab.core(1).term(), term);
    lab.node(1).disk_waits = false;
    lab.settle();
    assert_eq!(lab.core(1).role(), Role::Leader);
}
