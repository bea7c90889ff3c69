//! What a follower's log becomes (paper, figure 2 "AppendEntries", section 5.3, figure 7).

use tcpffee_raft::core::CoreEvent;
use tcpffee_raft::entry::Payload;
use tcpffee_raft::ids::Index;
use tcpffee_raft::message::Message;

use crate::lab::{Lab, at, command, entry, id};

fn append(previous: (u64, u64), commit: u64, entries: &[(u64, u64)]) -> Message {
    Message::Append {
        previous: at(previous.0, previous.1),
        commit: Index(commit),
        entries: entries
            .iter()
            .map(|(index, term)| entry(*index, *term, Payload::Command(command("x"))))
            .collect(),
    }
}

#[test]
fn proposals_reach_every_state_machine_in_order() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    for text in ["a", "b", "c"] {
        lab.propose(1, text).expect("the leader takes it");
    }
    lab.settle();
    lab.run(100);
    for n in lab.ids() {
        assert_eq!(lab.applied(n), ["a", "b", "c"], "node {n}");
    }
}

#[test]
fn entries_are_refused_where_what_stands_before_them_is_missing() {
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(3, &[1, 1])]);
    lab.say(1, 3, 4, append((5, 3), 1, &[(6, 4)]));
    lab.sync(3);
    assert_eq!(
        lab.said(3, 1),
        [&Message::AppendRejected {
            previous: Index(5),
            hint: at(3, 1)
        }]
    );
    assert_eq!(lab.terms(3), [1, 1, 1]);
}

#[test]
fn entries_that_contradict_the_leader_go_with_all_that_follow_them() {
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(3, &[1, 2, 2, 2])]);
    lab.say(1, 3, 4, append((2, 1), 1, &[(3, 3)]));
    assert_eq!(lab.terms(3), [1, 1, 3]);
    assert!(lab.has_event(3, |event| *event == CoreEvent::Truncated { from: Index(3) }));
}

#[test]
fn entries_that_no_leader_can_have_sent_are_dropped() {
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(3, &[1, 2])]);
    for entries in [
        &[(5, 2)][..],    // a gap
        &[(4, 1)],        // terms go back
        &[(4, 9)],        // a term that is to come
        &[(4, u64::MAX)], // and another
        &[(3, 2)],        // not behind what it names
        &[(u64::MAX, 2)], // no place at all
    ] {
        lab.say(1, 3, 4, append((3, 2), 1, entries));
        assert_eq!(lab.terms(3), [1, 1, 2], "{entries:?}");
    }
    lab.say(1, 3, 4, append((3, 2), 1, &[(4, 4)]));
    assert_eq!(lab.terms(3), [1, 1, 2, 4], "what follows is taken");
}

#[test]
fn entries_that_agree_stay_even_where_an_old_message_names_fewer() {
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(3, &[1, 2, 2, 2])]);
    lab.say(1, 3, 4, append((2, 1), 1, &[(3, 2)]));
    assert_eq!(lab.terms(3), [1, 1, 2, 2, 2]);
}

#[test]
fn a_follower_commits_no_further_than_it_knows_to_agree() {
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(3, &[1, 2, 2, 2])]);
    lab.say(1, 3, 4, append((2, 1), 99, &[(3, 2)]));
    assert_eq!(lab.core(3).commit(), Index(3));
    let beat = Message::Heartbeat {
        round: 1,
        commit: Index(5),
        time: tcpffee_raft::ids::LogTime(0),
        lease: None,
    };
    lab.say(1, 3, 4, beat);
    assert_eq!(lab.core(3).commit(), Index(3));
}

#[test]
fn an_acknowledgement_waits_for_the_disk() {
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(3, &[])]);
    lab.say(1, 3, 4, append((1, 1), 1, &[(2, 4)]));
    assert!(lab.said(3, 1).is_empty());
    lab.sync(3);
    assert_eq!(lab.said(3, 1), [&Message::Appended { matched: Index(2) }]);
}

#[test]
fn what_is_overwritten_while_it_is_written_is_not_acknowledged() {
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(3, &[])]);
    lab.say(1, 3, 4, append((1, 1), 1, &[(2, 4), (3, 4), (4, 4)]));
    lab.say(2, 3, 5, append((1, 1), 1, &[(2, 5)]));
    lab.sync(3);
    assert_eq!(lab.core(3).persisted_index(), Index(2));
    assert_eq!(
        lab.said(3, 2).last(),
        Some(&&Message::Appended { matched: Index(2) })
    );
}

