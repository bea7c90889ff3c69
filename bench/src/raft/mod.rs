//! `raft`: what the Raft module alone must reach, with three real processes on this machine.
//!
//! Beside each figure stand the machine's own in the same run: what the disk takes for a sync
//! while two others sync too, and what a loopback connection takes for a round trip.

pub mod client;
pub mod machine;
pub mod node;
pub mod report;
mod work;

use std::path::Path;

use anyhow::Context;

use crate::cli::RaftOptions;

use self::machine::Machine;
use self::node::{Nodes, Program};
use self::report::Report;
use self::work::Amounts;

/// Measures everything and prints the table.
///
/// # Errors
/// The node is missing or does not start, the cluster does not come to answer, a proposal fails.
pub fn run(options: &RaftOptions) -> anyhow::Result<()> {
    let program = Program::find(&options.node)?;
    let directory = directory(options.directory.as_deref())?;
    let amounts = Amounts::of(options.quick);
    let machine = Machine::measure(directory.path(), amounts.syncs)?;
    eprintln!("{machine}");
    let mut report = Report::new(machine);

    let mut nodes = Nodes::start(&program, directory.path(), &[])?;
    work::lone_proposals(&nodes, directory.path(), &amounts, &mut report)?;
    work::idle(&nodes, &amounts, &mut report)?;
    work::throughput(&nodes, &amounts, &mut report)?;
    work::killed_leader(&mut nodes, &amounts, &mut report)?;
    drop(nodes);

    // No snapshot may shorten the log that is to be recovered.
    let whole_log = ["--snapshot-after-bytes", "1000000000000"];
    let mut nodes = Nodes::start(&program, directory.path(), &whole_log)?;
    work::recovery(&mut nodes, &amounts, &mut report)?;
    println!("\n{report}");
    Ok(())
}

fn directory(parent: Option<&Path>) -> anyhow::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("tcpffee-bench-raft-");
    match parent {
        Some(parent) => builder.tempdir_in(parent),
        None => builder.tempdir(),
    }
    .context("make a directory for the nodes; --directory says where")
}
