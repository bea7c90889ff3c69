mod agreement;
mod assign;
mod expiry;
pub mod fixtures;
mod members;
mod model;
mod named;
mod random;
mod speed;
