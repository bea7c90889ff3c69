//! Raft for tcpffee.

pub mod codec; // entries and memberships as bytes
pub mod core; // the consensus itself: a deterministic state machine without I/O
pub mod durable; // what must outlive a crash
pub mod entry; // entries of the log
pub mod ids; // names and numbers
pub mod log; // the log in memory
pub mod machine; // what the log drives
pub mod membership; // who belongs to the cluster
pub mod message; // what nodes say to each other
pub mod progress; // what a leader knows of each other log
pub mod settings; // times and bounds
