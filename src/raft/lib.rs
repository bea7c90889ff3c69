//! Raft for tcpffee: a log that nodes agree on, and a state machine that it drives.
//!
//! The module is generic: it knows nothing of sticks or health. Its sources are the Raft paper
//! (Ongaro and Ousterhout, extended version, 2014), Ongaro's thesis (2014) with his correction of
//! single-server changes (2015), and what etcd's raft has added from practice: pre-vote together
//! with check-quorum, probe, replicate and snapshot states, and writes that nobody waits for.
//!
//! # How it is built
//!
//! ```text
//!   proposals ─▶ driver ◀─▶ transport ◀─▶ peers      one thread: core and sockets
//!                  │  ▲
//!          input   ▼  │   output
//!                  core                                pure: no I/O, no clock, no threads
//!                  │  │
//!           writes ▼  ▼ committed entries
//!               store  applier ─▶ sessions ─▶ StateMachine
//! ```
//!
//! - [`core`] is the consensus, a deterministic state machine: messages and ticks in; messages,
//!   writes, committed entries and events out. It keeps back every message that speaks of a term
//!   or a vote that is not durable yet, so whoever runs it may carry out each part of its output
//!   at that part's pace.
//! - [`store`] makes durable: a segmented write-ahead log and snapshots, over one small layer of
//!   file operations that tests replace.
//! - [`wire`] turns messages into bytes and back without a socket; [`transport`] moves them, by
//!   Noise where the nodes share a secret.
//! - [`driver`] ties them together with the clock, the state machine and the threads for what
//!   takes time.
//! - [`sessions`] is the part of the replicated state that makes a command that was proposed
//!   twice take effect once; [`proposals`] is the other end of it, the client that retries.
//! - [`lease`] lets a node answer from its own copy; [`forming`] brings a cluster into being.
//!
//! # What is invariant, and where it is checked
//!
//! | invariant | kept by | checked by |
//! | --- | --- | --- |
//! | At most one leader in a term | one vote in a term, durable before it is told (`core/disk.rs`, `core/election.rs`); voters come and go one at a time ([`membership::Membership::may_become`]) | simulation, model check; scenarios `elections`, `membership` |
//! | A leader only adds to its log | `core/lead.rs` appends and never truncates | an assertion in `core/disk.rs`; simulation |
//! | Logs that agree at a place agree before it | the check of what stands before the entries (`core/follow.rs`) | simulation, model check; scenarios `replication` |
//! | A leader holds everything committed | up-to-date check of votes; commitment by counting of the own term's entries alone (`core/lead.rs`) | simulation, model check; scenarios `commitment` |
//! | What is committed is never overwritten or taken back | assertions in `core/disk.rs` and `core/follow.rs`: the node halts instead | simulation; scenario `a_log_that_contradicts_...` |
//! | Same place, same entry, applied in order everywhere | `core/mod.rs` hands out committed, durable entries in order | simulation by a digest of each place; linearizability test |
//! | What was acknowledged is durable | acknowledgements follow [`core::Core::persisted`]; the store syncs before it reports | simulation with disks that lose what was not synced; a build whose disk lies is caught |
//! | Promises count only from a disk that remembers them | lives on record in the log (`core/lives.rs`) | simulation with wiped and restored disks; scenarios `lives` |
//! | A snapshot is exact at one place and never takes a log back | `core/install.rs`; the applier takes it between two batches | simulation; scenarios `snapshots`; driver tests |
//! | Log time never goes back and is the same in every log | `core/lease.rs`, `core/lead.rs` | simulation; scenarios `leases` |
//! | Nobody answers from its own copy what the cluster has since decided otherwise | leases confirmed by a later round, and the fence (`core/lease.rs`) | simulation; scenarios `leases` |
//! | A command takes effect once | [`sessions`] | its model tests; simulation; linearizability test |
//! | A torn tail is cut, damage before it stops the node | `store/recovery.rs` | damage at every byte, random crashes against a model, fuzzing |
//! | Nothing that arrives allocates beyond its bound or panics | `wire`, `transport` | property tests, fuzzing, hostile peers |
//! | Two clusters never both take hold of the same nodes | [`forming`] | its exhaustive and simulated tests |
//!
//! The scenarios (`tests/scenarios`) read like the paper, one promise each. The simulation
//! (`tests/simulation`) runs whole clusters from a seed under faults of network, disk and clock;
//! `RAFT_SEED=n` replays one. The model check (`tests/model_check`) explores three cores
//! exhaustively to a bounded depth. `tests/mutations.rs` puts faults into the core on purpose and
//! names what catches each. The linearizability test runs real processes and kills them.
//!
//! # What it does not do
//!
//! It does not tolerate nodes that lie. A restored copy of a disk is found out by voters that have
//! the life that it hides on record: by no one where a majority of the voters that the copy itself
//! knows of lacks the record, as where it is of a time when its node was the only voter; and a
//! copy that was taken after that record is taken for a restart. Clocks may drift by up to three
//! per cent.

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
