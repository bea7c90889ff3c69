//! When nothing will be left of a Draining group, if no client of it comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Sources, api, seconds};
use crate::config::GroupId;
use crate::groups::{Group, Status};
use crate::proxy::Generation;

/// How long what was found by looking through the table is good.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// Slots of the table that one look passes; in a larger table the last stick is taken to be as
/// young as can be.
const MOST_SLOTS: usize = 4 << 20;

/// When the last sticks of the groups that drain without a connection expire, as last found.
#[derive(Default)]
pub struct LastSticks {
    found: Option<(Instant, BTreeMap<GroupId, Duration>)>,
}

impl Sources {
    /// How far a group has drained; `None` while it is not Draining.
    pub(super) fn draining(
        &self,
        group: &Group,
        generation: &Generation,
        (sticks, connections): (u64, u64),
    ) -> Option<api::Draining> {
        if group.status() != Status::Draining {
            return None;
        }
        let now = self.parts.clock.now();
        let since = group.counters.draining_since().unwrap_or(now);
        let lasted = now.since(since);
        let expiration = generation.config.expiration;
        let left = match (connections, sticks) {
            (0, 0) => Some(Duration::ZERO),
            (0, _) => Some(self.last_stick(group.id, generation)),
            (_, 0) => group
                .drain_timeout
                .map(|limit| limit.saturating_sub(lasted)),
            // Connections that are cut leave their sticks for one more expiration.
            _ => group
                .drain_timeout
                .map(|limit| limit.saturating_sub(lasted) + expiration),
        };
        Some(api::Draining {
            for_seconds: seconds(lasted),
            sticks,
            connections,
            drained_in_at_most_seconds: left.map(seconds),
        })
    }

    /// How long the last stick of a group without connections has left. The table is looked through
    /// at most once a second, for all such groups at once. What has passed since is not taken off: a
    /// client may have come back meanwhile, and this says "at most".
    fn last_stick(&self, id: GroupId, generation: &Generation) -> Duration {
        let mut last_sticks = self
            .last_sticks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_good = |(at, _): &(Instant, _)| at.elapsed() < GOOD_FOR;
        if !last_sticks.found.as_ref().is_some_and(is_good) {
            let groups = generation.groups.iter();
            let draining = groups.filter(|group| group.status() == Status::Draining);
            let ids: BTreeSet<GroupId> = draining.map(|group| group.id).collect();
            let now = self.parts.clock.now();
            let found = self.parts.table.last_remaining(&ids, MOST_SLOTS, now);
            last_sticks.found = Some((Instant::now(), found));
        }
        let found = last_sticks.found.as_ref();
        let left = found.and_then(|(_, by_group)| by_group.get(&id).copied());
        left.unwrap_or(generation.config.expiration)
    }
}
