//! A [`Config`] written out: each setting by its key, as text. Reloads compare two of these.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use super::kind::seconds;
use super::reference::{self, Key};
use super::schema::{
    CheckHeader, Config, GroupConfig, HealthCheck, IpNetwork, IpRange, Peer, TargetAddr,
};
use super::values;

/// What holds for a check's header where it is not given.
const AS_CONNECTIONS: &str = "the group's, but off where port is given";

/// One setting of a configuration.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// As in the file: `groups.1.weight`.
    pub path: String,
    /// Its row of the reference.
    pub key: &'static Key,
    /// Its value, as the file would give it; `none` and the like where it would be left out.
    pub value: String,
    /// What may be said of it in logs, where that is less than the value.
    redacted: Option<String>,
}

impl Setting {
    /// The value as logs may show it.
    pub fn shown(self) -> String {
        self.redacted.unwrap_or(self.value)
    }
}

/// Settings under one table of the file.
struct List {
    path: String,
    pattern: &'static str,
    settings: Vec<Setting>,
}

impl List {
    fn new(path: String, pattern: &'static str) -> List {
        List {
            path,
            pattern,
            settings: Vec::new(),
        }
    }

    fn add(&mut self, name: &str, value: impl Display) {
        let pattern = format!("{}{name}", self.pattern);
        let key = reference::find(&pattern).expect("every setting stands in the reference");
        self.settings.push(Setting {
            path: format!("{}{name}", self.path),
            key,
            value: value.to_string(),
            redacted: None,
        });
    }

    /// Networks of clients, of which logs show the first few, or what stands for none.
    fn add_networks(&mut self, name: &str, networks: &[IpNetwork], none: &str) {
        const SHOWN: usize = 16;
        if networks.is_empty() {
            return self.add(name, none);
        }
        let Some(left_out) = networks.len().checked_sub(SHOWN).filter(|&more| more > 0) else {
            return self.add(name, joined(networks));
        };
        let shown = format!("{}, {left_out} more", joined(&networks[..SHOWN]));
        self.add_redacted(name, joined(networks), shown);
    }

    /// A setting whose value may hold a secret, with what may be said of it.
    fn add_redacted(&mut self, name: &str, value: impl Display, redacted: String) {
        self.add(name, value);
        if let Some(added) = self.settings.last_mut() {
            added.redacted = Some(redacted);
        }
    }
}

/// Every setting of a configuration but `ports`, with the value that holds as logs may show it: those
/// of the whole, then those of each group, its health checks, and each peer.
pub fn shown(config: &Config) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut say = |settings: Vec<Setting>| {
        for setting in settings {
            lines.push((setting.path.clone(), setting.shown()));
        }
    };
    say(top(config));
    for of in &config.groups {
        let by_port = of.targets.iter().map(|(port, target)| (*port, target));
        let mut portmap = List::new(format!("groups.{}.", of.id), "groups.N.");
        portmap.add("portmap", targets(&by_port.collect()));
        say(portmap.settings);
        say(group(of));
        for (at, check) in of.healthchecks.iter().enumerate() {
            say(healthcheck(
                &format!("groups.{}.healthchecks[{at}]", of.id),
                check,
            ));
        }
    }
    for (at, of) in config.peers.iter().enumerate() {
        say(peer(&format!("peers[{at}]"), of));
    }
    lines
}

/// The settings at the top of the file, but for `ports`, `groups` and `peers`.
pub(super) fn top(config: &Config) -> Vec<Setting> {
    let mut list = List::new(String::new(), "");
    list.add("bind_addr", joined(&config.bind_addrs));
    list.add("freebind", config.freebind);
    list.add("listen_backlog", config.listen_backlog);
    list.add("workers", or(config.workers, "one for each CPU"));
    let limit = "from the descriptor limit";
    list.add("max_connections", or(config.max_connections, limit));
    list.add("max_buffered_bytes", config.max_buffered_bytes);
    list.add("expiration", time(config.expiration));
    list.add("balance", config.balance);
    list.add("key_ipv6_prefix", config.key_ipv6_prefix);
    list.add("first_message_timeout", time(config.first_message_timeout));
    let first_message_ports = config.first_message_ports.as_ref();
    let shown = first_message_ports.map(|ports| values::show_ports(ports.iter().copied()));
    list.add("first_message_ports", or(shown, "all ports"));
    list.add("stick_table_max_entries", config.stick_table_max_entries);
    list.add("stick_table_full", config.stick_table_full);
    list.add(
        "stick_table_save_interval",
        time(config.stick_table_save_interval),
    );
    list.add("connect_timeout", time(config.connect_timeout));
    list.add("idle_timeout", or(config.idle_timeout.map(time), "none"));
    list.add("half_closed_timeout", time(config.half_closed_timeout));
    list.add("tcp_keepalive", time(config.tcp_keepalive));
    list.add("shutdown_grace", time(config.shutdown_grace));
    list.add_networks("allow", &config.allow, "everybody");
    list.add_networks("deny", &config.deny, "nobody");
    list.add(
        "max_connections_per_client",
        or(config.max_connections_per_client, "none"),
    );
    list.add(
        "max_new_connections_per_second_per_client",
        or(config.max_new_connections_per_second_per_client, "none"),
    );
    list.add("queue_timeout", time(config.queue_timeout));
    list.add("accept_proxy_from", joined(&config.accept_proxy_from));
    list.add("transparent_listen", config.transparent_listen);
    list.add("bind_source", or_the_kernels(&config.bind_source));
    list.add("stats_bind_socket", config.stats_bind_socket);
    let sockets = &config.raft_sockets;
    list.add(
        "raft_healthchecks_logs_bind_socket",
        sockets.healthchecks_logs,
    );
    list.add(
        "raft_stick_table_logs_bind_socket",
        sockets.stick_table_logs,
    );
    list.add(
        "raft_healthchecks_proposals_bind_socket",
        sockets.healthchecks_proposals,
    );
    list.add(
        "raft_stick_table_proposals_bind_socket",
        sockets.stick_table_proposals,
    );
    list.add("raft_heartbeat", time(config.raft_heartbeat));
    let (shortest, longest) = config.raft_election_timeout;
    list.add(
        "raft_election_timeout",
        format!("{} to {}", time(shortest), time(longest)),
    );
    let secret = config.peer_secret_file.as_ref().map(|path| path.display());
    list.add("peer_secret_file", or(secret, "none"));
    list.add("no_quorum", config.no_quorum);
    list.add("no_quorum_after", time(config.no_quorum_after));
    list.settings
}

