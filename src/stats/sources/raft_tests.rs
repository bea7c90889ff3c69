//! How a node's own account of a Raft group is shown.

use std::collections::BTreeMap;

use tcpffee_raft::core::{PeerView, Role};
use tcpffee_raft::driver::{Conflict, Counters, Status, Trouble};
use tcpffee_raft::forming;
use tcpffee_raft::ids::{
    ClusterId, Incarnation, Index, LogTime, NodeId, NodeTime, Position, StoreId, Term,
};
use tcpffee_raft::proposals::client;
use tcpffee_raft::transport::{LinkState, LinkStatus, PeerStatus};
use tcpffee_raft::wire::Purpose;

use super::*;

pub(crate) const NOW: NodeTime = NodeTime(9_000);

pub(crate) fn hosts() -> Hosts {
    BTreeMap::from([
        (NodeId(1), "a.example".to_owned()),
        (NodeId(2), "b.example".to_owned()),
    ])
}

fn incarnation() -> Incarnation {
    Incarnation {
        store: StoreId(7),
        start: 1,
        boot: 2,
    }
}

fn peer(id: u64, is_up: bool) -> PeerStatus {
    let link = |purpose, is_up| LinkStatus {
        purpose,
        state: match is_up {
            true => LinkState::Connected {
                since: NodeTime(4_000),
                incarnation: incarnation(),
            },
            false => LinkState::Down { next_attempt: None },
        },
        last_error: (!is_up).then(|| "refused".to_owned()),
        counters: Default::default(),
    };
    let address = "192.0.2.1:1".parse().unwrap();
    PeerStatus {
        id: NodeId(id),
        addresses: [address, address],
        outgoing: [link(Purpose::Logs, false), link(Purpose::Proposals, false)],
        incoming: [link(Purpose::Logs, is_up), link(Purpose::Proposals, false)],
    }
}

/// Node 1 leads 2, which lags, and 3, a learner that is not connected and in conflict.
pub(crate) fn leader() -> Status {
    let view = |id, matched, silent_ms| PeerView {
        id: NodeId(id),
        matched: Index(matched),
        applied: Index(matched),
        flow: if matched == 0 {
            "snapshot"
        } else {
            "replicate"
        },
        snapshot_bytes: (matched == 0).then_some(512),
        silent_ms,
        life: None,
    };
    Status {
        node: NodeId(1),
        incarnation: incarnation(),
        cluster: Some(ClusterId(9)),
        forming: forming::State::Member {
            cluster: ClusterId(9),
            lacking: Vec::new(),
        },
        role: Role::Leader,
        term: Term(4),
        leader: Some(NodeId(1)),
        commit: Index(90),
        applied: Index(89),
        persisted: Index(100),
        first: Index(10),
        last: Position {
            term: Term(4),
            index: Index(100),
        },
        log_bytes: 1_234,
        time: LogTime(5),
        version: 1,
        versions: BTreeMap::from([(NodeId(1), 2), (NodeId(2), 1)]),
        snapshot: Some(Index(9)),
        snapshot_bytes: Some(4_321),
        lease_until: Some(NodeTime(77)),
        voters: vec![NodeId(1), NodeId(2)],
        learners: vec![NodeId(3)],
        members: vec![view(2, 95, Some(50)), view(3, 0, None)],
        peers: vec![peer(2, true), peer(3, false)],
        conflicts: BTreeMap::from([(NodeId(3), Conflict::NotAPeer)]),
        trouble: Some(Trouble::Snapshot("disk full".to_owned())),
        counters: Counters::default(),
        proposals: client::Counters::default(),
        proposals_waiting: 0,
        proposals_at_desk: 0,
    }
}

#[test]
fn a_leader_knows_how_far_all_have_come() {
    let group = group(&leader(), 3, &hosts(), NOW);
    assert_eq!(group.role, api::RaftRole::Leader);
    assert_eq!((group.term, group.commit, group.applied), (4, 90, 89));
    assert_eq!((group.first, group.last, group.log_bytes), (10, 100, 1_234));
    assert_eq!(group.leader.as_deref(), Some("00:00:00:00:00:01"));
    assert_eq!(
        group.cluster.as_deref(),
        Some("00000000000000000000000000000009")
    );
    assert_eq!((group.log_entries, group.leader_changes), (91, 3));
    assert_eq!(
        (group.snapshot, group.snapshot_bytes),
        (Some(9), Some(4_321))
    );
    assert!(group.has_lease && group.trouble.unwrap().contains("disk full"));
    assert!(group.takes_part, "the log goes on");
    let [conflict] = &group.conflicts[..] else {
        panic!("{:?}", group.conflicts);
    };
    assert_eq!(conflict.node, "00:00:00:00:00:03");
    let lags: Vec<Option<u64>> = group.members.iter().map(|member| member.lag).collect();
    assert_eq!(lags, [Some(0), Some(5), Some(100)]);
    let [own, second, third] = &group.members[..] else {
        panic!("{:?}", group.members);
    };
    assert!(own.votes && own.connected && own.conflict.is_none());
    assert!(second.votes && second.connected);
    assert_eq!(second.silent_seconds, Some(0.05));
    assert_eq!(second.host.as_deref(), Some("b.example"));
    assert_eq!(
        (own.version, second.version, third.version),
        (Some(2), Some(1), None)
    );
    let flows = [own.flow, second.flow, third.flow];
    let (replicate, snapshot) = (api::RaftFlow::Replicate, api::RaftFlow::Snapshot);
    assert_eq!(flows, [None, Some(replicate), Some(snapshot)]);
    assert_eq!(third.snapshot_bytes, Some(512));
    let [logs_out, _, logs_in, _] = &second.links[..] else {
        panic!("{:?}", second.links);
    };
    assert_eq!(logs_out.direction, api::LinkDirection::Outgoing);
    assert_eq!(logs_out.address.as_deref(), Some("192.0.2.1:1"));
    assert_eq!(logs_out.last_error.as_deref(), Some("refused"));
    assert_eq!(logs_in.state, api::LinkState::Connected);
    assert_eq!(
        (logs_in.open_seconds, &logs_in.last_error),
        (Some(5.0), &None)
    );
    assert!(own.links.is_empty());
    assert!(!third.votes && !third.connected && third.conflict.is_some());
}

#[test]
fn a_node_whose_log_cannot_be_written_takes_no_part() {
    let failed = Status {
        trouble: Some(Trouble::Disk("no space".to_owned())),
        ..leader()
    };
    assert!(!group(&failed, 0, &hosts(), NOW).takes_part);
}

#[test]
fn a_follower_says_nothing_of_what_only_the_leader_knows() {
    let follower = Status {
        role: Role::PreCandidate,
        members: Vec::new(),
        lease_until: None,
        cluster: None,
        leader: None,
        trouble: None,
        ..leader()
    };
    let group = group(&follower, 0, &hosts(), NOW);
    assert_eq!(
        (group.role, group.has_lease),
        (api::RaftRole::Candidate, false)
    );
    assert!(group.cluster.is_none() && group.leader.is_none() && group.trouble.is_none());
    let known = |member: &api::Member| member.lag.or(member.matched).is_some();
    assert!(!group.members.iter().any(known));
}
