//! Terms, votes, and who may lead (paper, figure 2 and sections 5.1, 5.2, 5.4.1).

use tcpffee_raft::core::Role;
use tcpffee_raft::ids::{Index, Term};
use tcpffee_raft::message::Message;

use crate::lab::{Lab, at, id};

#[test]
fn a_follower_that_hears_no_leader_stands_and_a_majority_elects_it() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    assert_eq!(lab.core(1).term(), Term(2));
    for n in [2, 3] {
        assert_eq!(lab.core(n).role(), Role::Follower);
        assert_eq!(lab.core(n).leader(), Some(id(1)));
    }
}

#[test]
fn without_a_majority_nobody_leads_and_no_term_is_used_up() {
    let mut lab = Lab::formed(5);
    for n in [3, 4, 5] {
        lab.crash(n);
    }
    lab.run(5000);
    assert_eq!(lab.leader(), None);
    assert_eq!(lab.core(1).term(), Term(1), "pre-vote keeps terms down");
}

#[test]
fn a_single_voter_leads_alone_once_its_own_vote_is_durable() {
    let mut lab = Lab::formed(1);
    lab.node(1).disk_waits = true;
    lab.time_out(1);
    assert_eq!(lab.core(1).role(), Role::Candidate);
    lab.node(1).disk_waits = false;
    lab.settle();
    assert_eq!(lab.core(1).role(), Role::Leader);
}

#[test]
fn a_node_votes_once_in_a_term() {
    let mut lab = Lab::formed(3);
    let vote = Message::Vote {
        last: at(9, 9),
        transfer: false,
    };
    lab.say(1, 3, 7, vote.clone());
    lab.sync(3);
    assert_eq!(lab.said(3, 1), [&Message::VoteReply { granted: true }]);
    lab.say(2, 3, 7, vote.clone());
    assert_eq!(lab.said(3, 2), [&Message::VoteReply { granted: false }]);
    lab.say(1, 3, 7, vote);
    assert_eq!(lab.said(3, 1).len(), 2, "the same vote is told again");
}

#[test]
fn a_vote_given_before_a_crash_binds_after_it() {
    let mut lab = Lab::formed(3);
    let vote = Message::Vote {
        last: at(9, 9),
        transfer: false,
    };
    lab.say(1, 3, 7, vote.clone());
    lab.sync(3);
    lab.crash(3);
    lab.restart(3);
    lab.wire.clear();
    lab.say(2, 3, 7, vote);
    assert_eq!(lab.said(3, 2), [&Message::VoteReply { granted: false }]);
}

#[test]
fn a_vote_leaves_no_node_before_it_is_durable() {
    let mut lab = Lab::formed(3);
    let vote = Message::Vote {
        last: at(9, 9),
        transfer: false,
    };
    lab.say(1, 3, 7, vote);
    assert!(lab.said(3, 1).is_empty());
    lab.sync(3);
    assert_eq!(lab.said(3, 1), [&Message::VoteReply { granted: true }]);
}

#[test]
fn only_a_log_that_is_at_least_as_new_gets_a_vote() {
    // The later last term wins, whatever the length; of equal terms the longer log.
    for (last, granted) in [
        (at(4, 3), true),
        (at(5, 3), true),
        (at(2, 4), true),
        (at(3, 3), false),
        (at(9, 2), false),
    ] {
        let mut lab = Lab::with_logs(&[1, 2, 3], &[(3, &[1, 3, 3])]);
        let vote = Message::Vote {
            last,
            transfer: false,
        };
        lab.say(1, 3, 7, vote);
        lab.sync(3);
        assert_eq!(lab.said(3, 1), [&Message::VoteReply { granted }], "{last}");
    }
}

#[test]
fn a_candidate_of_an_earlier_term_is_told_the_later_one() {
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(3, &[5])]);
    let vote = Message::Vote {
        last: at(9, 9),
        transfer: false,
    };
    lab.say(1, 3, 4, vote);
    assert_eq!(lab.said(3, 1), [&Message::VoteReply { granted: false }]);
    assert_eq!(lab.core(3).term(), Term(5));
}

