//! `/api/v1/groups`: server groups and their targets.

use std::collections::BTreeMap;

use super::{Sources, api};
use crate::config::GroupId;
use crate::groups::{Group, Status};
use crate::proxy::{End, Generation};

/// Targets, those of health checks included, after which a page of groups ends.
const TARGETS_PER_PAGE: usize = 8_192;
/// Targets of one group that are listed: the rest is counted.
const MOST_TARGETS: usize = 1_000;

impl Sources {
    /// One group.
    pub fn group(&self, id: u32) -> Option<api::Group> {
        let generation = self.parts.proxy.generation();
        let group = generation.groups.get(GroupId(id))?;
        Some(self.shown(group, &generation))
    }

    /// At most `limit` groups with larger ids than `after`, and whether more follow. A page of
    /// groups with very many targets is shorter, but never empty where there are groups.
    pub fn groups_page(&self, limit: usize, after: Option<u32>) -> (Vec<api::Group>, bool) {
        let generation = self.parts.proxy.generation();
        let groups = generation.groups.iter();
        let mut following = groups
            .filter(|group| after.is_none_or(|after| group.id.0 > after))
            .peekable();
        let (mut page, mut targets) = (Vec::new(), 0);
        while page.len() < limit
            && targets < TARGETS_PER_PAGE
            && let Some(group) = following.next()
        {
            let shown = self.shown(group, &generation);
            let checked = shown
                .healthchecks
                .iter()
                .map(|check| check.targets.len() * 16);
            targets += shown.targets.len() + checked.sum::<usize>();
            page.push(shown);
        }
        (page, following.peek().is_some())
    }

    fn shown(&self, group: &Group, generation: &Generation) -> api::Group {
        let status = group.status();
        let sticks = group.counters.sticks();
        let traffic = self.parts.proxy.group(group.id);
        let ended = End::ALL.into_iter().zip(traffic.ended);
        let ended = ended.filter(|&(_, count)| count > 0);
        let is_left = sticks > 0 || traffic.connections > 0;
        api::Group {
            id: group.id.0,
            name: group.name.clone(),
            status: shown_status(status),
            reason: group.reason(),
            weight: group.weight,
            slow_start_seconds_left: (status == Status::Up)
                .then(|| group.slow_start_left(self.parts.clock.now()))
                .flatten()
                .map(|left| left.as_secs_f64()),
            backup: group.backup,
            targets: targets(group),
            targets_left_out: group.targets().len().saturating_sub(MOST_TARGETS) as u64,
            sticks,
            connections: traffic.connections,
            max_connections: group.max_connections,
            places_taken: group.max_connections.map(|_| group.counters.places.taken()),
            queued: group.counters.places.queued(),
            connections_total: traffic.connections_total,
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            ended: ended
                .map(|(end, count)| (end.to_string(), count))
                .collect::<BTreeMap<_, _>>(),
            drained: status != Status::Up && !is_left,
            draining: self.draining(group, generation, (sticks, traffic.connections)),
            healthchecks: self.checks_of(group.id),
        }
    }
}

fn targets(group: &Group) -> Vec<api::Target> {
    let targets = group.targets().iter().take(MOST_TARGETS);
    targets
        .map(|(&port, target)| api::Target {
            port,
            target: target.configured.to_string(),
            address: target.endpoint().map(|endpoint| endpoint.to_string()),
            connect_failures: target.state.failed_connects(),
        })
        .collect()
}

pub(super) fn shown_status(status: Status) -> api::GroupStatus {
    match status {
        Status::Up => api::GroupStatus::Up,
        Status::Draining => api::GroupStatus::Draining,
        Status::Disabled => api::GroupStatus::Disabled,
    }
}
