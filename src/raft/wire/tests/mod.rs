mod bytes_of_any_kind;
mod frames;
mod handshake;
mod impossible;
mod noise;
mod round_trips;
pub(crate) mod strategies;
pub(crate) mod talk;
