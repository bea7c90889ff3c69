//! Health checks that the nodes of a cluster vote on.
//!
//! ```text
//! board: observation → council ──propose──▶ log ──▶ machine: Agreed → minutes
//!                         ▲                                            │
//!                         └────── verdict → board → group's status ◀───┘
//! ```
//!
//! Every node says what it sees of each check that it has; the leader says which nodes are alive. What
//! follows is a function of the log ([`Agreed`]): a verdict changes only by more than half of the
//! alive nodes that have the check. The machine writes it down in the [`Minutes`], where the node's
//! [`Council`] finds it: a thread that compares what the log has of this node with what the node
//! sees, has the log told of the difference for as long as there is one, and lets verdicts take
//! effect. Without a leader the last verdicts hold, and what a node sees meanwhile is told later.
//!
//! Whoever runs the Raft group starts it with [`machine`] as its state machine and [`VERSION`] as the
//! version that it states, and gives a [`Council`] with its handle to
//! [`Outside`](super::Outside).

mod agreed; // what follows from the log
mod codec; // commands, answers and states as bytes
pub mod command; // what nodes put into the log, and what comes back
mod council; // the node's side: a thread that speaks and listens
mod dissent; // how long this node has been of another opinion
pub mod exercise; // what must hold for any bytes
mod heads; // which nodes the leader counts as alive
mod machine; // what the log drives
mod minutes; // what was agreed, as threads share it
mod speech; // what the log is still to be told

#[cfg(test)]
mod tests;

pub use agreed::{Agreed, CheckKey, Vote};
pub use command::VERSION;
pub use council::Council;
pub use machine::machine;
pub use minutes::Minutes;

pub(super) use council::{Seat, Sitting};
