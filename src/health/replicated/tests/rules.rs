//! One rule of the votes each.

use super::*;

#[test]
fn a_verdict_changes_when_more_than_half_of_the_alive_nodes_that_have_the_check_say_so() {
    for (count, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
        let mut log = Log::all_passing(count);
        for (said, to, before) in [(Failing, Failing, Passing), (Passing, Passing, Failing)] {
            for node in 1..=count {
                log.observe(node, check(1), said);
                let expected = if node >= needed { to } else { before };
                let what = format!("{node} of {count} say {said:?}");
                assert_eq!(log.verdict(check(1)), Some(expected), "{what}");
            }
        }
    }
}

#[test]
fn half_of_the_nodes_change_nothing() {
    let mut log = Log::all_passing(4);
    log.observe(1, check(1), Failing);
    log.observe(2, check(1), Failing);
    assert_eq!(log.verdict(check(1)), Some(Passing));
    log.observe(3, check(1), Failing);
    log.observe(3, check(1), Passing);
    log.observe(2, check(1), Failing);
    assert_eq!(
        log.verdict(check(1)),
        Some(Failing),
        "back to half is not enough"
    );
}

#[test]
fn nodes_without_the_check_do_not_count() {
    let mut log = Log::of(5);
    log.declare(1, &[(check(1), Passing), (check(2), Passing)]);
    log.declare(2, &[(check(2), Passing)]);
    log.declare(3, &[]);
    log.observe(1, check(1), Failing);
    assert_eq!(
        log.verdict(check(1)),
        Some(Failing),
        "who alone has it decides alone"
    );
    log.observe(1, check(2), Failing);
    assert_eq!(log.verdict(check(2)), Some(Passing), "one of two");
}

#[test]
fn the_vote_of_a_node_that_is_not_alive_does_not_count() {
    let mut log = Log::all_passing(3);
    log.observe(1, check(1), Failing);
    log.alive(&[1, 2]);
    assert_eq!(log.verdict(check(1)), Some(Passing), "one of two");
    log.alive(&[1, 3]);
    assert_eq!(
        log.verdict(check(1)),
        Some(Passing),
        "node 3 has not spoken yet"
    );
    log.alive(&[1]);
    assert_eq!(log.verdict(check(1)), Some(Failing), "one of one");
}

#[test]
fn who_was_silent_has_no_vote_until_it_has_declared_itself() {
    let mut log = Log::all_passing(3);
    log.observe(3, check(1), Failing);
    log.alive(&[1, 2]);
    log.alive(&[1, 2, 3]);
    assert_eq!(log.observe(2, check(1), Failing), Outcome::Done);
    assert_eq!(
        log.verdict(check(1)),
        Some(Passing),
        "what 3 said is of long ago"
    );
    assert_eq!(log.observe(3, check(1), Failing), Outcome::NoSession);
    log.declare(3, &[(check(1), Failing)]);
    assert_eq!(log.verdict(check(1)), Some(Failing));
}

#[test]
fn another_process_of_a_node_declares_itself_before_it_is_heard() {
    let mut log = Log::all_passing(1);
    let changes = vec![(check(1), Some(Failing))];
    let observe = |boot| Command::Observe {
        from: NodeId(1),
        boot,
        changes: changes.clone(),
    };
    assert_eq!(log.0.apply(observe(BOOT + 1)), Outcome::NoSession);
    assert_eq!(log.verdict(check(1)), Some(Passing));
    let declare = Command::Declare {
        from: NodeId(1),
        boot: BOOT + 1,
        checks: vec![(check(1), Passing)],
    };
    assert_eq!(log.0.apply(declare), Outcome::Done);
    assert_eq!(
        log.0.apply(observe(BOOT)),
        Outcome::NoSession,
        "the process before"
    );
    assert_eq!(log.0.apply(observe(BOOT + 1)), Outcome::Done);
    assert_eq!(log.verdict(check(1)), Some(Failing));
}

#[test]
fn the_first_declaration_gives_the_first_verdict_and_then_the_majority_rules() {
    let mut log = Log::of(3);
    log.declare(1, &[(check(1), Failing)]);
    assert_eq!(log.verdict(check(1)), Some(Failing), "not Up for a moment");
    log.declare(2, &[(check(1), Passing)]);
    assert_eq!(log.verdict(check(1)), Some(Failing), "one of two");
    log.declare(3, &[(check(1), Passing)]);
    assert_eq!(log.verdict(check(1)), Some(Passing), "two of three");
}

