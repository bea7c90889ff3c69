//! What became of the checks of a target, for people to look at; nothing is decided by it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Millis;
use crate::config::HealthCheck;
use crate::histogram::Histogram;

/// Results that are kept of each target.
pub const MAX_HISTORY: usize = 30;
/// Characters that are kept of what went wrong.
const MAX_ERROR_CHARS: usize = 256;

/// Bounds of the buckets for how long checks take.
const BOUNDS_US: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// The target is as it should be.
    Passed,
    /// The target is not.
    Failed,
    /// This host could not make it; that says nothing about the target.
    NotRun,
}

/// A check that was made, or should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastCheck {
    /// How it ended.
    pub conclusion: Conclusion,
    /// What it took; nothing where there was nobody to be asked.
    pub took: Duration,
    /// When it ended.
    pub at: Millis,
}

/// All that is kept of one target of one check.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub passed: u64,
    pub failed: u64,
    pub not_run: u64,
    pub last_error: Option<String>,
    /// Oldest first.
    pub history: VecDeque<PastCheck>,
}

impl Record {
    /// Takes in one check; `why` says what was wrong, where something was.
    pub fn note(&mut self, check: PastCheck, why: Option<&str>) {
        match check.conclusion {
            Conclusion::Passed => self.passed += 1,
            Conclusion::Failed => self.failed += 1,
            Conclusion::NotRun => self.not_run += 1,
        }
        if let Some(why) = why {
            self.last_error = Some(why.chars().take(MAX_ERROR_CHARS).collect());
        }
        if self.history.len() == MAX_HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(check);
    }
}

/// How long checks that came to a conclusion about their target took, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations {
    /// Checks by TCP.
    pub tcp: Histogram,
    /// Checks by HTTP.
    pub http: Histogram,
}

impl Default for Durations {
    fn default() -> Durations {
        Durations {
            tcp: Histogram::new(BOUNDS_US),
            http: Histogram::new(BOUNDS_US),
        }
    }
}

impl Durations {
    /// Counts one check of a definition.
    pub(super) fn note(&mut self, definition: &HealthCheck, took: Duration) {
        match definition.http {
            None => self.tcp.note(took),
            Some(_) => self.http.note(took),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_everything_and_keeps_the_latest() {
        let mut record = Record::default();
        for number in 1..=100 {
            let (conclusion, why) = match number % 4 {
                0 => (Conclusion::Failed, Some("é".repeat(1_000))),
                1 => (Conclusion::NotRun, Some("no memory".to_owned())),
                _ => (Conclusion::Passed, None),
            };
            let check = PastCheck {
                conclusion,
                took: Duration::from_millis(number),
                at: Millis(number),
            };
            record.note(check, why.as_deref());
        }
        assert_eq!((record.passed, record.failed, record.not_run), (50, 25, 25));
        assert_eq!(record.last_error, Some("é".repeat(MAX_ERROR_CHARS)));
        assert_eq!(record.history.len(), MAX_HISTORY);
        assert_eq!(record.history[0].at, Millis(71));
        assert_eq!(record.history[MAX_HISTORY - 1].at, Millis(100));
    }
}
