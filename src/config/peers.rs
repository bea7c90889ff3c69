//! `[[peers]]` and what else the cluster needs.

use std::time::Duration;

use super::conflicts::NamedSocket;
use super::entry::Entry;
use super::schema::{MacAddress, Peer, PeerPorts};
use super::section::Section;
use super::values::{self, Host};

/// Nodes of one cluster.
const MAX_PEERS: usize = 64;

/// The nodes of the cluster in the order of the file; empty for a lone node.
pub(super) fn peers(top: &Section<'_>, sockets: &[NamedSocket]) -> Vec<Peer> {
    let Some(entry) = top.get("peers") else {
        return Vec::new();
    };
    let sections = entry.tables("tables such as [[peers]]");
    if sections.len() > MAX_PEERS {
        entry.refuse_for(format!("at most {MAX_PEERS} peers"));
        return Vec::new();
    }
    let mut peers: Vec<Peer> = Vec::new();
    for section in &sections {
        peers.extend(peer(section, &peers));
    }
    look_at_unreachable_sockets(&entry, &peers, sockets);
    peers
}

fn peer(section: &Section<'_>, earlier: &[Peer]) -> Option<Peer> {
    section.refuse_unknown_keys();
    let host = match section.get("host") {
        Some(entry) => entry.parsed(|text| values::host(text).map(|_| text.to_owned())),
        None => {
            section.missing("host", "an IP address or a host name");
            None
        }
    };
    let mac_address = match section.get("mac_address") {
        Some(entry) => mac_address(&entry, earlier),
        None => {
            section.missing("mac_address", "a MAC address such as \"02:00:00:00:00:01\"");
            None
        }
    };
    let ports = ports(section);
    Some(Peer {
        host: host?,
        mac_address: mac_address?,
        ports,
    })
}

fn mac_address(entry: &Entry<'_>, earlier: &[Peer]) -> Option<MacAddress> {
    let (mac, had_empty_part) = entry.parsed(values::mac_address)?;
    if had_empty_part {
        entry.warn(format!("read as {mac}, its empty part skipped"));
    }
    if let Some(at) = earlier.iter().position(|peer| peer.mac_address == mac) {
        entry.error(format!(
            "{mac} is the address of peers[{at}] too; expected one for each peer"
        ));
    }
    Some(mac)
}

fn ports(section: &Section<'_>) -> PeerPorts {
    let table = section.get("ports");
    let Some(ports) =
        table.and_then(|entry| entry.section("a table such as { stick_table_logs = 2342 }"))
    else {
        return PeerPorts::default();
    };
    ports.refuse_unknown_keys();
    PeerPorts {
        healthchecks_logs: ports.integer("healthchecks_logs"),
        stick_table_logs: ports.integer("stick_table_logs"),
        healthchecks_proposals: ports.integer("healthchecks_proposals"),
        stick_table_proposals: ports.integer("stick_table_proposals"),
    }
}

/// Sockets that only this host reaches, in a cluster that spans others. Where a peer goes by a
/// name, nobody knows yet that it is another host: that is found out at the start.
fn look_at_unreachable_sockets(entry: &Entry<'_>, peers: &[Peer], sockets: &[NamedSocket]) {
    let is_address = |peer: &&Peer| matches!(values::host(&peer.host), Some(Host::Ip(_)));
    let mut others = peers.iter().filter(|peer| !is_loopback(&peer.host));
    let Some(elsewhere) = others.clone().find(is_address).or_else(|| others.next()) else {
        return;
    };
    let local: Vec<&str> = sockets
        .iter()
        .filter(|socket| socket.address.ip().to_canonical().is_loopback())
        .map(|socket| socket.name)
        .collect();
    if local.is_empty() {
        return;
    }
    let sentence = format!(
        "the cluster would not reach {}: {} on a loopback address; give them an address that the \
         other peers reach",
        elsewhere.host,
        local.join(", ")
    );
    match values::host(&elsewhere.host) {
        Some(Host::Ip(_)) => entry.error(sentence),
        _ => entry.warn_at_key(sentence),
    }
}

fn is_loopback(host: &str) -> bool {
    match values::host(host) {
        Some(Host::Ip(ip)) => ip.to_canonical().is_loopback(),
        Some(Host::Name(name)) => {
            let name = name.strip_suffix('.').unwrap_or(&name).to_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

/// `raft_election_timeout`: shortest and longest.
pub(super) fn election_timeout(top: &Section<'_>, heartbeat: Duration) -> (Duration, Duration) {
    const EXPECTED: &str = "seconds as a number from 0.01 to 60";
    let default = (Duration::from_millis(300), Duration::from_millis(600));
    let Some(entry) = top.get("raft_election_timeout") else {
        return check_against_heartbeat(top.get("raft_heartbeat"), default, heartbeat);
    };
    let elements = entry.elements_of_array();
    let [shortest, longest] = elements.as_slice() else {
        if entry.elements().is_some() {
            entry.refuse();
        }
        return default;
    };
    let (Some(shortest), Some(longest)) = (
        shortest.seconds_within(10, 60_000, EXPECTED),
        longest.seconds_within(10, 60_000, EXPECTED),
    ) else {
        return default;
    };
    if shortest >= longest {
        entry.error("expected the longest time to be longer than the shortest");
    }
    check_against_heartbeat(Some(entry), (shortest, longest), heartbeat)
}

fn check_against_heartbeat(
    entry: Option<Entry<'_>>,
    timeout: (Duration, Duration),
    heartbeat: Duration,
) -> (Duration, Duration) {
    if let Some(entry) = entry
        && timeout.0 < heartbeat * 2
    {
        let (shortest, heartbeat) = (timeout.0.as_secs_f64(), heartbeat.as_secs_f64());
        entry.error(format!(
            "elections after {shortest} seconds with a heartbeat every {heartbeat}: expected \
             raft_election_timeout to begin at twice raft_heartbeat or more"
        ));
    }
    timeout
}
