use super::fixtures::*;

#[test]
fn an_entry_is_valid_until_the_very_millisecond() {
    let mut lab = Lab::new();
    lab.given(A, &key(1), 1);
    lab.pass(EXPIRATION - 1);
    assert!(!lab.given(A, &key(1), 2).created);
    lab.pass(EXPIRATION);
    assert!(lab.look(&key(1)).is_none());
    assert_eq!(lab.sticks(1), 0);
}

#[test]
fn no_more_than_4096_entries_are_purged_at_each_place_in_the_log() {
    let mut lab = Lab::new();
    let many = crate::stick::replicated::command::Statement {
        max_entries: 100_000,
        ..stating(&[1, 2, 3])
    };
    lab.states(A, &many);
    lab.states(B, &many);
    for number in 0..5000 {
        lab.given(A, &key(number), 1);
    }
    lab.pass(EXPIRATION);
    assert_eq!(lab.state.entries.counts.entries, 5000 - 4096);
    // Expired, though it is still there: those made first go first.
    assert!(lab.look(&key(4095)).is_none() && lab.look(&key(4096)).is_some());
    lab.pass(0);
    assert_eq!(lab.state.entries.counts.entries, 0);
    assert_eq!(lab.state.entries.counts.expiries, 5000);
}

#[test]
fn time_never_goes_back() {
    let mut lab = Lab::new();
    lab.time = 1000;
    lab.given(A, &key(1), 1);
    lab.time = 500;
    lab.given(A, &key(2), 1);
    assert_eq!(lab.expires(&key(2)), 1000 + EXPIRATION);
}

#[test]
fn the_longest_expiration_does_not_overflow() {
    let mut lab = Lab::empty();
    lab.membership(&[A]);
    let endless = crate::stick::replicated::command::Statement {
        expiration_ms: u64::MAX,
        ..stating(&[1])
    };
    lab.states(A, &endless);
    lab.pass(1000);
    let given = lab.given(A, &key(1), 1);
    assert_eq!(lab.expires(&key(1)), u64::MAX - 1);
    lab.hold(A, &key(1), given.version);
    lab.release(A, &key(1), given.version, u64::MAX);
    assert_eq!(lab.expires(&key(1)), u64::MAX - 1);
}
