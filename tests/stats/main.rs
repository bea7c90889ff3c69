//! Statistics: the API, and `/metrics` with the files that read it.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod api;
mod metrics;
mod metrics_support;
#[path = "../real/real.rs"]
mod real;
#[path = "../support/mod.rs"]
mod support;
