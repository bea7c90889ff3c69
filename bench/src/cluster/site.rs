//! Where three nodes are: each on an address of its own, all with the same ports.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Context;

use crate::places::{self, Places};

/// Nodes of a cluster.
pub const NODES: usize = 3;
/// The address beside the nodes', for a proxy that runs alone.
pub const LONE: usize = NODES;

/// Sockets between nodes: two for each Raft group; haproxy needs one.
const PEER_PORTS: u16 = 4;
const FIRST_PEER_PORT: u16 = 32_000;
const LAST_PEER_PORT: u16 = 32_760;

/// Addresses and ports of one set of nodes.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    places: Places,
    first_peer_port: u16,
}

impl Site {
    /// Chooses what is free now.
    pub fn choose() -> anyhow::Result<Site> {
        let places = Places::choose()?;
        let is_free = |first: &u16| {
            (0..NODES).all(|node| {
                let host = host(&places, node);
                let mut ports = *first..*first + PEER_PORTS;
                ports.all(|port| places::listener(SocketAddrV4::new(host, port)).is_ok())
            })
        };
        let first_peer_port = (FIRST_PEER_PORT..LAST_PEER_PORT)
            .step_by(PEER_PORTS.into())
            .find(is_free)
            .with_context(|| format!("no {PEER_PORTS} free ports from {FIRST_PEER_PORT} on"))?;
        Ok(Site {
            places,
            first_peer_port,
        })
    }

    /// One node's places: those of the servers are the same for all.
    pub fn places(&self, node: usize) -> Places {
        self.places.of_balancer(number(node))
    }

    /// One node's address.
    pub fn host(&self, node: usize) -> Ipv4Addr {
        host(&self.places, node)
    }

    /// Where a node listens for clients, spread over its ports by `nth`.
    pub fn listen(&self, node: usize, nth: u64) -> SocketAddrV4 {
        self.places(node).listen(nth)
    }

    /// Where a node answers with statistics.
    pub fn statistics(&self, node: usize) -> SocketAddrV4 {
        SocketAddrV4::new(self.host(node), self.places.statistics_port())
    }

    /// The ports between nodes.
    pub fn peer_ports(&self) -> [u16; PEER_PORTS as usize] {
        std::array::from_fn(|nth| self.first_peer_port + nth as u16)
    }
}

/// A client that no measurement's other clients are: one of eight million addresses.
pub fn client(number: u32) -> Ipv4Addr {
    const FIRST: u32 = u32::from_be_bytes([127, 128, 0, 0]);
    // The last of them is the network's broadcast address.
    Ipv4Addr::from(FIRST + number % 0x7f_ffff)
}

fn host(places: &Places, node: usize) -> Ipv4Addr {
    places.of_balancer(number(node)).proxy()
}

fn number(node: usize) -> u8 {
    u8::try_from(node).expect("few nodes")
}
