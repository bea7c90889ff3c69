//! Figures of which every value is another one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tcpffee::config::{
    CheckHeader, FallAction, GroupId, HealthCheck, HttpCheck, HttpMethod, TargetAddr,
};
use tcpffee::groups::Status;
use tcpffee::health::{CheckId, CheckView, Durations, State, Streak, TargetView};
use tcpffee::histogram::Histogram;
use tcpffee::proxy::{End, GroupTraffic, OTHER_PORT, PortTraffic, Totals};
use tcpffee::stats::api;
use tcpffee::stats::metrics::{Figures, Group, Reloads, Rest, Target};
use tcpffee::stick::Counts;
use tcpffee::stick::save::KeeperCounts;

/// Figures of a node of a cluster, with two groups and a check.
pub fn figures() -> Figures {
    let mut ended_without_group = [0; End::ALL.len()];
    ended_without_group[End::NoGroup as usize] = 31;
    let port = |connections, accepted| PortTraffic {
        connections,
        accepted,
    };
    let other_groups = GroupTraffic {
        connections_total: 5,
        ..GroupTraffic::default()
    };
    let mut check_durations = Durations::default();
    check_durations.http.note(Duration::from_millis(3));
    Figures {
        generation: 7,
        connections: 9,
        max_connections: 10_000,
        is_accepting: true,
        held_bytes: 4_096,
        max_held_bytes: 268_435_456,
        clients_tracked: 18,
        client_rates_forgotten: 19,
        totals: totals(),
        ports: BTreeMap::from([
            (80, port(3, 30)),
            (443, port(2, 20)),
            (OTHER_PORT, port(4, 40)),
        ]),
        ended_without_group,
        groups: groups(),
        other_groups,
        sticks: sticks(),
        max_sticks: 1_000_000,
        checks: vec![check()],
        check_durations,
        rest: rest(),
    }
}

fn totals() -> Totals {
    Totals {
        accepted: 90,
        accept_pauses: 11,
        slice_timeouts: 12,
        connect_failures: 13,
        moves: 14,
        buffer_pressure: 15,
        bytes_in: 16,
        bytes_out: 17,
    }
}

fn groups() -> Vec<Group> {
    let mut traffic = GroupTraffic {
        connections: 22,
        connections_total: 23,
        bytes_in: 25,
        bytes_out: 26,
        ..GroupTraffic::default()
    };
    traffic.ended[End::ClientReset as usize] = 24;
    traffic.connect_time.note(Duration::from_millis(2));
    traffic.session_time.note(Duration::from_secs(40));
    traffic.session_time.note(Duration::from_secs(100_000));
    let target = Target {
        target: "192.0.2.1:80".to_owned(),
        connect_failures: 27,
    };
    let up = Group {
        id: GroupId(1),
        name: "b\"ir\\ch\n".to_owned(),
        status: Status::Up,
        sticks: 21,
        max_connections: Some(47),
        queued: 48,
        places_taken: 46,
        slow_start_seconds_left: Some(49),
        traffic,
        targets: vec![target],
    };
    let draining = Group {
        id: GroupId(2),
        name: String::new(),
        status: Status::Draining,
        sticks: 0,
        max_connections: None,
        queued: 0,
        places_taken: 3,
        slow_start_seconds_left: None,
        traffic: GroupTraffic::default(),
        targets: Vec::new(),
    };
    vec![up, draining]
}

fn sticks() -> Counts {
    Counts {
        entries: 41,
        assignments: 42,
        hits: 43,
        reassignments: 44,
        moves: 45,
        expiries: 46,
        evictions: 47,
        refusals: 48,
    }
}

fn check() -> CheckView {
    let http = HttpCheck {
        target: "/health".to_owned(),
        method: HttpMethod::Get,
        headers: BTreeMap::new(),
        body: None,
        status: 200,
    };
    let definition = HealthCheck {
        fall: 3,
        rise: 5,
        fall_action: FallAction::Draining,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        port: None,
        send_proxy: CheckHeader::AsConnections,
        http: Some(http),
    };
    let target = TargetView {
        target: TargetAddr::Socket("192.0.2.1:80".parse().unwrap()),
        streak: Streak::held(State::Failing),
        passed: 81,
        failed: 82,
        not_run: 83,
        last_error: Some("connection refused".to_owned()),
        history: Vec::new(),
    };
    CheckView {
        group: GroupId(1),
        id: CheckId(0xab),
        definition: Arc::new(definition),
        observation: State::Failing,
        verdict: State::Failing,
        votes: Vec::new(),
        targets: vec![target],
        targets_left_out: 0,
    }
}

