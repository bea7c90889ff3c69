//! The checker itself: histories whose verdict is known, and small ones against trying all orders.

use proptest::prelude::*;

use crate::checker::{Violation, check};
use crate::history::{Call, Operation, Outcome, Value};

const NONE: Value = None;

fn op(asked_ns: u64, answered_ns: u64, call: Call, outcome: Outcome) -> Operation {
    Operation {
        client: 0,
        key: 1,
        call,
        outcome,
        asked_ns,
        answered_ns,
    }
}

fn get(asked: u64, answered: u64, value: Value) -> Operation {
    op(asked, answered, Call::Get, Outcome::Read(value))
}

fn put(asked: u64, answered: u64, value: u64) -> Operation {
    op(asked, answered, Call::Put(value), Outcome::Written)
}

fn lost_put(asked: u64, value: u64) -> Operation {
    op(asked, asked + 1, Call::Put(value), Outcome::Unknown)
}

fn cas(asked: u64, answered: u64, old: Value, new: u64) -> Operation {
    op(asked, answered, Call::Cas { old, new }, Outcome::Written)
}

fn failed_cas(asked: u64, answered: u64, old: Value, new: u64) -> Operation {
    op(asked, answered, Call::Cas { old, new }, Outcome::Different)
}

fn lost_cas(asked: u64, old: Value, new: u64) -> Operation {
    op(asked, asked + 1, Call::Cas { old, new }, Outcome::Unknown)
}

fn assert_linearizable(history: &[Operation]) {
    if let Err(violation) = check(history) {
        panic!("{violation}");
    }
}

fn assert_not_linearizable(history: &[Operation]) {
    assert!(
        matches!(check(history), Err(Violation::NotLinearizable { .. })),
        "no violation in {history:?}"
    );
}

#[test]
fn nothing_and_one_after_the_other_is_linearizable() {
    assert_linearizable(&[]);
    assert_linearizable(&[get(0, 1, NONE), put(2, 3, 7), get(4, 5, Some(7))]);
    assert_linearizable(&[
        cas(0, 1, NONE, 1),
        cas(2, 3, Some(1), 2),
        get(4, 5, Some(2)),
    ]);
}

#[test]
fn overlapping_operations_take_effect_in_any_order() {
    assert_linearizable(&[put(0, 9, 1), put(0, 9, 2), get(10, 11, Some(1))]);
    assert_linearizable(&[put(0, 9, 1), get(1, 2, NONE), get(3, 4, Some(1))]);
    // The history of figure 1(a) of Herlihy and Wing, with a register.
    assert_linearizable(&[
        put(0, 4, 1),
        put(3, 9, 2),
        get(5, 6, Some(1)),
        get(7, 8, Some(2)),
    ]);
}

#[test]
fn a_read_of_an_old_value_is_found() {
    assert_not_linearizable(&[put(0, 1, 1), put(2, 3, 2), get(4, 5, Some(1))]);
    assert_not_linearizable(&[put(0, 1, 1), get(2, 3, NONE)]);
}

#[test]
fn a_value_that_was_seen_stays_although_its_write_is_not_answered_yet() {
    assert_not_linearizable(&[put(0, 20, 1), get(1, 2, Some(1)), get(3, 4, NONE)]);
}

#[test]
fn a_value_out_of_nowhere_is_found() {
    assert_not_linearizable(&[put(0, 1, 1), get(2, 3, Some(3))]);
}

#[test]
fn two_readers_that_see_two_writes_in_different_orders_are_found() {
    assert_not_linearizable(&[
        put(0, 100, 1),
        put(0, 100, 2),
        get(1, 2, Some(1)),
        get(3, 4, Some(2)),
        get(5, 6, Some(1)),
    ]);
}

#[test]
fn of_two_exchanges_of_one_value_only_one_succeeds() {
    assert_not_linearizable(&[put(0, 1, 1), cas(2, 9, Some(1), 2), cas(2, 9, Some(1), 3)]);
    assert_linearizable(&[
        put(0, 1, 1),
        cas(2, 9, Some(1), 2),
        failed_cas(2, 9, Some(1), 3),
    ]);
    assert_not_linearizable(&[put(0, 1, 1), failed_cas(2, 9, Some(1), 3)]);
}

#[test]
fn an_acknowledged_write_that_is_lost_is_found() {
    assert_not_linearizable(&[put(0, 1, 1), put(2, 3, 2), cas(4, 5, Some(1), 9)]);
}

