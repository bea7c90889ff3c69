//! `/api/v1/healthchecks`: health checks, their targets and results.

use serde::Serialize;
use utoipa::ToSchema;

/// One health check of one group.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Check {
    /// The group.
    pub group: u32,
    /// What tells it from others, the same on every node: a hash of its definition.
    pub id: String,
    /// How it checks.
    pub kind: CheckKind,
    /// What an HTTP check asks for; null for other kinds.
    #[schema(example = "/health")]
    pub path: Option<String>,
    /// Seconds from one check to the next.
    pub interval_seconds: f64,
    /// Seconds that an answer may take.
    pub timeout_seconds: f64,
    /// Failures in a row that make a target failing.
    pub fall: u32,
    /// Successes in a row that make it passing again.
    pub rise: u32,
    /// What becomes of the group while the check is failing.
    #[schema(example = "Disabled")]
    pub fall_action: String,
    /// What this node sees: failing where any target is.
    pub observation: CheckState,
    /// What holds: for a lone node its observation, in a cluster what was agreed.
    pub verdict: CheckState,
    /// In a cluster: what each of the nodes sees that have the check; empty for a lone node.
    pub votes: Vec<CheckVote>,
    /// Each of the group's distinct targets: the first 1,000 of them, or its share of 4,000 where the
    /// group has more than four checks.
    pub targets: Vec<CheckTarget>,
    /// Targets beyond those.
    pub targets_left_out: u64,
}

/// What one node of a cluster sees of a check.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CheckVote {
    /// The node's id, a MAC address.
    pub node: String,
    /// What it has said last.
    pub state: CheckState,
    /// Whether it counts: the node has been heard in the last seconds, and has spoken since it was
    /// last found silent.
    pub counts: bool,
}

/// How a check checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// A connect is enough.
    Tcp,
    /// An HTTP request is to be answered as wanted.
    Http,
}

/// What a check or one of its targets is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// All is well.
    Passing,
    /// It is not.
    Failing,
}

/// How one target of a check stands.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CheckTarget {
    /// The target that is checked, as the configuration has it.
    pub target: String,
    /// What it is.
    pub state: CheckState,
    /// Results in a row that speak against the state.
    pub streak: u32,
    /// How the last check ended; null before the first one.
    pub last_result: Option<CheckResult>,
    /// What went wrong last, since the start: with the target, or with this host's check of it; null
    /// where nothing did.
    pub last_error: Option<String>,
    /// What the last check took.
    pub duration_seconds: Option<f64>,
    /// How long ago it ended.
    pub checked_seconds_ago: Option<f64>,
    /// Checks that passed, since the start or since the target came.
    pub passed: u64,
    /// Checks that failed, likewise.
    pub failed: u64,
    /// Checks that this host could not make, likewise; they say nothing about the target.
    pub not_run: u64,
    /// The last results, oldest first, at most 30.
    pub history: Vec<PastResult>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// This host could not make it; that says nothing about the target.
    NotRun,
}

/// A result of a check.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PastResult {
    /// How it ended.
    pub result: CheckResult,
    /// What it took.
    pub duration_seconds: f64,
    /// How long ago it ended.
    pub seconds_ago: f64,
}