fn rest() -> Rest {
    let process = api::Process {
        pid: 60,
        log_lines_lost: 61,
        resident_bytes: 62,
        open_descriptors: 63,
        max_descriptors: 64,
        threads: 65,
        cpu_seconds: 66.5,
    };
    let saves = KeeperCounts {
        saves: 51,
        save_failures: 52,
        records: 53,
        journal_failures: 54,
    };
    Rest {
        now: tcpffee::clock::Millis(1_000_000),
        version: "1.2.3".to_owned(),
        is_healthy: true,
        started_unix_seconds: 1_700_000_000.5,
        reloads: Reloads {
            succeeded: 6,
            refused: 2,
            last_succeeded: false,
            last_success_unix_seconds: 1_700_000_100.25,
        },
        saves,
        process,
        raft: api::Raft {
            stick_table: Some(raft_group()),
            healthchecks: None,
            node: Some(cluster_node()),
        },
        commit_latency: Some(commit_latency()),
    }
}

fn commit_latency() -> Histogram {
    let mut latency = Histogram::new(&[1_000, 10_000]);
    latency.note(Duration::from_millis(4));
    latency
}

fn cluster_node() -> api::ClusterNode {
    let member = api::AgreedMember {
        node: "02:00:00:00:00:02".to_owned(),
        host: None,
        boot: "1".to_owned(),
        present: true,
        has_session: true,
        session_ended_at: None,
    };
    api::ClusterNode {
        has_lease: true,
        stated: false,
        quorum_lost: true,
        no_quorum: api::NoQuorum::Assign,
        no_quorum_after_seconds: 3.0,
        barred: Some("another key type".to_owned()),
        operations_waiting: 101,
        batches_out: 102,
        records: 103,
        snapshot_held_bytes: 104,
        counts: api::NodeCounts {
            hits: 105,
            waits: 106,
            asks: 107,
            refusals: 108,
            alone: 109,
            yielded: 110,
            renewals: 111,
            holds: 112,
            releases: 113,
            lost: 114,
            batches: 115,
            operations: 116,
            failures: 117,
            quorum_losses: 118,
        },
        commit_latency: api::Latency::default(),
        differences: vec!["expiration".to_owned(), "weight".to_owned()],
        agreed: api::Agreed {
            index: 119,
            expiration_seconds: 60.0,
            max_entries: 120,
            full: "refuse".to_owned(),
            groups_total: 121,
            groups_taking_new: 122,
            groups: Vec::new(),
            groups_left_out: 121,
            members: vec![member],
            fences: 123,
        },
    }
}

fn raft_group() -> api::RaftGroup {
    let member = |number: u8, lag: Option<u64>| api::Member {
        node: format!("02:00:00:00:00:{number:02x}"),
        host: None,
        own: number == 1,
        belongs: true,
        votes: true,
        connected: number == 1,
        matched: None,
        applied: None,
        lag,
        flow: None,
        snapshot_bytes: lag.map(|_| 76),
        silent_seconds: lag.map(|_| 0.25),
        life: None,
        version: None,
        links: Vec::new(),
        conflict: None,
    };
    let conflict = api::Conflict {
        node: "02:00:00:00:00:02".to_owned(),
        host: None,
        reason: "another secret".to_owned(),
    };
    api::RaftGroup {
        cluster: Some("c".to_owned()),
        forming: String::new(),
        role: api::RaftRole::Leader,
        term: 71,
        leader: Some("02:00:00:00:00:01".to_owned()),
        leader_changes: 77,
        life: String::new(),
        commit: 72,
        applied: 73,
        persisted: 80,
        first: 1,
        last: 80,
        log_entries: 78,
        log_bytes: 74,
        time_seconds: 0.0,
        version: 3,
        snapshot: Some(70),
        snapshot_bytes: Some(79),
        has_lease: false,
        takes_part: false,
        trouble: Some("a disk".to_owned()),
        proposals_waiting: 84,
        proposals_at_leader: 85,
        counts: raft_counts(),
        conflicts: vec![conflict],
        members: vec![member(1, None), member(2, Some(75))],
    }
}

fn raft_counts() -> api::RaftCounts {
    api::RaftCounts {
        elections_won: 86,
        syncs: 87,
        entries_applied: 88,
        snapshots_taken: 89,
        snapshots_failed: 91,
        snapshots_restored: 92,
        proposed: 93,
        unanswered: 94,
        ..api::RaftCounts::default()
    }
}
