//! The top of the file: builds the [`Config`] from all its parts.

use std::net::SocketAddr;
use std::time::Duration;

use super::conflicts::{self, NamedSocket};
use super::doubts;
use super::entry::Entry;
use super::environment::Environment;
use super::group;
use super::listening::{self, Ports};
use super::peers;
use super::schema::{Balance, Config, KeyType, NoQuorum, RaftSockets, StickTableFull};
use super::section::Section;
use super::values;

/// Reads the whole file. What cannot be read is reported and replaced by its default; `None`
/// where a required part is missing.
pub(super) fn config(top: &Section<'_>, env: &Environment) -> Option<Config> {
    top.refuse_unknown_keys();
    let ports = Ports::required(top);
    let bind_addrs = listening::bind_addrs(top);
    let stats = socket(top, "stats_bind_socket", 2340);
    let raft = [
        socket(top, "raft_healthchecks_logs_bind_socket", 2341),
        socket(top, "raft_stick_table_logs_bind_socket", 2342),
        socket(top, "raft_healthchecks_proposals_bind_socket", 2343),
        socket(top, "raft_stick_table_proposals_bind_socket", 2344),
    ];
    conflicts::report(
        top,
        &bind_addrs,
        &ports,
        std::iter::once(&stats).chain(&raft),
    );
    let peers = peers::peers(top, &raft);
    let expiration = expiration(top, !peers.is_empty());
    let raft_heartbeat = top.seconds_or("raft_heartbeat", 50);
    let config = Config {
        freebind: top.bool("freebind", false),
        stats_bind_socket: stats.address,
        raft_sockets: RaftSockets {
            healthchecks_logs: raft[0].address,
            stick_table_logs: raft[1].address,
            healthchecks_proposals: raft[2].address,
            stick_table_proposals: raft[3].address,
        },
        workers: top.integer("workers"),
        listen_backlog: top.integer("listen_backlog").unwrap_or(4096),
        balance: top.word("balance").unwrap_or(Balance::LeastSticks),
        connect_timeout: top.seconds_or("connect_timeout", 5_000),
        idle_timeout: top.seconds("idle_timeout"),
        half_closed_timeout: top.seconds_or("half_closed_timeout", 3_600_000),
        tcp_keepalive: top.seconds_or("tcp_keepalive", 60_000),
        max_connections: top.integer("max_connections"),
        max_buffered_bytes: top.integer("max_buffered_bytes").unwrap_or(256 << 20),
        shutdown_grace: top.seconds_or("shutdown_grace", 30_000),
        first_message_timeout: first_message_timeout(top, env),
        first_message_ports: first_message_ports(top, &ports, env),
        key_ipv6_prefix: top.integer("key_ipv6_prefix").unwrap_or(128),
        stick_table_max_entries: top.integer("stick_table_max_entries").unwrap_or(1_000_000),
        stick_table_full: top
            .word("stick_table_full")
            .unwrap_or(StickTableFull::Refuse),
        stick_table_save_interval: top.seconds_or("stick_table_save_interval", 10_000),
        no_quorum: top.word("no_quorum").unwrap_or(NoQuorum::Assign),
        no_quorum_after: top.seconds_or("no_quorum_after", 3_000),
        raft_heartbeat,
        raft_election_timeout: peers::election_timeout(top, raft_heartbeat),
        allow: listening::client_networks(top, "allow"),
        deny: listening::client_networks(top, "deny"),
        max_connections_per_client: top.integer("max_connections_per_client"),
        max_new_connections_per_second_per_client: top
            .per_second("max_new_connections_per_second_per_client"),
        queue_timeout: top.seconds_or("queue_timeout", 5_000),
        accept_proxy_from: listening::accept_proxy_from(top),
        transparent_listen: top.bool("transparent_listen", false),
        bind_source: listening::bind_source(top),
        peer_secret_file: path(top, "peer_secret_file"),
        groups: group::groups(top, &ports),
        bind_addrs: bind_addrs.iter().map(|bind| bind.ip).collect(),
        ports: ports.numbers().collect(),
        expiration: expiration?,
        peers,
    };
    doubts::warn(top, &config);
    Some(config)
}

fn expiration(top: &Section<'_>, in_a_cluster: bool) -> Option<Duration> {
    const SHORTEST_IN_A_CLUSTER: Duration = Duration::from_secs(3);
    let Some(entry) = top.get("expiration") else {
        top.missing("expiration", "seconds, such as expiration = 10");
        return None;
    };
    let expiration = entry.seconds()?;
    if in_a_cluster && expiration < SHORTEST_IN_A_CLUSTER {
        entry.refuse_for("at least 3 seconds where there are peers");
    }
    Some(expiration)
}

fn socket(top: &Section<'_>, name: &'static str, default_port: u16) -> NamedSocket {
    let default = SocketAddr::from(([127, 0, 0, 1], default_port));
    let entry = top.get(name);
    let parse = |text: &str| {
        let address: SocketAddr = text.parse().ok()?;
        (address.port() != 0 && !address.ip().is_multicast()).then_some(address)
    };
    let given = entry
        .as_ref()
        .map(|entry| (entry.span(), entry.parsed(parse)));
    NamedSocket {
        name,
        address: given
            .as_ref()
            .and_then(|(_, address)| *address)
            .unwrap_or(default),
        given_at: given.map(|(span, _)| span),
    }
}

fn first_message_timeout(top: &Section<'_>, env: &Environment) -> Duration {
    if let Some(entry) = top.get("first_message_timeout") {
        warn_without_slice(&entry, env);
    }
    top.seconds_or("first_message_timeout", 5_000)
}

fn first_message_ports(top: &Section<'_>, listened: &Ports, env: &Environment) -> Option<Vec<u16>> {
    let entry = top.get("first_message_ports")?;
    warn_without_slice(&entry, env);
    let ports = Ports::from(&entry);
    let not_listened: Vec<u16> = ports
        .numbers()
        .filter(|port| !listened.has(*port))
        .collect();
    if listened.is_complete() && !not_listened.is_empty() {
        let shown = values::show_ports(not_listened.iter().copied());
        entry.warn(format!("not listened on and without effect: {shown}"));
    }
    Some(ports.numbers().filter(|port| listened.has(*port)).collect())
}

fn warn_without_slice(entry: &Entry<'_>, env: &Environment) {
    if env.key_type == KeyType::Ip {
        entry.warn("without effect: TCPFFEE_KEY_TYPE is IP, no slice of the first message is read");
    }
}

fn path(top: &Section<'_>, name: &str) -> Option<std::path::PathBuf> {
    let entry = top.get(name)?;
    entry.parsed(|text| (!text.is_empty() && !text.contains('\0')).then(|| text.into()))
}
