//! The checks as statistics see them.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{GroupId, HealthCheck, TargetAddr};
use crate::groups::Status;

use super::Health;
use super::board::{Check, CheckedTarget};
use super::definition::CheckId;
use super::record::{Conclusion, Durations, PastCheck};
use super::replicated::{CheckKey, Seat, Vote};
use super::shared_board::SharedBoard;
use super::streak::{State, Streak};

/// Looks at the checks from any thread, and goes on to work when they have stopped. The board is
/// held for one group at a time, and while a configuration is put in force there is no waiting for
/// that.
#[derive(Clone, Debug)]
pub struct View {
    board: Arc<SharedBoard>,
    clock: Clock,
    /// In a cluster: who votes on verdicts.
    seat: Option<Arc<Seat>>,
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
    /// In a cluster: what its nodes see, by node.
    pub votes: Vec<Vote>,
    /// The group's distinct targets, the first ones where there is a bound on them.
    pub targets: Vec<TargetView>,
    /// Targets beyond that bound.
    pub targets_left_out: usize,
}

/// How many targets are to be seen at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MostTargets {
    /// Of one check.
    pub of_check: usize,
    /// Of all checks of a group, which have equal shares of it.
    pub of_group: usize,
}

/// How much is to be seen of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// So many targets, with their last results.
    Targets(MostTargets),
    /// Every target, without its last results.
    Counts,
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
    /// is the latest. Empty in [`View::counts`].
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
            seat: self.seat().cloned(),
        }
    }
}

impl View {
    /// What the verdicts that hold make of the groups, by each check's `fall_action`: those that are
    /// not Up, with the reason in words.
    pub fn statuses(&self) -> Vec<(GroupId, Status, String)> {
        self.board.look().statuses()
    }

    /// In a cluster: what this node has seen otherwise than the verdict has it for longer than
    /// `(fall + rise) × interval`, while another node that is alive agrees with the verdict.
    pub fn disagreements(&self) -> Vec<String> {
        let Some(seat) = &self.seat else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut last = None;
        while let Some(group) = self.next_checked(last) {
            let board = self.board.look();
            for check in board.checks_of(group) {
                let key = CheckKey {
                    group,
                    check: check.id,
                };
                found.extend(seat.dissent(key, &check.definition, check.state()));
            }
            last = Some(group);
        }
        found
    }

    /// Every check of the configuration in force, by group and id; of their targets what is
    /// counted, and not the last results.
    pub fn counts(&self) -> Vec<CheckView> {
        let mut checks = Vec::new();
        let mut last = None;
        while let Some(group) = self.next_checked(last) {
            checks.extend(self.seen(group, Extent::Counts));
            last = Some(group);
        }
        checks
    }

    /// The first group with a check whose id is larger than this one.
    pub fn next_checked(&self, after: Option<GroupId>) -> Option<GroupId> {
        self.board.look().next_checked(after)
    }

    /// The checks of one group by id, with so many of their targets at most.
    pub fn checks_of(&self, group: GroupId, most: MostTargets) -> Vec<CheckView> {
        self.seen(group, Extent::Targets(most))
    }

    fn seen(&self, group: GroupId, extent: Extent) -> Vec<CheckView> {
        let board = self.board.look();
        let checks = board.checks_of(group);
        let most = match extent {
            Extent::Targets(most) => most.of_check.min(most.of_group / checks.len().max(1)),
            Extent::Counts => usize::MAX,
        };
        let mut checks: Vec<CheckView> = checks
            .iter()
            .map(|check| self.check(group, check, extent, most))
            .collect();
        drop(board);
        checks.sort_by_key(|check| check.id);
        checks
    }

    /// How long checks took since the start, those included that are no more.
    pub fn durations(&self) -> Durations {
        self.board.look().durations.clone()
    }

    fn check(&self, group: GroupId, check: &Check, extent: Extent, most: usize) -> CheckView {
        let targets = check.targets.iter().take(most);
        CheckView {
            group,
            id: check.id,
            definition: Arc::clone(&check.definition),
            observation: check.state(),
            verdict: check.verdict,
            votes: self.votes(group, check),
            targets: targets.map(|target| self.target(target, extent)).collect(),
            targets_left_out: check.targets.len().saturating_sub(most),
        }
    }

    fn votes(&self, group: GroupId, check: &Check) -> Vec<Vote> {
        let key = CheckKey {
            group,
            check: check.id,
        };
        let agreed = self.seat.as_ref().map(|seat| seat.agreed());
        agreed.map_or_else(Vec::new, |agreed| agreed.votes(key).collect())
    }

    fn target(&self, target: &CheckedTarget, extent: Extent) -> TargetView {
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
            history: match extent {
                Extent::Targets(_) => record.history.iter().map(ago).collect(),
                Extent::Counts => Vec::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Environment};
    use crate::health::board::{Board, TargetKey};
    use crate::health::plan::Plan;

    const ALL: MostTargets = MostTargets {
        of_check: usize::MAX,
        of_group: usize::MAX,
    };

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
            board: Arc::new(SharedBoard::new(board)),
            clock,
            seat: None,
        };
        let note = |group, conclusion, took_ms: u64, why: Option<&str>| {
            let mut board = view.board.hold();
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
        let reloaded = view.board.look().successor(&plan(2));
        *view.board.hold() = reloaded;

        let groups = std::iter::successors(view.next_checked(None), |&last| {
            view.next_checked(Some(last))
        });
        let checks: Vec<CheckView> = groups.flat_map(|id| view.checks_of(id, ALL)).collect();
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

        let counts = view.counts();
        let groups: Vec<u32> = counts.iter().map(|check| check.group.0).collect();
        assert_eq!((groups, counts[1].targets[0].failed), (vec![1, 2], 1));
        assert!(counts[1].targets[0].history.is_empty());
        for (of_check, of_group, left_out) in [(1, 1, 0), (0, 1, 1), (1, 0, 1)] {
            let most = MostTargets { of_check, of_group };
            let bounded = &view.checks_of(GroupId(2), most)[0];
            assert_eq!(bounded.targets_left_out, left_out, "{most:?}");
            assert_eq!(bounded.targets.len() + left_out, 1, "{most:?}");
        }
        assert_eq!(view.checks_of(GroupId(3), ALL), []);
    }

    #[test]
    fn while_a_configuration_is_put_in_force_checks_are_seen_as_before() {
        let board = Arc::new(SharedBoard::new(Board::default().successor(&plan(1))));
        let view = View {
            board: Arc::clone(&board),
            clock: Clock::start(),
            seat: None,
        };
        let claim = board.claim();
        let next = claim.board().successor(&plan(2));
        let looking = std::thread::spawn(move || {
            view.durations();
            (view.counts(), view.checks_of(GroupId(2), ALL))
        });
        // It ends although the claim lasts: otherwise this never returns.
        let (counts, checks) = looking.join().expect("a look cannot fail");
        assert_eq!((counts.len(), checks[0].definition.fall), (2, 1));
        *claim.board() = next;
        assert_eq!(board.look().checks_of(GroupId(2))[0].definition.fall, 2);
    }
}
