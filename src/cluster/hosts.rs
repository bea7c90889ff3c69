//! What people call the nodes: their ids, and the hosts that the configuration gives them.

use std::collections::BTreeMap;

use arc_swap::ArcSwap;
use tcpffee_raft::ids::NodeId;

use crate::config::{Config, Peer};
use crate::node_id::node_id;

/// The hosts of the configured peers. Whoever reads it never waits.
#[derive(Debug)]
pub struct Hosts {
    own: NodeId,
    known: ArcSwap<BTreeMap<NodeId, String>>,
}

/// The hosts by id, as a configuration has them.
pub fn by_id(peers: &[Peer]) -> BTreeMap<NodeId, String> {
    let named = peers.iter();
    named
        .map(|peer| (node_id(peer.mac_address), peer.host.clone()))
        .collect()
}

impl Hosts {
    /// Those of this configuration, at this node.
    pub fn new(own: NodeId, config: &Config) -> Hosts {
        Hosts {
            own,
            known: ArcSwap::from_pointee(by_id(&config.peers)),
        }
    }

    /// Another configuration is in force.
    pub fn adopt(&self, config: &Config) {
        self.known.store(by_id(&config.peers).into());
    }

    /// A node with its host, or as this one.
    pub fn title(&self, node: NodeId) -> String {
        match self.known.load().get(&node) {
            _ if node == self.own => format!("this node ({node})"),
            Some(host) => format!("{node} ({host})"),
            None => node.to_string(),
        }
    }
}

#[cfg(test)]
pub(super) fn sample() -> Hosts {
    let known = BTreeMap::from([
        (NodeId(1), "a.example".to_owned()),
        (NodeId(2), "b.example".to_owned()),
    ]);
    Hosts {
        own: NodeId(1),
        known: ArcSwap::from_pointee(known),
    }
}
