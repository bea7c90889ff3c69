//! tcpffee, a sticky TCP load balancer: the map of its modules.
//!
//! Dependencies point one way: `proxy → stick → groups → config`, `health → groups → config`;
//! `stats` reads all of them, and nothing reads `stats`.
//! `supervisor` ties them together; `main` is an outline above it.

pub mod canonical; // one form for each IP address
pub mod cli; // the command line and its exit codes
pub mod clock; // monotonic milliseconds
pub mod cluster; // `tcpffee cluster form` over the Raft groups of the process
pub mod config; // the configuration: schema, defaults, loading, errors
pub mod control; // the control socket: how commands reach the running process
pub mod counted; // counts in sentences
pub mod demo; // a stage for `tcpffee demo`
pub mod endpoint; // what a connection to a target is made to
pub mod events; // what the outside asks of the running process
pub mod fault; // failed connects: whose fault it was
pub mod groups; // server groups of one generation: status, weight, targets
pub mod health; // checks of the groups' servers, and what they make of the groups
pub mod histogram; // durations counted in fixed buckets
pub mod history; // what happened lately
pub mod logging; // the log: filter, bounded queue to standard error, rate limits, last words
pub mod node_id; // which of the configured peers this node is
pub mod operator; // what operators order: drain, disable, enable, sticks remove
pub mod own_listeners; // the proxy's own listeners as targets
pub mod paths; // no two files of the process are one
pub mod pid_file; // which process runs, held by a lock
pub mod proxy; // workers, listeners, sessions, relay
pub mod proxy_protocol; // headers that name the client: bytes in, values out
pub mod resolve; // host names of targets, looked up off the event loop
pub mod service; // what the service manager is told
pub mod signals; // signals as events
pub mod sources; // `bind_source`: where connections to targets come from
pub mod state_file; // habits of every file that keeps state: locked, replaced whole, set aside
pub mod stats; // statistics: API, metrics, dashboard
pub mod stick; // the stick table: keys, entries, balance, save
pub mod supervisor; // starts the parts, answers reload and stop
pub mod sys; // the few system calls that no safe wrapper offers
pub mod watchdog; // whether the loops turn, asked for the service manager
