//! What the nodes of a cluster make of it.

use tcpffee_raft::ids::NodeId;

use super::cluster::{Cluster, eventually};
use crate::config::GroupId;
use crate::groups::Status;
use crate::health::{MostTargets, State};

use State::{Failing, Passing};

const ALL: MostTargets = MostTargets {
    of_check: usize::MAX,
    of_group: usize::MAX,
};

#[test]
fn two_of_three_turn_the_verdict_everywhere_and_back() {
    let mut cluster = Cluster::start(3);
    cluster.all_have(Status::Up);
    cluster.set_well(0, false);
    cluster.set_well(1, false);
    cluster.all_have(Status::Draining);
    cluster.all_know(0, Failing);
    cluster.all_know(1, Failing);
    let check = &cluster.health(2).view().checks_of(GroupId(1), ALL)[0];
    assert_eq!((check.observation, check.verdict), (Passing, Failing));
    let votes: Vec<_> = check
        .votes
        .iter()
        .map(|vote| (vote.node, vote.state))
        .collect();
    let expected = [
        (NodeId(1), Failing),
        (NodeId(2), Failing),
        (NodeId(3), Passing),
    ];
    assert_eq!(votes, expected);
    let words = "failing for 00:00:00:00:00:01, 00:00:00:00:00:02";
    eventually("the reason names who voted", || {
        cluster.reason(2).contains(words)
    });
    assert!(cluster.has_told(2, "health check TCP is failing by vote"));
    let statuses = cluster.health(2).view().statuses();
    assert_eq!(statuses.len(), 1);
    assert_eq!(
        (statuses[0].0, statuses[0].1),
        (GroupId(1), Status::Draining)
    );
    assert!(
        statuses[0].2.contains("health check TCP is failing"),
        "{statuses:?}"
    );
    // With one of them well again two of three see it pass.
    cluster.set_well(1, true);
    cluster.all_have(Status::Up);
    assert!(cluster.has_told(2, "health check TCP is passing by vote"));
    assert!(cluster.health(2).view().statuses().is_empty());
}

#[test]
fn one_of_three_changes_nothing_and_says_so_of_itself() {
    let mut cluster = Cluster::start(3);
    cluster.set_well(0, false);
    cluster.all_know(0, Failing);
    cluster.all_have(Status::Up);
    let view = cluster.health(0).view();
    eventually("it has long seen something else", || {
        !view.disagreements().is_empty()
    });
    let said = view.disagreements().remove(0);
    assert!(said.starts_with("group 1, health check TCP ("), "{said}");
    assert!(
        said.contains("failing as this node sees it, and passing by"),
        "{said}"
    );
    assert!(cluster.health(1).view().disagreements().is_empty());
    cluster.all_have(Status::Up);
    cluster.set_well(0, true);
    eventually("it agrees again", || view.disagreements().is_empty());
}

#[test]
fn the_vote_of_a_dead_node_does_not_count_after_three_seconds() {
    let mut cluster = Cluster::prepare(3);
    cluster.nodes[1].has_check = false;
    for number in 0..3 {
        cluster.run(number);
    }
    cluster.settled();
    cluster.set_well(0, false);
    cluster.all_know(0, Failing);
    assert_eq!(
        cluster.status(0),
        Status::Up,
        "one of two that have the check"
    );
    cluster.stop(2);
    eventually("who alone has the check decides alone", || {
        cluster.status(0) == Status::Draining
    });
    let alive: Vec<u64> = cluster
        .agreed(0)
        .alive()
        .iter()
        .map(|node| node.0)
        .collect();
    assert_eq!(alive, [1, 2]);
    // Back again, and of the same opinion as before, it is half of two and changes nothing.
    cluster.run(2);
    cluster.settled();
    cluster.all_know(2, Passing);
    assert_eq!(cluster.status(0), Status::Draining);
}

#[test]
fn another_leader_keeps_verdicts_and_a_restarted_node_takes_them_up() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let others: Vec<usize> = (0..3).filter(|number| *number != leader).collect();
    for &number in &others {
        cluster.set_well(number, false);
    }
    cluster.all_have(Status::Draining);
    cluster.stop(leader);
    let next = cluster.leader();
    assert_ne!(next, leader);
    eventually("the next one has counted heads", || {
        cluster.agreed(next).alive().len() == 2
    });
    cluster.all_have(Status::Draining);
    cluster.run(leader);
    cluster.settled();
    cluster.all_have(Status::Draining);
    assert_eq!(
        cluster.health(leader).view().counts()[0].observation,
        Passing
    );
}

#[test]
fn without_a_leader_the_last_verdicts_hold_and_what_was_seen_arrives_later() {
    let mut cluster = Cluster::start(3);
    cluster.stop(0);
    cluster.stop(1);
    eventually("nobody leads", || {
        cluster.handle(2).status().leader.is_none()
    });
    cluster.set_well(2, false);
    cluster.set_well(0, false);
    eventually("it is seen", || {
        cluster.health(2).view().counts()[0].observation == Failing
    });
    assert_eq!(cluster.status(2), Status::Up);
    cluster.run(0);
    cluster.run(1);
    cluster.settled();
    cluster.all_know(2, Failing);
    cluster.all_have(Status::Draining);
}

#[test]
fn a_reload_keeps_what_was_agreed_and_states_new_checks() {
    let mut cluster = Cluster::start(3);
    cluster.set_well(0, false);
    cluster.set_well(1, false);
    cluster.all_have(Status::Draining);
    // Node 3 does not see it fail, and yet does not let the group in for a moment.
    let more = "[[groups.1.healthchecks]]\nfall = 7\nrise = 1\ninterval = 0.1\ntimeout = 0.1\n";
    cluster.reload(2, more);
    assert_eq!(cluster.status(2), Status::Draining);
    eventually("the other check has a verdict", || {
        (0..3).all(|number| cluster.agreed(number).verdicts().len() == 2)
    });
    cluster.reload(2, "");
    eventually("it is forgotten", || {
        (0..3).all(|number| cluster.agreed(number).verdicts().len() == 1)
    });
    cluster.all_have(Status::Draining);
}

#[test]
fn a_cluster_of_one_decides_alone() {
    let mut cluster = Cluster::start(1);
    cluster.set_well(0, false);
    cluster.all_have(Status::Draining);
    cluster.set_well(0, true);
    cluster.all_have(Status::Up);
    // A node that reads its log again does not pass through what was agreed once.
    cluster.stop(0);
    cluster.nodes[0].forget_told();
    cluster.run(0);
    cluster.settled();
    eventually("what was agreed is in force", || cluster.is_up_to_date(0));
    assert!(!cluster.has_told(0, "by vote"));
    assert_eq!(cluster.status(0), Status::Up);
    // Its own saved states are the first it says after a restart.
    cluster.set_well(0, false);
    cluster.all_have(Status::Draining);
    cluster.stop(0);
    cluster.run(0);
    assert_eq!(cluster.status(0), Status::Draining);
    cluster.settled();
    cluster.all_have(Status::Draining);
}
