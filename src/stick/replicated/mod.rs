//! The stick table that the nodes of a cluster agree on.
//!
//! ```text
//!   log ─▶ machine ─▶ state ─▶ replica ◀─ workers
//!            │          │
//!          codec     agreement
//! ```
//!
//! The state is a function of the log alone: of its commands, memberships and times, in their
//! order. [`Replica`] is the part of it that workers read while the log is applied; the rest
//! belongs to the thread that applies.

mod agreed;
mod codec;
pub mod command; // what nodes put into the log, and what comes back
pub mod exercise; // what must hold for any bytes
mod machine;
pub mod node; // one node's decisions
mod replica;
mod snapshot;
mod state;

pub use agreed::{Agreed, AgreedGroup, AgreedMember};
pub use codec::{CommandError, encode};
pub use machine::{Listener, machine};
pub use replica::{Replica, Seen};
pub use snapshot::seed;
