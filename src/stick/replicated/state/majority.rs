//! What members state of one thing.

use std::collections::BTreeMap;

use tcpffee_raft::ids::NodeId;

use super::agreement::Member;
use crate::stick::replicated::command::Statement;

/// What present members state of one thing.
pub(super) struct Voices<T> {
    /// Voters that state a value, by the value.
    by_voters: BTreeMap<T, usize>,
    smallest: Option<T>,
    largest: Option<T>,
    /// Voters that there are.
    voters: usize,
}

impl<T: Ord + Copy> Voices<T> {
    pub fn of(
        members: &BTreeMap<NodeId, Member>,
        value: impl Fn(&Statement) -> Option<T>,
    ) -> Voices<T> {
        let mut voices = Voices {
            by_voters: BTreeMap::new(),
            smallest: None,
            largest: None,
            voters: members.values().filter(|member| member.voter).count(),
        };
        for member in members.values().filter(|member| member.present) {
            let Some(value) = member.statement.as_deref().and_then(&value) else {
                continue;
            };
            voices.smallest = Some(voices.smallest.map_or(value, |least: T| least.min(value)));
            voices.largest = Some(voices.largest.map_or(value, |most: T| most.max(value)));
            if member.voter {
                *voices.by_voters.entry(value).or_default() += 1;
            }
        }
        voices
    }

    /// What more than half of all voters state.
    pub fn majority(&self) -> Option<T> {
        let mut values = self.by_voters.iter();
        let most = values.find(|&(_, &voters)| voters * 2 > self.voters);
        most.map(|(&value, _)| value)
    }

    pub fn smallest(&self) -> Option<T> {
        self.smallest
    }

    pub fn largest(&self) -> Option<T> {
        self.largest
    }
}
