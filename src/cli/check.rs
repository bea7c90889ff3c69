//! `tcpffee check`: what a configuration says, in a page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::{Exit, complain, say};
use crate::config::{self, Balance, Config, Environment, GroupConfig, KeyType};
use crate::counted::counted;
use crate::groups::{GroupRegistry, HealthStatus, Status};
use crate::logging;
use crate::paths;
use crate::proxy::Generation;

/// Reads the configuration and prints what it holds to standard output, or everything that is
/// wrong with it to standard error.
pub fn check(config_path: Option<&Path>) -> ExitCode {
    let environment = Environment::for_subcommand();
    let path = match (config_path, &environment) {
        (Some(path), _) => path.to_owned(),
        (None, Ok(environment)) => environment.config_path.clone(),
        (None, Err(_)) => Environment::default().config_path,
    };
    // Faults of the environment do not hide those of the file.
    let read = |environment: &Environment| config::read(&path, environment);
    let (environment, loaded) = match environment {
        Ok(environment) => {
            let loaded = read(&environment);
            (environment, loaded)
        }
        Err(problems) => {
            refuse("the environment", &problems);
            return match read(&Environment::default()) {
                Ok(_) => Exit::Refused.into(),
                Err(problems) => refuse(&path.display().to_string(), &problems),
            };
        }
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(&path.display().to_string(), &problems),
    };
    if let Err(error) = paths::check(&environment, &path) {
        complain(&error.to_string());
        return Exit::Refused.into();
    }
    let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    let filter = environment.rust_log.as_deref();
    if let Some(Err(error)) = filter.map(logging::check_filter) {
        warnings.push(error.to_string());
    }
    let registry = GroupRegistry::new(1);
    let all_up = |_| Arc::new(HealthStatus::up());
    let generation = Generation::new(1, loaded.config.clone(), &registry, &all_up, &|_| {
        Vec::new()
    });
    warnings.extend(generation.warnings());
    say(&report(
        &path,
        &loaded.config,
        environment.key_type,
        &warnings,
    ));
    Exit::Done.into()
}

fn refuse(what: &str, problems: &config::Problems) -> ExitCode {
    complain(&problems.to_string());
    let count = counted_or_none(problems.error_count(), "error");
    complain(&format!("{what} is refused: {count}"));
    Exit::Refused.into()
}

fn report(path: &Path, config: &Config, key_type: KeyType, warnings: &[String]) -> String {
    let mut text = format!("{} is valid\n\n", path.display());
    let addresses: Vec<_> = config.bind_addrs.iter().map(ToString::to_string).collect();
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<10}{value}");
    };
    row("addresses", addresses.join(", "));
    row("ports", config::show_ports(config.ports.iter().copied()));
    row("key", key(key_type, config.key_ipv6_prefix));
    row("sticks", sticks(config));
    row("balance", balance(config.balance).to_owned());
    for (name, value) in beyond(config) {
        row(name, value);
    }
    if !config.peers.is_empty() {
        row(
            "peers",
            config
                .peers
                .iter()
                .map(|peer| peer.host.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        );
    }
    row("groups", config.groups.len().to_string());
    for group in &config.groups {
        let _ = writeln!(text, "  {}", group_line(group));
        for line in target_lines(group) {
            let _ = writeln!(text, "      {line}");
        }
    }
    let _ = write!(text, "{}", counted_or_none(warnings.len(), "warning"));
    for warning in warnings {
        let _ = write!(text, "\n  {warning}");
    }
    text
}

/// What holds for clients and connections only where it is asked for.
fn beyond(config: &Config) -> Vec<(&'static str, String)> {
    let mut clients = Vec::new();
    if !config.allow.is_empty() {
        clients.push(format!("only of {}", first_of(&config.allow)));
    }
    if !config.deny.is_empty() {
        clients.push(format!("none of {}", first_of(&config.deny)));
    }
    if let Some(max) = config.max_connections_per_client {
        clients.push(format!("{max} connections each at once"));
    }
    if let Some(rate) = config.max_new_connections_per_second_per_client {
        clients.push(format!("{rate} new connections each in a second"));
    }
    let mut rows = Vec::new();
    if !clients.is_empty() {
        rows.push(("clients", clients.join(", ")));
    }
    if !config.accept_proxy_from.is_empty() {
        let from = first_of(&config.accept_proxy_from);
        rows.push(("header", format!("by the PROXY protocol, from {from}")));
    }
    if config.transparent_listen {
        rows.push(("listeners", "transparent".to_owned()));
    }
    if !config.bind_source.is_empty() {
        rows.push(("source", first_of(&config.bind_source)));
    }
    rows
}

fn first_of(values: &[impl ToString]) -> String {
    const SHOWN: usize = 4;
    let mut shown: Vec<String> = values.iter().take(SHOWN).map(ToString::to_string).collect();
    if values.len() > SHOWN {
        shown.push(format!("{} more", values.len() - SHOWN));
    }
    shown.join(", ")
}

fn key(key_type: KeyType, ipv6_prefix: u8) -> String {
    let ip = match ipv6_prefix {
        128 => "client IP".to_owned(),
        bits => format!("client IP (of IPv6 the first {bits} bits)"),
    };
    match key_type {
        KeyType::Ip => ip,
        KeyType::IpWithFirstMessageSlice { start, end } => {
            format!("{ip} with bytes {start} to {end} (exclusive) of the first message")
        }
    }
}

fn sticks(config: &Config) -> String {
    format!(
        "kept for {} s after the last activity, {} at most",
        config.expiration.as_secs_f64(),
        config.stick_table_max_entries
    )
}

fn balance(balance: Balance) -> &'static str {
    match balance {
        Balance::LeastSticks => "least-sticks",
        Balance::LeastConnections => "least-connections",
        Balance::RoundRobin => "round-robin",
        Balance::Hash => "hash",
    }
}

fn group_line(group: &GroupConfig) -> String {
    let mut line = group.id.to_string();
    if let Some(name) = &group.name {
        let _ = write!(line, " {name}");
    }
    let status = match (group.disabled, group.drain) {
        (true, _) => Status::Disabled,
        (false, true) => Status::Draining,
        (false, false) => Status::Up,
    };
    let _ = write!(line, ": {status}, weight {}", group.weight);
    if group.backup {
        line.push_str(", backup");
    }
    if let Some(over) = group.slow_start {
        let _ = write!(line, ", slow start over {} s", over.as_secs_f64());
    }
    if let Some(max) = group.max_connections {
        let _ = write!(line, ", {max} connections at most");
    }
    if let Some(version) = group.send_proxy {
        let _ = write!(line, ", PROXY header {version}");
    }
    if group.transparent {
        line.push_str(", transparent");
    }
    match group.healthchecks.len() {
        0 => {}
        count => {
            let _ = write!(line, ", {}", counted_or_none(count, "health check"));
        }
    }
    line
}

/// One line for each host that gets the ports as they are, and one for each port that is mapped
/// to another.
fn target_lines(group: &GroupConfig) -> Vec<String> {
    let mut by_host: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    let mut moved = Vec::new();
    for (&port, target) in &group.targets {
        match target.host_for(port) {
            Some(host) => by_host.entry(host).or_default().push(port),
            None => moved.push(format!("{port} → {target}")),
        }
    }
    let shown = by_host
        .into_iter()
        .map(|(host, ports)| format!("{} → {host}", config::show_ports(ports)));
    shown.chain(moved).collect()
}

fn counted_or_none(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        _ => counted(count as u64, what),
    }
}
