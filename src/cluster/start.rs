//! What the Raft groups are started with.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tcpffee_raft::driver::{self, Network, ProposalLimits, SNAPSHOT_AFTER_BYTES};
use tcpffee_raft::ids::{ClusterId, NodeId};
use tcpffee_raft::membership::Statement;
use tcpffee_raft::settings::Settings;
use tcpffee_raft::wire::hello::Agreement;
use tcpffee_raft::wire::secrets::{SecretError, Secrets};

use super::{addresses, milliseconds};
use crate::config::{Config, Environment, KeyType, Peer};
use crate::node_id::node_id;
use crate::resolve::Names;
use crate::stick::replicated::command::VERSION;
use crate::stick::save::KeyShape;

/// Time is written into an idle log as often in an `expiration`.
const TIME_ENTRIES: u32 = 20;
/// And as often at least.
const MAX_TIME_ENTRY: Duration = Duration::from_secs(1);

/// One of the Raft groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Which key belongs to which server group.
    StickTable,
    /// Which checks fail.
    HealthChecks,
}

impl Group {
    /// What humans call it.
    pub fn name(self) -> &'static str {
        match self {
            Group::StickTable => "stick table",
            Group::HealthChecks => "health checks",
        }
    }

    /// Its folder below `TCPFFEE_RAFT_PATH`.
    fn folder(self) -> &'static str {
        match self {
            Group::StickTable => "stick_table",
            Group::HealthChecks => "healthchecks",
        }
    }

    /// Where this node listens: for messages, and for proposals.
    pub fn sockets(self, config: &Config) -> (SocketAddr, SocketAddr) {
        let sockets = &config.raft_sockets;
        match self {
            Group::StickTable => (sockets.stick_table_logs, sockets.stick_table_proposals),
            Group::HealthChecks => (sockets.healthchecks_logs, sockets.healthchecks_proposals),
        }
    }

    /// A peer's ports, where they differ from this node's.
    pub fn ports(self, peer: &Peer) -> (Option<u16>, Option<u16>) {
        let ports = &peer.ports;
        match self {
            Group::StickTable => (ports.stick_table_logs, ports.stick_table_proposals),
            Group::HealthChecks => (ports.healthchecks_logs, ports.healthchecks_proposals),
        }
    }
}

/// What one Raft group of this node is started with.
pub(super) fn config(
    group: Group,
    config: &Config,
    environment: &Environment,
    node: NodeId,
    names: &Names,
    secrets: Secrets,
) -> driver::Config {
    let (listen_logs, listen_proposals) = group.sockets(config);
    driver::Config {
        group: group.name().to_owned(),
        node,
        folder: environment.raft_path.join(group.folder()),
        store: tcpffee_raft::store::Limits::default(),
        settings: settings(group, config),
        proposals: ProposalLimits::default(),
        snapshot_after_bytes: SNAPSHOT_AFTER_BYTES,
        statement: statement(&config.peers),
        network: Network {
            listen_logs,
            listen_proposals,
            peers: addresses::of(group, config, names),
            agreement: agreement(config, environment.key_type),
            secrets,
            limits: tcpffee_raft::transport::Limits::default(),
        },
    }
}

fn settings(group: Group, config: &Config) -> Settings {
    let time_entry = match group {
        Group::StickTable => (config.expiration / TIME_ENTRIES).min(MAX_TIME_ENTRY),
        Group::HealthChecks => MAX_TIME_ENTRY,
    };
    let (shortest, longest) = config.raft_election_timeout;
    Settings {
        heartbeat_ms: milliseconds(config.raft_heartbeat),
        election_min_ms: milliseconds(shortest),
        election_max_ms: milliseconds(longest),
        time_entry_ms: milliseconds(time_entry).max(1),
        ..Settings::default()
    }
}

/// What the node's file says of the membership.
pub(super) fn statement(peers: &[Peer]) -> Statement {
    let mut ids: Vec<NodeId> = peers.iter().map(|peer| node_id(peer.mac_address)).collect();
    ids.sort_unstable();
    Statement {
        peers: ids,
        version: VERSION,
    }
}

/// What must be the same on all nodes: what makes a key.
pub(super) fn agreement(config: &Config, key_type: KeyType) -> Agreement {
    let shape = KeyShape {
        key_type,
        ipv6_prefix: config.key_ipv6_prefix,
    };
    let mut networks: Vec<String> = config
        .accept_proxy_from
        .iter()
        .map(|network| format!("{}/{}", network.address, network.prefix))
        .collect();
    networks.sort_unstable();
    let from = match networks.as_slice() {
        [] => "nobody".to_owned(),
        networks => networks.join(", "),
    };
    let text = format!("keys by {shape}; PROXY protocol accepted from {from}");
    let hash = Sha256::digest(text.as_bytes());
    Agreement {
        hash: hash.into(),
        text,
    }
}

/// The shared secrets cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be read.
    #[error("peer_secret_file: cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What it says is no secret.
    #[error(
        "peer_secret_file: {}: {source}; expected one secret in a line of its own, or two while \
         one takes the other's place",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: SecretError,
    },
}

/// What the nodes share, from `peer_secret_file`: one secret in each line that is not empty, the
/// one to be used first.
pub(super) fn secrets(config: &Config) -> Result<Secrets, SecretFileError> {
    let Some(path) = &config.peer_secret_file else {
        return Ok(Secrets::none());
    };
    let read = fs::read(path).map_err(|source| SecretFileError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let lines = read.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        lines.push(b"");
    }
    Secrets::new(&lines).map_err(|source| SecretFileError::Unusable {
        path: path.clone(),
        source,
    })
}

/// A number that no earlier process of this node had.
pub(super) fn draw() -> io::Result<u64> {
    let ClusterId(number) = ClusterId::draw().map_err(io::Error::other)?;
    Ok(number as u64) // half of it is random enough
}
