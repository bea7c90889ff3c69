//! The configuration: what a file may say, its defaults, and how problems are reported.

mod schema;

pub use schema::*;
