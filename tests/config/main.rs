//! The configuration: what files and variables say, and what is said of bad ones. One file for each
//! surface.

#[path = "../support/mod.rs"]
mod support;

mod completions;
mod config_support;
mod defaults_file;
mod diff;
mod environment;
mod example;
mod hostile;
mod load;
mod man;
mod reference;
mod tables;
mod values;
