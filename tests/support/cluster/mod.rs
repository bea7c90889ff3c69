//! Whole clusters on one machine: hosts are network namespaces on a switch of their own, nodes are
//! processes of the real binary in them, and every answer that a client gets is recorded and
//! checked.
//!
//! A [`Stage`] holds it all. Its tests read like orders to an operator: kill the leader, cut these
//! two off, reload with that group disabled; meanwhile a [`Workload`] asks, and at the end
//! [`Stage::verdict`] says whether any key was sent to two groups.

pub mod burst;
pub mod checker;
mod checker_tests;
pub mod chronicle;
pub mod history;

pub mod lone_table;
pub mod network;
pub mod node;
pub mod plan;
pub mod probe;
#[path = "../../../src/raft/tests/linearizability/random.rs"]
pub mod random;
pub mod stage;
pub mod wall_clock;
pub mod workload;

pub use chronicle::Chronicle;
pub use history::{Answer, History, Outcome};
pub use network::Network;
pub use node::Node;
pub use plan::Plan;
pub use random::Random;
pub use stage::Stage;
pub use workload::{Habits, Workload};
