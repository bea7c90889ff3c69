//! Figures with a value of their own in each place, a reader of Prometheus' text format, and what is
//! tested with them.

mod figures;
mod monitoring; // the dashboard and the alerts
mod rendering;
mod values; // each figure in its place

pub use figures::figures;
pub use rendering::Rendering;

/// The program that knows Prometheus' formats, and its package.
pub const PROMTOOL: (&str, &str) = ("promtool", "prometheus");
