//! Configurations of the nodes.

use std::fmt::Write as _;

use crate::config;

use super::site::{NODES, Site};

/// tcpffee as a node of a cluster.
pub fn tcpffee(site: &Site, node: usize, stick_seconds: u32) -> String {
    let host = site.host(node);
    let mut more = String::new();
    let sockets = [
        "raft_healthchecks_logs_bind_socket",
        "raft_stick_table_logs_bind_socket",
        "raft_healthchecks_proposals_bind_socket",
        "raft_stick_table_proposals_bind_socket",
    ];
    for (socket, port) in sockets.iter().zip(site.peer_ports()) {
        writeln!(more, "{socket} = \"{host}:{port}\"").expect("a string takes all");
    }
    // No client may be sent elsewhere: rather none is answered.
    more.push_str("no_quorum = \"refuse\"\n");
    for peer in 0..NODES {
        write!(
            more,
            "\n[[peers]]\nhost = \"{}\"\nmac_address = \"{}\"\n",
            site.host(peer),
            mac(peer)
        )
        .expect("a string takes all");
    }
    config::tcpffee_with(&site.places(node), stick_seconds, &more)
}

/// tcpffee alone.
pub fn lone_tcpffee(site: &Site, node: usize, stick_seconds: u32) -> String {
    config::tcpffee_with(&site.places(node), stick_seconds, "")
}

/// haproxy with the other nodes as `peers`.
pub fn haproxy(site: &Site, node: usize, stick_seconds: u32) -> String {
    let mut peers = "peers nodes\n".to_owned();
    let [port, ..] = site.peer_ports();
    for peer in 0..NODES {
        let host = site.host(peer);
        writeln!(peers, "    peer {} {host}:{port}", peer_name(peer)).expect("a string takes all");
    }
    let table = format!("size 1m expire {stick_seconds}s peers nodes");
    config::haproxy_with(&site.places(node), &table, &peers)
}

/// What haproxy is told that it is, with `-L`.
pub fn peer_name(node: usize) -> String {
    format!("node{node}")
}

/// What tcpffee is told that it is.
pub fn mac(node: usize) -> String {
    format!("02:00:00:00:00:{:02x}", node + 1)
}
