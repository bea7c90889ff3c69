//! Where the peers are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tcpffee_raft::transport::PeerAddress;

use super::StartError;
use super::start::Group;
use crate::config::{Config, Peer};
use crate::node_id::node_id;
use crate::resolve::Names;

/// In place of an address that is not known: nobody is there, and trying fails at once.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

/// The addresses of all peers, as far as their names resolve.
pub(super) fn of(group: Group, config: &Config, names: &Names) -> Vec<PeerAddress> {
    let sockets = group.sockets(config);
    let address = |peer: &Peer| {
        let ip = ip_of(peer, names).unwrap_or(NOWHERE);
        let (logs, proposals) = group.ports(peer);
        PeerAddress {
            id: node_id(peer.mac_address),
            logs: SocketAddr::new(ip, logs.unwrap_or(sockets.0.port())),
            proposals: SocketAddr::new(ip, proposals.unwrap_or(sockets.1.port())),
        }
    };
    config.peers.iter().map(address).collect()
}

/// The host name that a peer is known by; none where it is an address.
pub(super) fn name(peer: &Peer) -> Option<String> {
    literal(&peer.host).is_none().then(|| peer.host.clone())
}

fn ip_of(peer: &Peer, names: &Names) -> Option<IpAddr> {
    literal(&peer.host).or_else(|| {
        let name = names.get(&peer.host).ok()?;
        name.first()
    })
}

/// Sockets that only this host reaches are of no use where a peer is on another.
///
/// # Errors
/// Where it is so.
pub(super) fn check_reach(config: &Config, names: &Names) -> Result<(), StartError> {
    let is_elsewhere = |peer: &&Peer| {
        let is_here = |ip: IpAddr| ip.to_canonical().is_loopback();
        ip_of(peer, names).map_or(peer.host != "localhost", |ip| !is_here(ip))
    };
    let Some(elsewhere) = config.peers.iter().find(is_elsewhere) else {
        return Ok(());
    };
    let sockets = &config.raft_sockets;
    let named = [
        (
            "raft_healthchecks_logs_bind_socket",
            sockets.healthchecks_logs,
        ),
        (
            "raft_stick_table_logs_bind_socket",
            sockets.stick_table_logs,
        ),
        (
            "raft_healthchecks_proposals_bind_socket",
            sockets.healthchecks_proposals,
        ),
        (
            "raft_stick_table_proposals_bind_socket",
            sockets.stick_table_proposals,
        ),
    ];
    let local = named.iter().filter(|(_, at)| at.ip().is_loopback());
    let local: Vec<&str> = local.map(|(name, _)| *name).collect();
    match local.is_empty() {
        true => Ok(()),
        false => Err(StartError::Unreachable {
            sockets: local.join(", "),
            host: elsewhere.host.clone(),
        }),
    }
}

/// An address, in brackets or not.
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}
