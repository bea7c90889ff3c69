//! Statistics: what this node knows about itself, for people and programs, read-only over HTTP on
//! `stats_bind_socket`.

pub mod api; // the types that answer, each field documented
pub mod metrics; // `/metrics`, in Prometheus' text format
