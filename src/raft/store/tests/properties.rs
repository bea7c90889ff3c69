use proptest::prelude::*;

use super::harness::{Harness, Step, Then};

pub(super) fn step() -> impl Strategy<Value = Step> {
    let then = prop_oneof![
        3 => Just(Then::BeginAnew),
        1 => any::<u64>().prop_map(|seed| Then::Crash { seed }),
        1 => Just(Then::Kill),
    ];
    prop_oneof![
        8 => (1..9u8, any::<u16>(), any::<bool>()).prop_map(|(count, body_bytes, commit)| {
            Step::Append { count, body_bytes, commit }
        }),
        2 => (0..6u8, 1..5u8).prop_map(|(keep, count)| Step::Replace { keep, count }),
        1 => Just(Step::Vote),
        5 => Just(Step::Sync),
        1 => Just(Step::Prepare),
        2 => (0..6u8, 0..3000u16).prop_map(|(back, bytes)| Step::Snapshot { back, bytes }),
        1 => (0..9u8, 1..3000u16, any::<bool>(), then).prop_map(|(ahead, bytes, restart, then)| {
            Step::Arrive { ahead, bytes, restart, then }
        }),
        2 => (0..9u8).prop_map(|tail| Step::Compact { tail }),
        2 => any::<u64>().prop_map(|seed| Step::Crash { seed }),
        1 => Just(Step::Kill),
    ]
}

fn failing_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        9 => step(),
        1 => (0..30u8, any::<bool>()).prop_map(|(after, full)| Step::Fail { after, full }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn after_a_crash_all_that_was_synced_is_there_and_nothing_but_what_was_written(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        Harness::new().run(&steps).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_disk_that_fails_at_any_moment_loses_nothing_that_was_synced(
        steps in prop::collection::vec(failing_step(), 1..60)
    ) {
        Harness::new().run(&steps).map_err(TestCaseError::fail)?;
    }
}
