//! `/api/v1/healthchecks`: health checks, their targets and results.

use super::{Sources, api, seconds};
use crate::config::{FallAction, GroupId};
use crate::health::replicated::Vote;
use crate::health::{CheckView, CheckedAgo, Conclusion, MostTargets, State, TargetView};

/// Targets after which a page of checks ends.
const TARGETS_PER_PAGE: usize = 512;
/// Targets that are listed: the rest is counted. With their last results these are some 12 MB.
const MOST_TARGETS: MostTargets = MostTargets {
    of_check: 1_000,
    of_group: 4_000,
};

impl Sources {
    /// The checks of at most `limit` groups with larger ids than `after`, and whether more follow.
    /// A page of checks with very many targets ends sooner, but never within a group.
    pub fn checks_page(&self, limit: usize, after: Option<u32>) -> (Vec<api::Check>, bool) {
        let health = &self.parts.health;
        let (mut page, mut groups, mut targets) = (Vec::new(), 0, 0);
        let mut last = after.map(GroupId);
        while let Some(group) = health.next_checked(last) {
            if groups == limit || targets >= TARGETS_PER_PAGE {
                return (page, true);
            }
            let checks = self.checks_of(group);
            targets += checks
                .iter()
                .map(|check| check.targets.len())
                .sum::<usize>();
            groups += 1;
            page.extend(checks);
            last = Some(group);
        }
        (page, false)
    }

    /// The health checks of a group of the configuration in force, by id.
    pub(super) fn checks_of(&self, group: GroupId) -> Vec<api::Check> {
        let checks = self.parts.health.checks_of(group, MOST_TARGETS);
        checks.into_iter().map(check).collect()
    }
}

fn check(view: CheckView) -> api::Check {
    let definition = &view.definition;
    let http = definition.http.as_ref();
    api::Check {
        group: view.group.0,
        id: format!("{:016x}", view.id.0),
        kind: match http {
            Some(_) => api::CheckKind::Http,
            None => api::CheckKind::Tcp,
        },
        path: http.map(|http| http.target.clone()),
        interval_seconds: definition.interval.as_secs_f64(),
        timeout_seconds: definition.timeout.as_secs_f64(),
        fall: definition.fall,
        rise: definition.rise,
        fall_action: match definition.fall_action {
            FallAction::Draining => "Draining",
            FallAction::Disabled => "Disabled",
            FallAction::Up => "Up",
        }
        .to_owned(),
        observation: state(view.observation),
        verdict: state(view.verdict),
        votes: view.votes.iter().map(vote).collect(),
        targets: view.targets.into_iter().map(target).collect(),
        targets_left_out: view.targets_left_out as u64,
    }
}

fn vote(vote: &Vote) -> api::CheckVote {
    api::CheckVote {
        node: vote.node.to_string(),
        state: state(vote.state),
        counts: vote.counts,
    }
}

fn target(view: TargetView) -> api::CheckTarget {
    let last = view.history.last();
    api::CheckTarget {
        target: view.target.to_string(),
        state: state(view.streak.state),
        streak: view.streak.against,
        last_result: last.map(|last| result(last.conclusion)),
        last_error: view.last_error,
        duration_seconds: last.map(|last| last.took.as_secs_f64()),
        checked_seconds_ago: last.map(|last| seconds(last.ago)),
        passed: view.passed,
        failed: view.failed,
        not_run: view.not_run,
        history: view.history.iter().map(past).collect(),
    }
}

fn past(check: &CheckedAgo) -> api::PastResult {
    api::PastResult {
        result: result(check.conclusion),
        duration_seconds: check.took.as_secs_f64(),
        seconds_ago: seconds(check.ago),
    }
}

fn state(state: State) -> api::CheckState {
    match state {
        State::Passing => api::CheckState::Passing,
        State::Failing => api::CheckState::Failing,
    }
}

fn result(conclusion: Conclusion) -> api::CheckResult {
    match conclusion {
        Conclusion::Passed => api::CheckResult::Passed,
        Conclusion::Failed => api::CheckResult::Failed,
        Conclusion::NotRun => api::CheckResult::NotRun,
    }
}
