//! The checks as statistics see them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{GroupId, HealthCheck, TargetAddr};

use super::Health;
use super::board::{Board, Check, CheckedTarget};
use super::definition::CheckId;
use super::record::{Conclusion, Durations, PastCheck};
use super::streak::{State, Streak};

/// Looks at the checks from any thread, and goes on to work when they have stopped. While a
/// configuration is put in force it waits for that.
#[derive(Clone, Debug)]
pub struct View {
    board: Arc<Mutex<Board>>,
    clock: Clock,
}

/// One check of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckView {
    /// The group.
    pub group: GroupId,
    /// What tells it from others.
    pub id: CheckId,
    /// What is asked how often, and with what consequence.
    pub definition: Arc<HealthCheck>,
    /// What this node sees.
    pub observation: State,
    /// What holds.
    pub verdict: State,
    /// Each of the group's distinct targets.
    pub targets: Vec<TargetView>,
}

/// How one target of a check stands.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetView {
    /// The target that is checked, as the configuration has it.
    pub target: TargetAddr,
    /// What it is, and results in a row that speak against that.
    pub streak: Streak,
    /// Checks that passed, since the start or since the target came.
    pub passed: u64,
    /// Checks that failed, likewise.
    pub failed: u64,
    /// Checks that this host could not make, likewise.
    pub not_run: u64,
    /// What went wrong last, if anything ever did.
    pub last_error: Option<String>,
    /// The last results, oldest first, at most [`MAX_HISTORY`](super::MAX_HISTORY); the last one
    /// is the latest.
    pub history: Vec<CheckedAgo>,
}

/// A check that was made, or should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedAgo {
    /// How it ended.
    pub conclusion: Conclusion,
    /// What it took.
    pub took: Duration,
    /// How long ago it ended.
    pub ago: Duration,
}

impl Health {
    /// The checks as statistics see them.
    pub fn view(&self) -> View {
        View {
            board: Arc::clone(&self.board),
            clock: self.clock,
        }
    }
}

impl View {
    /// Every check of the configuration in force, by group and id.
    pub fn checks(&self) -> Vec<CheckView> {
        let board = self.board();
        let mut checks: Vec<CheckView> = board
            .checks()
            .map(|(group, check)| self.check(group, check))
            .collect();
        drop(board);
        checks.sort_by_key(|check| (check.group, check.id));
        checks
    }

    /// How long checks took since the start, those included that are no more.
    pub fn durations(&self) -> Durations {
        self.board().durations.clone()
    }

    fn check(&self, group: GroupId, check: &Check) -> CheckView {
        CheckView {
            group,
            id: check.id,
            definition: Arc::clone(&check.definition),
            observation: check.state(),
            verdict: check.verdict,
            targets: check
                .targets
                .iter()
                .map(|target| self.target(target))
                .collect(),
        }
    }

    fn target(&self, target: &CheckedTarget) -> TargetView {
        let now = self.clock.now();
        let record = &target.record;
        let ago = |past: &PastCheck| CheckedAgo {
            conclusion: past.conclusion,
            took: past.took,
            ago: now.since(past.at),
        };
        TargetView {
            target: target.target.clone(),
            streak: target.streak,
            passed: record.passed,
            failed: record.failed,
            not_run: record.not_run,
            last_error: record.last_error.clone(),
            history: record.history.iter().map(ago).collect(),
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Environment};
    use crate::health::board::TargetKey;
    use crate::health::plan::Plan;

    fn plan(fall: u32) -> Plan {
        let text = format!(
            "ports = [1000]\nexpiration = 10\n\
             [groups.2]\nportmap = \"192.0.2.2\"\n\
             [[groups.2.healthchecks]]\nhttp_target = \"/health\"\nfall = {fall}\n\
             [groups.1]\nportmap = \"192.0.2.1\"\n[[groups.1.healthchecks]]\n"
        );
        let environment = Environment::from_vars(|_| None).expect("an empty environment");
        let loaded = config::load(&text, Path::new("test.toml"), &environment);
        Plan::of(&loaded.expect("sound").config)
    }

    fn key(board: &Board, group: u32) -> TargetKey {
        let mut targets = board.targets();
        let found = targets.find(|(id, _, _)| *id == GroupId(group));
        found.expect("the group has a check").2.key
    }

    #[test]
    fn what_checks_found_out_is_seen_and_outlives_a_reload() {
        let clock = Clock::start();
        let board = Board::default().successor(&plan(1));
        let view = View {
            board: Arc::new(Mutex::new(board)),
            clock,
        };
        let note = |group, conclusion, took_ms: u64, why: Option<&str>| {
            let mut board = view.board();
            let key = key(&board, group);
            let check = PastCheck {
                conclusion,
                took: Duration::from_millis(took_ms),
                at: clock.now(),
            };
            board.record(key, check, why);
            if conclusion != Conclusion::NotRun {
                board.note(key, why.map_or(Ok(()), Err));
            }
        };
        note(2, Conclusion::Passed, 3, None);
        note(2, Conclusion::Failed, 2_000, Some("connection refused"));
        note(1, Conclusion::NotRun, 0, Some("no memory"));
        let reloaded = view.board().successor(&plan(2));
        *view.board() = reloaded;

        let checks = view.checks();
        let groups: Vec<u32> = checks.iter().map(|check| check.group.0).collect();
        assert_eq!(groups, [1, 2]);
        assert_eq!(checks[0].targets[0].not_run, 1);
        assert_eq!(checks[0].observation, State::Passing);
        let (check, target) = (&checks[1], &checks[1].targets[0]);
        assert_eq!(check.definition.fall, 2);
        assert_eq!(
            (check.observation, check.verdict),
            (State::Failing, State::Failing)
        );
        assert_eq!(target.streak, Streak::held(State::Failing));
        assert_eq!((target.passed, target.failed, target.not_run), (1, 1, 0));
        assert_eq!(target.last_error.as_deref(), Some("connection refused"));
        let history: Vec<_> = target.history.iter().map(|past| past.conclusion).collect();
        assert_eq!(history, [Conclusion::Passed, Conclusion::Failed]);
        assert_eq!(target.history[1].took, Duration::from_secs(2));
        assert!(target.history[1].ago < Duration::from_secs(600));
        let durations = view.durations();
        assert_eq!((durations.http.count(), durations.tcp.count()), (2, 0));
    }
}
