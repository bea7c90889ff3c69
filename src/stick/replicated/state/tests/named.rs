use tcpffee_raft::ids::Index;

use super::fixtures::*;
use crate::config::GroupId;
use crate::stick::replicated::command::*;

#[test]
fn only_its_maker_moves_an_entry_and_only_while_nobody_else_was_given_it() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    assert_eq!(lab.move_to(B, &key(1), given.version, 2), Outcome::Stale);
    assert_eq!(lab.move_to(A, &key(1), Index(1), 2), Outcome::Stale);
    assert_eq!(lab.move_to(A, &key(1), given.version, 77), Outcome::Stale);
    let Outcome::Entry(moved) = lab.move_to(A, &key(1), given.version, 2) else {
        panic!("it is A's");
    };
    assert_eq!((moved.group, moved.version.0), (GroupId(2), lab.index));
    assert!(moved.provisional && !moved.created);
    assert_eq!(lab.move_to(A, &key(1), given.version, 3), Outcome::Stale);
    assert_eq!((lab.sticks(1), lab.sticks(2)), (0, 1));
    lab.given(B, &key(1), 1);
    assert_eq!(lab.move_to(A, &key(1), moved.version, 3), Outcome::Stale);
    assert_eq!(lab.state.entries.counts.moves, 1);
}

#[test]
fn a_second_ask_of_the_maker_pins_the_entry_too() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    lab.given(A, &key(1), 1);
    assert_eq!(lab.move_to(A, &key(1), given.version, 2), Outcome::Stale);
}

#[test]
fn an_active_entry_is_not_moved() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    assert_eq!(lab.look(&key(1)).unwrap().made_by, Some(A));
    lab.renew(A, &key(1), given.version, 0);
    assert_eq!(lab.look(&key(1)).unwrap().made_by, None);
    assert_eq!(lab.move_to(A, &key(1), given.version, 2), Outcome::Stale);
}

#[test]
fn an_entry_goes_once_all_have_given_up_that_were_given_it() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    lab.given(B, &key(1), 1);
    assert_eq!(lab.give_up(C, &key(1), given.version), Outcome::Done);
    assert_eq!(lab.give_up(A, &key(1), given.version), Outcome::Done);
    assert_eq!(lab.look(&key(1)).unwrap().made_by, Some(B), "B stands in");
    assert_eq!(lab.give_up(B, &key(1), Index(1)), Outcome::Stale);
    assert_eq!(lab.give_up(B, &key(1), given.version), Outcome::Done);
    assert!(lab.look(&key(1)).is_none());
    assert_eq!(lab.sticks(1), 0);
    let active = lab.given(A, &key(2), 1);
    lab.renew(A, &key(2), active.version, 0);
    lab.give_up(A, &key(2), active.version);
    assert!(lab.look(&key(2)).is_some());
}

#[test]
fn a_held_entry_does_not_expire() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    lab.hold(A, &key(1), given.version);
    lab.hold(B, &key(1), given.version);
    assert_eq!(lab.expires(&key(1)), u64::MAX);
    lab.pass(10 * EXPIRATION);
    lab.release(A, &key(1), given.version, lab.time);
    assert_eq!(lab.expires(&key(1)), u64::MAX);
    let view = lab.state.entries.replica.get(key(1).as_ref()).unwrap();
    assert_eq!((view.connections, view.expires_in), (1, None));
    lab.release(B, &key(1), given.version, lab.time);
    assert_eq!(lab.expires(&key(1)), lab.time + EXPIRATION);
}

#[test]
fn what_a_node_may_have_answered_by_outlives_its_release_by_five_sixths() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    lab.hold(A, &key(1), given.version);
    lab.pass(10 * EXPIRATION);
    lab.release(A, &key(1), given.version, 5);
    assert_eq!(lab.expires(&key(1)), lab.time + EXPIRATION / 6 * 5);
}

#[test]
fn activity_counts_until_now_at_most_and_never_shortens_a_life() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    lab.pass(1000);
    lab.renew(B, &key(1), given.version, 400);
    assert_eq!(lab.expires(&key(1)), 400 + EXPIRATION);
    lab.renew(A, &key(1), given.version, 300);
    assert_eq!(lab.expires(&key(1)), 400 + EXPIRATION);
    lab.renew(A, &key(1), given.version, u64::MAX);
    assert_eq!(lab.expires(&key(1)), 1000 + EXPIRATION);
    assert_eq!(lab.renew(A, &key(1), Index(1), 1000), Outcome::Stale);
    assert_eq!(lab.renew(A, &key(2), given.version, 1000), Outcome::Stale);
}

#[test]
fn what_an_earlier_process_held_or_releases_counts_no_more() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    let (key, version) = (key(1), given.version);
    lab.hold(A, &key, version);
    lab.boots.insert(A, 2);
    let early = lab.hold(A, &key, version);
    assert_eq!(early, Outcome::Stale, "it has not stated anything yet");
    lab.pass(1000);
    lab.states(A, &stating(&[1, 2, 3]));
    assert_eq!(lab.expires(&key), 1000 + EXPIRATION);
    lab.hold(A, &key, version);
    lab.boots.insert(A, 1);
    assert_eq!(lab.hold(A, &key, version), Outcome::Stale);
    assert_eq!(lab.release(A, &key, version, 0), Outcome::Stale);
    assert_eq!(lab.expires(&key), u64::MAX);
}

#[test]
fn an_entry_that_an_operator_removed_goes_once_every_node_knows() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    lab.hold(A, &key(1), given.version);
    assert_eq!(lab.remove(&key(1)), Outcome::Done);
    let removed_at = lab.index;
    assert!(lab.look(&key(1)).unwrap().removed);
    assert_eq!(lab.fences(), [removed_at]);
    assert_eq!(lab.assign(B, &key(1), 2), Outcome::Fenced);
    assert_eq!(lab.hold(B, &key(1), given.version), Outcome::Stale);
    assert_eq!(lab.renew(B, &key(1), given.version, 0), Outcome::Stale);
    assert_eq!(lab.remove(&key(1)), Outcome::Done);
    assert_eq!(lab.fences(), [removed_at], "removed once");
    assert_eq!(lab.release(A, &key(1), given.version, 0), Outcome::Done);
    lab.passed();
    assert!(lab.look(&key(1)).is_none() && lab.fences().is_empty());
    assert!(lab.given(B, &key(1), 2).created);
    assert_eq!(lab.remove(&key(5)), Outcome::Done);
}

#[test]
fn a_fence_falls_when_the_removed_entry_expires() {
    let mut lab = Lab::new();
    lab.given(A, &sliced(1, "x"), 1);
    lab.remove(&sliced(1, "x"));
    assert!(lab.state.entries.replica.latest_of(ip(1)).is_none());
    lab.pass(EXPIRATION);
    assert!(lab.fences().is_empty());
}
