//! Figures of which every value is another one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tcpffee::config::{FallAction, GroupId, HealthCheck, HttpCheck, HttpMethod, TargetAddr};
use tcpffee::groups::Status;
use tcpffee::health::{CheckId, CheckView, Durations, State, Streak, TargetView};
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
        traffic,
        targets: vec![target],
    };
    let draining = Group {
        id: GroupId(2),
        name: String::new(),
        status: Status::Draining,
        sticks: 0,
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
        },
    }
}

fn raft_group() -> api::RaftGroup {
    let member = |number: u8, lag| api::Member {
        node: format!("02:00:00:00:00:{number:02x}"),
        votes: true,
        connected: number == 1,
        matched: None,
        lag,
        silent_seconds: None,
        conflict: None,
    };
    api::RaftGroup {
        cluster: Some("c".to_owned()),
        forming: String::new(),
        role: api::RaftRole::Leader,
        term: 71,
        leader: Some("02:00:00:00:00:01".to_owned()),
        commit: 72,
        applied: 73,
        first: 1,
        last: 80,
        log_bytes: 74,
        has_lease: false,
        trouble: Some("a disk".to_owned()),
        members: vec![member(1, None), member(2, Some(75))],
    }
}