#[test]
fn before_any_node_is_counted_as_alive_no_verdict_changes() {
    let mut log = Log(Agreed::default());
    log.members(&[1, 2, 3]);
    for node in 1..=3 {
        log.declare(node, &[(check(1), Passing)]);
        log.observe(node, check(1), Failing);
    }
    assert_eq!(log.verdict(check(1)), Some(Passing));
    log.alive(&[1, 2, 3]);
    assert_eq!(log.verdict(check(1)), Some(Failing));
}

#[test]
fn a_verdict_is_forgotten_when_no_member_has_the_check() {
    let mut log = Log::of(2);
    log.declare(1, &[(check(1), Failing), (check(2), Passing)]);
    log.declare(2, &[(check(1), Failing)]);
    log.alive(&[2]);
    log.declare(2, &[]);
    assert_eq!(
        log.verdict(check(1)),
        Some(Failing),
        "node 1 has it, alive or not"
    );
    log.members(&[2]);
    assert_eq!((log.verdict(check(1)), log.verdict(check(2))), (None, None));
}

#[test]
fn a_check_that_is_taken_away_takes_its_vote_along() {
    let mut log = Log::all_passing(2);
    log.observe(1, check(1), Failing);
    let without = Command::Observe {
        from: NodeId(2),
        boot: BOOT,
        changes: vec![(check(1), None), (check(2), Some(Failing))],
    };
    assert_eq!(log.0.apply(without), Outcome::Done);
    assert_eq!(log.verdict(check(1)), Some(Failing), "who has it still");
    assert_eq!(
        log.verdict(check(2)),
        Some(Failing),
        "new, and the first word on it"
    );
}

#[test]
fn members_that_left_are_removed_with_their_votes() {
    let mut log = Log::all_passing(3);
    log.observe(1, check(1), Failing);
    log.members(&[1, 2]);
    assert_eq!(log.verdict(check(1)), Some(Passing), "one of two");
    log.members(&[1]);
    assert_eq!(log.verdict(check(1)), Some(Failing), "one of one");
    assert_eq!(log.0.alive(), &nodes(&[1]));
    let declare = Command::Declare {
        from: NodeId(2),
        boot: BOOT,
        checks: vec![(check(1), Passing)],
    };
    assert_eq!(log.0.apply(declare), Outcome::NoSession, "it is no member");
    log.alive(&[1, 2]);
    assert_eq!(log.0.alive(), &nodes(&[1]));
}

#[test]
fn the_same_check_in_two_groups_has_two_verdicts() {
    let mut log = Log::of(1);
    let other = CheckKey {
        group: GroupId(2),
        ..check(1)
    };
    log.declare(1, &[(check(1), Passing), (other, Passing)]);
    log.observe(1, other, Failing);
    assert_eq!(
        (log.verdict(check(1)), log.verdict(other)),
        (Some(Passing), Some(Failing))
    );
}

#[test]
fn votes_name_their_nodes() {
    let mut log = Log::all_passing(3);
    log.observe(2, check(1), Failing);
    assert_eq!(
        log.0.votes_in_words(check(1)),
        "failing for 00:00:00:00:00:02; passing for 00:00:00:00:00:01, 00:00:00:00:00:03"
    );
    log.alive(&[]);
    assert_eq!(log.0.votes_in_words(check(1)), "nobody votes at present");
    assert_eq!(log.0.votes(check(1)).count(), 3);
}

#[test]
fn a_clone_shares_what_has_not_changed() {
    let mut log = Log::all_passing(3);
    let before = log.0.clone();
    assert!(is_same(&before, &log.0));
    log.observe(1, check(1), Failing);
    assert!(
        Arc::ptr_eq(&before.verdicts, &log.0.verdicts),
        "no verdict has changed"
    );
    assert!(Arc::ptr_eq(
        &before.said[&NodeId(2)],
        &log.0.said[&NodeId(2)]
    ));
    assert_eq!(
        before.votes(check(1)).next().map(|vote| vote.state),
        Some(Passing)
    );
}
