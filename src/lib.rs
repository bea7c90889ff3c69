//! tcpffee, a sticky TCP load balancer: the map of its modules.
//!
//! Dependencies point one way: `proxy → stick → groups → config`. `supervisor`
//! ties them together; `main` is an outline above it.

pub mod clock; // monotonic milliseconds
pub mod config; // the configuration: schema, defaults, loading, errors
pub mod groups; // server groups of one generation: status, weight, targets
pub mod logging; // the log: filter, bounded queue to standard error, rate limits, last words
pub mod proxy; // workers, listeners, sessions, relay
pub mod stick; // the stick table: keys, entries, balance, save
