//! `/metrics`: what this node counts, in Prometheus' text format 0.0.4.
//!
//! [`Figures`] are plain data, gathered at one moment; [`Figures::render`] writes them. Every metric
//! is listed in `docs/METRICS.md`.

mod checks; // health checks
mod cluster; // how this node serves by what is agreed on
mod figures; // what is rendered, as plain data
mod groups; // groups and their targets
mod node; // the proxy, its table and its process
mod raft; // the Raft groups
mod text; // the format

pub use figures::{Figures, Group, Reloads, Rest, Target};
pub use text::MAX_SERIES;

use text::Text;

/// What the rendering says it is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Figures {
    /// The figures as text.
    pub fn render(&self) -> String {
        let mut text = Text::default();
        node::write(self, &mut text);
        groups::write(self, &mut text);
        checks::write(self, &mut text);
        raft::write(self, &mut text);
        cluster::write(self, &mut text);
        text.finish()
    }
}
