//! A node as a process of its own, for tests and measurements: named values that are agreed on.
//!
//! ```text
//! node --id 1 --directory /tmp/1 --clients 127.0.0.1:9303 --form \
//!      --peer 1=127.0.0.1:9301,127.0.0.1:9302 --peer 2=127.0.0.2:9301,127.0.0.2:9302
//! ```
//!
//! Clients speak lines over TCP (`clients`). The log goes to standard error. It ends by a signal.

mod arguments;
mod clients;
mod load;
mod register;
mod stderr;

use std::net::TcpListener;
use std::process::ExitCode;

use tcpffee_raft::driver::{self, Config, Network, ProposalLimits, SNAPSHOT_AFTER_BYTES};
use tcpffee_raft::membership::Statement;
use tcpffee_raft::settings::Settings;
use tcpffee_raft::store::files::SystemFiles;
use tcpffee_raft::wire::hello::Agreement;
use tcpffee_raft::wire::secrets::Secrets;
use tcpffee_raft::{store, transport};

use arguments::Arguments;
use clients::Clients;
use register::{VERSION, View};

fn main() -> ExitCode {
    stderr::log_there();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("node: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let listener = TcpListener::bind(arguments.clients).map_err(|error| {
        format!(
            "cannot listen for clients at {}: {error}",
            arguments.clients
        )
    })?;
    let view = View::default();
    let machine = view.clone();
    let node = driver::start(
        SystemFiles,
        config(&arguments)?,
        Box::new(move || machine.begin()),
        None,
        Box::new(|event| log::info!("{event:?}")),
    )
    .map_err(|error| error.to_string())?;
    let clients = Clients {
        node,
        view,
        local_reads: arguments.local_reads,
        patience_ms: arguments.patience_ms,
    };
    clients.serve(&listener);
    Ok(())
}

fn config(arguments: &Arguments) -> Result<Config, String> {
    let own = arguments.own()?;
    // A node that is not to form a cluster names no peers: it waits until it is taken into one.
    let peers = if arguments.form {
        arguments.peers.iter().map(|peer| peer.id).collect()
    } else {
        Vec::new()
    };
    Ok(Config {
        group: "values".to_owned(),
        node: arguments.id,
        folder: arguments.directory.clone(),
        store: store::Limits::default(),
        settings: Settings::default(),
        proposals: ProposalLimits::default(),
        snapshot_after_bytes: arguments
            .snapshot_after_bytes
            .unwrap_or(SNAPSHOT_AFTER_BYTES),
        statement: Statement {
            peers,
            version: VERSION,
        },
        network: Network {
            listen_logs: own.logs,
            listen_proposals: own.proposals,
            peers: arguments.peers.clone(),
            agreement: Agreement {
                hash: [0; 32],
                text: "values".to_owned(),
            },
            secrets: Secrets::none(),
            limits: transport::Limits::default(),
        },
    })
}
