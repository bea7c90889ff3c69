//! `/api/v1/`: the node as a whole.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// The node as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Overview {
    /// The program's version.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// This node's id in its cluster, a MAC address; null for a lone node.
    #[schema(example = "02:00:00:00:00:01")]
    pub node: Option<String>,
    /// What makes a key: `IP` or `IP_WITH_FIRST_MESSAGE_SLICE`.
    pub key_type: String,
    /// When the process started.
    #[schema(format = DateTime)]
    pub started: String,
    /// Seconds since then.
    pub uptime_seconds: f64,
    /// The generation of the configuration in force: 1 at the start, one more for each that came
    /// into force.
    pub generation: u64,
    /// Counts of the node as a whole.
    pub totals: Totals,
    /// The stick table.
    pub sticks: Sticks,
    /// Attempts to put another configuration in force.
    pub reloads: Reloads,
    /// Saves of the stick table.
    pub saves: Saves,
    /// The process.
    pub process: Process,
    /// Where the rest is: names and paths.
    pub links: BTreeMap<String, String>,
}

/// Counts of the node as a whole: how it is now where the description says so, else since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Totals {
    /// Connections now.
    pub connections: u64,
    /// Most connections at once, as the configuration has it now.
    pub max_connections: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that ended, by reason; every reason is listed.
    pub ended: BTreeMap<String, u64>,
    /// Bytes from clients to targets, of open connections too.
    pub bytes_in: u64,
    /// Bytes from targets to clients, of open connections too.
    pub bytes_out: u64,
    /// Times that accepting paused for want of descriptors or memory.
    pub accept_pauses: u64,
    /// Connections whose key slice did not come in time.
    pub slice_timeouts: u64,
    /// Connects that failed by the target's fault.
    pub connect_failures: u64,
    /// Groups of the configuration now.
    pub groups: u64,
    /// Those of them that are Up now.
    pub groups_up: u64,
}

/// The stick table: its size now, and counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Sticks {
    /// Entries now, expired ones that were not swept yet included.
    pub entries: u64,
    /// Most entries.
    pub max_entries: u64,
    /// How long an entry outlives its last activity.
    pub expiration_seconds: f64,
    /// Keys that were given a group, having no valid entry.
    pub assignments: u64,
    /// Connections answered by a valid entry.
    pub hits: u64,
    /// Valid entries given another group because theirs was Disabled or gone.
    pub reassignments: u64,
    /// Entries of new keys moved to another group: from one that could not be connected or cannot
    /// see the client (`transparent`), and from a full one.
    pub moves: u64,
    /// Entries that expired.
    pub expiries: u64,
    /// Entries that gave way to a new key in a full table.
    pub evictions: u64,
    /// Connections refused, for whichever reason.
    pub refusals: u64,
}

/// Attempts to put another configuration in force, since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Reloads {
    /// Those that were put in force, or changed nothing.
    pub succeeded: u64,
    /// Those that were refused.
    pub refused: u64,
    /// When the last one was; null where there was none.
    #[schema(format = DateTime)]
    pub last: Option<String>,
    /// Why the last one was refused; empty where it was not.
    pub last_problems: Vec<String>,
}

/// Saves of the stick table, since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Saves {
    /// Those that were written.
    pub succeeded: u64,
    /// Those that failed.
    pub failed: u64,
    /// Why the last one failed; null where it did not.
    pub last_error: Option<String>,
}

/// The process, as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Memory that it holds.
    pub resident_bytes: u64,
    /// Descriptors that it has open.
    pub open_descriptors: u64,
    /// Most descriptors.
    pub max_descriptors: u64,
    /// Its threads.
    pub threads: u64,
    /// CPU time that it has used.
    pub cpu_seconds: f64,
    /// Log lines that were lost because the log could not be written fast enough.
    pub log_lines_lost: u64,
}
