//! Health checks of the configuration in force.

use super::figures::Figures;
use super::text::{MAX_SERIES, Text};
use crate::health::{CheckView, State, TargetView};

/// A value of a target.
type Pick = fn(&TargetView) -> u64;

/// How a check can end, and how often it did.
const RESULTS: [(&str, Pick); 3] = [
    ("passed", |target| target.passed),
    ("failed", |target| target.failed),
    ("not_run", |target| target.not_run),
];
const TARGET_LABELS: [&str; 4] = ["group", "check", "kind", "target"];

/// Writes the checks' metrics.
pub fn write(figures: &Figures, text: &mut Text) {
    let verdicts: Vec<_> = figures.checks.iter().map(verdict).collect();
    text.gauge(
        "tcpffee_check_failing",
        "Whether a health check is failing: what holds for the group.",
    )
    .bounded(MAX_SERIES, ["group", "check", "kind"], &[], &verdicts, None);
    let observations: Vec<_> = figures.checks.iter().map(observation).collect();
    text.gauge(
        "tcpffee_check_observed_failing",
        "Whether a health check is failing as this node sees it; in a cluster the verdict may differ.",
    )
    .bounded(
        MAX_SERIES,
        ["group", "check", "kind"],
        &[],
        &observations,
        None,
    );
    let failing = by_target(figures, |target| is_failing(target.streak.state));
    text.gauge(
        "tcpffee_check_target_failing",
        "Whether a target fails a health check, as this node sees it.",
    )
    .bounded(MAX_SERIES, TARGET_LABELS, &[], &failing, None);
    let mut family = text.counter(
        "tcpffee_check_results_total",
        "Health checks of a target, by result; not_run says nothing about the target.",
    );
    for (result, pick) in RESULTS {
        let series = by_target(figures, pick);
        let most = MAX_SERIES / RESULTS.len();
        family.bounded(most, TARGET_LABELS, &[("result", result)], &series, None);
    }
    let mut family = text.histogram(
        "tcpffee_check_duration_seconds",
        "How long health checks took that passed or failed.",
    );
    family.durations(&[("kind", "tcp")], &figures.check_durations.tcp);
    family.durations(&[("kind", "http")], &figures.check_durations.http);
}

fn verdict(check: &CheckView) -> ([String; 3], u64) {
    (labels(check), is_failing(check.verdict))
}

fn observation(check: &CheckView) -> ([String; 3], u64) {
    (labels(check), is_failing(check.observation))
}

fn by_target(figures: &Figures, pick: Pick) -> Vec<([String; 4], u64)> {
    let of = |check| {
        let [group, id, kind] = labels(check);
        let targets = check.targets.iter();
        targets.map(move |target| {
            let name = target.target.to_string();
            (
                [group.clone(), id.clone(), kind.clone(), name],
                pick(target),
            )
        })
    };
    figures.checks.iter().flat_map(of).collect()
}

fn labels(check: &CheckView) -> [String; 3] {
    let kind = match check.definition.http {
        None => "tcp",
        Some(_) => "http",
    };
    [
        check.group.to_string(),
        check.id.to_string(),
        kind.to_owned(),
    ]
}

fn is_failing(state: State) -> u64 {
    u64::from(state == State::Failing)
}
