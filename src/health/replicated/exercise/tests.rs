//! What the fuzz target drives, in every test run.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::log;
use super::made::Made;
use super::replicas::{Node, next_step};

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
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn replicas_of_one_log_are_the_same_whatever_it_says_and_wherever_a_snapshot_is_taken(
        bytes in vec(any::<u8>(), 0..600),
    ) {
        log(&[&[4], &bytes[..]].concat());
    }
}

#[test]
fn verdicts_come_turn_and_go_in_such_logs() {
    let mut runner = TestRunner::deterministic();
    let (mut came, mut turned, mut gone) = (0, 0, 0);
    for _ in 0..200 {
        let bytes = vec(any::<u8>(), 600).new_tree(&mut runner).unwrap();
        let bytes = bytes.current();
        let mut made = Made::new(&bytes);
        let mut node = Node::new();
        for index in 1.. {
            if made.source.is_empty() {
                break;
            }
            let before = node.minutes.agreed();
            node.apply(&next_step(&mut made, index));
            let after = node.minutes.agreed();
            for (key, state) in before.verdicts() {
                gone += usize::from(after.verdict(*key).is_none());
                turned += usize::from(after.verdict(*key).is_some_and(|after| after != *state));
            }
            let is_new = |key| before.verdict(key).is_none();
            came += after.verdicts().keys().filter(|key| is_new(**key)).count();
        }
    }
    assert!(came > 0 && turned > 0 && gone > 0, "{came} {turned} {gone}");
}
