//! The proxy: workers, listeners, sessions and the relay between them.

pub mod ending;

pub use ending::End;
