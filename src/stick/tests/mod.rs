//! Tests of the table as a whole; those of one part are beside it.

pub mod fixtures;

mod balance;
mod bounds;
mod life;
mod model;
mod threads;
