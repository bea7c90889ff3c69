//! Hosts on a switch: nodes, their clients and the servers behind them.
//!
//! | host | addresses |
//! | --- | --- |
//! | node N, from 1 | 10.77.0.N, MAC 02:77:00:00:00:N |
//! | servers | 10.77.0.(100 + group) |
//! | clients | 10.77.0.254, and all of 10.78.0.0/16 |
//!
//! Every node finds the others by entries in its neighbour table that never change by themselves.
//! A cut from A to B writes an address there that nobody has: what A sends to B goes astray on the
//! switch, in silence and in this direction only. It needs no packet filter.

use std::net::Ipv4Addr;

use crate::support::host::Host;

/// The MAC address of a node.
pub fn mac(node: usize) -> String {
    format!("02:77:00:00:00:{node:02x}")
}

/// Where a node is.
pub fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, octet(node))
}

/// Where a group's server is.
pub fn server(group: u32) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 100 + u8::try_from(group).expect("few groups"))
}

/// Where a client is, of 65,024.
pub fn client(key: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 78, 1, 0)) + key)
}

const CLIENTS: &str = "10.77.0.254";
const SERVERS_MAC: &str = "02:77:00:00:01:01";
const NOBODY: &str = "02:ff:ff:ff:ff:ff";
const MOST_GROUPS: u32 = 20;

/// The hosts, and who reaches whom.
#[derive(Debug)]
pub struct Network {
    /// Where clients are.
    pub clients: Host,
    /// Where servers are.
    pub servers: Host,
    nodes: Vec<Host>,
    _switch: Host,
}

impl Network {
    /// So many nodes. Where this process may not make hosts, the test is skipped and there is none.
    pub fn new(nodes: usize) -> Option<Network> {
        match Network::try_new(nodes) {
            Ok(network) => Some(network),
            Err(reason) => {
                crate::support::skip(format_args!("no hosts: {reason}"));
                None
            }
        }
    }

    fn try_new(count: usize) -> Result<Network, String> {
        let switch = Host::new()?;
        switch.run(|| crate::support::netns::ip("link add switch type bridge"))?;
        switch.ip("link set switch up");
        let mut nodes = Vec::new();
        for node in 1..=count {
            let host = Host::new()?;
            plug_in(&switch, &host, &format!("node{node}"), &mac(node));
            host.ip(format!("address add {}/24 dev eth0", address(node)));
            host.ip(format!("route add 10.78.0.0/16 via {CLIENTS}"));
            nodes.push(host);
        }
        let servers = Host::new()?;
        plug_in(&switch, &servers, "servers", SERVERS_MAC);
        for group in 0..MOST_GROUPS {
            servers.ip(format!("address add {}/24 dev eth0", server(group)));
        }
        let clients = Host::new()?;
        plug_in(&switch, &clients, "clients", "02:77:00:00:01:02");
        clients.ip(format!("address add {CLIENTS}/24 dev eth0"));
        clients.ip("route add local 10.78.0.0/16 dev lo");
        let network = Network {
            clients,
            servers,
            nodes,
            _switch: switch,
        };
        network.heal_all();
        Ok(network)
    }

    /// How many nodes there are.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// The host of a node.
    pub fn node(&self, node: usize) -> &Host {
        &self.nodes[node - 1]
    }

    /// What `from` sends to `to` is lost from now on.
    pub fn cut(&self, from: usize, to: usize) {
        self.point(from, address(to), NOBODY);
    }

    /// What `from` sends to `to` arrives again.
    pub fn heal(&self, from: usize, to: usize) {
        self.point(from, address(to), &mac(to));
    }

    /// Everything arrives again.
    pub fn heal_all(&self) {
        for (from, to) in self.pairs() {
            self.heal(from, to);
        }
    }

    /// What a node sends to a group's server is lost from now on.
    pub fn cut_from_server(&self, node: usize, group: u32) {
        self.point(node, server(group), NOBODY);
    }

    /// What a node sends to a group's server arrives again.
    pub fn heal_to_server(&self, node: usize, group: u32) {
        self.point(node, server(group), SERVERS_MAC);
    }

    /// Nothing passes, in either direction, between these nodes and all others.
    pub fn cut_off(&self, minority: &[usize]) {
        for (from, to) in self.pairs() {
            if minority.contains(&from) != minority.contains(&to) {
                self.cut(from, to);
            }
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let all = 1..=self.size();
        all.clone()
            .flat_map(move |from| all.clone().map(move |to| (from, to)))
            .filter(|(from, to)| from != to)
    }

    fn point(&self, from: usize, to: Ipv4Addr, at: &str) {
        let words = format!("neighbour replace {to} lladdr {at} nud permanent dev eth0");
        self.node(from).ip(words);
    }
}

/// A cable from the host's `eth0` to a port of the switch.
fn plug_in(switch: &Host, host: &Host, port: &str, mac: &str) {
    let namespace = host.namespace();
    switch.ip(format!(
        "link add {port} type veth peer name eth0 address {mac} netns {namespace}"
    ));
    switch.ip(format!("link set {port} master switch up"));
    host.ip("link set eth0 up");
}

fn octet(node: usize) -> u8 {
    assert!((1..100).contains(&node), "no node {node}");
    u8::try_from(node).expect("below 100")
}
