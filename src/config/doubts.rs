//! What a file may say, and hardly means.

use super::schema::{Config, IpNetwork};
use super::section::Section;

/// Warns of it.
pub(super) fn warn(top: &Section<'_>, config: &Config) {
    of_networks(top, config);
    of_places(top, config);
    of_clients(top, config);
    of_waits(top, config);
}

fn of_networks(top: &Section<'_>, config: &Config) {
    let trusts_all = config.accept_proxy_from.iter().any(is_everybody);
    if let Some(entry) = top.get("accept_proxy_from").filter(|_| trusts_all) {
        entry.warn(
            "every client may name another in its header, and none is served without one; list \
             the balancers in front only",
        );
    }
    let is_denied = |listed: &IpNetwork| config.deny.iter().any(|d| d.covers(listed));
    let silenced = config.accept_proxy_from.iter().find(|from| is_denied(from));
    if let (Some(entry), Some(network)) = (top.get("accept_proxy_from"), silenced) {
        entry.warn(format!(
            "connections from {network} are reset, whomever they speak for: it lies in a network of \
             deny"
        ));
    }
    let is_of = |network: &IpNetwork, is_ipv4| network.address.is_ipv4() == is_ipv4;
    let denies_all = |is_ipv4| {
        let mut denied = config.deny.iter();
        denied.any(|network| is_everybody(network) && is_of(network, is_ipv4))
    };
    let Some(entry) = top.get("deny") else { return };
    match [denies_all(false), denies_all(true)] {
        [true, true] => entry.warn("nobody is served"),
        [true, false] => entry.warn("no IPv6 client is served"),
        [false, true] => entry.warn("no IPv4 client is served"),
        [false, false] => {
            if !config.allow.is_empty() && config.allow.iter().all(is_denied) {
                entry.warn("nobody is served: it covers all that allow lists");
            }
        }
    }
}

/// Groups whose bound can never be reached.
fn of_places(top: &Section<'_>, config: &Config) {
    let (Some(whole), Some(groups)) = (config.max_connections, top.get("groups")) else {
        return;
    };
    for (name, member) in groups.members("tables of groups") {
        let id = name.parse().ok();
        let group = config.groups.iter().find(|group| Some(group.id.0) == id);
        let bound = group.and_then(|group| group.max_connections);
        let section = member.section("a group's table");
        let entry = section.and_then(|section| section.get("max_connections"));
        if let (Some(bound), Some(entry)) = (bound, entry)
            && bound > whole as u64
        {
            entry.warn(format!(
                "never reached: all groups together have at most {whole} connections \
                 (max_connections)"
            ));
        }
    }
}

/// A bound of each client that none can ever reach.
fn of_clients(top: &Section<'_>, config: &Config) {
    let (Some(whole), Some(each)) = (config.max_connections, config.max_connections_per_client)
    else {
        return;
    };
    let entry = top.get("max_connections_per_client");
    if let Some(entry) = entry.filter(|_| each as u64 > whole as u64) {
        entry.warn(format!(
            "never reached: all clients together have at most {whole} connections \
             (max_connections)"
        ));
    }
}

/// Waits that nobody has, or in which a client's stick may expire.
fn of_waits(top: &Section<'_>, config: &Config) {
    if let Some(entry) = top.get("queue_timeout")
        && !gives_groups(top, "max_connections")
    {
        entry.warn("without effect: no group has max_connections, nobody waits for a place");
    }
    let is_bounded = config
        .groups
        .iter()
        .any(|group| group.max_connections.is_some());
    let given = top.get("queue_timeout").or(top.get("expiration"));
    if let Some(entry) = given.filter(|_| is_bounded && config.queue_timeout > config.expiration) {
        entry.warn(format!(
            "a client may wait for a place longer ({} s, queue_timeout) than its stick lives ({} s, \
             expiration), and be sent to another group then",
            config.queue_timeout.as_secs_f64(),
            config.expiration.as_secs_f64()
        ));
    }
}

/// Whether the file gives any group this key, with a good value or not.
fn gives_groups(top: &Section<'_>, name: &str) -> bool {
    let groups = top.get("groups");
    let groups = groups.and_then(|entry| entry.value.get_ref().as_table());
    groups.is_some_and(|groups| {
        let mut tables = groups
            .values()
            .filter_map(|group| group.get_ref().as_table());
        tables.any(|group| group.contains_key(name))
    })
}

fn is_everybody(network: &IpNetwork) -> bool {
    network.prefix == 0
}
