//! Raft for tcpffee.

pub mod codec; // entries and memberships as bytes
pub mod core; // the consensus itself: a deterministic state machine without I/O
pub mod driver; // what runs a node: threads, clock, disk and network around the core
pub mod durable; // what must outlive a crash
pub mod entry; // entries of the log
pub mod forming; // how a cluster comes into being
pub mod ids; // names and numbers
pub mod lease; // how long a node may answer by itself
pub mod log; // the log in memory
pub mod machine; // what the log drives
pub mod membership; // who belongs to the cluster
pub mod message; // what nodes say to each other
pub mod progress; // what a leader knows of each other log
pub mod proposals; // commands on their way to the leader, and their answers
pub mod sessions; // commands that stand in the log twice are applied once
pub mod settings; // times and bounds
pub mod store; // what outlives a crash: write-ahead log, snapshots, identity
pub mod transport; // connections between nodes
pub mod wire; // what travels between nodes, as bytes