#[test]
fn a_leader_brings_every_log_of_figure_7_to_its_own() {
    let leader: &[u64] = &[1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [&[u64]; 6] = [
        &[1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 4],
        &[1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 4, 4, 4, 4],
        &[1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    let ids: Vec<u64> = (1..=7).collect();
    let mut logs = vec![(1, leader)];
    logs.extend(
        followers
            .iter()
            .enumerate()
            .map(|(at, log)| (at as u64 + 2, *log)),
    );
    let mut lab = Lab::with_logs(&ids, &logs);
    // The followers with the longest logs would not vote for it, and need not.
    lab.run_until("the leader's log is everybody's", |lab| {
        lab.leader().is_some_and(|leader| {
            let terms = lab.terms(leader);
            lab.ids().iter().all(|n| {
                lab.terms(*n) == terms && lab.core(*n).commit() == lab.core(leader).commit()
            })
        })
    });
    let leader = lab.leader().expect("just seen");
    assert_eq!(lab.terms(leader)[..8], [1, 1, 1, 4, 4, 5, 5, 6]);
}

#[test]
fn a_leader_skips_whole_terms_to_find_where_logs_agree() {
    let long: Vec<u64> = std::iter::repeat_n(2, 200).collect();
    let theirs: Vec<u64> = std::iter::repeat_n(3, 200).collect();
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(1, &long), (2, &theirs), (3, &theirs)]);
    lab.crash(3);
    lab.time_out(2);
    let mut rejections = 0;
    for _ in 0..10_000 {
        if let Some(envelope) = lab.wire.front() {
            rejections += u32::from(matches!(envelope.message, Message::AppendRejected { .. }));
        }
        if !lab.deliver_one() {
            for n in [1, 2] {
                lab.sync(n);
                lab.apply(n);
            }
            if lab.wire.is_empty() {
                break;
            }
        }
    }
    assert_eq!(lab.terms(1), lab.terms(2));
    assert!(rejections <= 2, "{rejections} rejections");
}

#[test]
fn a_lost_append_is_sent_again() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.propose(1, "a").expect("the leader takes it");
    lab.wire.clear();
    lab.run(1000);
    for n in lab.ids() {
        assert_eq!(lab.applied(n), ["a"], "node {n}");
    }
}

#[test]
fn messages_doubled_and_out_of_order_do_no_harm() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    for text in ["a", "b", "c", "d"] {
        lab.propose(1, text).expect("the leader takes it");
    }
    for _ in 0..20 {
        let doubled: Vec<_> = lab.wire.iter().rev().cloned().collect();
        lab.wire.extend(doubled);
        lab.settle_some();
        if lab.wire.len() > 2000 {
            break;
        }
    }
    lab.settle();
    lab.run(200);
    for n in lab.ids() {
        assert_eq!(lab.applied(n), ["a", "b", "c", "d"], "node {n}");
    }
}

#[test]
fn a_stale_rejection_does_not_move_a_leader_back() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.propose(1, "a").expect("the leader takes it");
    lab.settle();
    let matched = |lab: &Lab| {
        let peers = lab.core(1).peers();
        peers
            .iter()
            .find(|peer| peer.id == id(2))
            .map(|peer| (peer.matched, peer.flow))
    };
    let before = matched(&lab);
    let rejection = Message::AppendRejected {
        previous: Index(1),
        hint: at(0, 0),
    };
    lab.say(2, 1, 2, rejection);
    assert_eq!(matched(&lab), before);
    lab.say(2, 1, 2, Message::Appended { matched: Index(1) });
    assert_eq!(matched(&lab), before, "nor does a late acknowledgement");
}

#[test]
fn a_log_that_contradicts_what_is_committed_stops_the_node_instead_of_losing_it() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.propose(1, "a").expect("the leader takes it");
    lab.settle();
    lab.run(100);
    let commit = lab.core(3).commit();
    lab.say(2, 3, 9, append((commit.0, 2), 1, &[]));
    lab.say(2, 3, 9, append((commit.0, 7), 1, &[]));
    assert!(lab.core(3).commit() >= commit);
    // An entry of another term right where a committed one stands.
    let previous = at(
        commit.0 - 1,
        lab.core(3).term_at(commit.previous()).expect("there").0,
    );
    let entries = vec![
        entry(commit.0, 9, Payload::Empty),
        entry(commit.0 + 1, 9, Payload::Empty),
    ];
    let append = Message::Append {
        previous,
        commit: Index(1),
        entries,
    };
    lab.say(2, 3, 9, append);
    assert_eq!(lab.core(3).term_at(commit).map(|term| term.0), Some(2));
}

#[test]
fn the_first_append_after_a_rest_is_not_taken_for_lost() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.run(1000);
    for n in [2, 3] {
        lab.node(n).disk_waits = true;
    }
    lab.propose(1, "a").expect("the leader takes it");
    lab.run(200);
    let peers = lab.core(1).peers();
    assert!(
        peers.iter().all(|peer| peer.flow == "replicate"),
        "{peers:?}"
    );
}

#[test]
fn a_leader_that_contradicts_itself_makes_nobody_panic() {
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(3, &[])]);
    lab.say(1, 3, 4, append((1, 1), 1, &[(2, 3), (3, 3), (4, 3)]));
    lab.say(1, 3, 4, append((1, 1), 1, &[(2, 4)]));
    let beat = Message::Heartbeat {
        round: 1,
        commit: Index(4),
        time: tcpffee_raft::ids::LogTime(0),
        lease: None,
    };
    lab.say(1, 3, 4, beat);
    assert_eq!(lab.core(3).commit(), Index(2));
}