/// The settings of a group, but for `portmap` and `healthchecks`.
pub(super) fn group(group: &GroupConfig) -> Vec<Setting> {
    let mut list = List::new(format!("groups.{}.", group.id), "groups.N.");
    list.add("name", or(group.name.as_ref(), "none"));
    list.add("weight", group.weight);
    list.add("drain", group.drain);
    list.add("disabled", group.disabled);
    list.add("backup", group.backup);
    list.add("slow_start", or(group.slow_start.map(time), "none"));
    list.add("on_disabled", group.on_disabled);
    list.add("drain_timeout", or(group.drain_timeout.map(time), "none"));
    list.add("max_connections", or(group.max_connections, "none"));
    list.add("send_proxy", or(group.send_proxy, "off"));
    list.add("transparent", group.transparent);
    list.settings
}

/// The settings of a group's health check.
pub(super) fn healthcheck(path: &str, check: &HealthCheck) -> Vec<Setting> {
    let mut list = List::new(format!("{path}."), "groups.N.healthchecks[].");
    list.add("fall", check.fall);
    list.add("rise", check.rise);
    list.add("fall_action", check.fall_action);
    list.add("interval", time(check.interval));
    list.add("timeout", time(check.timeout));
    list.add("port", or(check.port, "each target's own"));
    let header = match check.send_proxy {
        CheckHeader::AsConnections => AS_CONNECTIONS.to_owned(),
        CheckHeader::Given(header) => or(header, "off"),
    };
    list.add("send_proxy", header);
    let http = check.http.as_ref();
    list.add("http_target", or(http.map(|http| &http.target), "none"));
    list.add("http_method", or(http.map(|http| http.method), "none"));
    let headers = http
        .map(|http| &http.headers)
        .filter(|headers| !headers.is_empty());
    let names = headers.map(|headers| headers.keys().cloned().collect::<Vec<_>>().join(", "));
    let redacted = names.map(|names| format!("{names} (values not shown)"));
    let value = headers.map(|headers| format!("{headers:?}"));
    list.add_redacted("http_headers", or(value, "none"), or(redacted, "none"));
    let body = http.and_then(|http| http.body.as_ref());
    let redacted = body.map(|_| "given (not shown)");
    let value = body.map(|body| format!("{body:?}"));
    list.add_redacted("http_body", or(value, "none"), or(redacted, "none"));
    list.add("http_status", or(http.map(|http| http.status), "none"));
    list.settings
}

/// The settings of a peer.
pub(super) fn peer(path: &str, peer: &Peer) -> Vec<Setting> {
    let own = "this node's own";
    let mut list = List::new(format!("{path}."), "peers[].");
    list.add("host", &peer.host);
    list.add("mac_address", peer.mac_address);
    let ports = &peer.ports;
    list.add("ports.healthchecks_logs", or(ports.healthchecks_logs, own));
    list.add("ports.stick_table_logs", or(ports.stick_table_logs, own));
    list.add(
        "ports.healthchecks_proposals",
        or(ports.healthchecks_proposals, own),
    );
    list.add(
        "ports.stick_table_proposals",
        or(ports.stick_table_proposals, own),
    );
    list.settings
}

/// Targets by listened port: one host where that says all, else the first few.
pub(super) fn targets(targets: &BTreeMap<u16, &TargetAddr>) -> String {
    const SHOWN: usize = 4;
    let mut hosts = targets.iter().map(|(port, target)| target.host_for(*port));
    if let Some(Some(first)) = hosts.next()
        && hosts.all(|other| other.as_ref() == Some(&first))
    {
        return first;
    }
    let shown = targets.iter().take(SHOWN);
    let mut parts: Vec<String> = shown
        .map(|(port, target)| format!("{port} = {target}"))
        .collect();
    match targets.len() {
        0 => return "none".to_owned(),
        length if length > SHOWN => parts.push(format!("{} more", length - SHOWN)),
        _ => {}
    }
    parts.join(", ")
}

fn or(value: Option<impl Display>, otherwise: &str) -> String {
    value.map_or_else(|| otherwise.to_owned(), |value| value.to_string())
}

fn joined(values: &[impl Display]) -> String {
    let shown: Vec<String> = values.iter().map(ToString::to_string).collect();
    if shown.is_empty() {
        return "none".to_owned();
    }
    shown.join(", ")
}

fn or_the_kernels(sources: &[IpRange]) -> String {
    match sources {
        [] => "the kernel's choice".to_owned(),
        sources => joined(sources),
    }
}

fn time(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    format!("{} s", seconds(ms))
}
