//! `cluster`: what a cluster of three must reach, with real processes on this machine.
//!
//! Each part is a measurement of its own, with nodes of its own. README.md beside this crate says
//! how each is made.

mod agreed; // new keys at the proposal interface; recovery; a wiped node
mod api;
mod burst; // clients at two nodes at once, while nodes are killed and restarted
mod configuration;
mod fresh; // new keys through real connections
mod held; // idle connections that are held
mod known; // known keys: CPU time
mod leader; // the leader is killed
pub mod node; // `cluster-node`
mod proxies;
mod servers;
mod site;
mod visits;

use std::path::Path;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::{ClusterOptions, PartName};
use crate::raft::machine::Machine;
use crate::raft::report::Report;

use self::proxies::{Kind, Proxies};
use self::site::Site;

/// What a part needs to measure.
struct Stage<'a> {
    options: &'a ClusterOptions,
    directory: &'a Path,
    report: Report,
}

impl Stage<'_> {
    /// The full amount, or a tenth of it.
    fn amount(&self, full: u64) -> u64 {
        if self.options.quick { full / 10 } else { full }
    }

    /// How many rounds medians are taken of.
    fn rounds(&self) -> usize {
        if self.options.quick { 2 } else { 5 }
    }

    /// Proxies of a kind, none of which runs yet.
    fn proxies(&self, kind: Kind, site: Site, stick_seconds: u32) -> anyhow::Result<Proxies> {
        let program = match kind {
            Kind::Tcpffee | Kind::LoneTcpffee => &self.options.tcpffee,
            Kind::Haproxy => &self.options.haproxy,
        };
        Proxies::new(kind, program, site, stick_seconds, self.directory)
    }
}

type Part = fn(&mut Stage<'_>) -> anyhow::Result<()>;

/// In this order; the one that pins this process to a core is the last.
const PARTS: [(PartName, Part); 6] = [
    (PartName::Burst, burst::measure),
    (PartName::Agreed, agreed::measure),
    (PartName::New, fresh::measure),
    (PartName::Leader, leader::measure),
    (PartName::Held, held::measure),
    (PartName::Known, known::measure),
];

/// Measures everything that is asked for and prints the table.
///
/// # Errors
/// A program is missing or does not start; a cluster does not come to answer. The table of what
/// was measured before is printed all the same.
pub fn run(options: &ClusterOptions) -> anyhow::Result<()> {
    let directory = directory(options.directory.as_deref())?;
    allow_descriptors()?;
    let syncs = if options.quick { 50 } else { 500 };
    let machine = Machine::measure(directory.path(), syncs)?;
    eprintln!("{machine}");
    let mut stage = Stage {
        options,
        directory: directory.path(),
        report: Report::new(machine),
    };
    let mut failed = None;
    for (name, measure) in PARTS {
        if failed.is_none() && (options.only.is_empty() || options.only.contains(&name)) {
            failed = measure(&mut stage).err();
        }
    }
    println!("\n{}", stage.report);
    failed.map_or(Ok(()), Err)
}

fn directory(parent: Option<&Path>) -> anyhow::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("tcpffee-bench-cluster-");
    match parent {
        Some(parent) => builder.tempdir_in(parent),
        None => builder.tempdir(),
    }
    .context("make a directory for the nodes; --directory says where")
}

/// As many descriptors as this process may have; what it starts inherits it.
fn allow_descriptors() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("raise the limit of descriptors")
}
