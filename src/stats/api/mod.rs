//! The types that answer under `/api/v1/`: JSON by serde, schema by utoipa. Field names are part of
//! the program's interface: none is renamed or taken away within `v1`.
//!
//! Times are seconds as fractions, moments are RFC 3339 in UTC, sizes are bytes. What a client sent
//! appears in one form only: printable ASCII as it is, every other byte as `\xNN`, the backslash as
//! `\\`.

mod agreed; // how a node of a cluster serves, and what is agreed on
mod checks; // health checks, their targets and results
mod cluster; // Raft: how the nodes stand
mod config; // the configuration in force
mod events; // what happened lately
mod groups; // server groups and their targets
mod health; // whether this node may get traffic
mod overview; // the node as a whole
mod peers; // the nodes of the cluster
mod problem; // errors, as RFC 9457 has them
mod sticks; // the stick table

pub use agreed::{Agreed, AgreedGroup, AgreedMember, ClusterNode, Latency, NoQuorum, NodeCounts};
pub use checks::{Check, CheckKind, CheckResult, CheckState, CheckTarget, CheckVote, PastResult};
pub use cluster::{
    Conflict, Link, LinkDirection, LinkPurpose, LinkState, Member, Raft, RaftCounts, RaftFlow,
    RaftGroup, RaftRole,
};
pub use config::{Configuration, Setting};
pub use events::{Event, EventKind, Events};
pub use groups::{Draining, Group, GroupStatus, Target};
pub use health::{Health, HealthStatus};
pub use overview::{Overview, Process, Reloads, Saves, Sticks, Totals};
pub use peers::{Peer, Peers};
pub use problem::Problem;
pub use sticks::{Stick, StickPage};
