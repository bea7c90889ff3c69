mod agreement;
mod assign;
mod expiry;
pub(in super::super) mod fixtures;
mod members;
mod model;
mod named;
mod random;
