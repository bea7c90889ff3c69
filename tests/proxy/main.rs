//! The real binary on loopback addresses: one file for each promise or surface, all in one program,
//! which is built in a fraction of the time that many take.

#[path = "../support/mod.rs"]
mod support;

mod admission;
mod bad_files;
mod balance;
mod check;
mod cli;
mod close;
mod control;
mod harness;
mod health_faults;
mod health_lives;
mod health_sources;
mod health_status;
mod health_unix;
mod keys;
mod limits;
mod listening;
mod logging;
mod midway;
mod notify;
mod operate;
mod pid_file;
mod proxy_header;
mod queue;
mod relay;
mod reload;
mod restart;
mod silence;
mod stickiness;
mod stop;
mod timeouts;
mod transparent;
mod transparent_routes;
mod unix_targets;
