//! How long this node has seen something else than what holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tcpffee_raft::ids::NodeId;

use crate::config::{GroupId, HealthCheck};
use crate::health::definition::title;
use crate::health::streak::State;

use super::agreed::{Agreed, CheckKey};

/// The checks of which this node sees something else, with the moment since when.
#[derive(Debug, Default)]
pub(super) struct Dissent {
    since: BTreeMap<CheckKey, Instant>,
}

impl Dissent {
    /// Takes in how things stand at a moment.
    pub fn note(&mut self, agreed: &Agreed, own: &BTreeMap<CheckKey, State>, now: Instant) {
        let differs =
            |key: CheckKey, seen: State| agreed.verdict(key).is_some_and(|holds| holds != seen);
        self.since
            .retain(|key, _| own.get(key).is_some_and(|&seen| differs(*key, seen)));
        for (&key, &seen) in own {
            if differs(key, seen) {
                self.since.entry(key).or_insert(now);
            }
        }
    }

    /// What there is to say about a check of which `node` sees this, once it has been of another
    /// opinion for longer than its results take to turn, while another node that is alive agrees
    /// with what holds.
    pub fn on(
        &self,
        agreed: &Agreed,
        node: NodeId,
        (key, check): (CheckKey, &HealthCheck),
        seen: State,
        now: Instant,
    ) -> Option<String> {
        let since = *self.since.get(&key)?;
        let holds = agreed.verdict(key).filter(|holds| *holds != seen)?;
        let lasted = now.saturating_duration_since(since);
        if lasted <= patience(check) {
            return None;
        }
        let mut votes = agreed.votes(key);
        if !votes.any(|vote| vote.counts && vote.node != node && vote.state == holds) {
            return None;
        }
        let CheckKey { group, check: id } = key;
        Some(format!(
            "{}: {} as this node sees it, and {} by the cluster's vote, for {} s now ({})",
            named(group, check, id),
            seen.as_str(),
            holds.as_str(),
            lasted.as_secs(),
            agreed.votes_in_words(key)
        ))
    }
}

/// How long a node may be of another opinion: the time in which its results would turn and turn back.
fn patience(check: &HealthCheck) -> Duration {
    check
        .interval
        .saturating_mul(check.fall.saturating_add(check.rise))
}

fn named(group: GroupId, check: &HealthCheck, id: impl std::fmt::Display) -> String {
    format!("group {group}, health check {} ({id})", title(check))
}
