//! `/api/v1/groups`: server groups and their targets.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::Check;

/// A server group of the configuration in force.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Group {
    /// N of `[groups.N]`.
    pub id: u32,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// What it does for keys.
    pub status: GroupStatus,
    /// Why; empty while it is Up.
    pub reason: String,
    /// Its share of new keys.
    pub weight: u32,
    /// For how many seconds its share of new keys goes on rising (`slow_start`); null while it has its
    /// whole share.
    pub slow_start_seconds_left: Option<f64>,
    /// Whether it takes new keys only while no other group is Up.
    pub backup: bool,
    /// Where its connections go, by listened port; the first 1,000 of them.
    pub targets: Vec<Target>,
    /// Targets beyond those.
    pub targets_left_out: u64,
    /// Stick entries that name it.
    pub sticks: u64,
    /// Connections now.
    pub connections: u64,
    /// Connections that it may have at once through this node; null where that is not bounded.
    pub max_connections: Option<u64>,
    /// Places that are taken now: connections with it, and those being made or about to be, beyond
    /// the bound where that was lowered; null where that is not bounded.
    pub places_taken: Option<u64>,
    /// Connections that wait for a place with it now.
    pub queued: u64,
    /// Connections that were given to it, since the start.
    pub connections_total: u64,
    /// Bytes from clients to its targets.
    pub bytes_in: u64,
    /// Bytes from its targets to clients.
    pub bytes_out: u64,
    /// Its connections that ended, by reason; reasons that never occurred are left out.
    pub ended: BTreeMap<String, u64>,
    /// Whether it takes no new keys and nothing is left of it: it may be switched off.
    pub drained: bool,
    /// How far it has drained; null while it is not Draining.
    pub draining: Option<Draining>,
    /// Its health checks.
    pub healthchecks: Vec<Check>,
}

/// What a group does for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub enum GroupStatus {
    /// Takes new keys.
    Up,
    /// Serves the keys it has, takes no new ones.
    Draining,
    /// Serves none; its keys are assigned anew at their next connection.
    Disabled,
}

/// How far a Draining group has drained.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Draining {
    /// Seconds since it began.
    pub for_seconds: f64,
    /// Stick entries that are left.
    pub sticks: u64,
    /// Connections that are left.
    pub connections: u64,
    /// After how many seconds nothing will be left of it if no client of it comes back; null while
    /// that cannot be said, because connections may stay open.
    pub drained_in_at_most_seconds: Option<f64>,
}

/// Where connections to one listened port go.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Target {
    /// The listened port.
    pub port: u16,
    /// The target, as the configuration has it.
    #[schema(example = "192.0.2.7:5280")]
    pub target: String,
    /// Where connections to it begin now: an address, of a name with several the one after that
    /// which failed last, or its Unix socket; null while its name does not resolve, or where it would be this
    /// proxy itself.
    pub address: Option<String>,
    /// Connects that it did not take, since the start.
    pub connect_failures: u64,
}
