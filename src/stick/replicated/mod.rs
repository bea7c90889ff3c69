//! The stick table that the nodes of a cluster agree on.

pub mod command; // what nodes put into the log, and what comes back
