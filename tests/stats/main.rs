//! Statistics: the API, and `/metrics` with the files that read it.

mod api;
mod metrics;
mod metrics_support;
#[path = "../real/real.rs"]
mod real;
#[path = "../support/mod.rs"]
mod support;
