//! What a node says, whom a leader counts, and who has long been of another opinion.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;
use crate::config::{CheckHeader, FallAction, HealthCheck};
use crate::health::replicated::command::MAX_CHECKS;
use crate::health::replicated::dissent::Dissent;
use crate::health::replicated::{heads, speech};

const ME: NodeId = NodeId(1);

fn sees(checks: &[(CheckKey, State)]) -> BTreeMap<CheckKey, State> {
    checks.iter().copied().collect()
}

fn due(log: &Log, own: &BTreeMap<CheckKey, State>) -> Option<Command> {
    speech::due(&log.0, ME, BOOT, own)
}

#[test]
fn a_node_declares_itself_once_and_again_when_its_session_has_ended() {
    let own = sees(&[(check(1), Failing)]);
    let mut log = Log::of(2);
    for _ in 0..2 {
        let command = due(&log, &own).expect("the log knows nothing of it");
        assert!(matches!(command, Command::Declare { .. }), "{command:?}");
        log.0.apply(command);
        assert_eq!(due(&log, &own), None);
        log.alive(&[2]);
    }
    log.alive(&[1, 2]);
    let command = due(&log, &own).expect("its session has ended");
    assert!(matches!(command, Command::Declare { .. }), "{command:?}");
}

#[test]
fn a_node_without_any_check_declares_that() {
    let mut log = Log::of(1);
    let command = due(&log, &sees(&[])).expect("nothing is something");
    log.0.apply(command);
    assert_eq!(due(&log, &sees(&[])), None);
}

#[test]
fn only_what_has_changed_is_told() {
    let mut log = Log::of(1);
    log.declare(
        1,
        &[
            (check(1), Passing),
            (check(2), Passing),
            (check(3), Failing),
        ],
    );
    let own = sees(&[
        (check(2), Failing),
        (check(3), Failing),
        (check(4), Passing),
    ]);
    let expected = Command::Observe {
        from: ME,
        boot: BOOT,
        changes: vec![
            (check(1), None),
            (check(2), Some(Failing)),
            (check(4), Some(Passing)),
        ],
    };
    let command = due(&log, &own);
    assert_eq!(command, Some(expected.clone()));
    log.0.apply(expected);
    assert_eq!(due(&log, &own), None);
}

#[test]
fn who_is_no_member_says_nothing() {
    let mut log = Log::of(1);
    log.members(&[2]);
    assert_eq!(due(&log, &sees(&[(check(1), Failing)])), None);
}

#[test]
fn more_checks_than_a_command_holds_are_told_in_several() {
    let checks = (0..2 * MAX_CHECKS as u64 + 5).map(|number| (check(number), Failing));
    let own: BTreeMap<_, _> = checks.collect();
    let mut log = Log::of(1);
    let mut commands = 0;
    while let Some(command) = due(&log, &own) {
        assert_eq!(log.0.apply(command), Outcome::Done);
        commands += 1;
    }
    assert_eq!(commands, 3);
    assert_eq!(log.0.verdicts().len(), own.len());
}

#[test]
fn the_leader_counts_itself_and_whom_it_has_heard_within_three_seconds() {
    let log = Log::of(4);
    let silent = [(NodeId(2), Some(2_999)), (NodeId(3), Some(3_000))];
    let long = Duration::from_secs(60);
    assert_eq!(heads::alive(&log.0, ME, long, silent), nodes(&[1, 2]));
}

#[test]
fn a_new_leader_leaves_those_that_it_has_not_heard_yet_what_they_were() {
    let mut log = Log::of(3);
    log.alive(&[1, 2]);
    let silent = [(NodeId(2), None), (NodeId(3), None)];
    let alive = |led_for| heads::alive(&log.0, ME, Duration::from_millis(led_for), silent);
    assert_eq!(alive(2_999), nodes(&[1, 2]));
    assert_eq!(alive(3_000), nodes(&[1]));
}

#[test]
fn who_is_no_member_is_not_counted() {
    let log = Log::of(1);
    let silent = [(NodeId(9), Some(1))];
    assert_eq!(
        heads::alive(&log.0, ME, Duration::ZERO, silent),
        nodes(&[1])
    );
}

#[test]
fn a_node_says_that_it_has_long_been_of_another_opinion_than_those_that_are_alive() {
    let definition = HealthCheck {
        fall: 3,
        rise: 5,
        fall_action: FallAction::Draining,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        port: None,
        send_proxy: CheckHeader::AsConnections,
        http: None,
    };
    let mut log = Log::all_passing(3);
    log.observe(1, check(1), Failing);
    let (start, mut dissent) = (Instant::now(), Dissent::default());
    let after = |seconds| start + Duration::from_secs(seconds);
    let said = |dissent: &Dissent, log: &Log, seconds| {
        dissent.on(&log.0, ME, (check(1), &definition), Failing, after(seconds))
    };
    let own = sees(&[(check(1), Failing)]);
    dissent.note(&log.0, &own, start);
    dissent.note(&log.0, &own, after(9));
    assert_eq!(
        said(&dissent, &log, 16),
        None,
        "not longer than (3 + 5) × 2 s"
    );
    assert_eq!(
        said(&dissent, &log, 17).as_deref(),
        Some(
            "group 1, health check TCP (0000000000000001): failing as this node sees it, and \
             passing by the cluster's vote, for 17 s now (failing for 00:00:00:00:00:01; passing \
             for 00:00:00:00:00:02, 00:00:00:00:00:03)"
        )
    );
    log.alive(&[1]);
    log.alive(&[1, 2, 3]);
    log.0.verdicts = Arc::new(sees(&[(check(1), Passing)]));
    assert_eq!(
        said(&dissent, &log, 17),
        None,
        "no other node's vote counts"
    );
    log.declare(2, &[(check(1), Passing)]);
    assert!(said(&dissent, &log, 17).is_some());
    dissent.note(&log.0, &sees(&[(check(1), Passing)]), after(18));
    dissent.note(&log.0, &own, after(19));
    assert_eq!(said(&dissent, &log, 20), None, "it had agreed meanwhile");
    dissent.note(&log.0, &sees(&[]), after(40));
    assert_eq!(said(&dissent, &log, 40), None, "it has the check no more");
}
