//! `cluster-node`: a process that agrees on the stick table as tcpffee does, and proxies nothing.
//!
//! What tcpffee's nodes propose can be proposed here at will, as fast as it goes: batches of
//! assignments, by the log's own language, into the log that tcpffee's own state machine applies.
//! It takes the options of the example `node` of tcpffee-raft, and understands of its lines:
//!
//! | line | answer |
//! | --- | --- |
//! | `status` | `ok` and `name=value` pairs |
//! | `snapshot` | `ok`; one is taken soon |
//! | `load count out first` | `ok` and figures, after that many new keys from the first on (`load`) |

mod lines;
mod load;
mod start;
mod stderr;

use std::net::TcpListener;

use anyhow::Context;

use crate::cli::ClusterNodeOptions;

/// Runs until it is killed.
///
/// # Errors
/// An address is taken, or the node's directory cannot be used.
pub fn run(options: &ClusterNodeOptions) -> anyhow::Result<()> {
    stderr::log_there();
    let clients = options.clients;
    let listener = TcpListener::bind(clients).with_context(|| format!("listen at {clients}"))?;
    let node = start::start(options)?;
    lines::serve(&node, &listener);
    Ok(())
}
