//! Figures with a value of their own in each place, and a reader of Prometheus' text format.

mod figures;
mod rendering;

pub use figures::figures;
pub use rendering::Rendering;
