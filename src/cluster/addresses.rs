//! Where the peers are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tcpffee_raft::transport::PeerAddress;

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
        name.answer.load().as_deref().copied()
    })
}

/// An address, in brackets or not.
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}