#[test]
fn a_candidate_follows_whoever_leads_in_its_term() {
    let mut lab = Lab::formed(3);
    lab.cut(1, 2);
    lab.time_out(1);
    // It stands in term 2 with node 3's pre-vote, and its requests are lost.
    lab.settle_some();
    lab.isolate(1);
    lab.say(2, 1, lab.core(1).term().0.max(2), heartbeat());
    assert_eq!(lab.core(1).role(), Role::Follower);
    assert_eq!(lab.core(1).leader(), Some(id(2)));
}

#[test]
fn a_split_vote_is_resolved_by_another_election() {
    let mut lab = Lab::formed(4);
    lab.time_out(1);
    lab.time_out(2);
    lab.settle();
    lab.run_until("one of them leads", |lab| lab.leader().is_some());
}

#[test]
fn a_later_term_makes_anybody_a_follower() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.say(2, 1, 9, Message::VoteReply { granted: false });
    assert_eq!(lab.core(1).role(), Role::Follower);
    assert_eq!(lab.core(1).term(), Term(9));
}

#[test]
fn a_leader_of_an_earlier_term_is_told_and_not_followed() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.say(2, 3, 1, heartbeat());
    assert_eq!(lab.core(3).leader(), Some(id(1)));
    assert!(matches!(
        lab.said(3, 2)[..],
        [Message::AppendRejected { .. }]
    ));
}

#[test]
fn nobody_votes_while_the_leader_is_heard() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    let vote = Message::Vote {
        last: at(99, 99),
        transfer: false,
    };
    lab.say(2, 3, 50, vote.clone());
    assert!(lab.said(3, 2).is_empty());
    assert_eq!(lab.core(3).term(), Term(2), "not even the term is taken");
    lab.tick(3, 299);
    lab.say(2, 3, 50, vote.clone());
    assert_eq!(lab.core(3).term(), Term(2));
    lab.tick(3, 1);
    lab.say(2, 3, 50, vote);
    assert_eq!(lab.core(3).term(), Term(50));
}

#[test]
fn a_pre_vote_commits_nobody_to_anything() {
    let mut lab = Lab::formed(3);
    let before = lab.core(3).hard_state();
    lab.say(1, 3, 2, Message::PreVote { last: at(1, 1) });
    lab.say(2, 3, 2, Message::PreVote { last: at(1, 1) });
    assert_eq!(lab.said(3, 1), [&Message::PreVoteReply { granted: true }]);
    assert_eq!(lab.said(3, 2), [&Message::PreVoteReply { granted: true }]);
    assert_eq!(lab.core(3).hard_state(), before);
}

#[test]
fn election_time_outs_differ_by_the_seed_and_stay_within_their_bounds() {
    let lab = Lab::formed(5);
    let waits: Vec<u64> = lab
        .ids()
        .into_iter()
        .map(|n| lab.core(n).next_deadline().0 - 1_000_000 * n)
        .collect();
    assert!(
        waits.iter().all(|wait| (300..=600).contains(wait)),
        "{waits:?}"
    );
    assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
}

fn heartbeat() -> Message {
    Message::Heartbeat {
        round: 1,
        commit: Index(0),
        time: tcpffee_raft::ids::LogTime(0),
        lease: None,
    }
}

#[test]
fn a_term_that_no_cluster_can_have_reached_is_not_believed() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    let far = 1 << 40;
    lab.say(2, 1, far, Message::VoteReply { granted: false });
    lab.say(2, 3, far, heartbeat());
    let vote = Message::Vote {
        last: at(99, far),
        transfer: true,
    };
    lab.say(2, 3, far, vote);
    for n in lab.ids() {
        assert_eq!(lab.core(n).term(), Term(2), "node {n}");
    }
    lab.run(1000);
    assert_eq!(lab.leader(), Some(1));
}

#[test]
fn who_asked_a_moment_too_early_asks_again_soon() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.run(200);
    lab.crash(1);
    // Node 2's time-out passes while node 3 still counts on the leader.
    lab.tick(2, 600);
    lab.settle();
    assert_eq!(lab.leader(), None);
    lab.run(420);
    assert!(
        lab.leader().is_some(),
        "within the shortest time-out and two heartbeats"
    );
}
