//! The consensus itself.

mod output;

pub use output::{ChunkRead, ChunkWrite, CoreEvent, Output, ProposeError, Role};

/// Placeholder while the core is being written on its own branch.
pub struct Core;
