//! Waiting for conditions, always with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for something that should happen soon. Generous: machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `condition` holds; panics after [`PATIENCE`].
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, condition);
}

/// Polls until `condition` holds; panics after `limit`.
pub fn eventually_within(limit: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(
        holds_within(limit, condition),
        "not within {limit:?}: {what}"
    );
}

/// Polls until `condition` holds, `false` after `limit`.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Polls until `attempt` gives a value; panics after [`PATIENCE`].
pub fn eventually_some<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    eventually(what, || {
        found = attempt();
        found.is_some()
    });
    found.expect("the condition holds only with a value")
}
