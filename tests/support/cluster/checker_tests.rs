//! The checker: histories that keep the promise, and some that break it by little.

use std::time::Duration;

use super::checker::judge;
use super::history::{Answer, Fault, History, NEVER, Outage, Outcome};

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Key 7 at node 1: asked, answered, and open no longer.
fn answer(asked: f64, answered: f64, group: u32) -> Answer {
    Answer {
        key: 7,
        node: 1,
        asked: seconds(asked),
        answered: seconds(answered),
        active_until: seconds(answered),
        outcome: Outcome::Group(group),
    }
}

/// With an expiration of 10 s.
fn history(answers: &[Answer]) -> History {
    History {
        expiration: seconds(10.0),
        answers: answers.to_vec(),
        ..History::default()
    }
}

fn outage(group: u32, from: f64, until: f64) -> Outage {
    Outage {
        group,
        from: seconds(from),
        until: seconds(until),
    }
}

fn violations(history: &History) -> usize {
    judge(history).violations.len()
}

#[test]
fn one_group_all_the_time_is_in_order() {
    let verdict = judge(&history(&[answer(0.0, 1.0, 2), answer(3.0, 3.1, 2)]));
    assert_eq!((verdict.violations.len(), verdict.moves), (0, 0));
    assert_eq!((verdict.keys, verdict.answers), (1, 2));
}

#[test]
fn two_groups_at_once_are_not() {
    assert_eq!(
        violations(&history(&[answer(0.0, 1.0, 1), answer(0.1, 0.9, 2)])),
        1
    );
}

#[test]
fn two_groups_of_two_keys_are() {
    let other = Answer {
        key: 8,
        ..answer(0.0, 1.0, 1)
    };
    assert_eq!(violations(&history(&[other, answer(0.0, 1.0, 2)])), 0);
}

#[test]
fn another_group_after_expiration_is_in_order() {
    let verdict = judge(&history(&[answer(0.0, 1.0, 1), answer(11.1, 11.2, 2)]));
    assert_eq!((verdict.violations.len(), verdict.moves), (0, 1));
}

#[test]
fn another_group_just_before_expiration_is_not() {
    assert_eq!(
        violations(&history(&[answer(0.0, 1.0, 1), answer(10.5, 10.9, 2)])),
        1
    );
}

#[test]
fn an_answer_that_spans_the_expiration_may_be_either() {
    assert_eq!(
        violations(&history(&[answer(0.0, 1.0, 1), answer(10.5, 11.5, 2)])),
        0
    );
}

#[test]
fn an_open_connection_keeps_the_entry() {
    let open = Answer {
        active_until: seconds(30.0),
        ..answer(0.0, 1.0, 1)
    };
    assert_eq!(violations(&history(&[open, answer(39.0, 39.5, 2)])), 1);
    assert_eq!(violations(&history(&[open, answer(40.1, 40.5, 2)])), 0);
}

#[test]
fn another_group_while_the_first_was_out_is_in_order() {
    let mut history = history(&[answer(0.0, 1.0, 1), answer(3.0, 3.5, 2)]);
    history.outages = vec![outage(1, 2.0, NEVER.as_secs_f64() / 2.0)];
    assert_eq!(violations(&history), 0);
    history.outages = vec![outage(2, 2.0, 4.0)];
    assert_eq!(violations(&history), 1, "another group was out");
    history.outages = vec![outage(1, 3.6, 4.0)];
    assert_eq!(violations(&history), 1, "it was out too late");
}

#[test]
fn an_outage_that_was_over_before_explains_nothing() {
    let mut history = history(&[answer(2.0, 3.0, 1), answer(4.0, 4.5, 2)]);
    history.outages = vec![outage(1, 0.5, 1.5)];
    assert_eq!(violations(&history), 1);
}

#[test]
fn a_key_that_was_moved_does_not_go_back() {
    let mut history = history(&[
        answer(0.0, 1.0, 1),
        answer(3.0, 3.5, 2),
        answer(4.0, 4.5, 1),
    ]);
    history.outages = vec![outage(1, 2.0, 3.2)];
    let verdict = judge(&history);
    assert_eq!(verdict.violations.len(), 1);
    assert_eq!(verdict.violations[0].answers.len(), 3);
}

#[test]
fn answers_at_once_are_in_order_if_any_order_explains_them() {
    let mut history = history(&[
        answer(0.0, 1.0, 1),
        answer(2.0, 6.0, 2),
        answer(2.1, 6.1, 1),
        answer(7.0, 8.0, 2),
    ]);
    history.outages = vec![outage(1, 3.0, 5.0)];
    assert_eq!(violations(&history), 0, "1, 1, out, 2, 2");
    history.answers[3] = answer(7.0, 8.0, 1);
    assert_eq!(violations(&history), 1, "2 was never out");
}

#[test]
fn what_a_node_did_before_it_was_lost_counts_for_half() {
    let mut history = history(&[answer(0.0, 1.0, 1), answer(6.0, 6.5, 2)]);
    assert_eq!(violations(&history), 1);
    let fault = |node| Fault {
        node,
        from: seconds(1.5),
        until: seconds(3.0),
    };
    history.faults = vec![fault(2)];
    assert_eq!(violations(&history), 1, "another node was lost");
    history.faults = vec![fault(1)];
    assert_eq!(violations(&history), 0);
    history.answers[1] = answer(4.0, 4.5, 2);
    assert_eq!(violations(&history), 1, "too early for half of it");
}

#[test]
fn connections_without_a_name_are_no_answers() {
    let refused = Answer {
        outcome: Outcome::Reset,
        ..answer(0.0, 1.0, 0)
    };
    let history = history(&[refused, answer(2.0, 3.0, 1)]);
    assert_eq!(judge(&history).answers, 1);
    assert_eq!(history.count(|outcome| outcome == Outcome::Reset), 1);
}
