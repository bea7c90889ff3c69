//! What runs a node.

mod clock;

pub use clock::boot_time;
