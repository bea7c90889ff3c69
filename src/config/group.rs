//! `[groups.N]`: the server groups.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::entry::Entry;
use super::healthcheck;
use super::listening::Ports;
use super::schema::{GroupConfig, GroupId, OnDisabled, TargetAddr, UnixPath};
use super::section::Section;
use super::values;

/// Groups of one configuration.
const MAX_GROUPS: usize = 4096;

/// Targets of all groups together.
const MAX_TARGETS: usize = 1_000_000;

/// Longest `name`, in characters.
const MAX_NAME_CHARS: usize = 64;

/// How the path of a Unix socket begins; host names do not.
const UNIX: &str = "unix:/";

const EXPECTED_UNIX: &str = "a Unix socket's path of at most 107 bytes, without white space, such \
                             as \"unix:/run/app/server.sock\"";

const EXPECTED_GROUPS: &str = "tables of groups such as [groups.0], at least one";

/// All groups, ascending by id.
pub(super) fn groups(top: &Section<'_>, ports: &Ports) -> Vec<GroupConfig> {
    let Some(entry) = top.get("groups") else {
        top.missing("groups", EXPECTED_GROUPS);
        return Vec::new();
    };
    let members = entry.members(EXPECTED_GROUPS);
    if members.is_empty() && entry.value.get_ref().is_table() {
        entry.refuse_for(EXPECTED_GROUPS);
    }
    let (count, ports_count) = (members.len(), ports.len());
    if count > MAX_GROUPS {
        entry.error_at_key(format!("{count} groups, expected at most {MAX_GROUPS}"));
        return Vec::new();
    }
    if count * ports_count > MAX_TARGETS {
        entry.error_at_key(format!(
            "{count} groups on {ports_count} ports, expected at most {MAX_TARGETS} targets together"
        ));
        return Vec::new();
    }
    let mut groups: Vec<GroupConfig> = Vec::new();
    for (name, member) in &members {
        groups.extend(id(name, member).and_then(|id| group(id, member, ports, &groups)));
    }
    groups.sort_by_key(|group| group.id);
    groups
}

fn id(name: &str, member: &Entry<'_>) -> Option<GroupId> {
    let id = name.parse::<u32>().ok().filter(|id| id.to_string() == name);
    if id.is_none() {
        let sentence = format!(
            "expected a group's id, an integer from 0 to {}, in place of {name:?}",
            u32::MAX
        );
        member.error_at_key(sentence);
    }
    id.map(GroupId)
}

fn group(
    id: GroupId,
    member: &Entry<'_>,
    ports: &Ports,
    earlier: &[GroupConfig],
) -> Option<GroupConfig> {
    let section =
        member.section("a group's table, such as [groups.0] with portmap = \"192.0.2.20\"")?;
    section.refuse_unknown_keys();
    let targets = targets(&section, ports);
    let unix = targets.values().find_map(|target| match target {
        TargetAddr::Unix(path) => Some(path),
        _ => None,
    });
    Some(GroupConfig {
        id,
        name: name(&section, earlier),
        weight: section.integer("weight").unwrap_or(1),
        drain: section.bool("drain", false),
        disabled: section.bool("disabled", false),
        backup: section.bool("backup", false),
        slow_start: section.seconds("slow_start"),
        on_disabled: section.word("on_disabled").unwrap_or(OnDisabled::Keep),
        drain_timeout: section.seconds("drain_timeout"),
        max_connections: section.integer("max_connections"),
        send_proxy: section.proxy_header("send_proxy").flatten(),
        transparent: transparent(&section, unix),
        healthchecks: healthcheck::healthchecks(&section, unix),
        targets,
    })
}

fn name(section: &Section<'_>, earlier: &[GroupConfig]) -> Option<String> {
    let entry = section.get("name")?;
    let name = entry.parsed(|text| {
        let length = text.chars().count();
        let good = (1..=MAX_NAME_CHARS).contains(&length) && !text.chars().any(char::is_control);
        good.then(|| text.to_owned())
    })?;
    let same = |other: &&GroupConfig| other.name.as_ref() == Some(&name);
    if let Some(other) = earlier.iter().find(same) {
        entry.warn(format!("groups.{} has the name {name:?} too", other.id));
    }
    Some(name)
}

