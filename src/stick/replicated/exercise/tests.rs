//! What the fuzz target drives, in every test run.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::made::Made;
use super::node::Node;
use super::{log, replicas};
use crate::stick::Counts;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn bytes_of_any_kind_are_no_harm_in_the_log_or_as_a_snapshot(
        kind in 0_u8..4,
        bytes in vec(any::<u8>(), 0..200),
    ) {
        log(&[&[kind], &bytes[..]].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn replicas_of_one_log_are_the_same_whatever_it_says_and_wherever_a_snapshot_is_taken(
        bytes in vec(any::<u8>(), 0..600),
    ) {
        log(&[&[4], &bytes[..]].concat());
    }
}

#[test]
fn everything_that_entries_go_through_happens_in_such_logs() {
    let mut runner = TestRunner::deterministic();
    let mut sum = Counts::default();
    for _ in 0..500 {
        let bytes = vec(any::<u8>(), 600).new_tree(&mut runner).unwrap();
        let bytes = bytes.current();
        let mut made = Made::new(&bytes);
        let mut node = Node::new();
        replicas::begin(&mut made, |step| drop(node.apply(step)));
        while !made.source.is_empty() {
            let step = replicas::next_step(&mut made);
            let answers = node.apply(&step);
            replicas::learn(&mut made, &step, &answers);
        }
        let counts = node.replica.counts();
        sum.entries += counts.entries;
        sum.assignments += counts.assignments;
        sum.reassignments += counts.reassignments;
        sum.moves += counts.moves;
        sum.expiries += counts.expiries;
        sum.evictions += counts.evictions;
        sum.refusals += counts.refusals;
    }
    let Counts {
        entries,
        hits: _,
        assignments,
        reassignments,
        moves,
        expiries,
        evictions,
        refusals,
    } = sum;
    let all = [
        entries,
        assignments,
        reassignments,
        moves,
        expiries,
        evictions,
        refusals,
    ];
    assert!(all.iter().all(|&count| count > 0), "{sum:?}");
}
