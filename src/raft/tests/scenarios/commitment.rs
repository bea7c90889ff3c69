//! When an entry is committed (paper, sections 5.3 and 5.4, figure 8).

use tcpffee_raft::core::Role;
use tcpffee_raft::entry::Payload;
use tcpffee_raft::ids::{Index, Term};
use tcpffee_raft::message::Message;
use tcpffee_raft::settings::Settings;

use crate::lab::{Lab, at};
use crate::parts::settings;

#[test]
fn an_entry_is_committed_when_a_majority_holds_it_durably() {
    let mut lab = Lab::formed(5);
    lab.elect(1);
    lab.settle();
    let before = lab.core(1).commit();
    for n in [2, 3, 4, 5] {
        lab.node(n).disk_waits = true;
    }
    let position = lab.propose(1, "a").expect("the leader takes it");
    lab.settle();
    assert_eq!(lab.core(1).commit(), before, "one of five");
    lab.node(2).disk_waits = false;
    lab.settle();
    assert_eq!(lab.core(1).commit(), before, "two of five");
    lab.node(3).disk_waits = false;
    lab.settle();
    assert_eq!(lab.core(1).commit(), position.index, "three of five");
}

#[test]
fn a_leader_sends_before_its_own_disk_is_done_and_its_own_copy_counts_after() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.node(1).disk_waits = true;
    lab.node(3).disk_waits = true;
    let position = lab.propose(1, "a").expect("the leader takes it");
    lab.settle();
    assert_eq!(lab.core(2).persisted_index(), position.index);
    assert!(lab.core(1).commit() < position.index);
    lab.node(1).disk_waits = false;
    lab.settle();
    assert_eq!(lab.core(1).commit(), position.index);
}

#[test]
fn two_followers_commit_what_the_leader_has_not_written_yet() {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.node(1).disk_waits = true;
    let position = lab.propose(1, "a").expect("the leader takes it");
    lab.settle();
    assert_eq!(lab.core(1).commit(), position.index);
    assert!(
        lab.applied(1).is_empty(),
        "it applies only what it holds durably"
    );
}

/// A cluster whose news of commits waits as long as settings say by themselves, with its leader.
fn with_news_that_waits() -> Lab {
    let commit_news_ms = Settings::default().commit_news_ms;
    let mut lab = Lab::formed_with(
        3,
        Settings {
            commit_news_ms,
            ..settings()
        },
    );
    lab.elect(1);
    lab.run(100);
    lab
}

#[test]
fn news_of_a_commit_travels_with_the_next_entries() {
    let mut lab = with_news_that_waits();
    let first = lab.propose(1, "a").expect("the leader takes it");
    lab.settle();
    assert_eq!(lab.core(1).commit(), first.index);
    assert!(lab.core(2).commit() < first.index && lab.core(3).commit() < first.index);
    lab.propose(1, "b").expect("the leader takes it");
    lab.settle();
    assert_eq!(lab.core(2).commit(), first.index);
    assert_eq!(lab.core(3).commit(), first.index);
}

#[test]
fn news_of_a_commit_goes_by_itself_where_nothing_follows() {
    let mut lab = with_news_that_waits();
    let position = lab.propose(1, "a").expect("the leader takes it");
    lab.settle();
    assert!(lab.core(2).commit() < position.index);
    let due = lab.core(1).next_deadline();
    let wait = due.since(lab.now(1));
    assert!((1..=2).contains(&wait), "{wait} ms");
    lab.tick(1, wait);
    lab.settle();
    assert_eq!(lab.core(2).commit(), position.index);
    assert_eq!(lab.core(3).commit(), position.index);
    assert!(lab.core(1).next_deadline() > lab.now(1));
}

/// Figure 8: the leader of term 4 finds an entry of term 2 on a majority. Counting copies, it
/// would call it committed; a node with an entry of term 3 could still be elected and overwrite
/// it.
#[test]
fn an_entry_of_an_earlier_term_is_not_committed_by_counting() {
    let mut lab = Lab::with_logs(
        &[1, 2, 3, 4, 5],
        &[(1, &[2]), (2, &[2]), (3, &[]), (4, &[]), (5, &[3])],
    );
    lab.crash(5);
    lab.crash(4);
    // Its own first entry reaches nobody: the disks of the others take only what comes first.
    lab.elect_by_votes(1, 4, &[2, 3]);
    assert_eq!(lab.core(1).role(), Role::Leader);
    let term = lab.core(1).term();
    lab.wire.clear();
    lab.say(2, 1, term.0, Message::Appended { matched: Index(2) });
    lab.say(3, 1, term.0, Message::Appended { matched: Index(2) });
    lab.sync(1);
    assert_eq!(lab.core(1).term_at(Index(2)), Some(Term(2)));
    assert_eq!(
        lab.core(1).commit(),
        Index(1),
        "on three of five, of term 2"
    );
    // With an entry of its own term on a majority both are committed.
    let last = lab.core(1).last().index;
    lab.say(2, 1, term.0, Message::Appended { matched: last });
    lab.say(3, 1, term.0, Message::Appended { matched: last });
    assert_eq!(lab.core(1).commit(), last);
}

/// The other branch of figure 8: the node with the entry of term 3 is elected and overwrites.
#[test]
fn what_no_leader_has_committed_may_be_overwritten() {
    let mut lab = Lab::with_logs(
        &[1, 2, 3, 4, 5],
        &[(1, &[2]), (2, &[2]), (3, &[2]), (4, &[]), (5, &[3])],
    );
    lab.crash(1);
    lab.elect(5);
    lab.run(200);
    for n in [2, 3, 4, 5] {
        assert_eq!(lab.terms(n)[..2], [1, 3], "node {n}");
    }
    lab.restart(1);
    lab.run(1000);
    assert_eq!(lab.terms(1)[..2], [1, 3]);
}

#[test]
fn a_new_leader_commits_what_earlier_terms_left_by_an_entry_of_its_own() {
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(1, &[2, 2]), (2, &[2, 2]), (3, &[])]);
    lab.elect(1);
    let first = lab.core(1).entry(Index(4)).expect("the first of the term");
    assert_eq!(first.payload, Payload::Empty);
    assert!(lab.core(1).commit() >= Index(4));
    assert_eq!(lab.applied(1).len(), 2);
}

#[test]
fn an_elected_leader_holds_everything_committed() {
    let mut lab = Lab::formed(5);
    lab.elect(1);
    lab.cut(1, 4);
    lab.cut(1, 5);
    lab.propose(1, "a").expect("the leader takes it");
    lab.settle();
    let commit = lab.core(1).commit();
    lab.crash(1);
    lab.run_until("another leads", |lab| lab.leader().is_some());
    let leader = lab.leader().expect("just seen");
    assert!(
        [2, 3].contains(&leader),
        "node {leader} lacks what is committed"
    );
    assert!(lab.core(leader).last().index >= commit);
    lab.run(500);
    for n in [2, 3, 4, 5] {
        assert_eq!(lab.applied(n), ["a"], "node {n}");
    }
}

#[test]
fn a_commit_index_beyond_what_agrees_is_not_believed() {
    let mut lab = Lab::with_logs(&[1, 2, 3], &[(3, &[2, 2])]);
    let append = Message::Append {
        previous: at(1, 1),
        commit: Index(3),
        entries: Vec::new(),
    };
    lab.say(1, 3, 5, append);
    assert_eq!(lab.core(3).commit(), Index(1));
}
