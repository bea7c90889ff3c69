//! What is to be checked under one configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Config, GroupConfig, GroupId, HealthCheck, ProxyHeader, TargetAddr};
use crate::groups::HealthStatus;
use crate::own_listeners::OwnListeners;
use crate::sources::Sources;

use super::definition::CheckId;

/// The checks of a configuration, before it is in force.
#[derive(Debug)]
pub struct Plan {
    pub(super) groups: BTreeMap<GroupId, PlannedGroup>,
    pub(super) way: Way,
}

/// What a configuration says of the way to every target.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Never to be checked.
    pub own_listeners: Arc<OwnListeners>,
    /// Where checks come from.
    pub sources: Arc<Sources>,
}

impl Way {
    fn of(config: &Config) -> Way {
        Way {
            own_listeners: Arc::new(OwnListeners::of(config)),
            sources: Arc::new(Sources::of(config)),
        }
    }
}

/// The checks of one group.
#[derive(Debug)]
pub(super) struct PlannedGroup {
    /// What the checks will make of it; the generation to come has it already.
    pub status: Arc<HealthStatus>,
    /// In the order of the file, each definition once.
    pub checks: Vec<PlannedCheck>,
}

/// One check.
#[derive(Debug)]
pub(super) struct PlannedCheck {
    pub id: CheckId,
    pub definition: Arc<HealthCheck>,
    /// PROXY protocol header in front of it.
    pub send_proxy: Option<ProxyHeader>,
    /// Each once.
    pub targets: Vec<PlannedTarget>,
}

/// One target of a check.
#[derive(Debug)]
pub(super) struct PlannedTarget {
    /// Where the check goes: with the check's own port, if it has one.
    pub target: TargetAddr,
    /// The targets of the portmap that it stands for.
    pub serves: Vec<TargetAddr>,
}

impl Plan {
    /// The plan of a configuration; every group is Up until a board has taken it up.
    pub(super) fn of(config: &Config) -> Plan {
        let groups = config.groups.iter().map(|group| (group.id, planned(group)));
        Plan {
            groups: groups.collect(),
            way: Way::of(config),
        }
    }

    /// What the checks make of a group, now and as long as the plan is in force.
    pub fn status(&self, group: GroupId) -> Arc<HealthStatus> {
        match self.groups.get(&group) {
            Some(planned) => Arc::clone(&planned.status),
            None => Arc::new(HealthStatus::up()),
        }
    }

    /// Targets to check, each as often as there are checks of it.
    pub fn target_count(&self) -> usize {
        let checks = self.groups.values().flat_map(|group| &group.checks);
        checks.map(|check| check.targets.len()).sum()
    }
}

fn planned(group: &GroupConfig) -> PlannedGroup {
    let mut checks: Vec<PlannedCheck> = Vec::new();
    for definition in &group.healthchecks {
        let id = CheckId::of(definition);
        if checks.iter().any(|check| check.id == id) {
            log::debug!("groups.{}: a health check is there twice", group.id);
            continue;
        }
        checks.push(PlannedCheck {
            id,
            definition: Arc::new(definition.clone()),
            send_proxy: definition.header(group.send_proxy),
            targets: distinct_targets(group, definition),
        });
    }
    PlannedGroup {
        status: Arc::new(HealthStatus::up()),
        checks,
    }
}

fn distinct_targets(group: &GroupConfig, check: &HealthCheck) -> Vec<PlannedTarget> {
    let mut distinct: Vec<PlannedTarget> = Vec::new();
    for configured in group.targets.values() {
        let target = at_port(configured, check.port);
        match distinct.iter_mut().find(|known| known.target == target) {
            Some(known) if known.serves.contains(configured) => {}
            Some(known) => known.serves.push(configured.clone()),
            None => distinct.push(PlannedTarget {
                target,
                serves: vec![configured.clone()],
            }),
        }
    }
    distinct
}

fn at_port(target: &TargetAddr, port: Option<u16>) -> TargetAddr {
    let mut target = target.clone();
    match (&mut target, port) {
        (_, None) | (TargetAddr::Unix(_), _) => {}
        (TargetAddr::Socket(address), Some(port)) => address.set_port(port),
        (TargetAddr::Name { port: own, .. }, Some(port)) => *own = port,
    }
    target
}
