//! The server groups of one generation of the configuration: status, weight, targets, counters.
//!
//! A [`Group`] is rebuilt at each reload; its [`GroupCounters`] live as long as the process, so
//! that entries and connections made under one generation are counted in the next.

mod counters; // what is counted of a group, whatever the generation
mod status; // Up, Draining, Disabled
mod target; // where a group's connections go

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{GroupConfig, GroupId, OnDisabled};

pub use counters::{GroupCounters, GroupRegistry};
pub use status::{HealthStatus, Status};
pub use target::{Target, TargetState};

/// The groups of one generation, ascending by id.
#[derive(Debug, Default)]
pub struct Groups {
    list: Vec<Group>,
}

impl Groups {
    /// Groups from any order.
    pub fn new(mut list: Vec<Group>) -> Groups {
        list.sort_by_key(|group| group.id);
        Groups { list }
    }

    /// The group with this id, `None` where the configuration has none.
    pub fn get(&self, id: GroupId) -> Option<&Group> {
        self.list
            .binary_search_by_key(&id, |group| group.id)
            .ok()
            .map(|at| &self.list[at])
    }

    /// All groups, ascending by id.
    pub fn iter(&self) -> std::slice::Iter<'_, Group> {
        self.list.iter()
    }
}

/// One group of one generation.
#[derive(Debug)]
pub struct Group {
    /// As in `[groups.N]`.
    pub id: GroupId,
    /// Name for people.
    pub name: Option<String>,
    /// Share of new keys, at least 1.
    pub weight: u32,
    /// Takes new keys only while no other group is Up.
    pub backup: bool,
    /// What happens to open connections when it becomes Disabled.
    pub on_disabled: OnDisabled,
    /// How long connections may stay while it is Draining.
    pub drain_timeout: Option<Duration>,
    /// Counts that outlive the generation.
    pub counters: Arc<GroupCounters>,
    /// What the health checks make of it.
    pub health: Arc<HealthStatus>,
    configured: Status,
    targets: BTreeMap<u16, Target>,
}

impl Group {
    /// A group as configured, with its targets by listened port.
    pub fn new(
        config: &GroupConfig,
        targets: BTreeMap<u16, Target>,
        counters: Arc<GroupCounters>,
        health: Arc<HealthStatus>,
    ) -> Group {
        let configured = match (config.disabled, config.drain) {
            (true, _) => Status::Disabled,
            (false, true) => Status::Draining,
            (false, false) => Status::Up,
        };
        Group {
            id: config.id,
            name: config.name.clone(),
            weight: config.weight,
            backup: config.backup,
            on_disabled: config.on_disabled,
            drain_timeout: config.drain_timeout,
            counters,
            health,
            configured,
            targets,
        }
    }

    /// What holds now: the more severe of what the file says and what the health checks found.
    pub fn status(&self) -> Status {
        self.configured.max(self.health.status())
    }

    /// Why the status holds; empty while it is Up.
    pub fn reason(&self) -> String {
        let (health, found) = self.health.with_reason();
        let configured = match self.configured {
            Status::Up => "",
            Status::Draining => "drain = true",
            Status::Disabled => "disabled = true",
        };
        match self.configured.cmp(&health) {
            _ if self.status() == Status::Up => String::new(),
            std::cmp::Ordering::Greater => configured.to_owned(),
            std::cmp::Ordering::Less => found.to_string(),
            std::cmp::Ordering::Equal => format!("{configured}; {found}"),
        }
    }

    /// The group as logs name it: `group 1 (birch)`.
    pub fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("group {} ({name})", self.id),
            None => format!("group {}", self.id),
        }
    }

    /// Where connections on the listened `port` go; `None`: the group does not serve that port
    /// (not in its portmap, its name not resolved, or it would be this proxy itself).
    pub fn target(&self, port: u16) -> Option<SocketAddr> {
        self.targets.get(&port).and_then(Target::address)
    }

    /// All targets by listened port.
    pub fn targets(&self) -> &BTreeMap<u16, Target> {
        &self.targets
    }
}
