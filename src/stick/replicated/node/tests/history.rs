//! What clients got, and whether it kept the promise: one key, one group.

use std::collections::BTreeMap;

use crate::config::GroupId;

use super::world::{EXPIRATION_MS, STEP_MS};

/// How long a node may take until the log knows of an activity: it tells of them as often in an
/// expiration, and the way there has delays.
const TOLD_WITHIN_MS: u64 = EXPIRATION_MS / 6 + 600;

/// How long a node that is cut off may take to have its word heard.
const TAKING_BACK_MS: u64 = 15_000;

/// A connection that was established.
#[derive(Clone, Debug)]
pub struct Visit {
    pub key: u32,
    pub group: GroupId,
    pub node: usize,
    pub began: u64,
    /// When it ended, or when the cluster heard of its node last, whichever is earlier.
    pub ended: Option<u64>,
}

#[derive(Debug, Default)]
pub struct History {
    visits: Vec<Visit>,
    /// When any node's file had a group disabled: from, to.
    disabled: BTreeMap<GroupId, Vec<(u64, u64)>>,
    /// When which node was cut off or down: from, to.
    losses: Vec<(usize, u64, u64)>,
    pub refused: u64,
    /// Connections whose entry changed again and again.
    pub unsettled: u64,
}

impl History {
    pub fn began(&mut self, visit: Visit) -> usize {
        self.visits.push(visit);
        self.visits.len() - 1
    }

    pub fn ended(&mut self, visit: usize, at: u64) {
        let visit = &mut self.visits[visit];
        visit.ended = Some(at.max(visit.began));
    }

    /// Some node's file has the group disabled now.
    pub fn disabled(&mut self, group: GroupId, at: u64) {
        let times = self.disabled.entry(group).or_default();
        match times.last_mut() {
            Some((_, to)) if at <= *to + STEP_MS => *to = at,
            _ => times.push((at, at)),
        }
    }

    /// The node is cut off or down: what it has not told yet may never be heard.
    pub fn lost(&mut self, node: usize, from: u64, to: u64) {
        self.losses.push((node, from, to));
    }

    pub fn visits(&self) -> usize {
        self.visits.len()
    }

    /// Pairs of visits of one key to different groups, the second while the first's entry was
    /// certainly valid.
    pub fn violations(&self) -> Vec<String> {
        let mut by_key: BTreeMap<u32, Vec<&Visit>> = BTreeMap::new();
        for visit in &self.visits {
            by_key.entry(visit.key).or_default().push(visit);
        }
        let mut found = Vec::new();
        for (key, visits) in by_key {
            for (at, first) in visits.iter().enumerate() {
                let valid_until = self.valid_until(first);
                let later = visits[at + 1..].iter();
                for second in later.take_while(|second| second.began < valid_until) {
                    let excused = self.may_be_unusable(first.group, first.began, second.began);
                    if second.group != first.group && !excused {
                        found.push(format!("key {key}: {first:?} and then {second:?}"));
                    }
                }
            }
        }
        found
    }

    /// Until when the entry of a visit certainly holds. What was not told may not have been heard,
    /// but the entry had half of its life left when the node answered by it.
    fn valid_until(&self, visit: &Visit) -> u64 {
        let Some(ended) = visit.ended else {
            return u64::MAX;
        };
        let losses = self.losses.iter().filter(|&&(node, from, to)| {
            node == visit.node && from <= ended + TOLD_WITHIN_MS && visit.began <= to
        });
        let told_until = losses
            .map(|&(_, from, _)| from.saturating_sub(TOLD_WITHIN_MS))
            .min();
        match told_until {
            None => ended + EXPIRATION_MS,
            Some(told) if told >= visit.began => told.min(ended) + EXPIRATION_MS,
            Some(_) => visit.began + EXPIRATION_MS / 2,
        }
    }

    /// Whether any node may have kept the group from its keys between two moments.
    fn may_be_unusable(&self, group: GroupId, from: u64, to: u64) -> bool {
        let times = self.disabled.get(&group).into_iter().flatten();
        // Taking it back has to come into the log first.
        times
            .into_iter()
            .any(|&(since, until)| since <= to && until + TAKING_BACK_MS >= from)
    }
}