#[test]
fn an_unanswered_write_takes_effect_at_any_later_time() {
    assert_linearizable(&[
        put(0, 1, 1),
        lost_put(2, 2),
        get(4, 5, Some(1)),
        get(600, 601, Some(1)),
        get(602, 603, Some(2)),
    ]);
}

#[test]
fn an_unanswered_write_may_never_take_effect() {
    assert_linearizable(&[put(0, 1, 1), lost_put(2, 2), get(4, 5, Some(1))]);
    assert_linearizable(&[put(0, 1, 1), lost_cas(2, Some(5), 2), get(4, 5, Some(1))]);
}

#[test]
fn an_unanswered_write_takes_effect_once_and_not_before_it_is_asked() {
    assert_not_linearizable(&[
        put(0, 1, 1),
        lost_put(2, 2),
        get(4, 5, Some(2)),
        put(6, 7, 3),
        get(8, 9, Some(2)),
    ]);
    assert_not_linearizable(&[put(0, 1, 1), get(2, 3, Some(2)), lost_put(4, 2)]);
    assert_not_linearizable(&[
        put(0, 1, 1),
        lost_cas(2, Some(1), 2),
        get(4, 5, Some(2)),
        put(6, 7, 1),
        get(8, 9, Some(2)),
    ]);
}

#[test]
fn an_unanswered_write_that_nobody_reads_explains_a_failed_exchange() {
    assert_linearizable(&[put(0, 1, 1), lost_put(2, 2), failed_cas(4, 5, Some(1), 3)]);
}

#[test]
fn registers_are_judged_one_by_one() {
    let other = |operation: Operation| Operation {
        key: 2,
        ..operation
    };
    assert_linearizable(&[put(0, 1, 1), other(put(2, 3, 2)), get(4, 5, Some(1))]);
    assert_not_linearizable(&[put(0, 1, 1), other(put(2, 3, 2)), other(get(4, 5, Some(1)))]);
}

#[test]
fn a_violation_names_register_and_operations() {
    let found = check(&[put(0, 1, 1), get(2, 3, NONE)]).expect_err("stale");
    let told = found.to_string();
    assert!(told.contains("register 1"), "{told}");
    assert!(told.contains("Get -> Read(None)"), "{told}");
}

#[test]
fn many_unanswered_writes_do_not_blow_up_the_search() {
    // Twenty writes without an answer, then readers that see ten of them, between writes that
    // are answered.
    let mut history: Vec<Operation> = (0..20).map(|n| lost_put(n, 1_000 + n)).collect();
    for n in 0..500 {
        let start = 100 + n * 10;
        history.push(put(start, start + 5, n));
        history.push(put(start, start + 5, n + 5_000));
        let seen = if n % 50 == 0 { 1_000 + n / 50 } else { n };
        history.push(get(start + 6, start + 7, Some(seen)));
    }
    assert_linearizable(&history);
}

/// All orders, without any cleverness: the definition.
fn by_definition(operations: &[Operation], taken: &mut Vec<bool>, value: Value) -> bool {
    let open = |at: &usize| !taken[*at] && operations[*at].is_answered();
    let Some(first_answer) = (0..operations.len())
        .filter(open)
        .map(|at| operations[at].answered_ns)
        .min()
    else {
        return true;
    };
    for at in 0..operations.len() {
        if taken[at] || operations[at].asked_ns > first_answer {
            continue;
        }
        if let Some(after) = operations[at].effect(value) {
            taken[at] = true;
            let fits = by_definition(operations, taken, after);
            taken[at] = false;
            if fits {
                return true;
            }
        }
    }
    false
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let value = prop_oneof![Just(None), (1..4_u64).prop_map(Some)];
    let call = prop_oneof![
        Just(Call::Get),
        (1..4_u64).prop_map(Call::Put),
        (value.clone(), 1..4_u64).prop_map(|(old, new)| Call::Cas { old, new }),
    ];
    (call, value, 0..4_u8, 0..30_u64, 1..12_u64).prop_map(|(call, value, draw, asked, length)| {
        let outcome = match (call, draw) {
            (Call::Get, _) => Outcome::Read(value),
            (_, 0) => Outcome::Unknown,
            (Call::Cas { .. }, 1) => Outcome::Different,
            _ => Outcome::Written,
        };
        op(asked, asked + length, call, outcome)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn small_histories_get_the_verdict_that_trying_all_orders_gives(
        history in prop::collection::vec(any_operation(), 0..8)
    ) {
        let expected = by_definition(&history, &mut vec![false; history.len()], None);
        prop_assert_eq!(check(&history).is_ok(), expected);
    }
}
