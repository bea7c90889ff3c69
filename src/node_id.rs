//! Which of the configured peers this node is: the one whose MAC address is one of this host's,
//! or `TCPFFEE_MAC_ADDRESS`.

use mac_address::MacAddressIterator;
use tcpffee_raft::ids::NodeId;

use crate::config::{MacAddress, Peer};

/// The MAC addresses that this node goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// `TCPFFEE_MAC_ADDRESS`: it alone counts.
    Variable(MacAddress),
    /// Those of this host's interfaces, ascending, without repetition.
    Interfaces(Vec<MacAddress>),
}

/// Why it is not known which peer this node is.
#[derive(Debug, thiserror::Error)]
pub enum NodeIdError {
    /// The interfaces cannot be listed.
    #[error(
        "cannot list this host's network interfaces, to find which of the [[peers]] it is: {0}; \
         set TCPFFEE_MAC_ADDRESS to the mac_address of its own entry"
    )]
    Unlisted(#[from] mac_address::MacAddressError),
    /// No peer has such an address.
    #[error(
        "none of the [[peers]] is this node: {}; expected one of {}; give the entry of this node \
         one of its MAC addresses, or set TCPFFEE_MAC_ADDRESS to that of its entry",
        known(.own), shown(.peers)
    )]
    NoPeer {
        /// This node's addresses.
        own: Own,
        /// The peers' addresses.
        peers: Vec<MacAddress>,
    },
    /// Several peers have.
    #[error(
        "more than one of the [[peers]] is this node, {}: {}; each node has one entry; remove the \
         others, or set TCPFFEE_MAC_ADDRESS to the mac_address of the right one",
        shown(.peers), known(.own)
    )]
    SeveralPeers {
        /// This node's addresses.
        own: Own,
        /// Those of them that are peers'.
        peers: Vec<MacAddress>,
    },
}

impl Own {
    /// What the variable says; where it is silent, what the interfaces have.
    ///
    /// # Errors
    /// Where the interfaces cannot be listed.
    pub fn find(variable: Option<MacAddress>) -> Result<Own, NodeIdError> {
        if let Some(mac) = variable {
            return Ok(Own::Variable(mac));
        }
        let all = MacAddressIterator::new()?.map(|mac| MacAddress(mac.bytes()));
        // The loopback interface's, and that of interfaces without one.
        let mut found: Vec<MacAddress> = all.filter(|mac| mac.0 != [0; 6]).collect();
        found.sort_unstable();
        found.dedup();
        Ok(Own::Interfaces(found))
    }

    fn includes(&self, mac: MacAddress) -> bool {
        match self {
            Own::Variable(own) => *own == mac,
            Own::Interfaces(own) => own.contains(&mac),
        }
    }
}

/// The peer that this node is.
///
/// # Errors
/// Where no peer has one of the addresses, or several have.
pub fn own_peer<'p>(peers: &'p [Peer], own: &Own) -> Result<&'p Peer, NodeIdError> {
    let is_own = |peer: &&Peer| own.includes(peer.mac_address);
    let addresses = |peers: &[&Peer]| peers.iter().map(|peer| peer.mac_address).collect();
    let found: Vec<&Peer> = peers.iter().filter(is_own).collect();
    match found.as_slice() {
        [peer] => Ok(peer),
        [] => Err(NodeIdError::NoPeer {
            own: own.clone(),
            peers: addresses(&peers.iter().collect::<Vec<_>>()),
        }),
        several => Err(NodeIdError::SeveralPeers {
            own: own.clone(),
            peers: addresses(several),
        }),
    }
}

/// The node's id in the cluster: the 48 bits of its MAC address.
pub fn node_id(mac: MacAddress) -> NodeId {
    let [a, b, c, d, e, f] = mac.0;
    NodeId(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

fn known(own: &Own) -> String {
    match own {
        Own::Variable(mac) => format!("TCPFFEE_MAC_ADDRESS is {mac}"),
        Own::Interfaces(found) if found.is_empty() => {
            "its network interfaces have no MAC address".to_owned()
        }
        Own::Interfaces(found) => format!("its network interfaces have {}", shown(found)),
    }
}

fn shown(addresses: &[MacAddress]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PeerPorts;

    fn mac(last: u8) -> MacAddress {
        MacAddress([2, 0, 0, 0, 0, last])
    }

    fn peers(last: &[u8]) -> Vec<Peer> {
        let peer = |&last: &u8| Peer {
            host: format!("proxy-{last}.example"),
            mac_address: mac(last),
            ports: PeerPorts::default(),
        };
        last.iter().map(peer).collect()
    }

    #[test]
    fn a_node_is_the_peer_with_one_of_its_interfaces_addresses() {
        let own = Own::Interfaces(vec![mac(9), mac(2)]);
        let peers = peers(&[1, 2, 3]);
        assert_eq!(own_peer(&peers, &own).unwrap(), &peers[1]);
    }

    #[test]
    fn the_variable_goes_before_the_interfaces() {
        let own = Own::find(Some(mac(3))).unwrap();
        assert_eq!(own, Own::Variable(mac(3)));
        let peers = peers(&[1, 2, 3]);
        assert_eq!(own_peer(&peers, &own).unwrap(), &peers[2]);
    }

    #[test]
    fn a_node_that_is_no_peer_is_told_what_was_found_and_what_to_do() {
        let own = Own::Interfaces(vec![mac(8), mac(9)]);
        let text = own_peer(&peers(&[1, 2]), &own).unwrap_err().to_string();
        for part in [
            "02:00:00:00:00:08, 02:00:00:00:00:09",
            "02:00:00:00:00:01, 02:00:00:00:00:02",
            "set TCPFFEE_MAC_ADDRESS",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        let none = Own::Interfaces(Vec::new());
        let text = own_peer(&peers(&[1]), &none).unwrap_err().to_string();
        assert!(text.contains("have no MAC address"), "{text}");
        let text = own_peer(&peers(&[1]), &Own::Variable(mac(7))).unwrap_err();
        let text = text.to_string();
        assert!(
            text.contains("TCPFFEE_MAC_ADDRESS is 02:00:00:00:00:07"),
            "{text}"
        );
    }

    #[test]
    fn a_node_that_is_several_peers_is_told_which() {
        let own = Own::Interfaces(vec![mac(1), mac(2), mac(9)]);
        let text = own_peer(&peers(&[1, 2, 3]), &own).unwrap_err().to_string();
        assert!(
            text.contains("is this node, 02:00:00:00:00:01, 02:00:00:00:00:02:"),
            "{text}"
        );
        assert!(text.contains("02:00:00:00:00:09"), "{text}");
    }

    #[test]
    fn the_interfaces_of_this_host_can_be_listed() {
        let Own::Interfaces(found) = Own::find(None).unwrap() else {
            panic!("no variable was given");
        };
        assert!(found.is_sorted());
        assert!(!found.contains(&MacAddress([0; 6])));
    }

    #[test]
    fn a_node_id_is_shown_as_the_mac_address_that_it_is() {
        let mac = MacAddress([0x02, 0xab, 0, 0x10, 0xff, 0x01]);
        assert_eq!(node_id(mac).to_string(), mac.to_string());
    }
}
