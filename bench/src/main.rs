//! `tcpffee-bench`: tcpffee measured side by side with other TCP load balancers.
//!
//! One process is both the clients and the servers behind the balancer, pinned to one core; the
//! balancer runs alone on another. What counts is the CPU time that the balancer's processes
//! spend on a unit of work. README.md beside this crate explains the method.

mod balancer;
mod bare;
mod cli;
mod cluster;
mod compare;
mod config;
mod core;
mod figure;
mod places;
mod process;
mod raft;
mod table;
mod work;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let done = match cli::Cli::parse().command {
        cli::Command::Compare(options) => compare::run(&options),
        cli::Command::Bare(options) => bare::run(&options),
        cli::Command::Raft(options) => raft::run(&options),
        cli::Command::Cluster(options) => cluster::run(&options),
        cli::Command::ClusterNode(options) => cluster::node::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
