//! The configuration: what a file may say, its defaults, and how problems are reported.
//!
//! [`read`] takes a file to a [`Config`] that need not be checked again, or to everything that is
//! wrong with the file. Every key has one row in the [`mod@reference`]; from there come the bounds
//! that values are checked against, the names that unknown keys are compared with, and the moment
//! a change takes effect at a reload.

mod conflicts; // sockets that cannot be open together
mod defaults_file; // /etc/default/tcpffee
mod diff; // what a reload changes
mod doubts; // what may be said, and is hardly meant
mod entry; // one value of a parsed file
pub mod environment; // TCPFFEE_… variables
mod findings; // collects problems with their positions
mod group; // [groups.N]
mod healthcheck; // [[groups.N.healthchecks]]
mod kind; // kinds of values and their bounds
mod listening; // bind_addr, ports
mod load; // from text to Config
mod peers; // [[peers]]
mod problem; // what is wrong, and where
pub mod reference; // every key, once
mod schema; // the validated configuration
mod section; // one table of a parsed file
mod settings; // a configuration written out by key
mod shown; // keys and values in problems
mod top; // the top of the file
mod values; // ports, hosts, MAC addresses
mod variables; // every environment variable, once
mod words; // words of fixed choices

pub use diff::{Change, Changes, diff};
pub use environment::{Environment, MAX_SLICE_END};
pub use kind::Kind;
pub use load::{Loaded, MAX_FILE_BYTES, load, read};
pub use problem::{Fault, Place, Problem, Problems, Severity};
pub use schema::*;
pub use settings::shown as shown_settings;
pub use values::{network, show_ports};
