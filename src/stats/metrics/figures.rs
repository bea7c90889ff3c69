//! What is rendered, as plain data.

use std::collections::BTreeMap;

use crate::clock::Millis;
use crate::config::GroupId;
use crate::groups::{self, Status};
use crate::health::{self, CheckView, Durations};
use crate::histogram::Histogram;
use crate::proxy::{self, End, GroupTraffic, PortTraffic, Totals};
use crate::stats::api;
use crate::stick::save::KeeperCounts;
use crate::stick::{Book, Counts};

/// All figures of a node at one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The generation of the configuration in force.
    pub generation: u64,
    /// Connections now.
    pub connections: u64,
    /// Most connections at once.
    pub max_connections: u64,
    /// Whether new clients are let in.
    pub is_accepting: bool,
    /// Bytes held for slow receivers.
    pub held_bytes: u64,
    /// The bound on them.
    pub max_held_bytes: u64,
    /// Clients whose connections are counted.
    pub clients_tracked: u64,
    /// Clients whose rate was forgotten early.
    pub client_rates_forgotten: u64,
    /// Counts of the proxy as a whole.
    pub totals: Totals,
    /// Connections by port; [`proxy::OTHER_PORT`] stands for those beyond the bound.
    pub ports: BTreeMap<u16, PortTraffic>,
    /// Connections that ended before a group was given to them, in the order of [`End::ALL`].
    pub ended_without_group: [u64; End::ALL.len()],
    /// Groups of the configuration in force.
    pub groups: Vec<Group>,
    /// What went to groups beyond the bound, and to those that the configuration has no more.
    pub other_groups: GroupTraffic,
    /// Counts of the stick table.
    pub sticks: Counts,
    /// Most entries of the stick table.
    pub max_sticks: u64,
    /// Health checks of the configuration in force.
    pub checks: Vec<CheckView>,
    /// How long health checks took.
    pub check_durations: Durations,
    /// What others know.
    pub rest: Rest,
}

/// One group of the configuration in force.
#[derive(Clone, Debug)]
pub struct Group {
    /// N of `[groups.N]`.
    pub id: GroupId,
    /// Its name; empty where it has none.
    pub name: String,
    /// What it does for keys.
    pub status: Status,
    /// Stick entries that name it.
    pub sticks: u64,
    /// Connections that it may have at once, where that is bounded.
    pub max_connections: Option<u64>,
    /// Connections that wait for a place with it.
    pub queued: u64,
    /// Connections that have one of those places.
    pub places_taken: u64,
    /// Seconds for which its share of new keys goes on rising, where it may start slowly.
    pub slow_start_seconds_left: Option<u64>,
    /// What went to it.
    pub traffic: GroupTraffic,
    /// Its distinct targets.
    pub targets: Vec<Target>,
}

/// One target of a group.
#[derive(Clone, Debug)]
pub struct Target {
    /// As the configuration has it.
    pub target: String,
    /// Connects that it did not take.
    pub connect_failures: u64,
}

/// What neither the proxy nor its health checks know.
#[derive(Clone, Debug)]
pub struct Rest {
    /// The program's version.
    pub version: String,
    /// Whether this node may get traffic, as `/api/v1/health` says.
    pub is_healthy: bool,
    /// When the process started, in seconds since 1970.
    pub started_unix_seconds: f64,
    /// Now, by the process's clock.
    pub now: Millis,
    /// Attempts to put another configuration in force.
    pub reloads: Reloads,
    /// Saves of the stick table.
    pub saves: KeeperCounts,
    /// The process.
    pub process: api::Process,
    /// How the nodes of the cluster stand, and how this one serves.
    pub raft: api::Raft,
    /// How long the stick table's batches took from their proposal to their answer; none for a lone
    /// node.
    pub commit_latency: Option<Histogram>,
}

/// Attempts to put another configuration in force.
#[derive(Clone, Copy, Debug)]
pub struct Reloads {
    /// Those that were put in force, or changed nothing.
    pub succeeded: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Whether the last one was not refused; true where there was none.
    pub last_succeeded: bool,
    /// When a configuration was last put in force, the start included, in seconds since 1970.
    pub last_success_unix_seconds: f64,
}

impl Figures {
    /// The figures at this moment.
    pub fn gather(proxy: &proxy::View, health: &health::View, table: &Book, rest: Rest) -> Figures {
        let generation = proxy.generation();
        let groups = generation.groups.iter();
        Figures {
            generation: generation.number,
            connections: proxy.connections(),
            max_connections: proxy.max_connections(),
            is_accepting: proxy.is_accepting(),
            held_bytes: proxy.held_bytes(),
            max_held_bytes: proxy.max_held_bytes(),
            clients_tracked: proxy.clients_tracked(),
            client_rates_forgotten: proxy.client_rates_forgotten(),
            totals: proxy.totals(),
            ports: proxy.ports(),
            ended_without_group: End::ALL.map(|end| proxy.ended_without_group(end)),
            groups: groups
                .map(|group| Group::of(group, proxy, rest.now))
                .collect(),
            other_groups: proxy.other_groups(&generation),
            sticks: table.counts(),
            max_sticks: table.settings().max_entries as u64,
            checks: health.counts(),
            check_durations: health.durations(),
            rest,
        }
    }
}

impl Group {
    fn of(group: &groups::Group, proxy: &proxy::View, now: Millis) -> Group {
        // Several ports may lead to one target, which is counted once.
        let targets: BTreeMap<String, u64> = group
            .targets()
            .values()
            .map(|target| {
                (
                    target.configured.to_string(),
                    target.state.failed_connects(),
                )
            })
            .collect();
        Group {
            id: group.id,
            name: group.name.clone().unwrap_or_default(),
            status: group.status(),
            sticks: group.counters.sticks(),
            max_connections: group.max_connections,
            places_taken: group.counters.places.taken(),
            queued: group.counters.places.queued(),
            slow_start_seconds_left: group.slow_start.map(|_| {
                let left = group.slow_start_left(now).unwrap_or_default();
                left.as_secs_f64().ceil() as u64
            }),
            traffic: proxy.group(group.id),
            targets: targets
                .into_iter()
                .map(|(target, connect_failures)| Target {
                    target,
                    connect_failures,
                })
                .collect(),
        }
    }
}