fn transparent(section: &Section<'_>, unix: Option<&UnixPath>) -> bool {
    let transparent = section.bool("transparent", false);
    if let (true, Some(path), Some(entry)) = (transparent, unix, section.get("transparent")) {
        entry.error(format!(
            "{path} in portmap cannot see a client's address; expected send_proxy in its place, or \
             targets with IP addresses"
        ));
    }
    transparent
}

fn targets(section: &Section<'_>, ports: &Ports) -> BTreeMap<u16, TargetAddr> {
    let Some(entry) = section.get("portmap") else {
        section.missing("portmap", "an IP address, a host name, or a table of ports");
        return BTreeMap::new();
    };
    match entry.value.get_ref() {
        DeValue::Table(_) => targets_by_port(&entry, ports),
        _ => same_port_everywhere(&entry, ports).unwrap_or_default(),
    }
}

fn same_port_everywhere(entry: &Entry<'_>, ports: &Ports) -> Option<BTreeMap<u16, TargetAddr>> {
    let text = entry.text()?;
    let host = values::host(text);
    let target = values::target(text);
    let everywhere = |port| match (&host, &target) {
        (Some(host), _) => Some((port, host.at(port))),
        (None, Some(unix @ TargetAddr::Unix(_))) => Some((port, unix.clone())),
        (None, _) => None,
    };
    let targets: Option<BTreeMap<_, _>> = ports.numbers().map(everywhere).collect();
    if targets.is_none() {
        entry.refuse_for(match target {
            Some(_) => {
                "one without a port, or a table such as portmap = { 5280 = \"192.0.2.20:80\" }"
            }
            None if text.starts_with(UNIX) => EXPECTED_UNIX,
            None => {
                "an IP address that can be connected to, a host name, \"unix:/path\", or a table \
                 of ports"
            }
        });
    }
    targets
}

fn targets_by_port(entry: &Entry<'_>, ports: &Ports) -> BTreeMap<u16, TargetAddr> {
    const EXPECTED: &str =
        "\"address:port\", \"[IPv6 address]:port\", \"host:port\" or \"unix:/path\"";
    let mut targets = BTreeMap::new();
    let mut not_listened = Vec::new();
    let mut understood = true;
    let members = entry.members("a table");
    if members.is_empty() {
        entry.refuse_for("a table with at least one listened port");
        return targets;
    }
    for (name, member) in members {
        let port = values::port(name);
        if port.is_none() {
            member.error_at_key(format!(
                "expected a listened port from 1 to 65535 in place of {name:?}"
            ));
        }
        let target = member.text_for(EXPECTED).and_then(|text| {
            let target = values::target(text);
            if target.is_none() {
                let is_unix = text.starts_with(UNIX);
                member.refuse_for(if is_unix { EXPECTED_UNIX } else { EXPECTED });
            }
            target
        });
        match (port, target) {
            (Some(port), Some(target)) if ports.has(port) => {
                targets.insert(port, target);
            }
            (Some(port), Some(_)) => not_listened.push(port),
            _ => understood = false,
        }
    }
    if ports.is_complete() && understood {
        warn_of_gaps(entry, ports, &targets, not_listened);
    }
    targets
}

fn warn_of_gaps(
    entry: &Entry<'_>,
    ports: &Ports,
    targets: &BTreeMap<u16, TargetAddr>,
    mut not_listened: Vec<u16>,
) {
    let lacking = || ports.numbers().filter(|port| !targets.contains_key(port));
    if lacking().next().is_some() {
        let shown = values::show_ports(lacking());
        entry.warn(format!(
            "no target for {shown}: the group serves no client there"
        ));
    }
    if !not_listened.is_empty() {
        not_listened.sort_unstable();
        let shown = values::show_ports(not_listened);
        entry.warn(format!("{shown} is mapped but not listened on (see ports)"));
    }
}
