//! What Raft promises, one readable scenario each. Sources: the Raft paper (extended version,
//! 2014), Ongaro's thesis (2014), and his correction of single-server changes (raft-dev, 2015).

mod bounds;
mod commitment;
mod elections;
mod lab;
mod leases;
mod lives;
mod membership;
mod partitions;
mod parts;
mod replication;
mod restarts;
mod snapshots;
mod transfer;
