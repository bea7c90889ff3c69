//! `tcpffee check`: what a configuration says, in a page.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::{Exit, complain, say};
use crate::config::{self, Balance, Config, Environment, GroupConfig, KeyType, TargetAddr};
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
    let host_of = |target: &TargetAddr| match target {
        TargetAddr::Socket(address) => address.ip().to_string(),
        TargetAddr::Name { host, .. } => host.clone(),
    };
    let port_of = |target: &TargetAddr| match target {
        TargetAddr::Socket(address) => SocketAddr::port(address),
        TargetAddr::Name { port, .. } => *port,
    };
    let unchanged = |(port, target): &(&u16, &TargetAddr)| **port == port_of(target);
    let hosts: BTreeSet<String> = group
        .targets
        .iter()
        .filter(unchanged)
        .map(|(_, target)| host_of(target))
        .collect();
    let mut lines = Vec::new();
    for host in hosts {
        let ports: Vec<u16> = group
            .targets
            .iter()
            .filter(|pair| unchanged(pair) && host_of(pair.1) == host)
            .map(|(port, _)| *port)
            .collect();
        lines.push(format!(
            "{} → {host}",
            config::show_ports(ports.iter().copied())
        ));
    }
    let moved = group.targets.iter().filter(|pair| !unchanged(pair));
    lines.extend(moved.map(|(port, target)| format!("{port} → {target}")));
    lines
}

fn counted_or_none(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        _ => counted(count as u64, what),
    }
}
