//! `/api/v1/health`: whether this node may get traffic.

use std::collections::BTreeSet;
use std::time::Instant;

use super::recently::Happened;
use super::{Sources, api, serving};
use crate::config;
use crate::groups::{Group, MAX_QUEUED, Status};
use crate::proxy::Generation;

/// Groups that warnings name one by one.
const MOST_NAMED: usize = 20;
/// The table is nearly full from this part of its bound on, in percent.
const NEARLY_FULL_PERCENT: u64 = 95;

impl Sources {
    /// Whether this node may get traffic, why not, and what an operator should look at.
    pub fn health(&self) -> api::Health {
        let generation = self.parts.proxy.generation();
        let raft = self.raft();
        let mut reasons = Vec::new();
        if !self.parts.proxy.is_accepting() {
            reasons.push("it is stopping".to_owned());
        }
        reasons.extend(unserved(&generation));
        reasons.extend(serving::reasons(&raft));
        reasons.extend(few(self.parts.health.disagreements(), "health checks"));
        api::Health {
            status: match reasons.is_empty() {
                true => api::HealthStatus::Ok,
                false => api::HealthStatus::Unhealthy,
            },
            reasons,
            warnings: self.warnings(&generation, &raft),
        }
    }

    fn warnings(&self, generation: &Generation, raft: &api::Raft) -> Vec<String> {
        let mut warnings = groups_out(generation);
        warnings.extend(unresolved(generation));
        warnings.extend(generation.warnings());
        let reloads = self.reloads().counts.clone();
        if let Some(first) = reloads.last_problems.first() {
            let more = match reloads.last_problems.len() {
                1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            warnings.push(format!("the last reload was refused: {first}{more}"));
        }
        if let Some(error) = self.saves().last_error {
            warnings.push(format!("the last save of the stick table failed: {error}"));
        }
        let (entries, settings) = (self.parts.table.entries(), self.parts.table.settings());
        let most = settings.max_entries as u64;
        if most == 0 {
            // No cluster has agreed on it yet.
        } else if entries >= most {
            warnings.push(format!(
                "the stick table is full ({most} entries): new clients are refused, or take the \
                 place of others, as stick_table_full says; raise stick_table_max_entries"
            ));
        } else if entries.saturating_mul(100) >= most.saturating_mul(NEARLY_FULL_PERCENT) {
            warnings.push(format!(
                "the stick table is nearly full: {entries} of {most} entries; raise \
                 stick_table_max_entries"
            ));
        }
        let (open, most) = (
            self.parts.proxy.connections(),
            self.parts.proxy.max_connections(),
        );
        if open >= most {
            warnings.push(format!(
                "{open} connections are open, as many as may be (max_connections): further \
                 clients wait"
            ));
        }
        let now = Instant::now();
        warnings.extend(few(full(generation), "groups"));
        let recently = self.recently();
        let happened = Happened::ALL
            .into_iter()
            .filter(|&what| recently.has(what, now));
        warnings.extend(happened.map(|what| told(what).to_owned()));
        drop(recently);
        warnings.extend(serving::warnings(raft));
        warnings
    }
}

/// What an operator is told for a minute.
fn told(what: Happened) -> &'static str {
    match what {
        Happened::AcceptPause => {
            "accepting paused in the last minute for want of descriptors or memory"
        }
        Happened::LinesLost => "log lines were lost in the last minute",
        Happened::NoPort => {
            "clients were reset in the last minute because every source port towards a target was \
             in use (no_port): widen net.ipv4.ip_local_port_range, or give \
             more addresses (bind_source) where the group is not transparent"
        }
        Happened::Lack => {
            "clients were reset in the last minute because this host could not connect to a target \
             (local_error): for want of descriptors or memory, or of an address of bind_source; the \
             log says which"
        }
        Happened::NoPlace => {
            "clients were reset in the last minute because their group had no place for them \
             (group_full, queue_full): raise groups.N.max_connections, or add groups"
        }
    }
}

/// Groups at their bound that keep clients waiting.
fn full(generation: &Generation) -> Vec<String> {
    let waiting = |group: &&Group| group.counters.places.queued() > 0;
    let groups = generation.groups.iter().filter(waiting);
    groups
        .map(|group| {
            let (title, places) = (group.title(), &group.counters.places);
            let max = group.max_connections.unwrap_or(0);
            format!(
                "{title} is full ({max} connections, max_connections): {} more wait, of at most \
                 {MAX_QUEUED}",
                places.queued()
            )
        })
        .collect()
}

/// The first lines, and how many more of these there are.
fn few(mut lines: Vec<String>, of_what: &str) -> Vec<String> {
    let more = lines.len().saturating_sub(MOST_NAMED);
    lines.truncate(MOST_NAMED);
    if more > 0 {
        lines.push(format!("{more} more {of_what}"));
    }
    lines
}

/// What new clients would be refused for: no group Up at all, or none with a target for a port.
fn unserved(generation: &Generation) -> Option<String> {
    let mut groups = generation.groups.iter();
    if groups.all(|group| group.status() != Status::Up) {
        return Some("no group is Up".to_owned());
    }
    let missing = generation.groups.unserved(&generation.config.ports);
    if missing.is_empty() {
        return None;
    }
    let count = missing.len();
    let ports = config::show_ports(missing);
    let ports = match ports.char_indices().nth(200) {
        Some((cut, _)) => format!("{}… ({count} in all)", &ports[..cut]),
        None => ports,
    };
    let word = if count == 1 { "port" } else { "ports" };
    Some(format!(
        "no group that is Up has a target for {word} {ports}"
    ))
}

fn groups_out(generation: &Generation) -> Vec<String> {
    let groups = generation.groups.iter();
    let out: Vec<_> = groups
        .map(|group| (group, group.status()))
        .filter(|&(_, status)| status != Status::Up)
        .collect();
    let named = out.iter().take(MOST_NAMED);
    let mut lines: Vec<String> = named
        .map(|(group, status)| format!("{} is {status}: {}", group.title(), group.reason()))
        .collect();
    if out.len() > MOST_NAMED {
        lines.push(format!("{} more groups are not Up", out.len() - MOST_NAMED));
    }
    lines
}

/// Names of targets that have never resolved.
fn unresolved(generation: &Generation) -> Vec<String> {
    let mut names = BTreeSet::new();
    for group in generation.groups.iter() {
        let targets = group.targets().values();
        let absent = targets.filter(|target| !target.has_endpoint() && !target.is_own_listener());
        for target in absent {
            if let config::TargetAddr::Name { host, .. } = &target.configured {
                names.insert(format!("{}: {host} does not resolve", group.title()));
            }
        }
    }
    let more = names.len().saturating_sub(MOST_NAMED);
    let mut lines: Vec<String> = names.into_iter().take(MOST_NAMED).collect();
    if more > 0 {
        lines.push(format!("{more} more names do not resolve"));
    }
    lines
}
