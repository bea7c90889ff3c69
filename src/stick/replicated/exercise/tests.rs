//! What the fuzz target drives, in every test run.

use proptest::collection::vec;
use proptest::prelude::*;

use super::log;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn bytes_of_any_kind_are_no_harm_in_the_log_or_as_a_snapshot(
        kind in 0_u8..4,
        bytes in vec(any::<u8>(), 0..200),
    ) {
        log(&[&[kind], &bytes[..]].concat());
    }

    #[test]
    fn replicas_of_one_log_are_the_same_whatever_it_says_and_wherever_a_snapshot_is_taken(
        bytes in vec(any::<u8>(), 0..600),
    ) {
        log(&[&[4], &bytes[..]].concat());
    }
}
