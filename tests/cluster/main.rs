//! Clusters of the real binary, one network namespace for each node: while nodes are killed,
//! stopped, cut off, wiped, reloaded and replaced, no key is sent to two groups. One file for each
//! kind of trouble; `support/cluster` is the stage.
//!
//! Every test prints its seed and what clients saw. The long run, so many seconds of random
//! trouble with a seed of choice:
//!
//! ```sh
//! CLUSTER_SECONDS=3600 CLUSTER_SEED=42 cargo test --test cluster -- --nocapture random
//! ```

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

#[path = "../support/cluster/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "each promise uses a part of the harness"
)]
mod cluster;
#[path = "../support/mod.rs"]
mod support;

mod alone;
mod caught;
mod clocks;
mod crashes;
mod cuts;
mod disks;
mod expiry;
mod harness;
mod keepalived;
mod limits;
mod many;
mod members;
mod migrating;
mod pauses;
mod random;
mod reloads;
mod secrets;
mod slow_start;
mod votes;
